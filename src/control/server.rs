//! The control socket as the main loop has it: polled with all the rest, and never waited for.
//!
//! ```text
//!   accept ─► who is it? ─► silent ── a line ──► asked ─── answer ───► closed
//!               │             │ 5 s, junk           │ the client is gone
//!               └─ refused    └─ refused            └─ closed
//! ```
//!
//! One connection is one request and one answer. A client that is refused is told so, and its connection is closed in
//! the same turn: the kernel keeps what was said for whoever still reads it.

use super::address::ControlAddress;
use super::protocol::{ControlAnswer, ControlFault, ControlRequest, LINE_MAX, ProtocolError};
use super::socket::PrivateListener;
use crate::sys::{at, fds, peer};
use socket2::{SockRef, Socket};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Most clients.
const CLIENTS: usize = 16;
/// The socket may have this share of the descriptors that the process may have.
const SHARE_OF_DESCRIPTORS: usize = 4;
/// From the connection to the end of the request's line.
const SILENCE: Duration = Duration::from_secs(5);
/// At most this many are let in during one turn of the loop, which has other things to do.
const ACCEPTED_AT_ONCE: usize = 2 * CLIENTS;
const READ_AT_ONCE: usize = 2 * LINE_MAX;
/// Where no connection can be accepted (no descriptor is left), it is tried again after this time.
const PAUSE: Duration = Duration::from_secs(1);

/// A request that is waiting for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// To be given to [`ControlServer::answer`].
    pub id: RequestId,
    /// What is asked for.
    pub what: ControlRequest,
}

/// Which request; none is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

/// The listening socket and those who have connected to it. Its file is removed when it is closed or dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: Option<PrivateListener>,
    /// The oldest first.
    clients: Vec<Connected>,
    most: usize,
    /// Who may ask besides root.
    owner: u32,
    next: u64,
    /// Nobody is accepted before this.
    paused_until: Option<Duration>,
}

#[derive(Debug)]
struct Connected {
    id: RequestId,
    stream: UnixStream,
    talk: Talk,
}

/// What a client has said.
#[derive(Debug)]
enum Talk {
    /// Not yet a whole line, for which it has until then.
    Silent { until: Duration, line: Vec<u8> },
    /// Its request. `half`: it says no more, and may still read; its end is no news.
    Asked { half: bool },
}

/// What became of a client in a turn.
enum Turn {
    Stays,
    Asks(ControlRequest),
    Gone,
    Refused(ControlAnswer),
}

impl ControlServer {
    /// Binds and listens, with a file of mode 0600. One that a killed predecessor left behind is replaced. A relative
    /// path is one below the working directory.
    ///
    /// # Errors
    /// Somebody listens there, the path is not that of a socket, or it cannot be made.
    pub fn bind(address: &ControlAddress) -> io::Result<ControlServer> {
        let listener = PrivateListener::bind(address)?;
        let descriptors = usize::try_from(fds::limit()).unwrap_or(0);
        Ok(ControlServer {
            listener: Some(listener),
            clients: Vec::new(),
            most: (descriptors / SHARE_OF_DESCRIPTORS).clamp(1, CLIENTS),
            owner: at::effective_user(),
            next: 0,
            paused_until: None,
        })
    }

    /// What is to be polled for reading.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listening = self.listener.iter().filter(|_| self.paused_until.is_none()).map(AsFd::as_fd);
        let talks = |client: &&Connected| !matches!(client.talk, Talk::Asked { half: true });
        listening.chain(self.clients.iter().filter(talks).map(|client| client.stream.as_fd()))
    }

    /// When to call [`ControlServer::read`] though nothing came. Times are those of the caller's clock, from any start.
    pub fn deadline(&self) -> Option<Duration> {
        let silent = self.clients.iter().filter_map(|client| match client.talk {
            Talk::Silent { until, .. } => Some(until),
            Talk::Asked { .. } => None,
        });
        silent.chain(self.paused_until).min()
    }

    /// Lets in new clients and takes what was said; returns the requests that are to be answered from now on. A client
    /// that says nothing for 5 s, or something that is not a request, is told so and let go.
    pub fn read(&mut self, now: Duration) -> Vec<PendingRequest> {
        // First, so that nobody gives way to a newcomer whose request is here.
        let mut requests = self.listen_to(now, 0);
        if self.paused_until.is_some_and(|until| now < until) {
            return requests;
        }
        self.paused_until = None;
        for _ in 0..ACCEPTED_AT_ONCE {
            match self.listener.as_ref().map_or(Ok(None), PrivateListener::accept) {
                Ok(Some(stream)) => {
                    if self.admit(stream, now) {
                        requests.extend(self.listen_to(now, self.clients.len() - 1));
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.paused_until = Some(now + PAUSE);
                    break;
                }
            }
        }
        requests
    }

    /// Answers a request and closes its connection. Returns whether all of it went out: not if the client is gone or
    /// has no room for it, which is not waited for.
    pub fn answer(&mut self, id: RequestId, answer: &ControlAnswer) -> bool {
        let asked = |client: &Connected| client.id == id && matches!(client.talk, Talk::Asked { .. });
        let Some(place) = self.clients.iter().position(asked) else { return false };
        send(&self.clients.remove(place).stream, answer)
    }

    /// Whether somebody still waits for this answer.
    pub fn is_open(&mut self, id: RequestId) -> bool {
        let Some(place) = self.clients.iter().position(|client| client.id == id) else { return false };
        let gone = peer::has_hung_up(&self.clients[place].stream);
        if gone {
            self.clients.remove(place);
        }
        !gone
    }

    /// Removes the file and closes everything. Whoever waits for an answer should get it before that.
    pub fn close(&mut self) {
        self.listener = None;
        self.clients.clear();
    }

    /// Lets a client in; says whether there is one more.
    fn admit(&mut self, socket: Socket, now: Duration) -> bool {
        // An answer has room, whatever net.core.wmem_default says, as far as net.core.wmem_max lets it.
        _ = socket.set_send_buffer_size(2 * LINE_MAX);
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let stream = UnixStream::from(socket);
        let refusal = refusal(&stream, self.owner).or_else(|| self.no_room());
        if let Some(refusal) = refusal {
            send(&stream, &refusal);
            return false;
        }
        self.next += 1;
        let talk = Talk::Silent { until: now + SILENCE, line: Vec::new() };
        self.clients.push(Connected { id: RequestId(self.next), stream, talk });
        true
    }

    /// Makes room for one more client; returns what it is told if there is none.
    fn no_room(&mut self) -> Option<ControlAnswer> {
        if self.clients.len() < self.most {
            return None;
        }
        let silent = self.clients.iter().position(|client| matches!(client.talk, Talk::Silent { .. }));
        match silent {
            Some(place) => {
                let given_way = self.clients.remove(place);
                send(&given_way.stream, &busy(self.most, "are connected, and this one has asked nothing"));
                None
            }
            None => Some(busy(self.most, "wait for their answers")),
        }
    }

    /// Takes what the clients from this place on have said.
    fn listen_to(&mut self, now: Duration, first: usize) -> Vec<PendingRequest> {
        let mut requests = Vec::new();
        let mut place = first;
        while let Some(client) = self.clients.get_mut(place) {
            match client.turn(now) {
                Turn::Stays => place += 1,
                Turn::Asks(what) => {
                    requests.push(PendingRequest { id: client.id, what });
                    place += 1;
                }
                Turn::Gone => drop(self.clients.remove(place)),
                Turn::Refused(why) => _ = send(&self.clients.remove(place).stream, &why),
            }
        }
        requests
    }
}

