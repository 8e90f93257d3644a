//! What goes into the lifecycle and what comes out of it.

use crate::budget::Budget;
use crate::signal::{Signal, SignalSet};
use crate::status::ExitStatus;
use crate::timeline::{Event, SignalReason, Stage};
use std::time::Duration;

/// What the lifecycle has to know about the configuration.
#[derive(Clone, Debug, Default)]
pub struct StopPlan {
    /// What one stop may take, and how long the app runs on untouched.
    pub budget: Budget,
    /// Whether the delay is there for those who route requests to the app, so that it ends if the app listens on
    /// nothing.
    pub delay_is_for_listeners: bool,
    /// Whether what the app has handed to the kernel dies with graceful (it is PID 1), so that it is waited for.
    pub delivers: bool,
    /// What the app gets instead of the stop signal that came.
    pub stop_signal: Option<Signal>,
    /// Whether nobody asked for that signal, and it is what the server's profile says: an app that got a stop signal
    /// from the terminal then gets no second one.
    pub stop_signal_is_default: bool,
    /// The signals that begin the shutdown; none of them is rewritten.
    pub stop_on: SignalSet,
    /// Signals on their way to the app; `None` drops.
    pub rewrite: Vec<(Signal, Option<Signal>)>,
    /// Signals before SIGKILL, sorted by time since t0.
    pub escalate: Vec<(Duration, Signal)>,
    /// Whether there is something to hold for, and an explicit timeout for it.
    pub hold: Option<HoldPlan>,
    /// The default hold leaves the app this much of the budget, rather than half of it.
    pub hold_reserve: Option<Duration>,
    /// The stages that have hooks.
    pub hooks: Vec<Stage>,
    /// Whether anything tells that the app is ready.
    pub waits_for_ready: bool,
    /// Time until ready and until the post-start hooks have ended, and whether being late stops the app.
    pub startup: Option<(Duration, bool)>,
    /// Whether what outlives the app is left alone.
    pub leave_leftovers: bool,
}

/// `--hold` other than never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPlan {
    /// An explicit `--hold-timeout`; `None`: half of what is left when the hold begins, or all of it but [`TO_DIE`] for
    /// an app that has no handler.
    pub timeout: Option<Duration>,
    /// Whether it is for requests in flight: [`Input::InFlight`] comes from t0 on, and without any there is no hold.
    pub watches: bool,
}

/// The part of the budget that an app without a handler for the stop signal needs: to die of it takes hardly any time.
pub const TO_DIE: Duration = Duration::from_secs(2);

/// Where a signal came from, as far as it decides what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalSource {
    /// A process sent it, to graceful alone (kill(2)).
    Process,
    /// The same, from outside of the PID namespace, as a container engine.
    Outside,
    /// The kernel sent it, to graceful alone: a terminal whose foreground the app does not share, a hang-up.
    Kernel,
    /// The app has it already: a key at the terminal whose foreground both share, or a shell's `fg`.
    Shared,
}

