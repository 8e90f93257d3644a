//! `tcp://`: connect; write what is to be sent; read until what is expected is there.

use super::attempt::{failed, said};
use crate::health::{Attempt, Status};
use crate::http::connect;
use crate::http::error;
use crate::http::observation::Deadline;
use crate::http::resolver::Names;
use crate::sys::sockets::UnansweredGuard;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

/// At most this many bytes of an answer are read.
const MAX_ANSWER: usize = 4 * 1024;

/// What is said to the other side.
#[derive(Clone, Copy)]
pub(super) struct Talk<'a> {
    pub(super) send: Option<&'a str>,
    /// What the answer must contain.
    pub(super) expect: Option<&'a str>,
}

/// A connection, and an answer if one is expected, within the timeout.
pub(super) async fn attempt(names: &Names, host: &str, port: u16, talk: Talk<'_>, limit: Duration) -> Attempt {
    let deadline = Deadline::after(limit);
    let mut stream = match connect::to_host(names, host, port, deadline).await {
        Ok(stream) => stream,
        Err(fault) => return failed(fault.detail, deadline.elapsed()),
    };
    // Declared after the stream, it is dropped before it.
    let client = UnansweredGuard::of(Some(port));
    let mut heard = Vec::new();
    let ended = timeout_at(deadline.at(), converse(&mut stream, talk, &mut heard)).await;
    let took = deadline.elapsed();
    let why = match (ended, heard.is_empty()) {
        (Ok(Ok(true)), _) => {
            client.answered();
            // A polite end; if it fails, that changes nothing.
            _ = stream.shutdown().await;
            let detail = if talk.expect.is_some() { "answered as expected" } else { "connected" };
            return Attempt { status: Status::Healthy, detail: detail.to_owned(), said: None, took };
        }
        (Ok(Err(error)), _) => error::of_connect(&error).detail,
        (Ok(Ok(false)), true) => "connection closed without an answer".to_owned(),
        (Err(_), true) => format!("no answer within {}", deadline.shown()),
        // A server that refuses often keeps the connection (Redis: -NOAUTH), so that only the timeout shows that no
        // more comes. What it said is the better explanation.
        (Ok(Ok(false)) | Err(_), false) => "unexpected answer".to_owned(),
    };
    Attempt { said: said(&heard), ..failed(why, took) }
}

/// Whether what is expected came, if anything is. `heard` keeps what came, even when this is given up.
async fn converse(stream: &mut TcpStream, talk: Talk<'_>, heard: &mut Vec<u8>) -> io::Result<bool> {
    if let Some(text) = talk.send {
        stream.write_all(text.as_bytes()).await?;
    }
    let Some(expected) = talk.expect else { return Ok(true) };
    let expected = expected.as_bytes();
    while heard.len() < MAX_ANSWER {
        let mut part = [0; 512];
        let room = part.len().min(MAX_ANSWER - heard.len());
        let count = stream.read(&mut part[..room]).await?;
        heard.extend_from_slice(&part[..count]);
        if heard.windows(expected.len().max(1)).any(|window| window == expected) {
            return Ok(true);
        }
        if count == 0 {
            break;
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
