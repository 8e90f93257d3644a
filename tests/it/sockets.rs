//! What can be seen of TCP sockets by whom: without any privilege, in containers, and where a sandbox refuses it.
//! The looking is done by `examples/sockets.rs`.

use crate::support::docker::{Container, Image, docker, image_with, strip};
use crate::support::run::ended;
use crate::support::{DEADLINE, Exit, Proc, python3, root};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// Nobody, without any capability.
const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
/// Root as it is in a container: may open any file, and look into nobody's process.
const CONTAINERS_ROOT: [&str; 2] = ["setpriv", "--bounding-set=-sys_ptrace"];
/// A server on port 8080 with three clients: one is accepted and has sent seven bytes, two wait, one of them with four.
const SERVER: &str = "
import signal, socket
server = socket.create_server(('127.0.0.1', 8080))
clients = [socket.create_connection(('127.0.0.1', 8080)) for _ in range(3)]
clients[0].sendall(b'request')
clients[2].sendall(b'wait')
accepted = server.accept()
print('ready', flush=True)
signal.pause()
";

/// The example, built as the binary under test is. `cargo test --test it` alone does not build it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = crate::support::graceful().parent().expect("a folder").to_owned();
        let release = folder.ends_with("release").then_some("--release");
        let small = (!cfg!(feature = "https")).then_some("--no-default-features");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", "sockets"]);
        cargo.args(release).args(small);
        // What cargo tells a test of its package would look like changed settings to a cargo.
        for (name, _) in std::env::vars().filter(|(name, _)| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|of| name.starts_with(of))
        }) {
            cargo.env_remove(name);
        }
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join("examples/sockets")
    })
}

/// Where everybody may run it.
fn program_for_everybody() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("our own folder");
    let copy = folder.path().join("sockets");
    std::fs::copy(program(), &copy).expect("it can be copied");
    (folder, copy.to_string_lossy().into_owned())
}

