//! The probe server, /readyz during a stop, and dependency checks.

use super::*;

/// A check as a flag or variable gives it.
fn check(name: &str, target: CheckTarget) -> CheckConfig {
    CheckConfig {
        name: name.into(),
        target,
        interval: secs(10),
        timeout: secs(2),
        jitter: secs(1),
        degraded_after: None,
        critical: true,
        failure_threshold: 3,
        success_threshold: 1,
        breaker_after: None,
        breaker_reset: secs(30),
    }
}

fn tcp(host: &str, port: u16) -> CheckTarget {
    CheckTarget::Tcp { host: host.into(), port, send: None, expect: None }
}

fn exec(argv: &[&str]) -> CheckTarget {
    CheckTarget::Exec { argv: words(argv).into(), degraded_status: Vec::new() }
}

fn disk(path: impl Into<PathBuf>) -> CheckTarget {
    CheckTarget::Disk { path: path.into(), degraded_free: Space::Percent(20.0), unhealthy_free: Space::Percent(10.0) }
}

/// With a probe server, without which a check is warned of.
fn listening(typed: Typed) -> Typed {
    flags(&[("probe-listen", ":0")]).and(typed)
}

fn listens(config: &mut Config) {
    config.probe_listen = Some(Listen::Tcp("[::]:0".parse().unwrap()));
}

/// Accepted by a flag, and the only check.
#[track_caller]
fn checked(target: &str) -> CheckTarget {
    let mut checks = listening(flags(&[("check", &format!("a={target}"))])).load().checks;
    assert_eq!(checks.len(), 1);
    checks.remove(0).target
}

/// Accepted as a table that begins with a name and a target, and the only check.
#[track_caller]
fn table(target: &str, keys: &str) -> CheckConfig {
    let text = format!("[[check]]\nname = \"a\"\ntarget = \"{target}\"\n{keys}");
    let mut checks = listening(file(&text)).load().checks;
    assert_eq!(checks.len(), 1);
    checks.remove(0)
}

#[test]
fn addresses_to_listen_on() {
    for (text, address) in [
        (":9090", "[::]:9090"),
        ("*:9090", "[::]:9090"),
        ("9090", "[::]:9090"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        (" 127.0.0.1:0 ", "127.0.0.1:0"),
        ("localhost:65535", "127.0.0.1:65535"),
        ("[::1]:9090", "[::1]:9090"),
    ] {
        let expected = Some(Listen::Tcp(address.parse().unwrap()));
        flags(&[("probe-listen", text)]).means(|c| c.probe_listen = expected.clone());
        file(&format!("probe_listen = {text:?}")).means(|c| c.probe_listen = expected);
    }
    for (text, path) in [("unix:/x.sock", "/x.sock"), ("unix:///x.sock", "/x.sock")] {
        env(&[("GRACEFUL_PROBE_LISTEN", text)]).means(|c| c.probe_listen = Some(Listen::Unix(path.into())));
    }
}

#[test]
fn the_path_of_a_socket_becomes_absolute_and_may_be_one_that_is_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let _left_over = std::os::unix::net::UnixListener::bind(dir.path().join("old")).unwrap();
    for name in ["new", "old"] {
        let typed = flags(&[("probe-listen", &format!("unix:{name}"))]);
        let config = typed.load_with(|surroundings| surroundings.cwd = dir.path().to_owned()).unwrap();
        assert_eq!(config.probe_listen, Some(Listen::Unix(dir.path().join(name))));
    }
}

#[test]
fn when_a_stop_fails_readiness() {
    for (word, when) in
        [("at-stop", FailReadiness::AtStop), ("at-drain", FailReadiness::AtDrain), ("never", FailReadiness::Never)]
    {
        listening(flags(&[("fail-readiness", word)])).means(|c| {
            listens(c);
            c.fail_readiness = when;
        });
    }
}

