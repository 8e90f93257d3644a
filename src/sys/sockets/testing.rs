//! Messages as the kernel writes them, and somebody who plays the kernel.

use super::diag::Diag;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// Long enough for any machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The reply to a request of this number.
pub(super) type Reply = Box<dyn Fn(u32) -> Vec<u8> + Send>;

/// A socket on whose other end somebody plays the kernel: one list of replies for each request, and for every further
/// request the `last` ones. What was asked comes back when the socket is dropped.
pub(super) fn played(
    silence: Duration,
    answers: Vec<Vec<Reply>>,
    last: Vec<Reply>,
) -> (Diag, JoinHandle<Vec<Vec<u8>>>) {
    let (ours, kernels) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::empty()).expect("a pair");
    let kernel = spawn(move || play(&kernels, &answers, &last));
    (Diag::over(ours, silence).expect("a socket"), kernel)
}

fn play(kernels: &OwnedFd, answers: &[Vec<Reply>], last: &[Reply]) -> Vec<Vec<u8>> {
    let (mut requests, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = recv(kernels.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("an open socket");
        if length == 0 {
            return requests;
        }
        let answer = answers.get(requests.len()).map_or(last, Vec::as_slice);
        requests.push(buffer[..length].to_vec());
        let sequence = u32::from_ne_bytes(buffer[8..12].try_into().expect("four bytes"));
        for reply in answer {
            // Whoever has had enough closes.
            let _ = send(kernels.as_raw_fd(), &reply(sequence), MsgFlags::MSG_NOSIGNAL);
        }
    }
}

/// A [`Diag`] that gets this answer to everything.
pub(super) fn answering(reply: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Diag {
    played(PATIENCE, Vec::new(), vec![Box::new(reply)]).0
}

/// A row as the kernel writes it.
pub(super) fn a_row(family: i32, state: u8, info: Option<&[u8]>) -> Vec<u8> {
    let mut row = vec![family as u8, state, 0, 0];
    row.extend(8080u16.to_be_bytes());
    row.extend(40000u16.to_be_bytes());
    let address: [u8; 16] = match family {
        libc::AF_INET => [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        _ => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7],
    };
    row.extend(address);
    row.extend(address);
    for word in [0u32, 1, 2, 3, 5, 6, 1000, 4242] {
        row.extend(word.to_ne_bytes());
    }
    // INET_DIAG_SHUTDOWN, a byte and its padding.
    row.extend([5, 0, 8, 0, 0, 0, 0, 0]);
    if let Some(info) = info {
        // INET_DIAG_INFO
        row.extend((4 + info.len() as u16).to_ne_bytes());
        row.extend(2u16.to_ne_bytes());
        row.extend(info);
    }
    row
}

/// tcp_info of this many bytes.
pub(super) fn an_info(length: usize) -> Vec<u8> {
    let mut info = vec![0xee; length];
    let mut put = |offset: usize, bytes: &[u8]| {
        if let Some(place) = info.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    let words = [(16, 1448u32), (44, 21), (52, 22), (56, 23), (100, 2), (136, 35), (140, 31), (152, 32), (156, 36)];
    for (offset, word) in words {
        put(offset, &word.to_ne_bytes());
    }
    put(128, &300_000_000_000u64.to_ne_bytes());
    put(200, &500u64.to_ne_bytes());
    put(208, &100u64.to_ne_bytes());
    info
}

/// A message as the kernel writes it.
pub(super) fn a_message(kind: i32, flags: i32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    message.extend((kind as u16).to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(payload);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}
