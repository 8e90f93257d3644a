use super::*;
use crate::notify::{NotifyMessage as M, NotifySender};
use crate::sys::fds;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Generous: it is only reached where something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

fn below(base: &Path) -> NotifyReceiver {
    let receiver = NotifyReceiver::below([base].into_iter(), at::effective_user() == 0).expect("a socket");
    assert!(receiver.env().as_bytes().starts_with(base.as_os_str().as_bytes()), "{:?}", receiver.env());
    receiver
}

fn next(receiver: &NotifyReceiver) -> Result<Option<Notification>, ReceiveError> {
    fds::poll(&[receiver.as_fd()], Some(PATIENCE));
    receiver.recv(|_| true)
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").mode() & 0o7777
}

fn directory(receiver: &NotifyReceiver) -> &Path {
    Path::new(receiver.env()).parent().expect("a directory")
}

/// Runs a script that has a function `say(bytes)`, as another user if this is root; `None` if there is no Python.
fn python(receiver: &NotifyReceiver, script: &str) -> Option<Child> {
    const HEAD: &str = "import os, socket, sys\n\
        if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n\
        address = os.environ['NOTIFY_SOCKET']\n\
        if address[0] == '@': address = '\\0' + address[1:]\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        def say(text): s.sendto(text, address)\n";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", &format!("{HEAD}{script}")]).env(NOTIFY_SOCKET, receiver.env()).stdout(Stdio::piped());
    match command.spawn() {
        Ok(child) => Some(child),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "needs python3: {error}");
            println!("skipped: needs python3: {error}");
            None
        }
    }
}

/// A directory that every user can get to.
fn base() -> tempfile::TempDir {
    let base = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(base.path(), Permissions::from_mode(0o755)).expect("it is ours");
    base
}

fn a_childs_ready_arrives(receiver: &NotifyReceiver) {
    let Some(mut child) = python(receiver, "say(b'READY=1\\nSTATUS=up')") else { return };
    let mut asked = None;
    fds::poll(&[receiver.as_fd()], Some(PATIENCE));
    let received = receiver.recv(|pid| asked.replace(pid).is_none()).expect("it counts").expect("a message");
    assert!(child.wait().expect("it ends").success());
    let pid = child.id() as i32;
    assert_eq!((received.sender, asked), (pid, Some(pid)));
    assert_eq!(received.lines.messages, [M::Ready, M::Status("up".to_owned())]);
    assert!(matches!(receiver.recv(|_| true), Ok(None)));
}

#[test]
fn a_child_of_another_user_is_heard_with_its_pid() {
    a_childs_ready_arrives(&below(base().path()));
}

#[test]
fn a_child_is_heard_at_an_abstract_address() {
    let missing = Path::new("/nowhere");
    let receiver = NotifyReceiver::below([missing].into_iter(), true).expect("a socket");
    let begin = format!("@graceful/{}/", getpid());
    assert!(receiver.env().as_bytes().starts_with(begin.as_bytes()), "{:?}", receiver.env());
    a_childs_ready_arrives(&receiver);
}

#[test]
fn it_can_be_had_here() {
    a_childs_ready_arrives(&NotifyReceiver::open().expect("a socket"));
}

#[test]
fn a_barrier_is_over_when_what_came_before_was_read() {
    let base = base();
    let receiver = below(base.path());
    let script = "r, w = os.pipe(); say(b'STOPPING=1')\n\
        import array; rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [w] * 200))\n\
        s.sendmsg([b'BARRIER=1'], [rights], 0, address)\n\
        print(os.fstat(w).st_ino, flush=True); os.close(w); os.read(r, 1); print('over', flush=True)";
    let Some(mut child) = python(&receiver, script) else { return };
    let mut said = io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = || {
        let mut line = String::new();
        io::BufRead::read_line(&mut said, &mut line).expect("it speaks");
        line
    };
    let pipe = PathBuf::from(format!("pipe:[{}]", line().trim_end()));
    let stopping = next(&receiver).expect("it counts").expect("a message");
    assert_eq!(stopping.lines.messages, [M::Stopping]);
    let barrier = next(&receiver).expect("it counts").expect("a message");
    // The sender is known although there was no room for what else it sent.
    assert_eq!((barrier.sender, barrier.lines.messages), (child.id() as i32, vec![M::Other("BARRIER".to_owned())]));
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    assert_eq!(open.filter(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == pipe)).count(), 0);
    assert_eq!(line(), "over\n");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_stranger_is_named_and_ignored() {
    let base = base();
    let receiver = below(base.path());
    let sender = NotifySender::to(receiver.env()).expect("an address");
    sender.send(&[M::Ready]).expect("there is room");
    sender.send(&[M::Stopping]).expect("there is room");
    let error = receiver.recv(|_| false).expect_err("it is refused");
    assert!(matches!(error, ReceiveError::Stranger(pid) if pid == getpid()), "{error:?}");
    let expected = format!("a message from process {}, which does not belong to the app; it is ignored", getpid());
    assert_eq!(error.to_string(), expected);
    // The next one is judged by itself.
    let received = receiver.recv(|pid| pid == getpid()).expect("it counts").expect("a message");
    assert_eq!(received.lines.messages, [M::Stopping]);
    assert!(matches!(receiver.recv(|_| true), Ok(None)));
}

