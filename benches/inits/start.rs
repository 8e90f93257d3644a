//! What an init adds to the life of a short command.

use crate::child;
use crate::contender::{Contender, Namespace};
use crate::process::{micros, now, read_stamp};
use crate::table::{Row, Unit, interleave};
use crate::{Effort, contender::BARE};
use std::path::Path;
use std::process::Stdio;

/// From the spawn of the init to its end, around a command that does nothing; and the same less that command alone.
pub(crate) fn spawn_to_exit(contenders: &[Contender], _: &Namespace, effort: &Effort) -> Result<Vec<Row>, String> {
    let whole = interleave("spawn-to-exit of `-- /bin/true`", Unit::Micros, contenders, effort.starts, |contender| {
        let mut command = contender.command(&[], Path::new("/bin/true"), &[]);
        let start = now();
        let status = command.status().map_err(|error| format!("cannot be started: {error}"))?;
        let end = now();
        if !status.success() {
            return Err(format!("`-- /bin/true` ended with {status}"));
        }
        Ok(micros(start, end))
    });
    let share = whole.less(contenders, BARE, "the same, less the command without an init");
    Ok(vec![whole, share])
}

/// From the app's last look at the clock to the return of our wait for the init.
pub(crate) fn exit_latency(contenders: &[Contender], _: &Namespace, effort: &Effort) -> Result<Vec<Row>, String> {
    let app = std::env::current_exe().map_err(|error| format!("cannot find this binary: {error}"))?;
    let row = interleave("exit latency", Unit::Micros, contenders, effort.starts, |contender| {
        let mut command = contender.command(&[], &app, &[child::HIDDEN, child::EXIT]);
        let mut init = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("cannot be started: {error}"))?;
        // First the wait, then the pipe: a reader woken by the stamp would compete with the init for a CPU.
        init.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
        let end = now();
        let stamp = read_stamp(init.stdout.as_mut().ok_or("no pipe from the app")?)?;
        Ok(micros(stamp, end))
    });
    Ok(vec![row])
}