#[track_caller]
fn look(prefix: &[&str], program: &str, arguments: &[&str]) -> Value {
    let argv = [prefix, &[program], arguments].concat();
    let (exit, stdout, stderr) = ended(Command::new(argv[0]).args(&argv[1..]));
    assert_eq!(exit, Exit::Code(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

#[test]
fn nobody_sees_all_there_is() {
    let Some(()) = root() else { return };
    let (_folder, program) = program_for_everybody();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let _client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let _server = listener.accept().expect("a connection");
    let privileges = ended(Command::new(NOBODY[0]).args(&NOBODY[1..]).args(["grep", "CapEff", "/proc/self/status"]));
    assert_eq!(privileges.1, "CapEff:\t0000000000000000\n");

    let seen = look(&NOBODY, &program, &[&port.to_string()]);
    assert_eq!((&seen["source"], &seen["refusal"]), (&"sock_diag".into(), &Value::Null));
    assert_eq!(seen["listeners"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(seen["connections"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(seen["connections"][0]["counters"]["received"], 0, "{seen}");
    let as_root = look(&[], &program, &[&port.to_string()]);
    assert_eq!(seen["listeners"], as_root["listeners"]);
}

/// As nginx does: the listener's process belongs to another user than graceful.
#[test]
fn what_another_users_process_listens_on_is_not_known_without_ptrace() {
    let Some(()) = root() else { return };
    let (_folder, program) = program_for_everybody();
    let script = "import signal, socket\ns = socket.create_server(('127.0.0.1', 0))\nprint('ready on', s.getsockname()[1], flush=True)\nsignal.pause()";
    let python = python3();
    let mut server = Command::new(NOBODY[0]);
    let server = Proc::spawn(server.args(&NOBODY[1..]).args([&python, "-I", "-c", script]));
    let line = server.wait_line("ready on", DEADLINE).text;
    let local = format!("127.0.0.1:{}", line.rsplit(' ').next().expect("a port"));
    let pid = server.pid();
    let of = ["--of", &pid.to_string()];

    // The control: with all privileges, and as the same user.
    for prefix in [&[], NOBODY.as_slice()] {
        let held = &look(prefix, &program, &of)["held"];
        assert_eq!((&held["listeners"][0]["local"], &held["processes"]), (&local.clone().into(), &vec![pid].into()));
        assert_eq!(held["unreadable"], Value::Array(vec![]));
    }
    let seen = look(&CONTAINERS_ROOT, &program, &of);
    assert_eq!((&seen["held"]["listeners"], &seen["held"]["unreadable"]), (&Value::Array(vec![]), &vec![pid].into()));
    let all = seen["listeners"].as_array().expect("a list");
    assert!(all.iter().any(|listener| listener["local"] == local.as_str()), "yet it is among all of them: {all:?}");
}

/// The tests' image with the example in it.
#[track_caller]
fn image() -> Option<Arc<Image>> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    image_with(&IMAGE, |root| strip(program(), &root.join("sockets")))
}

/// A container with the server in it.
fn serve(image: &Arc<Image>, options: &[&str]) -> Container {
    let container = Container::bare(image, options, &["/usr/bin/python3", "-I", "-c", SERVER]);
    container.wait_line("ready");
    container
}

/// Options that let socket(2) fail with this number for AF_NETLINK, as some sandboxes do.
fn without_netlink(folder: &Path, number: i32) -> String {
    let rule = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": number,
            "args": [{ "index": 0, "value": libc::AF_NETLINK, "op": "SCMP_CMP_EQ" }],
        }],
    });
    let path = folder.join(format!("{number}.json"));
    std::fs::write(&path, rule.to_string()).expect("written");
    format!("seccomp={}", path.display())
}

/// Backlog, and for each connection whether it is accepted, its unread bytes, and what its counter has received.
fn summary(seen: &Value) -> (Value, Vec<(bool, u64, Option<u64>)>) {
    let connections = seen["connections"].as_array().expect("a list");
    let mut summary: Vec<_> = connections
        .iter()
        .map(|connection| {
            assert_eq!(connection["state"], "Established");
            let number = |value: &Value| value.as_u64();
            let unread = number(&connection["unread"]).expect("a number");
            (connection["inode"] != 0, unread, number(&connection["counters"]["received"]))
        })
        .collect();
    summary.sort_unstable();
    (seen["listeners"][0]["backlog"].clone(), summary)
}

#[track_caller]
fn look_inside(container: &Container) -> Value {
    let (code, text) = container.exec(&["/sockets", "8080"]);
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn in_a_container_nobody_sees_all_there_is() {
    let Some(image) = image() else { return };
    let container = serve(&image, &["--user", "65534:65534", "--cap-drop", "ALL"]);
    let seen = look_inside(&container);
    assert_eq!((&seen["source"], &seen["refusal"]), (&"sock_diag".into(), &Value::Null));
    let connections = vec![(false, 0, Some(0)), (false, 4, Some(4)), (true, 7, Some(7))];
    assert_eq!(summary(&seen), (2.into(), connections));
}

#[test]
fn where_netlink_is_refused_the_tables_of_proc_show_all_but_the_counters() {
    let Some(image) = image() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for number in [libc::EPERM, libc::EPROTONOSUPPORT] {
        let profile = without_netlink(folder.path(), number);
        let options = ["--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", &profile];
        let seen = look_inside(&serve(&image, &options));
        let refusal = std::io::Error::from_raw_os_error(number).to_string();
        assert_eq!((&seen["source"], &seen["refusal"]), (&"/proc/net/tcp".into(), &refusal.into()));
        let connections = vec![(false, 0, None), (false, 4, None), (true, 7, None)];
        assert_eq!(summary(&seen), (2.into(), connections));
    }
}

#[test]
fn where_both_are_missing_it_says_so() {
    let Some(image) = image() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let profile = without_netlink(folder.path(), libc::EPERM);
    let options = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined", "--security-opt", &profile];
    let script = "mount -t tmpfs none /proc && exec /sockets 8080";
    let container = Container::bare(&image, &options, &["/bin/sh", "-c", script]);
    let (code, stdout, stderr) = container.end();
    let expected = "sockets: error: sock_diag: Operation not permitted (os error 1); \
                    /proc/net/tcp: No such file or directory (os error 2)\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (1, "", expected));
    assert_eq!(docker(&["wait", &container.name]), "1");
}
