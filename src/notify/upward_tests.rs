use super::*;
use NotifyMessage as M;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

fn sender(value: impl AsRef<OsStr>) -> NotifySender {
    NotifySender::to(value.as_ref()).expect("an address")
}

fn received(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("a datagram");
    String::from_utf8(buffer[..length].to_vec()).expect("text")
}

#[test]
fn a_manager_hears_it_by_path_and_by_abstract_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    sender(&path).send(&[M::Ready, M::MainPid(7)]).unwrap();
    assert_eq!(received(&manager), "READY=1\nMAINPID=7\n");

    let name = format!("graceful-test/{}", crate::sys::getpid());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    sender(format!("@{name}")).send(&[M::Stopping]).unwrap();
    assert_eq!(received(&manager), "STOPPING=1\n");
}

#[test]
fn a_full_queue_is_told_at_once_and_is_over_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let sender = sender(&path);
    // It would hang here if it waited.
    let mut sent = 0;
    let error = loop {
        match sender.send(&[M::Watchdog]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    let shown = path.to_string_lossy().into_owned();
    assert_eq!(error, NotifySendError::Full(shown.clone()));
    assert_eq!(sender.send(&[M::Ready]), Err(error.clone()));
    assert_eq!(
        error.to_string(),
        format!("NOTIFY_SOCKET={shown}: the service manager does not read; its queue is full")
    );
    (0..sent).for_each(|_| drop(received(&manager)));
    sender.send(&[M::Ready]).unwrap();
    assert_eq!(received(&manager), "READY=1\n");
}

#[test]
fn a_missing_socket_is_told_and_found_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let sender = sender(&path);
    let missing = Err(NotifySendError::Missing(path.to_string_lossy().into_owned()));
    assert_eq!(sender.send(&[M::Ready]), missing);
    drop(UnixDatagram::bind(&path).unwrap());
    // Its file is there, and nobody behind it.
    assert_eq!(sender.send(&[M::Ready]), missing);
    std::fs::remove_file(&path).unwrap();
    let manager = UnixDatagram::bind(&path).unwrap();
    sender.send(&[M::Ready]).unwrap();
    assert_eq!(received(&manager), "READY=1\n");
}

#[test]
fn any_other_failure_is_told_in_the_systems_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    let _stream = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = sender(&path).send(&[M::Ready]).unwrap_err().to_string();
    assert_eq!(error, format!("NOTIFY_SOCKET={}: cannot send: protocol wrong type for socket", path.display()));
}

#[test]
fn nothing_to_say_is_not_sent() {
    sender("/nowhere").send(&[]).unwrap();
    sender("/nowhere").send(&[M::Other("X_MINE".to_owned())]).unwrap();
}

#[test]
fn what_is_no_address_is_refused() {
    for value in ["", "/", "@", "notify", "./notify", "vsock:2:1234", "unix:/notify", "@a\0b"] {
        let error = NotifySender::to(OsStr::new(value)).unwrap_err().to_string();
        let expected = format!("NOTIFY_SOCKET={value}: expected an absolute path, or @ and an abstract name");
        assert_eq!(error, expected);
    }
    let long = format!("/{}", "x".repeat(107));
    let error = NotifySender::to(OsStr::new(&long)).unwrap_err().to_string();
    assert_eq!(error, format!("NOTIFY_SOCKET={long}: expected an address of at most 107 bytes"));
    sender(&long[..107]);
}

#[test]
fn the_time_of_a_reload_is_that_of_the_monotonic_clock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let before = crate::sys::monotonic();
    sender(&path).send(&[M::Reloading, M::MonotonicUsec(crate::sys::monotonic())]).unwrap();
    let after = crate::sys::monotonic();
    let lines = crate::notify::parse(received(&manager).as_bytes());
    let [M::Reloading, M::MonotonicUsec(told)] = lines.messages.as_slice() else { panic!("{lines:?}") };
    assert!(before - Duration::from_micros(1) < *told && *told <= after && *told > Duration::ZERO);
}
