//! The sockets that graceful binds for the app (`--listen`).
//!
//! ```text
//!   before the app   bound: an address that cannot be had is known while the app can still be left alone
//!   the app runs     both have them, and only the app accepts
//!   its stop signal  graceful closes its own handles: where the app closes its, connections are refused, and nobody waits
//!                    in a line that is served by no one
//!   between two runs  (`--restart`) graceful's own handles keep the line open: who connects waits for the next run
//! ```

use crate::config::{AppSocket, Listen};
use crate::listening::BoundSocket;
use crate::sys::in_words;
use crate::sys::sockets::holder;
use crate::sys::spawn::PassedSockets;
use std::io;
use std::os::fd::AsFd;

/// As many may wait as the kernel allows (net.core.somaxconn, to which listen(2) bounds it): the app may take its time to start.
const BACKLOG: i32 = i32::MAX;

/// Why the app cannot have its sockets.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketsError {
    #[error("cannot listen on --listen {address}: {}", why(.address, .error))]
    NotBound { address: Listen, error: io::Error },
    #[error("cannot keep the sockets of --listen: {0}")]
    NotKept(io::Error),
}

/// None of them, without `--listen`.
#[derive(Debug, Default)]
pub(super) struct AppSockets {
    bound: Vec<BoundSocket>,
    passed: Option<PassedSockets>,
}

impl AppSockets {
    /// Binds all of them, and says what the app loses by that.
    ///
    /// # Errors
    /// One of them cannot be had: the app must not be started.
    pub(super) fn bind(sockets: &[AppSocket]) -> Result<(AppSockets, Vec<String>), SocketsError> {
        let bind = |AppSocket { address, .. }: &AppSocket| {
            let bound = BoundSocket::bind(address, BACKLOG, |_| {});
            bound.map_err(|error| SocketsError::NotBound { address: address.clone(), error })
        };
        let bound = sockets.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let named: Vec<_> =
            bound.iter().zip(sockets).map(|(bound, socket)| (bound.as_fd(), socket.name.as_deref())).collect();
        let passed = PassedSockets::new(&named).map_err(SocketsError::NotKept)?;
        let lost = passed.replaced().into_iter().map(|fd| {
            format!("descriptor {fd}, which graceful was started with, is not passed on: the app has a socket of --listen there")
        });
        let lost = lost.collect();
        Ok((AppSockets { bound, passed: Some(passed) }, lost))
    }

    /// What the app is given.
    pub(super) fn passed(&self) -> Option<&PassedSockets> {
        self.passed.as_ref()
    }

    /// From here on only the app has them; the files of Unix sockets are removed, since no one new is to come.
    pub(super) fn close(&mut self) {
        self.bound.drain(..).for_each(|bound| bound.remove_file());
        self.passed = None;
    }
}

/// Who has the address, where that can be seen.
fn why(address: &Listen, error: &io::Error) -> String {
    let holder = match address {
        Listen::Tcp(address) if error.kind() == io::ErrorKind::AddrInUse => holder::of_tcp(*address),
        Listen::Unix(path) if error.kind() == io::ErrorKind::AddrInUse => holder::of_unix(path),
        Listen::Tcp(_) | Listen::Unix(_) => None,
    };
    let by = holder.map(|process| format!(" (by {process})")).unwrap_or_default();
    format!("{}{by}", in_words(error))
}
