//! One connection: requests in, answers out, until either side has had enough.
//!
//! Nothing waits without an end: not for a head, a body, or room to write. So no client can hold the stop up for longer
//! than that.

use super::app::DemoState;
use super::request::{self, DemoRoute, Head, Refusal, Request};
use crate::sys::fds;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

/// A request's head has to be there after this; no byte of a body, or no room for an answer, for this long ends the
/// connection, too.
const PATIENCE: Duration = Duration::from_secs(5);
/// A whole body takes this at most.
const BODY: Duration = Duration::from_secs(30);
/// A connection without a request is closed after this; longer than the clients' own limits usually are.
const IDLE: Duration = Duration::from_secs(75);
/// Once the app stops, after this. Not at once: the client of a connection that was just accepted or answered may be
/// sending, and close(2) would reset it.
const IDLE_STOPPING: Duration = Duration::from_secs(1);
/// What a client still sends after an answer that it did not expect to be the last is read for this long.
const LINGER: Duration = Duration::from_secs(1);
/// The time between two chunks of `/stream`.
const TICK: Duration = Duration::from_millis(100);

/// What becomes of the connection.
enum Next {
    /// Another request.
    Request,
    /// It is closed, as the client expects.
    Close,
    /// It is closed, and the client may be sending.
    Linger,
}

/// The client went away, or took too long.
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Gone {
        Gone
    }
}

struct DemoConnection<'a> {
    app: &'a DemoState,
    stream: TcpStream,
    /// What has come and is not yet dealt with.
    input: Vec<u8>,
    /// One answer, written in one piece.
    output: Vec<u8>,
}

/// Serves one client. One that goes away is no error.
pub(super) fn serve(stream: TcpStream, app: &DemoState) {
    // Each answer is one write: there is nothing to wait for before it is sent.
    _ = stream.set_nodelay(true);
    _ = stream.set_read_timeout(Some(PATIENCE));
    _ = stream.set_write_timeout(Some(PATIENCE));
    let mut connection = DemoConnection { app, stream, input: Vec::new(), output: Vec::new() };
    loop {
        match connection.exchange() {
            Ok(Next::Request) => {}
            Ok(Next::Linger) => return connection.linger(),
            Ok(Next::Close) | Err(Gone) => return,
        }
    }
}

