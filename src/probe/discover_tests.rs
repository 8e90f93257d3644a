use super::*;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

/// A folder that looks like /proc, with our own process in it as 77.
struct Proc(TempDir);

impl Proc {
    fn new() -> Proc {
        let proc = Proc(tempfile::tempdir().unwrap());
        symlink("77", proc.path().join("self")).unwrap();
        fs::write(proc.path().join("uptime"), "1 1").unwrap();
        proc.with(77, &["/graceful", "--probe-listen", "127.0.0.1:77", "--", "app"])
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn folder(&self, pid: u32) -> PathBuf {
        self.path().join(pid.to_string())
    }

    /// One more process, with this command line.
    fn with(self, pid: u32, args: &[&str]) -> Proc {
        fs::create_dir_all(self.folder(pid)).unwrap();
        self.with_file(pid, "cmdline", &args.iter().map(|arg| format!("{arg}\0")).collect::<String>())
    }

    fn with_file(self, pid: u32, name: &str, text: &str) -> Proc {
        fs::write(self.folder(pid).join(name), text).unwrap();
        self
    }

    fn with_link(self, pid: u32, name: &str, target: &Path) -> Proc {
        let link = self.folder(pid).join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
        self
    }

    /// What is found by /usr/local/bin/graceful without variables.
    fn search(&self) -> Result<Listen, Unknown> {
        self.search_with(&[], Path::new("/nonexistent/socket"))
    }

    fn search_with(&self, environment: &[(&str, &str)], socket: &Path) -> Result<Listen, Unknown> {
        let owned = |text: &str| OsString::from(text).into();
        let environment = environment.iter().map(|(name, value)| (owned(name), owned(value))).collect();
        let own =
            Environment { environment, cwd: self.path().to_owned(), pid: 77, https: true, foreign: false, above: None };
        search(&own, OsStr::new("/usr/local/bin/graceful"), self.path(), socket)
    }
}

fn tcp(text: &str) -> Result<Listen, Unknown> {
    Ok(Listen::Tcp(text.parse().unwrap()))
}

fn unix(path: impl Into<PathBuf>) -> Result<Listen, Unknown> {
    Ok(Listen::Unix(path.into()))
}

#[track_caller]
fn nowhere(found: Result<Listen, Unknown>) -> String {
    match found {
        Err(Unknown::Nowhere(problem)) => problem.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_own_environment_comes_first_and_then_its_file() {
    let proc = Proc::new().with(1, &["graceful", "--probe-listen", "127.0.0.1:1", "--", "app"]);
    fs::write(proc.path().join("g.toml"), "probe_listen = \"unix:x.sock\"\nnonsense = 1\n").unwrap();
    fs::write(proc.path().join("none.toml"), "").unwrap();
    let search = |environment: &[(&str, &str)]| proc.search_with(environment, Path::new("/nonexistent/socket"));
    assert_eq!(search(&[("GRACEFUL_PROBE_LISTEN", ":9090"), ("GRACEFUL_CONFIG", "g.toml")]), tcp("[::]:9090"));
    assert_eq!(search(&[("GRACEFUL_CONFIG", "g.toml")]), unix(proc.path().join("x.sock")));
    assert_eq!(search(&[("GRACEFUL_PROBE_LISTEN", ""), ("GRACEFUL_CONFIG", "none.toml")]), tcp("127.0.0.1:1"));
}

#[test]
fn what_is_wrong_in_the_own_environment_is_a_usage_error() {
    let proc = Proc::new().with(1, &["graceful", "--probe-listen", "127.0.0.1:1", "--", "app"]);
    let wrong = |environment: &[(&str, &str)]| match proc.search_with(environment, Path::new("/nonexistent")) {
        Err(Unknown::Wrong(problem)) => problem.to_string(),
        other => panic!("{other:?}"),
    };
    let text = wrong(&[("GRACEFUL_PROBE_LISTEN", "here")]);
    assert!(text.starts_with("GRACEFUL_PROBE_LISTEN=\"here\": has no port"), "{text}");
    let text = wrong(&[("GRACEFUL_CONFIG", "gone.toml")]);
    assert!(text.starts_with("GRACEFUL_CONFIG=\"gone.toml\": cannot be read"), "{text}");
    fs::write(proc.path().join("bad.toml"), "probe_listen = 9090").unwrap();
    let text = wrong(&[("GRACEFUL_CONFIG", "bad.toml")]);
    assert!(text.starts_with("bad.toml: probe_listen = 9090: expected a string"), "{text}");
}

#[test]
fn a_running_graceful_is_known_by_its_name_and_its_flag() {
    for args in [
        &["graceful", "--probe-listen", "127.0.0.1:5", "--", "app"][..],
        &["/graceful", "--probe-listen=127.0.0.1:5", "--", "app", "--probe-listen", "127.0.0.1:6"],
        &["/usr/bin/graceful", "run", "--hold", "never", "--probe-listen", "127.0.0.1:5", "--", "a"],
        &["graceful", "--from-another-version", "--probe-listen", "127.0.0.1:5", "--", "app"],
    ] {
        assert_eq!(Proc::new().with(30, args).search(), tcp("127.0.0.1:5"), "{args:?}");
    }
    for args in [
        &[][..],
        &[""],
        &["sh", "-c", "graceful --probe-listen 127.0.0.1:5 -- app"],
        &["gracefully", "--probe-listen", "127.0.0.1:5", "--", "app"],
        &["graceful/", "--", "app"],
        &["graceful", "--", "app", "--probe-listen", "127.0.0.1:5"],
        &["graceful", "probe", "--timeout", "9s"],
        &["graceful", "sleep", "9s"],
        &["/sbin/docker-init", "--", "/graceful", "--probe-listen", "127.0.0.1:5", "--", "app"],
    ] {
        nowhere(Proc::new().with(30, args).search());
    }
}

#[test]
fn pid_1_counts_before_all_others() {
    let listens =
        |port: &str| ["graceful".to_owned(), format!("--probe-listen=127.0.0.1:{port}"), "--".into(), "a".into()];
    let with = |proc: Proc, pid, port: &str| proc.with(pid, &listens(port).each_ref().map(String::as_str));
    let proc = with(with(Proc::new(), 1, "1001"), 30, "1030");
    assert_eq!(proc.search(), tcp("127.0.0.1:1001"));
    let proc = with(Proc::new().with(1, &["graceful", "--", "app"]), 30, "1030");
    assert_eq!(proc.search(), tcp("127.0.0.1:1030"));
    // The child between fork and exec still has graceful's command line.
    let proc = with(with(Proc::new(), 30, "1030"), 31, "1030");
    assert_eq!(proc.search(), tcp("127.0.0.1:1030"));
}

#[test]
fn several_that_do_not_agree_are_named() {
    let mut proc = Proc::new();
    for pid in [9, 30, 31, 32, 100, 200] {
        let listen = if pid == 9 { "unix:/run/9.sock".to_owned() } else { format!("127.0.0.1:{pid}") };
        proc = proc.with(pid, &["graceful", "--probe-listen", &listen, "--", "app"]);
    }
    assert_eq!(
        nowhere(proc.search()),
        "more than one address to ask: several processes called graceful listen, on unix:/run/9.sock (pid 9), \
         127.0.0.1:30 (pid 30), 127.0.0.1:31 (pid 31), 127.0.0.1:32 (pid 32) and 2 more; set GRACEFUL_PROBE_LISTEN \
         or give the address, as graceful probe unix:/run/9.sock"
    );
}

#[test]
fn a_process_is_read_with_its_own_file_environment_and_directory() {
    let app = tempfile::tempdir().unwrap();
    fs::write(app.path().join("g.toml"), "probe_listen = \"127.0.0.1:5\"").unwrap();
    fs::write(app.path().join("sock.toml"), "probe_listen = \"unix:x.sock\"").unwrap();
    let proc = |args: &[&str]| Proc::new().with(30, args).with_link(30, "cwd", app.path());
    let with_file = ["graceful", "--config", "g.toml", "--", "app"];
    assert_eq!(proc(&with_file).search(), tcp("127.0.0.1:5"));
    assert_eq!(proc(&["graceful", "--config=sock.toml", "--", "app"]).search(), unix(app.path().join("x.sock")));
    let relative = ["graceful", "--probe-listen", "unix:run/x.sock", "--", "app"];
    assert_eq!(proc(&relative).search(), unix(app.path().join("run/x.sock")));
    let plain = ["graceful", "--", "app"];
    let variables = |text: &str, args: &[&str]| proc(args).with_file(30, "environ", text).search();
    assert_eq!(variables("A=b\0GRACEFUL_PROBE_LISTEN=127.0.0.1:7\0", &plain), tcp("127.0.0.1:7"));
    assert_eq!(variables("junk\0GRACEFUL_CONFIG=g.toml\0=\0", &plain), tcp("127.0.0.1:5"));
    assert_eq!(
        variables("GRACEFUL_PROBE_LISTEN=127.0.0.1:7\0", &with_file),
        tcp("127.0.0.1:7"),
        "stronger than a file"
    );
    let flag = ["graceful", "--probe-listen", "127.0.0.1:8", "--", "app"];
    assert_eq!(variables("GRACEFUL_PROBE_LISTEN=127.0.0.1:7\0", &flag), tcp("127.0.0.1:8"), "strongest");
}

#[test]
fn a_file_that_cannot_be_read_is_said() {
    let text = nowhere(Proc::new().with(30, &["graceful", "--config", "/nonexistent/g.toml", "--", "app"]).search());
    assert!(
        text.contains("what graceful (pid 30) was told cannot be read (--config \"/nonexistent/g.toml\": "),
        "{text}"
    );
    // It does not hide another one.
    let proc = Proc::new()
        .with(30, &["graceful", "--config", "/nonexistent/g.toml", "--", "app"])
        .with(31, &["graceful", "--probe-listen", "127.0.0.1:31", "--", "app"]);
    assert_eq!(proc.search(), tcp("127.0.0.1:31"));
}

#[test]
fn another_network_namespace_is_not_ours() {
    let net = |id: &str| PathBuf::from(format!("net:[{id}]"));
    let listening = |listen: &str| {
        Proc::new()
            .with_link(77, "ns/net", &net("1"))
            .with(30, &["graceful", "--probe-listen", listen, "--", "app"])
            .with_link(30, "ns/net", &net("2"))
    };
    assert!(nowhere(listening("127.0.0.1:5").search()).contains("no other process called graceful"));
    assert_eq!(listening("unix:/run/x.sock").search(), unix("/run/x.sock"), "a file is shared by other means");
    let same = Proc::new()
        .with_link(77, "ns/net", &net("1"))
        .with(30, &["graceful", "--probe-listen", "127.0.0.1:5", "--", "app"])
        .with_link(30, "ns/net", &net("1"));
    assert_eq!(same.search(), tcp("127.0.0.1:5"));
}

#[test]
fn the_usual_socket_comes_last_if_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("graceful.sock");
    let proc = Proc::new().with(1, &["graceful", "--", "app"]);
    fs::write(&socket, "").unwrap();
    let text = nowhere(proc.search_with(&[], &socket));
    assert!(text.contains(&format!("{} is not a socket", socket.display())), "{text}");
    fs::remove_file(&socket).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(proc.search_with(&[], &socket), unix(&socket));
    let proc = proc.with(30, &["graceful", "--probe-listen", "127.0.0.1:30", "--", "app"]);
    assert_eq!(proc.search_with(&[], &socket), tcp("127.0.0.1:30"));
}

#[test]
fn nothing_found_says_what_was_looked_at() {
    let text = nowhere(Proc::new().with(1, &["init"]).search());
    for part in [
        "GRACEFUL_PROBE_LISTEN is not set",
        "neither is GRACEFUL_CONFIG",
        "no other process called graceful was found in /proc",
        "/nonexistent/socket is not a socket",
        "start graceful with --probe-listen",
        "graceful probe :9090",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let proc = Proc::new().with(1, &["graceful", "--", "app"]);
    fs::write(proc.path().join("g.toml"), "").unwrap();
    let text = nowhere(proc.search_with(&[("GRACEFUL_CONFIG", "g.toml")], Path::new("/nonexistent")));
    assert!(text.contains("g.toml has no probe_listen, graceful (pid 1) runs without --probe-listen"), "{text}");
    let own =
        Environment { environment: Vec::new(), cwd: "/".into(), pid: 77, https: true, foreign: false, above: None };
    let text = nowhere(search(&own, OsStr::new("graceful"), Path::new("/nonexistent"), Path::new("/nonexistent")));
    assert!(text.contains("no other process called graceful"), "{text}");
}

#[test]
fn a_command_line_is_read_to_a_bound() {
    let long = |length: usize| {
        let report = format!("--report={}", "x".repeat(length));
        Proc::new().with(30, &["graceful", &report, "--probe-listen", "127.0.0.1:30", "--", "app"]).search()
    };
    assert_eq!(long(1 << 20), tcp("127.0.0.1:30"));
    nowhere(long(2 << 20));
    // Of somebody else's process it does not matter how long it is.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("30")).unwrap();
    symlink("/dev/zero", dir.path().join("30/cmdline")).unwrap();
    let proc = Proc(dir).with(31, &["graceful", "--probe-listen", "127.0.0.1:31", "--", "app"]);
    assert_eq!(proc.search(), tcp("127.0.0.1:31"));
}

/// What holds up whoever reads it.
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn nothing_is_read_of_others_where_pid_1_says_it() {
    let proc = Proc::new().with(1, &["/graceful", "--probe-listen", "127.0.0.1:1", "--", "app"]);
    fs::create_dir_all(proc.folder(5)).unwrap();
    pipe(&proc.folder(5).join("cmdline"));
    let (sender, found) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(proc.search()));
    let found = found.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits for nobody");
    assert_eq!(found, tcp("127.0.0.1:1"));
}

#[test]
fn a_file_that_is_a_pipe_or_a_descriptor_of_that_process_is_not_read() {
    for config in ["pipe", "/dev/fd/0", "/proc/self/fd/0"] {
        let proc = Proc::new().with(5, &["graceful", "--config", config, "--", "app"]);
        pipe(&proc.path().join("pipe"));
        let path = proc.path().to_owned();
        let proc = proc.with_link(5, "cwd", &path);
        let Err(Unknown::Nowhere(problem)) = proc.search() else { panic!("{config}") };
        assert!(problem.to_string().contains("what graceful (pid 5) was told cannot be read"), "{problem}");
    }
}

#[test]
fn other_users_processes_are_nobodys_but_pid_1s_is() {
    let listens = |port: u16| {
        ["graceful".to_owned(), format!("--probe-listen=127.0.0.1:{port}"), "--".to_owned(), "app".to_owned()]
    };
    let with = |proc: Proc, pid, port| proc.with(pid, &listens(port).each_ref().map(String::as_str));
    let proc = with(with(Proc::new(), 5, 5), 6, 6);
    if std::os::unix::fs::chown(proc.folder(5), Some(47110), None).is_err() {
        return; // Only root can give a folder away.
    }
    assert_eq!(proc.search(), tcp("127.0.0.1:6"));
    let proc = with(proc, 1, 1);
    std::os::unix::fs::chown(proc.folder(1), Some(47110), None).unwrap();
    assert_eq!(proc.search(), tcp("127.0.0.1:1"));
}