/// A fact from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing but time has passed.
    Tick,
    /// The app runs.
    Started,
    /// The app could not be executed; with graceful's exit code for that.
    SpawnFailed(u8),
    /// A signal came to graceful.
    Signal {
        /// The signal.
        signal: Signal,
        /// From where.
        source: SignalSource,
        /// The value that came with it (sigqueue(3)), for the app.
        value: Option<usize>,
    },
    /// The app was reaped.
    AppExited(ExitStatus),
    /// All hooks of the stage have ended; `abort`: one failed whose failure matters.
    HooksDone {
        /// Of which stage.
        stage: Stage,
        /// A failure that ends the start or begins the stop.
        abort: bool,
    },
    /// What the hold waited for has come.
    HoldOver,
    /// Whether requests are in flight, as far as that can be seen; first soon after t0, and then on each change.
    InFlight(bool),
    /// It is certain that the app has no handler for the stop signal.
    NoHandler,
    /// It is certain that the app listens on nothing.
    NothingListens,
    /// Number of connections that the app has closed and that still have bytes for their clients: the answer to
    /// [`Action::LookAfter`], and again when it changes.
    Undelivered(usize),
    /// The app shows no life: it is to be stopped without delay and hold.
    Hung,
    /// Another run of the app gets what is new: this one is to be stopped without delay.
    Replaced,
    /// The app was to take another run's place, and is not ready: it is to be stopped, and serves nobody.
    NotReady,
    /// The app's readiness endpoint answered that it is ready; only the first time matters.
    Ready,
    /// The caller's timers fire late by this much, so that SIGKILL, to be there by K, has to go out that much before
    /// it.
    Late(Duration),
    /// Number of processes that are left besides graceful, of those that can be waited for: the answer to
    /// [`Action::Look`], and again whenever it turns 0.
    Left(usize),
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start the app; answer Started or SpawnFailed.
    Spawn,
    /// Run the stage's hooks; answer HooksDone.
    RunHooks(Stage),
    /// Pass a signal to the hooks that run.
    SignalHooks(Signal),
    /// The stages that run begin no further hook; what runs may end, and is answered by HooksDone.
    NoMoreHooks,
    /// End the stage's hooks with their trees; no answer.
    CancelHooks(Stage),
    /// Send a signal to the app.
    SignalApp {
        /// The signal.
        signal: Signal,
        /// Why, for the report; never [`SignalReason::Stop`].
        reason: SignalReason,
        /// The value that came with the signal that is passed on.
        value: Option<usize>,
        /// Whether it is passed on, and came from outside of the PID namespace ([`SignalSource::Outside`]).
        from_outside: bool,
    },
    /// Tell the app to stop: SIGCONT first if it is stopped (state T), since it could not act on anything; then the
    /// signal, unless the terminal has given it that one. From now on it is the app's own affair when it ends.
    StopApp {
        /// What it gets.
        signal: Signal,
        /// Whether the app has it already.
        shared: bool,
    },
    /// Look for the hold's reason; answer HoldOver when it is gone.
    StartHold {
        /// When the hold ends in any case.
        until: Duration,
    },
    /// Stop looking.
    EndHold,
    /// From now to the app's exit, watch its connections; answer InFlight, where there is a hold for them.
    WatchInFlight,
    /// From now to the app's exit, watch the readiness endpoint.
    WatchReadiness,
    /// Create the drain file.
    CreateDrainFile,
    /// Count the processes that are left and can be waited for; answer Left.
    Look,
    /// Count the connections whose bytes are not delivered; answer Undelivered.
    LookAfter,
    /// Send a signal to everything that is left.
    SignalLeftovers(Signal),
    /// SIGKILL to the app and, unless leftovers are to be left, to everything else that is there.
    KillEverything,
    /// The hold's time is over: something to be logged and reported, with what is in flight.
    HoldTimedOut {
        /// What was held back.
        signal: Signal,
    },
    /// Something to be logged and reported.
    Record(Event),
    /// The end; nothing follows.
    Exit(Outcome),
}

/// How it all ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The app's own end.
    App(ExitStatus),
    /// The app never ran; with graceful's exit code.
    NotStarted(u8),
    /// Not even SIGKILL ended the app before the budget did.
    Stuck,
}

impl Outcome {
    /// Its exit code, before `--success-exit-status`.
    pub fn code(self) -> u8 {
        match self {
            Outcome::App(status) => status.code(),
            Outcome::NotStarted(code) => code,
            Outcome::Stuck => ExitStatus::Signaled(Signal::KILL).code(),
        }
    }
}

/// A stop that has begun, in short; see [`super::Lifecycle::stop_in_progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopInProgress {
    /// K, since graceful's start.
    pub kill_at: Duration,
    /// The stop signal, if the app has not got it yet.
    pub owed: Option<Signal>,
}
