//! What the app has handed to the kernel dies with the container's network, and that with PID 1: it is waited for.

use crate::support::DEADLINE;
use crate::support::docker::{Container, image};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::Duration;

/// Answers one request with as much as the kernel takes, closes, and exits with 0 when it has its SIGTERM.
const SERVER: &str = "
import signal, socket, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
server = socket.create_server(('0.0.0.0', 8080))
print('serving', flush=True)
client = server.accept()[0]
client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400000)
client.recv(1000)
client.setblocking(False)
sent = 0
end = time.monotonic() + 1
while time.monotonic() < end:
    try:
        sent += client.send(b'x' * 65536)
    except BlockingIOError:
        time.sleep(0.02)
client.close()
print('answered', sent, flush=True)
signal.sigwait([signal.SIGTERM])
";
const PYTHON: [&str; 4] = ["/usr/bin/python3", "-I", "-c", SERVER];

/// The hold, too, would wait for what is not delivered.
const OPTIONS: [&str; 4] = ["--pre-stop-delay", "0s", "--hold-timeout", "100ms"];

/// A client whose own queue is short.
fn client(container: &Container) -> TcpStream {
    container.wait_line("serving");
    let mut stream = TcpStream::connect(container.address(8080)).expect("it serves");
    let size: i32 = 32 * 1024;
    // SAFETY: a live number with its size.
    let set = unsafe {
        let (fd, length) = (stream.as_raw_fd(), size_of::<i32>() as libc::socklen_t);
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const size).cast(), length)
    };
    assert_eq!(set, 0);
    stream.write_all(b"request").expect("it reads");
    stream
}

/// How much the app says that it has sent.
fn answered(container: &Container) -> usize {
    let line = container.wait_line("answered").text;
    let sent = line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(sent > 300_000, "{line}");
    sent
}

/// Takes it slowly, for a second or more, until the end or until nothing comes any more; how much came.
fn take_slowly(mut stream: TcpStream) -> JoinHandle<usize> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    std::thread::spawn(move || {
        let (mut came, mut buffer) = (0, [0; 16 * 1024]);
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            came += length;
            std::thread::sleep(Duration::from_millis(50));
        }
        came
    })
}

#[test]
fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    let Some(image) = image() else { return };
    let container = Container::run(&image, &[], &[&OPTIONS[..], &["--"], &PYTHON].concat());
    let stream = client(&container);
    let sent = answered(&container);
    let taken = take_slowly(stream);
    container.stop(30);
    let (code, _, stderr) = container.end();
    assert_eq!((code, taken.join().expect("no panic")), (0, sent), "{stderr}");
    assert!(stderr.contains("on 1 connection are still on their way: waiting for them"), "{stderr}");
    assert!(stderr.contains("the app's answers are delivered after"), "{stderr}");
}

#[test]
fn control_without_an_init_it_does_not() {
    let Some(image) = image() else { return };
    let container = Container::bare(&image, &[], &PYTHON);
    let stream = client(&container);
    let sent = answered(&container);
    let taken = take_slowly(stream);
    container.stop(30);
    let (code, ..) = container.end();
    let came = taken.join().expect("no panic");
    assert!(code == 0 && came < sent, "{code}, {came} of {sent}");
}

/// Who takes nothing is waited for no longer than five seconds, and not beyond the budget.
#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let Some(image) = image() else { return };
    for (grace, why) in [("30s", "nobody has taken any of it for 5 s"), ("4s", "the time is over")] {
        let options = ["--grace-period", grace];
        let container = Container::run(&image, &[], &[&options, &OPTIONS[..], &["--"], &PYTHON].concat());
        let _stream = client(&container);
        answered(&container);
        let took = container.stop(30);
        let (code, _, stderr) = container.end();
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains(&format!("are not delivered: {why}")), "{stderr}");
        assert!(!stderr.contains("SIGKILL to") && took < DEADLINE, "{stderr}");
    }
}
