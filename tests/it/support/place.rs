//! The two places in which an init can stand: in front of a command, and as PID 1.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{Exit, Proc, in_pid_namespace};

/// Where graceful (or another init) runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A process like any other, outside of a PID namespace of its own. An init that may call kill(-1) must
    /// never be here.
    Wrapper,
    /// PID 1 of a new PID namespace.
    Pid1,
}

impl Place {
    /// The command, to be started with [`Place::start`].
    pub(crate) fn command<S: AsRef<OsStr>>(self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut command = match self {
            Place::Pid1 => in_pid_namespace(argv),
            Place::Wrapper => {
                let mut argv = argv.into_iter();
                let mut command = Command::new(argv.next().expect("a program"));
                command.args(argv);
                super::without_settings(&mut command);
                command
            }
        };
        // SAFETY: rt_sigaction(2) is async-signal-safe; the zeroes are SIG_DFL, and longer than the kernel's sigaction.
        unsafe {
            command.pre_exec(|| {
                // glibc's posix_spawn makes children ignore these two unasked, down to this process.
                for signal in [32, 33] {
                    let default = [0u64; 8];
                    let old = std::ptr::null_mut::<u64>();
                    libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, 8);
                }
                Ok(())
            });
        }
        command
    }

    /// Starts it; dropped, everything that it started is killed.
    pub(crate) fn start(self, command: &mut Command) -> Proc {
        match self {
            Place::Wrapper => Proc::spawn_group(command),
            Place::Pid1 => Proc::spawn_pid1(command),
        }
    }

    /// How graceful ends when this signal ended the app: by the same, but for PID 1, whose status is a number.
    pub(crate) fn killed_by(self, signal: i32) -> Exit {
        match self {
            Place::Wrapper => Exit::Signal(signal),
            Place::Pid1 => Exit::Code(128 + signal),
        }
    }

    /// Both in one.
    pub(crate) fn spawn<S: AsRef<OsStr>>(self, argv: impl IntoIterator<Item = S>) -> Proc {
        self.start(&mut self.command(argv))
    }
}

/// `prefix`, then the binary under test with a stop that begins at once, then `--` and the app.
pub(crate) fn graceful_argv<S: AsRef<str>>(prefix: &[&str], options: &[&str], app: &[S]) -> Vec<String> {
    let binary = super::graceful().to_string_lossy().into_owned();
    let fixed = ["--pre-stop-delay", "0s", "--hold", "never"];
    let mut argv: Vec<String> = prefix.iter().map(|&part| part.to_owned()).collect();
    argv.push(binary);
    argv.extend(fixed.iter().chain(options).map(|&part| part.to_owned()));
    argv.push("--".to_owned());
    argv.extend(app.iter().map(|part| part.as_ref().to_owned()));
    argv
}