impl Connected {
    fn turn(&mut self, now: Duration) -> Turn {
        match &mut self.talk {
            Talk::Silent { until, line } => {
                let (until, turn) = (*until, first_line(&self.stream, line));
                match turn {
                    Turn::Stays if until <= now => Turn::Refused(too_slow()),
                    Turn::Asks(what) => {
                        self.talk = Talk::Asked { half: false };
                        Turn::Asks(what)
                    }
                    turn => turn,
                }
            }
            Talk::Asked { half } => match pass_over(&self.stream) {
                Ok(()) => Turn::Stays,
                Err(ErrorKind::UnexpectedEof) if !peer::has_hung_up(&self.stream) => {
                    *half = true;
                    Turn::Stays
                }
                Err(_) => Turn::Gone,
            },
        }
    }
}

/// Reads on until the line is whole.
fn first_line(mut stream: &UnixStream, line: &mut Vec<u8>) -> Turn {
    let mut buffer = [0; 4096];
    loop {
        let request = match stream.read(&mut buffer) {
            // A last line without its end.
            Ok(0) if line.is_empty() => return Turn::Gone,
            Ok(0) => ControlRequest::read(line),
            Ok(count) => {
                let read = &buffer[..count];
                match read.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        line.extend_from_slice(&read[..end]);
                        ControlRequest::read(line)
                    }
                    None if line.len() + count > LINE_MAX => Err(ProtocolError::TooLong),
                    None => {
                        line.extend_from_slice(read);
                        continue;
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Stays,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Turn::Gone,
        };
        line.clear();
        return match request {
            Ok(what) => Turn::Asks(what),
            Err(error) => Turn::Refused(error.answer()),
        };
    }
}

/// Reads and drops what a client says after its request; an error says why it is not to be read again.
fn pass_over(mut stream: &UnixStream) -> Result<(), ErrorKind> {
    let mut buffer = [0; 4096];
    for _ in 0..READ_AT_ONCE / buffer.len() {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.kind()),
        }
    }
    Ok(())
}

/// Why this client may not ask, if it may not.
fn refusal(stream: &UnixStream, owner: u32) -> Option<ControlAnswer> {
    let reason = match peer::user_of_peer(stream) {
        Ok(user) if user == 0 || user == owner => return None,
        Ok(user) if owner == 0 => {
            format!("user {user} may not ask; graceful runs as root (user 0), and answers root alone")
        }
        Ok(user) => format!("user {user} may not ask; graceful runs as user {owner}, and answers that user and root"),
        Err(error) => format!("the kernel does not tell who asks: {error}"),
    };
    Some(ControlAnswer::Error { error: ControlFault::NotAllowed, reason })
}

fn busy(clients: usize, what: &str) -> ControlAnswer {
    ControlAnswer::Error { error: ControlFault::Busy, reason: format!("{clients} clients {what}; ask again later") }
}

fn too_slow() -> ControlAnswer {
    let reason = format!("no request within {}", humantime::format_duration(SILENCE));
    ControlAnswer::Error { error: ControlFault::TooSlow, reason }
}

/// Sends what can be sent at once; says whether that was all of it. A client that is gone raises no SIGPIPE.
fn send(stream: &UnixStream, answer: &ControlAnswer) -> bool {
    let line = answer.line();
    let sent = SockRef::from(stream).send_with_flags(&line, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
    sent.is_ok_and(|count| count == line.len())
}