#[test]
fn a_datagram_that_is_too_long_is_ignored_and_one_that_is_not_is_read() {
    let base = base();
    let receiver = below(base.path());
    let sender = UnixDatagram::unbound().expect("a socket");
    let mut long = b"READY=1\n".to_vec();
    long.resize(LONGEST_DATAGRAM, b'x');
    sender.send_to(&long, receiver.env()).expect("there is room");
    assert_eq!(next(&receiver).expect("it counts").expect("a message").lines.messages, [M::Ready]);
    long.push(b'x');
    sender.send_to(&long, receiver.env()).expect("there is room");
    let error = next(&receiver).expect_err("it is too long");
    assert!(matches!(error, ReceiveError::TooLong(pid) if pid == getpid()), "{error:?}");
    assert!(error.to_string().ends_with("is longer than 65536 bytes; it is ignored"), "{error}");
    // An empty datagram is a message that says nothing.
    sender.send_to(b"", receiver.env()).expect("there is room");
    assert_eq!(next(&receiver).expect("it counts").expect("a message").lines, NotifyLines::default());
}

#[test]
fn modes_let_in_whoever_the_app_may_become_and_nobody_else() {
    let base = base();
    for (for_all, modes) in [(true, (0o711, 0o666)), (false, (0o700, 0o600))] {
        let receiver = NotifyReceiver::below([base.path()].into_iter(), for_all).expect("a socket");
        assert_eq!((mode(directory(&receiver)), mode(Path::new(receiver.env()))), modes);
    }
}

#[test]
fn socket_and_directory_are_gone_with_it() {
    let base = base();
    let (one, other) = (below(base.path()), below(base.path()));
    assert_ne!(one.env(), other.env());
    let gone = one.env().to_owned();
    drop(one);
    assert!(!Path::new(&gone).exists() && Path::new(other.env()).exists());
    let moved = base.path().join("moved");
    // A directory that has the name by now is left alone.
    std::fs::rename(directory(&other), &moved).expect("it is ours");
    std::fs::create_dir(directory(&other)).expect("the name is free");
    std::fs::write(other.env(), "mine").expect("it is ours");
    let theirs = PathBuf::from(other.env());
    drop(other);
    assert!(theirs.exists() && !moved.join("notify").exists());
}

#[test]
fn only_a_directory_that_serves_is_taken() {
    let base = base();
    let make = |name: &str, mode| {
        let path = base.path().join(name);
        std::fs::create_dir(&path).expect("it is ours");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        path
    };
    let (private, shared, sticky) = (make("private", 0o700), make("shared", 0o777), make("sticky", 0o1777));
    let inner = make("private/inner", 0o755);
    // Others can replace what is made there.
    assert!(trusted(&shared, true).is_err() && trusted(&shared, false).is_err());
    // An app that runs as another user cannot get there.
    assert!(trusted(&private, true).is_err() && trusted(&inner, true).is_err());
    assert!(trusted(&private, false).is_ok() && trusted(&inner, false).is_ok());
    assert!(trusted(&sticky, true).is_ok());
    assert!(trusted(Path::new("tmp"), false).is_err());
    let receiver = NotifyReceiver::below([&*private, &*shared, &*sticky].into_iter(), true).expect("a socket");
    assert!(receiver.env().as_bytes().starts_with(sticky.as_os_str().as_bytes()), "{:?}", receiver.env());
    // A path that is too long for an address leaves nothing behind.
    let long = make(&"x".repeat(100), 0o755);
    assert!(NotifyReceiver::in_directory(&long, true).is_err());
    assert_eq!(std::fs::read_dir(&long).expect("it is there").count(), 0);
}

#[test]
fn it_closes_on_exec() {
    let base = base();
    let receiver = below(base.path());
    let flags = nix::fcntl::fcntl(&receiver, nix::fcntl::FcntlArg::F_GETFD).expect("flags");
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}
