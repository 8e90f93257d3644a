//! Signals: those that come to graceful, and those that go to the app.
//!
//! What a signal means is the lifecycle's affair; here is seen where it came from, and what the app will make of it. That is
//! looked up at the moment of sending, in /proc/PID/status, and no timer waits for an effect.
//!
//! | the app | is |
//! | --- | --- |
//! | stopped (state T) | continued first: SIGCONT behind a SIGTSTP would cancel it, and an app that runs gets none |
//! | ignores what stops it | said, at once and not at SIGKILL |
//! | the same, and has a terminal and ignores SIGQUIT, too | an interactive shell, which ends on SIGHUP alone |
//! | ignores, or ends after, a signal from outside of the PID namespace that is no stop signal | told of `--stop-on`: it may be the image's STOPSIGNAL |

use super::Supervisor;
#[cfg(debug_assertions)]
use super::last_resort;
use crate::lifecycle::{Input, SignalSource};
use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::handlers::{self, Disposition};
use crate::sys::signals::Received;
use crate::sys::{process, tree};
use crate::timeline::{Event, InFlightMoment, Phase, SignalReason};
use std::time::Duration;

/// A signal from outside of the PID namespace that was passed on to the app.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// The last one that the app did not ignore, and when.
    last: Option<(Signal, Duration)>,
    /// It is said once.
    told: bool,
}

impl Supervisor {
    /// A signal that came to graceful.
    pub(super) fn signal(&mut self, received: Received) {
        if received.signal == Signal::CHLD {
            return self.reap();
        }
        if received.is_own(self.launch.pid) {
            return;
        }
        let signal = received.signal;
        self.count_received(signal);
        #[cfg(debug_assertions)]
        last_resort::fail_if_asked(signal);
        #[cfg(debug_assertions)]
        if last_resort::http_is_to_fail(signal) {
            self.ask_http(crate::worker::WorkerCommand::Fail);
        }
        #[cfg(debug_assertions)]
        if last_resort::probes_are_to_fail(signal) {
            self.fail_probes();
        }
        if self.succession.is_waiting() {
            return self.signal_in_the_wait(&received);
        }
        if self.is_reload(&received) {
            return self.reload(signal.to_string());
        }
        let source = self.source(&received);
        if self.run.lifecycle.t0().is_none() && self.config.stop_on.contains(signal) {
            self.record(Event::StopSignalFrom { signal, sender: received.sender });
        }
        // Who hurries hurries both.
        if self.run.lifecycle.t0().is_some() && self.run.lifecycle.stops(signal, source) {
            let again = Input::Signal { signal, source: SignalSource::Process, value: None };
            self.on_beside(|this| this.run.inputs.push_back(again));
        }
        self.feed(Input::Signal { signal, source, value: received.value });
    }

    /// It asks for a reload. A terminal that hangs up means something else by the same signal.
    pub(super) fn is_reload(&self, received: &Received) -> bool {
        self.config.reload.on == Some(received.signal) && !received.from_kernel
    }

    /// The terminal's keys signal every process of its foreground group, the app included if it is in ours. A hang-up
    /// signals the session's leader whether it is in the foreground or not, so the app may not have it.
    pub(super) fn source(&mut self, received: &Received) -> SignalSource {
        let signal = received.signal;
        let by_key = received.from_kernel
            && matches!(
                signal,
                Signal::INT | Signal::QUIT | Signal::TSTP | Signal::TTIN | Signal::TTOU | Signal::WINCH
            );
        if by_key && self.run.app.is_some_and(process::shares_our_group)
            || signal == Signal::CONT && (self.job_was_continued() || self.own_job_goes_on())
        {
            SignalSource::Shared
        } else if received.from_kernel {
            SignalSource::Kernel
        } else if received.sender.is_none() {
            SignalSource::Outside
        } else {
            SignalSource::Process
        }
    }

    /// `value`: that came with it (sigqueue(3)). `from_outside`: it did, and is passed on.
    pub(super) fn signal_app(
        &mut self,
        signal: Signal,
        reason: SignalReason,
        value: Option<usize>,
        from_outside: bool,
    ) {
        let Some(pid) = self.run.app else { return };
        let foreign = from_outside && !self.run.foreign.told;
        let ignored = foreign && ignores(pid, signal);
        let (error, others) = self.send(pid, signal, reason, value);
        self.record(Event::SignalSent { signal, reason, pid: pid.number(), error });
        self.also_signalled(signal, others);
        if ignored {
            self.run.foreign.told = true;
            self.record(Event::ForeignSignal { signal, ignored });
        } else if foreign {
            self.run.foreign.last = Some((signal, self.now()));
        }
    }

    /// The app has ended by itself; was it told to by a signal of which graceful did not know that it means a stop?
    pub(super) fn foreign_signal_may_have_ended_it(&mut self) {
        let Some((signal, at)) = self.run.foreign.last.take() else { return };
        let recent = self.now().saturating_sub(at) <= self.config.budget.grace_period;
        if recent && self.run.lifecycle.phase() == Phase::Running && !self.run.foreign.told {
            self.run.foreign.told = true;
            self.record(Event::ForeignSignal { signal, ignored: false });
        }
    }

    /// `shared`: it has this signal already, from the terminal.
    pub(super) fn stop_app(&mut self, signal: Signal, shared: bool) {
        if let Some(pid) = self.run.app {
            if self.is_stopped(pid) {
                self.signal_app(Signal::CONT, SignalReason::JobControl, None, false);
            }
            if !shared {
                let ignored = ignores(pid, signal);
                self.signal_app(signal, SignalReason::Stop, None, false);
                if ignored {
                    self.stop_is_ignored(pid, signal);
                }
            }
        }
        self.record_in_flight(InFlightMoment::Signal);
        self.app_told();
    }

    /// As /proc shows it; where that cannot be read, as wait(2) told it last.
    fn is_stopped(&self, pid: Pid) -> bool {
        tree::process(pid.number()).map_or(self.run.app_stopped, |process| process.stopped)
    }

    fn stop_is_ignored(&mut self, pid: Pid, signal: Signal) {
        // POSIX, sh, "Signals and Error Handling": an interactive shell ignores these two.
        let is_shell = [Signal::TERM, Signal::QUIT].into_iter().all(|signal| ignores(pid, signal));
        let hung_up =
            is_shell && signal != Signal::HUP && tree::process(pid.number()).is_some_and(|app| app.has_terminal);
        self.record(Event::SignalIgnored { signal, hung_up });
        if hung_up {
            self.signal_app(Signal::HUP, SignalReason::Stop, None, false);
        }
    }
}

/// Whether the process will not even notice the signal. Not known counts as no. What the kernel would ignore by default may
/// be blocked, to be taken by signalfd(2); of SIG_IGN nobody makes that use, and a shell that forks has all blocked.
fn ignores(pid: Pid, signal: Signal) -> bool {
    let by_default = matches!(signal, Signal::CHLD | Signal::CONT | Signal::URG | Signal::WINCH);
    match handlers::disposition(pid.number(), signal) {
        Some(Disposition::Ignored) => true,
        Some(Disposition::Default) => by_default && handlers::is_blocked(pid.number(), signal) == Some(false),
        Some(Disposition::Caught) | None => false,
    }
}