#[test]
fn checks_of_all_sources_add_up_in_order() {
    let typed = flags(&[("check", "d=disk:/data"), ("check", " e-1._E =exec:sh -c 'exit 0' a=b")])
        .and(env(&[("GRACEFUL_CHECK", "b=http://h/up?x=1\n\n  \nc=tcp://[::1]:25\n")]))
        .and(file("[[check]]\nname = \"a\"\ntarget = \"tcp://redis:6379\"\n"));
    listening(typed).means(|c| {
        listens(c);
        c.checks = vec![
            check("a", tcp("redis", 6379)),
            check("b", CheckTarget::Http(url("http://h/up?x=1"))),
            check("c", tcp("::1", 25)),
            check("d", disk("/data")),
            check("e-1._E", exec(&["sh", "-c", "exit 0", "a=b"])),
        ];
    });
}

#[test]
fn targets_of_every_kind() {
    for (text, target) in [
        ("HTTP://h:81", CheckTarget::Http(url("http://h:81/"))),
        ("https://h/x", CheckTarget::Http(url("https://h/x"))),
        ("tcp://127.0.0.1:1", tcp("127.0.0.1", 1)),
        ("TCP://Db_1.local.:65535", tcp("db_1.local.", 65535)),
        (" tcp://[2001:DB8::1]:80 ", tcp("2001:db8::1", 80)),
        ("exec: pg_isready -q", exec(&["pg_isready", "-q"])),
        ("exec:/bin/x 'a b' \"\"", exec(&["/bin/x", "a b", ""])),
        ("disk:/", disk("/")),
        ("disk:///a b", disk("/a b")),
    ] {
        assert_eq!(checked(text), target, "{text}");
    }
}

#[test]
fn the_path_of_a_disk_becomes_absolute() {
    let dir = tempfile::tempdir().unwrap();
    let typed = listening(flags(&[("check", "a=disk:data")]));
    let config = typed.load_with(|surroundings| surroundings.cwd = dir.path().to_owned()).unwrap();
    assert_eq!(config.checks[0].target, disk(dir.path().join("data")));
}

#[test]
fn a_check_of_the_file_in_full() {
    let text = "[[check]]\nname = \"redis\"\ntarget = \"tcp://redis:6379\"\nsend = \"PING\\r\\n\"\nexpect = \"+PONG\"\n\
                interval = \"3s\"\ntimeout = \"1s\"\njitter = \"0s\"\ndegraded_after = \"999ms\"\ncritical = false\n\
                failure_threshold = 1\nsuccess_threshold = 4294967295\nbreaker_after = 7\nbreaker_reset = \"1m\"";
    listening(file(text)).means(|c| {
        listens(c);
        let (send, expect) = (Some("PING\r\n".to_owned().into()), Some("+PONG".into()));
        c.checks = vec![CheckConfig {
            name: "redis".into(),
            target: CheckTarget::Tcp { host: "redis".into(), port: 6379, send, expect },
            interval: secs(3),
            timeout: secs(1),
            jitter: Duration::ZERO,
            degraded_after: Some(Duration::from_millis(999)),
            critical: false,
            failure_threshold: 1,
            success_threshold: u32::MAX,
            breaker_after: Some(7),
            breaker_reset: secs(60),
        }];
    });
}

#[test]
fn checks_as_one_list_are_the_same_as_tables() {
    let list = "check = [{ name = \"redis\", target = \"tcp://redis:6379\", send = \"PING\\r\\n\", expect = \"+PONG\" },\n\
                { name = \"pg\", target = \"exec:pg_isready\", degraded_status = 3 }]";
    let tables = "[[check]]\nname = \"redis\"\ntarget = \"tcp://redis:6379\"\nsend = \"PING\\r\\n\"\nexpect = \"+PONG\"\n\
                  [[check]]\nname = \"pg\"\ntarget = \"exec:pg_isready\"\ndegraded_status = [3]";
    let checks = listening(file(list)).load().checks;
    assert_eq!(checks.len(), 2);
    assert_eq!(checks, listening(file(tables)).load().checks);
}

