//! Work that may block, on a thread of its own: what waits for a disk must not hold up polls and other checks.
//!
//! Not tokio's `spawn_blocking`: that one panics where no thread can be started (pids.max, RLIMIT_NPROC), which would
//! take the probe server along just when the container is in trouble, and a runtime that is dropped waits for such
//! threads. Nobody waits for these: one that hangs ends with the process.
//!
//! Signals: the thread has the mask of the one that started it.

use crate::sys::signals;
use std::io;
use tokio::sync::watch;

/// The threads' name, for `ps -T`.
const THREAD_NAME: &str = "graceful-aside";

/// In bytes, as for the HTTP thread: certificates are parsed here.
const STACK: usize = 1024 * 1024;

/// The result of the work, when it comes. Whoever gives up waiting can wait again later, and many can.
#[derive(Clone)]
pub(crate) struct BlockingTask<T>(watch::Receiver<Option<T>>);

impl<T: Clone> BlockingTask<T> {
    /// The result; `None` if the work panicked.
    pub(crate) async fn wait(&mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }

    /// Whether there is nothing left to wait for.
    pub(crate) fn is_over(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }
}

/// Starts the work. An error means that there is no thread for it.
pub(crate) fn start<T: Send + Sync + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<BlockingTask<T>> {
    let (sender, receiver) = watch::channel(None);
    let body = move || {
        // Nobody may be waiting any more.
        let _ = sender.send(Some(work()));
    };
    signals::start_thread(THREAD_NAME, STACK, body)?;
    Ok(BlockingTask(receiver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::DEADLINE;
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn the_result_comes_to_all_who_wait_and_to_who_waits_again() {
        let (end, wait) = mpsc::channel::<()>();
        let mut pending = start(move || {
            wait.recv().unwrap();
            std::thread::current().name().map(str::to_owned)
        })
        .unwrap();
        let mut other = pending.clone();
        timeout(Duration::from_millis(50), pending.wait()).await.expect_err("it was not told to end");
        assert!(!pending.is_over());
        end.send(()).unwrap();
        for pending in [&mut pending, &mut other] {
            let name = timeout(DEADLINE, pending.wait()).await.expect("in time");
            assert_eq!(name.flatten().as_deref(), Some(THREAD_NAME));
            assert!(pending.is_over());
        }
    }

    #[tokio::test]
    async fn a_panic_is_no_result() {
        let mut pending = start(|| -> u8 { panic!("on purpose") }).unwrap();
        assert_eq!(timeout(DEADLINE, pending.wait()).await.expect("in time"), None);
        assert!(pending.is_over());
    }

    #[test]
    fn a_runtime_that_ends_waits_for_nobody() {
        let (end, wait) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pending = runtime.block_on(async move { start(move || wait.recv().is_ok()).unwrap() });
        drop(runtime);
        // The work went on all the while.
        assert!(!pending.is_over());
        drop(end);
    }
}
