//! How fast a signal passes through the init, and what a stop costs besides the app's own time.

use crate::Effort;
use crate::child;
use crate::contender::{Contender, Namespace};
use crate::process::{Running, micros, now};
use crate::table::{Row, Unit, interleave};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Long enough for the init to go back to sleep: a signal normally finds it there.
const PAUSE: Duration = Duration::from_micros(300);

/// From our kill(2) on the init to the app that comes back from sigwait.
pub(crate) fn signal_latency(contenders: &[Contender], _: &Namespace, effort: &Effort) -> Result<Vec<Row>, String> {
    let app = this_binary()?;
    let mut running: HashMap<&str, Running> = HashMap::new();
    let row = interleave("signal latency (SIGUSR1)", Unit::Micros, contenders, effort.signals, |contender| {
        if !running.contains_key(contender.name) {
            let started = Running::start(contender.command(&[], &app, &[child::HIDDEN, child::SIGNALS]))?;
            running.insert(contender.name, started);
        }
        let init = running.get_mut(contender.name).ok_or("not started")?;
        std::thread::sleep(PAUSE);
        let start = now();
        init.signal(Signal::SIGUSR1)?;
        Ok(micros(start, init.stamp()?))
    });
    Ok(vec![row])
}

/// From our SIGTERM to the return of our wait for the init, less the time that the app took to end.
pub(crate) fn share_of_a_stop(contenders: &[Contender], _: &Namespace, effort: &Effort) -> Result<Vec<Row>, String> {
    let app = this_binary()?;
    let options = ["--pre-stop-delay", "0s"];
    let row = interleave("own share of a stop (SIGTERM)", Unit::Micros, contenders, effort.stops, |contender| {
        let mut init = Running::start(contender.command(&options, &app, &[child::HIDDEN, child::SIGNALS]))?;
        std::thread::sleep(PAUSE);
        let start = now();
        init.signal(Signal::SIGTERM)?;
        let end = init.wait_only()?;
        let (received, exited) = (init.stamp()?, init.stamp()?);
        Ok(micros(start, end) - micros(received, exited))
    });
    Ok(vec![row])
}

fn this_binary() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this binary: {error}"))
}
