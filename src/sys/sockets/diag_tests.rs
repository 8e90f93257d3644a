use super::*;
use crate::sys::sockets::testing::{PATIENCE, Reply, a_message, a_row, played};
use std::net::TcpListener;
use std::time::Duration;

const PORT: u16 = 8080;
fn listeners(count: usize) -> Reply {
    Box::new(move |sequence| a_message(18, 2, sequence, &a_row(libc::AF_INET, 10, None)).repeat(count))
}

fn end() -> Reply {
    Box::new(|sequence| a_message(libc::NLMSG_DONE, 2, sequence, &[0; 4]))
}

fn failed(number: i32) -> Reply {
    Box::new(move |sequence| a_message(libc::NLMSG_ERROR, 0, sequence, &(-number).to_ne_bytes()))
}

fn dump(diag: &mut Diag) -> io::Result<usize> {
    let mut answer = Snapshot::new();
    diag.dump(1 << 10, &wire::port_filter(&[PORT]), |port| port == PORT, &mut answer)?;
    Ok(answer.listeners.len())
}

/// The result of a dump that gets these answers, and what was asked.
fn answered(answers: Vec<Vec<Reply>>) -> (io::Result<usize>, Vec<Vec<u8>>) {
    let count = answers.len();
    let (mut diag, kernel) = played(PATIENCE, answers, Vec::new());
    let result = dump(&mut diag);
    drop(diag);
    let requests = kernel.join().expect("it ends with the socket");
    assert_eq!(requests.len(), count, "as many requests as answers");
    (result, requests)
}

#[test]
fn an_answer_of_many_parts_is_put_together() {
    let (result, _) = answered(vec![vec![listeners(3), listeners(1), listeners(40), end()]]);
    assert_eq!(result.expect("a whole answer"), 44);
}

#[test]
fn parts_of_another_answer_are_left_out() {
    let other: Reply = Box::new(|sequence| {
        let row = a_message(18, 2, sequence.wrapping_sub(1), &a_row(libc::AF_INET, 10, None));
        [row, a_message(libc::NLMSG_DONE, 2, sequence.wrapping_add(1), &[0; 4])].concat()
    });
    let (result, _) = answered(vec![vec![listeners(1), other, listeners(1), end()]]);
    assert_eq!(result.expect("a whole answer"), 2);
}

#[test]
fn an_error_in_the_middle_is_one() {
    let (result, _) = answered(vec![vec![listeners(1), failed(libc::EIO)]]);
    assert_eq!(result.expect_err("an error").raw_os_error(), Some(libc::EIO));
    let end_with_error: Reply =
        Box::new(|sequence| a_message(libc::NLMSG_DONE, 2, sequence, &(-libc::ENOMEM).to_ne_bytes()));
    let (result, _) = answered(vec![vec![listeners(1), end_with_error]]);
    assert_eq!(result.expect_err("an error").raw_os_error(), Some(libc::ENOMEM));
    let overrun: Reply = Box::new(|sequence| a_message(libc::NLMSG_OVERRUN, 0, sequence, &[]));
    let (result, _) = answered(vec![vec![listeners(1), overrun]]);
    assert_eq!(result.expect_err("an error").raw_os_error(), Some(libc::ENOBUFS));
}

#[test]
fn an_answer_without_sense_is_refused() {
    let short: Reply = Box::new(|sequence| a_message(18, 2, sequence, &[2; 20]));
    let empty: Reply = Box::new(|_| Vec::new());
    let garbage: Reply = Box::new(|_| vec![7; 5]);
    for reply in [short, empty, garbage] {
        let (result, _) = answered(vec![vec![listeners(1), reply]]);
        assert_eq!(result.expect_err("no sense").kind(), io::ErrorKind::InvalidData);
    }
    // Longer than the buffer: what is cut off is not guessed.
    let (result, _) = answered(vec![vec![listeners(BUFFER / 96 + 2)]]);
    assert_eq!(result.expect_err("cut off").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn an_interrupted_answer_is_asked_for_again_but_not_for_ever() {
    let interrupted = || -> Vec<Reply> {
        let flagged: Reply =
            Box::new(|sequence| a_message(18, libc::NLM_F_DUMP_INTR, sequence, &a_row(libc::AF_INET, 10, None)));
        vec![flagged, end()]
    };
    let (result, requests) = answered(vec![interrupted(), vec![listeners(2), end()]]);
    assert_eq!((result.expect("the second answer"), requests.len()), (2, 2));
    let (result, requests) = answered(vec![interrupted(), interrupted(), interrupted()]);
    assert_eq!((result.expect("better than nothing"), requests.len()), (1, TRIES));
}

#[test]
fn what_a_kernel_does_not_understand_it_is_asked_otherwise() {
    let refused = || vec![failed(libc::EINVAL)];
    let found = |count| vec![listeners(count), end()];
    let (result, requests) = answered(vec![refused(), found(1), found(2)]);
    assert_eq!(result.expect("both families"), 3);
    let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
    assert_eq!(lengths, [96, 92, 92], "both at once, then each with its filter");
    let (result, requests) = answered(vec![refused(), found(1), refused(), found(1), found(1)]);
    assert_eq!(result.expect("both families"), 2, "and nothing twice");
    let lengths: Vec<usize> = requests.iter().map(Vec::len).collect();
    assert_eq!(lengths, [96, 92, 92, 72, 72], "at last without a filter");
    let (result, _) = answered(vec![refused(), refused(), refused()]);
    assert_eq!(result.expect_err("nothing helps").raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn what_was_refused_once_is_not_asked_again() {
    let found = || vec![listeners(1), end()];
    let (mut diag, kernel) =
        played(PATIENCE, vec![vec![failed(libc::ENOENT)], found(), found(), found(), found()], Vec::new());
    for _ in 0..2 {
        assert_eq!(dump(&mut diag).expect("both families"), 2);
    }
    drop(diag);
    assert_eq!(kernel.join().expect("it ends with the socket").len(), 5);
}

#[test]
fn other_ports_than_asked_for_are_dropped_here() {
    let (mut diag, _kernel) = played(PATIENCE, vec![vec![listeners(2), end()]], Vec::new());
    let mut answer = Snapshot::new();
    diag.dump(1 << 10, &[], |port| port != PORT, &mut answer).expect("an answer");
    assert_eq!(answer.listeners, []);
}

#[test]
fn silence_is_an_error() {
    let (mut diag, _kernel) = played(Duration::from_millis(20), vec![vec![listeners(1)]], Vec::new());
    assert_eq!(dump(&mut diag).expect_err("no end").kind(), io::ErrorKind::TimedOut);
}

#[test]
fn the_kernel_itself_filters_by_port() {
    let [wanted, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let port = wanted.local_addr().expect("bound").port();
    let other = other.local_addr().expect("bound").port();
    for manner in [Manner::Once, Manner::Twice, Manner::Whole] {
        let mut diag = Diag::open().expect("sock_diag");
        diag.manner = manner;
        let mut answer = Snapshot::new();
        diag.dump(1 << 10, &wire::port_filter(&[port]), |_| true, &mut answer).expect("an answer");
        assert_eq!(diag.manner, manner, "understood");
        let ports: Vec<u16> = answer.listeners.iter().map(|listener| listener.local.port()).collect();
        assert!(ports.contains(&port));
        assert_eq!(ports.contains(&other), manner == Manner::Whole, "{manner:?}: {ports:?}");
        assert!(manner == Manner::Whole || ports.iter().all(|found| *found == port));
    }
}
