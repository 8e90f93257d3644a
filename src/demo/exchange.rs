//! One connection: request, answer, request, answer, as much HTTP/1.1 as a demo needs. A client that sends anything else
//! is let go.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_millis(1500);
/// How long `/stream` goes on.
const STREAM: Duration = Duration::from_secs(5);
/// From piece to piece of it.
const PIECE: Duration = Duration::from_millis(100);
/// What `?ms=N` may ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// A client that is silent for so long in the middle of a request, or between two, is let go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a connection that waits for its next request notices that the app stops.
const LOOK: Duration = Duration::from_millis(20);
/// A head is no longer than this, and no line of it either.
const MAX_HEAD: u64 = 16 * 1024;

/// The connection.
pub(super) struct Exchange<'a> {
    stream: &'a TcpStream,
    reader: BufReader<&'a TcpStream>,
    stopping: &'a AtomicBool,
    keeps: bool,
}

struct Request {
    path: String,
    is_head: bool,
    keeps: bool,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(stream: &'a TcpStream, stopping: &'a AtomicBool, keeps: bool) -> Exchange<'a> {
        Exchange { stream, reader: BufReader::new(stream), stopping, keeps }
    }

    /// Until the client or the stop ends it.
    pub(super) fn serve(mut self) -> Result<()> {
        self.stream.set_nodelay(true)?;
        while self.next_begins()? {
            let Some(request) = self.request()? else { return Ok(()) };
            if !self.answer(&request)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits for the first byte of a request. An idle connection ends with the app, but not under a request that has
    /// come: what is there when the app stops is answered.
    fn next_begins(&mut self) -> Result<bool> {
        self.stream.set_read_timeout(Some(LOOK))?;
        let begin = Instant::now();
        loop {
            let stopping = self.is_stopping();
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(!bytes.is_empty()),
                Err(error) if is_timeout(&error) => {
                    if stopping || begin.elapsed() > PATIENCE {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn request(&mut self) -> Result<Option<Request>> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = (&mut self.reader).take(MAX_HEAD);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let (path, is_head) = (path.to_owned(), method == "HEAD");
        let (mut keeps, mut length) = (version == "HTTP/1.1", 0u64);
        loop {
            line.clear();
            if head.read_line(&mut line)? == 0 || !line.ends_with('\n') {
                return Err(ErrorKind::InvalidData.into());
            }
            let text = line.trim();
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(':').ok_or(Error::from(ErrorKind::InvalidData))?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
            } else if name.eq_ignore_ascii_case("connection") {
                keeps = keeps && !value.trim().eq_ignore_ascii_case("close");
            }
        }
        std::io::copy(&mut (&mut self.reader).take(length), &mut std::io::sink())?;
        Ok(Some(Request { path, is_head, keeps }))
    }

    /// Whether the connection goes on.
    fn answer(&mut self, request: &Request) -> Result<bool> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let asked = query.split('&').find_map(|pair| pair.strip_prefix("ms=")?.parse().ok());
        let asked = asked.map(|ms| Duration::from_millis(ms).min(LONGEST));
        let (status, body) = match path {
            "/" => ("200 OK", "hello\n"),
            "/slow" => {
                thread::sleep(asked.unwrap_or(SLOW));
                ("200 OK", "slow, but done\n")
            }
            "/stream" => {
                self.stream_for(asked.unwrap_or(STREAM))?;
                return Ok(request.keeps && self.keeps && !self.is_stopping());
            }
            "/ready" if self.is_stopping() => ("503 Service Unavailable", "stopping\n"),
            "/ready" => ("200 OK", "ready\n"),
            _ => ("404 Not Found", "nothing here\n"),
        };
        let goes_on = request.keeps && self.keeps && !self.is_stopping();
        let close = if goes_on { "" } else { "Connection: close\r\n" };
        let shown = if request.is_head { "" } else { body };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n{close}\r\n{shown}",
            body.len()
        );
        self.stream.write_all(answer.as_bytes())?;
        Ok(goes_on)
    }

    /// A piece now and then; properly ended when the app stops.
    fn stream_for(&mut self, duration: Duration) -> Result<()> {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n";
        self.stream.write_all(head.as_bytes())?;
        let begin = Instant::now();
        while begin.elapsed() < duration && !self.is_stopping() {
            self.stream.write_all(b"6\r\npiece\n\r\n")?;
            thread::sleep(PIECE.min(duration.saturating_sub(begin.elapsed())));
        }
        self.stream.write_all(b"0\r\n\r\n")
    }
}

fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
