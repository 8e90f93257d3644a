//! One connection's socket: TCP or Unix, with a deadline for whoever reads an answer.

use socket2::SockRef;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

/// A socket that is reset when it is dropped, unless it was ended in an orderly way: an ordinary close(2) leaves what
/// was not read to the kernel, which keeps it for a client that may never read.
pub(super) struct ProbeStream {
    socket: Pin<Box<dyn ProbeSocket>>,
    /// How long an answer may wait for its reader.
    patience: Duration,
    /// When the answer that waits is given up.
    deadline: Option<Pin<Box<Sleep>>>,
    orderly: bool,
}

/// What both kinds of sockets can do.
pub(super) trait ProbeSocket: AsyncRead + AsyncWrite {
    /// Ready when it may be readable: the runtime takes a new socket for readable until a try has shown that it is not.
    fn poll_maybe_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether a read would wait (WouldBlock).
    fn try_peek(&self) -> io::Result<usize>;

    /// Makes the kernel forget, at the close, what was not sent.
    fn forget_unsent(&self);
}

impl ProbeSocket for TcpStream {
    fn poll_maybe_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn try_peek(&self) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || peek(self))
    }

    fn forget_unsent(&self) {
        // It fails for a socket that no longer exists, which has forgotten already.
        _ = self.set_zero_linger();
    }
}

impl ProbeSocket for UnixStream {
    fn poll_maybe_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn try_peek(&self) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || peek(self))
    }

    /// Nothing to do: what was sent is the other side's.
    fn forget_unsent(&self) {}
}

fn peek(socket: &impl AsFd) -> io::Result<usize> {
    SockRef::from(socket).peek(&mut [MaybeUninit::uninit()])
}

impl ProbeStream {
    /// A stream on which an answer that is not read within `patience` is given up.
    pub(super) fn new(socket: impl ProbeSocket + 'static, patience: Duration) -> ProbeStream {
        ProbeStream { socket: Box::pin(socket), patience, deadline: None, orderly: false }
    }

    /// Ready when there is something to read, or the other side has closed.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_maybe_readable(cx))?;
            match self.socket.try_peek() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }

    /// Closes without a reset: nothing is wrong except that nobody speaks.
    pub(super) fn close_quietly(mut self) {
        self.orderly = true;
    }

    /// A write that has to wait runs against the deadline. It is set when the answer has to wait for the first time and
    /// stays until all of it is written: reading a byte now and then does not put it off.
    fn waits(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for ProbeStream {
    fn drop(&mut self) {
        if !self.orderly {
            self.socket.forget_unsent();
        }
    }
}

impl AsyncRead for ProbeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for ProbeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.socket.as_mut().poll_write(cx, bytes) {
            Poll::Pending => self.waits(cx),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        // With it hyper sends an answer from where it is, and makes no copy, which would not be counted anywhere.
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.socket.as_mut().poll_write_vectored(cx, slices) {
            Poll::Pending => self.waits(cx),
            written => written,
        }
    }

    /// hyper calls it when nothing is left to be written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        self.socket.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.orderly = true;
        self.socket.as_mut().poll_shutdown(cx)
    }
}