#[test]
fn the_defaults_of_a_check_follow_its_interval() {
    let times = |keys: &str| {
        let check = table("exec:x", keys);
        [check.interval, check.timeout, check.jitter].map(|time| time.as_millis())
    };
    assert_eq!(times(""), [10_000, 2000, 1000]);
    assert_eq!(times("interval = \"1s\""), [1000, 1000, 100]);
    assert_eq!(times("interval = \"1m\""), [60_000, 2000, 6000]);
    assert_eq!(times("interval = \"1s\"\ntimeout = \"5s\"\njitter = \"9s\""), [1000, 5000, 9000]);
}

#[test]
fn exit_statuses_that_degrade() {
    for (text, statuses) in [("[2, 3]", &[2, 3][..]), ("255", &[255]), ("[]", &[])] {
        let check = table("exec:x", &format!("degraded_status = {text}"));
        assert_eq!(check.target, CheckTarget::Exec { argv: words(&["x"]).into(), degraded_status: statuses.to_vec() });
    }
}

#[test]
fn amounts_of_disk_space() {
    let free = |keys: &str| match table("disk:/", keys).target {
        CheckTarget::Disk { degraded_free, unhealthy_free, .. } => (degraded_free, unhealthy_free),
        other => panic!("{other:?}"),
    };
    let (percent, bytes) = (Space::Percent, Space::Bytes);
    assert_eq!(free("degraded_free = \"12.5%\""), (percent(12.5), percent(10.0)));
    assert_eq!(free("unhealthy_free = \"0%\""), (percent(20.0), percent(0.0)));
    assert_eq!(free("degraded_free = \"100 %\"\nunhealthy_free = \"99.9%\""), (percent(100.0), percent(99.9)));
    assert_eq!(free("unhealthy_free = \"500MB\""), (percent(20.0), bytes(500_000_000)));
    assert_eq!(free("degraded_free = \"101\"\nunhealthy_free = \"0\""), (bytes(101), bytes(0)));
    for (text, expected) in [
        ("5GiB", 5 << 30),
        ("512MiB", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("2Gi", 2 << 30),
        ("64kb", 64_000),
        ("3TB", 3_000_000_000_000),
        ("1048576", 1 << 20),
        ("7 B", 7),
    ] {
        let keys = format!("degraded_free = \"{text}\"\nunhealthy_free = \"0\"");
        assert_eq!(free(&keys), (bytes(expected), bytes(0)), "{text}");
    }
}

#[test]
fn a_startup_timeout_may_be_for_post_start_hooks_alone() {
    let timeout = [("startup-timeout", "1m"), ("startup-action", "stop")];
    flags(&timeout).and(flags(&[("hook", "post-start=warm")])).means(|c| {
        c.hooks = vec![hook("warm", Stage::PostStart, run(&["warm"]))];
        c.startup = Some(Startup { timeout: secs(60), action: StartupAction::Stop });
    });
    let in_file = flags(&timeout).and(file("[[hook]]\nstage = \"post-start\"\nrun = \"warm\"")).load();
    assert_eq!(in_file.startup.map(|startup| startup.timeout), Some(secs(60)));
}

#[test]
fn checks_without_a_probe_server_are_warned_of() {
    let config = flags(&[("check", "a=tcp://h:1"), ("check", "b=tcp://h:2")]).load();
    assert_eq!(
        config.warnings,
        ["--check \"a=tcp://h:1\": without --probe-listen the results of checks are only logged; add \
             --probe-listen ADDR"]
    );
    let config = file("[[check]]\nname = \"a\"\ntarget = \"tcp://h:1\"").load();
    assert!(config.warnings[0].starts_with("graceful.toml: check[1].target = \"tcp://h:1\": "), "{config:?}");
}