impl DemoConnection<'_> {
    fn exchange(&mut self) -> Result<Next, Gone> {
        if self.input.is_empty() {
            self.wait_for_request()?;
            self.fill(Instant::now() + PATIENCE)?;
        }
        let _in_flight = self.app.count_request();
        let head_due = Instant::now() + PATIENCE;
        let request = loop {
            match request::parse(&self.input) {
                Head::Whole(request, length) => {
                    self.input.drain(..length);
                    break request;
                }
                Head::Partial => self.fill(head_due)?,
                Head::Refused(refusal) => {
                    self.answer(refusal.status(), "", None)?;
                    return Ok(Next::Linger);
                }
            }
        };
        self.skip_body(&request)?;
        let (status, body) = match request.route {
            DemoRoute::Hello => ("200 OK", "hello\n"),
            DemoRoute::Slow(time) => {
                thread::sleep(time);
                ("200 OK", "slow, but done\n")
            }
            DemoRoute::Stream(time) => return self.stream(&request, time),
            DemoRoute::Ready if self.app.is_ready() => ("200 OK", "ready\n"),
            DemoRoute::Ready => ("503 Service Unavailable", "stopping\n"),
            DemoRoute::Unknown => ("404 Not Found", "nothing here\n"),
            DemoRoute::WrongTime => (Refusal::BadRequest.status(), "ms is a number of milliseconds, 3600000 at most\n"),
        };
        self.answer(status, body, Some(&request))
    }

    /// Waits until something comes. The stop is noticed here and not in the middle of a request.
    fn wait_for_request(&self) -> Result<(), Gone> {
        let since = Instant::now();
        let (socket, stop) = (self.stream.as_fd(), self.app.stop_fd());
        loop {
            let stopping = self.app.is_stopping();
            let due = since + if stopping { IDLE_STOPPING } else { IDLE };
            // The stop's descriptor stays readable once it is.
            let watched = if stopping { &[socket][..] } else { &[socket, stop] };
            if fds::poll(watched, Some(until(due))).first() == Some(&true) {
                return Ok(());
            }
            if until(due).is_zero() {
                return Err(Gone);
            }
        }
    }

    /// Reads what has come, or comes in time.
    fn fill(&mut self, due: Instant) -> Result<(), Gone> {
        let mut buffer = [0; 8 * 1024];
        let count = self.read(&mut buffer, due)?;
        self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(())
    }

    /// Reads at least a byte.
    fn read(&self, buffer: &mut [u8], due: Instant) -> Result<usize, Gone> {
        if fds::poll(&[self.stream.as_fd()], Some(until(due))).first() != Some(&true) {
            return Err(Gone);
        }
        match (&self.stream).read(buffer)? {
            0 => Err(Gone),
            count => Ok(count),
        }
    }

    /// Passes over the body, which is of no interest, but has to come.
    fn skip_body(&mut self, request: &Request) -> Result<(), Gone> {
        let here = usize::try_from(request.body).unwrap_or(usize::MAX).min(self.input.len());
        self.input.drain(..here);
        let mut left = request.body - here as u64;
        if left > 0 && request.waits_for_continue {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let end = Instant::now() + BODY;
        let mut buffer = [0; 8 * 1024];
        while left > 0 {
            // No more than the body: what follows it is the next request.
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let buffer = buffer.get_mut(..most).unwrap_or_default();
            left -= self.read(buffer, end.min(Instant::now() + PATIENCE))? as u64;
        }
        Ok(())
    }

    /// Writes the answer to a request, or to what is not one.
    fn answer(&mut self, status: &str, body: &str, request: Option<&Request>) -> Result<Next, Gone> {
        let (next, connection) = self.after(request);
        let length = body.len();
        let body = if request.is_some_and(|request| request.head_only) { "" } else { body };
        self.output.clear();
        write!(
            self.output,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{connection}\r\n{body}"
        )?;
        self.stream.write_all(&self.output)?;
        Ok(next)
    }

    /// What becomes of the connection after this answer, and the header that says so.
    fn after(&self, request: Option<&Request>) -> (Next, &'static str) {
        const CLOSE: &str = "Connection: close\r\n";
        match request {
            Some(request) if !request.keep_alive || !self.app.keeps_alive() => (Next::Close, CLOSE),
            // Requests that came together are answered together.
            Some(_) if self.app.is_stopping() && !matches!(request::parse(&self.input), Head::Whole(..)) => {
                (Next::Linger, CLOSE)
            }
            Some(request) if request.old => (Next::Request, "Connection: keep-alive\r\n"),
            Some(_) => (Next::Request, ""),
            None => (Next::Linger, CLOSE),
        }
    }

    /// Writes a chunk now and then, and the last one when the time is up or the app stops. For HTTP/1.0, which knows no
    /// chunks, the end of the connection is the end.
    fn stream(&mut self, request: &Request, time: Duration) -> Result<Next, Gone> {
        let (next, header) = self.after(Some(request));
        let (next, header) = if request.old { (Next::Close, "Connection: close\r\n") } else { (next, header) };
        let encoding = if request.old { "" } else { "Transfer-Encoding: chunked\r\n" };
        self.output.clear();
        write!(self.output, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{encoding}{header}\r\n")?;
        if request.head_only {
            self.stream.write_all(&self.output)?;
            return Ok(next);
        }
        let start = Instant::now();
        let (end, mut due) = (start + time, start);
        while due < end || due == start {
            self.chunk(request, "tick\n")?;
            due += TICK;
            if self.stops_before(due.min(end)) {
                break;
            }
        }
        if !request.old {
            self.stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(next)
    }

    /// Writes a chunk, with the head if that is still to be written.
    fn chunk(&mut self, request: &Request, text: &str) -> Result<(), Gone> {
        match request.old {
            true => write!(self.output, "{text}")?,
            false => write!(self.output, "{:x}\r\n{text}\r\n", text.len())?,
        }
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Waits until this time, or until the app stops; returns whether it stops.
    fn stops_before(&self, due: Instant) -> bool {
        while !self.app.is_stopping() {
            if until(due).is_zero() {
                return false;
            }
            fds::poll(&[self.app.stop_fd()], Some(until(due)));
        }
        true
    }

    /// close(2) with bytes unread resets the connection, and the client may lose the answer to the reset: the rest is
    /// read until the client closes, too.
    fn linger(&self) {
        _ = self.stream.shutdown(Shutdown::Write);
        let end = Instant::now() + LINGER;
        let mut buffer = [0; 8 * 1024];
        while self.read(&mut buffer, end).is_ok() && !until(end).is_zero() {}
    }
}

fn until(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now())
}
