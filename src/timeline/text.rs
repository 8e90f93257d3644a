//! Events in words: what a person needs to know, in one line each.

use super::{
    Entry, Event, InFlightMoment, LogLevel, Phase, RestartCause, SignalReason, Status, StopCause, Timeline, Unwaited,
};
use crate::counts::Counts;
use crate::signal::Signal;
use crate::status::ExitStatus;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

/// `40 ms`, `1.2 s`, `29 s`, `2 min 5 s`.
pub fn human(duration: Duration) -> String {
    let millis = (duration.as_micros() + 500) / 1000;
    if millis < 1000 {
        return format!("{millis} ms");
    }
    if millis >= 120_000 {
        let (minutes, seconds) = (millis / 60_000, millis / 1000 % 60);
        return if seconds == 0 { format!("{minutes} min") } else { format!("{minutes} min {seconds} s") };
    }
    let tenths = (millis + 50) / 100;
    if tenths.is_multiple_of(10) { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

/// `17 bytes`, `1.8 kB`, `2.1 MB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} {}", plural(bytes as usize, "byte", "bytes")),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// How severe an event is.
pub fn level(event: &Event) -> LogLevel {
    match event {
        Event::SpawnFailed { .. } | Event::ListenFailed { .. } | Event::NotDead => LogLevel::Error,
        Event::KilledFromOutside { .. }
        | Event::OutOfMemory { .. }
        | Event::StartupLate { .. }
        | Event::HoldTimedOut { .. }
        | Event::Unanswered { .. }
        | Event::NotDelivered { .. }
        | Event::StillReady
        | Event::NotLive { .. }
        | Event::ReloadFailed { .. }
        | Event::ReloadRefused { .. }
        | Event::SignalIgnored { .. }
        | Event::ForeignSignal { .. }
        | Event::ReadyWarning { .. }
        | Event::EverythingKilled { .. }
        | Event::Trouble { .. } => LogLevel::Warn,
        Event::AppExited { hint: None, .. } if ended_unasked(event) => LogLevel::Warn,
        Event::HookEnded { result, .. } => match result {
            super::HookResult::Ok => LogLevel::Debug,
            super::HookResult::Cancelled => LogLevel::Info,
            super::HookResult::Failed(_) | super::HookResult::TimedOut => LogLevel::Warn,
        },
        Event::CheckChanged { from, status, .. } => match (from, status) {
            (_, Status::Degraded | Status::Unhealthy) => LogLevel::Warn,
            (Some(_), Status::Healthy) => LogLevel::Info,
            (None, Status::Healthy) => LogLevel::Debug,
        },
        Event::Restarting { hushed: true, .. } | Event::Advice { detail: true, .. } => LogLevel::Debug,
        Event::Restarting { status: Some(ExitStatus::Exited(0)), cause: RestartCause::Exit, .. } => LogLevel::Info,
        Event::Restarting { .. } | Event::GivenUp { .. } => LogLevel::Warn,
        Event::InBackground { followed: false, .. } => LogLevel::Warn,
        Event::SignalSent { error: Some(_), .. } | Event::LeftoverSignalled { error: Some(_), .. } => LogLevel::Warn,
        Event::SignalSent { reason: SignalReason::Forwarded | SignalReason::JobControl, .. } => LogLevel::Debug,
        Event::StopBegan { cause: StopCause::AppExited | StopCause::NotStarted } => LogLevel::Debug,
        Event::AppExited { phase: Phase::Running, .. } => LogLevel::Debug,
        Event::StopBegan { .. }
        | Event::KeyShared { .. }
        | Event::DelaySkipped { .. }
        | Event::PhaseCutShort { .. }
        | Event::StopRepeated { .. }
        | Event::SignalSent { .. }
        | Event::AppExited { .. }
        | Event::HoldBegan { .. }
        | Event::HoldEnded { .. }
        | Event::NothingListens
        | Event::NotWatched { .. }
        | Event::AnswerWentOn { .. }
        | Event::Undelivered { .. }
        | Event::Delivered { .. }
        | Event::Advice { .. }
        | Event::Listening { .. }
        | Event::Ready { .. }
        | Event::NotReady { .. }
        | Event::NeverAnswered { .. }
        | Event::HookOutput { .. }
        | Event::LeftoversFound { .. }
        | Event::AlsoSignalled { .. }
        | Event::InBackground { .. }
        | Event::NotRestarted { .. }
        | Event::ReloadBegan { .. }
        | Event::Reloaded { .. }
        | Event::ReloadWaits { .. }
        | Event::Retired { .. }
        | Event::LiveAgain { .. }
        | Event::NotWaitedFor { .. } => LogLevel::Info,
        Event::PhaseBegan { .. }
        | Event::StopSignalFrom { .. }
        | Event::InFlight { .. }
        | Event::SignalDropped { .. }
        | Event::ResizeDropped
        | Event::SignalUnheard { .. }
        | Event::AppStarted { .. }
        | Event::HoldCheck { .. }
        | Event::NotReadyYet { .. }
        | Event::HookBegan { .. }
        | Event::LeftoverSignalled { .. }
        | Event::MoreSignalled { .. }
        | Event::Reaped { .. }
        | Event::Finished { .. } => LogLevel::Debug,
    }
}

/// The event in words.
pub fn describe(timeline: &Timeline, entry: &Entry) -> String {
    let at = entry.at;
    match &entry.event {
        Event::PhaseBegan { phase } => format!("phase {phase}"),
        Event::StopBegan { cause } => stop_began(timeline, *cause),
        Event::StopSignalFrom { signal, sender: Some(pid) } => format!("{signal} came from pid {pid}"),
        Event::StopSignalFrom { signal, sender: None } => format!("{signal} came from the kernel or another namespace"),
        Event::KeyShared { signal, again_within } => {
            format!("{signal} by key is the app's; once more within {} is a stop", human(*again_within))
        }
        Event::DelaySkipped { signal } => format!("{signal} ends the pre-stop delay"),
        Event::PhaseCutShort { phase, signal } => format!("{signal} ends the {phase} phase"),
        Event::StopRepeated { signal } => format!("{signal}: the stop goes on as it is"),
        Event::SignalIgnored { signal, hung_up: false } => format!("the app ignores {signal}"),
        Event::SignalIgnored { signal, hung_up: true } => {
            format!("the app ignores {signal}; it has a terminal, and gets SIGHUP as well, on which a shell ends")
        }
        Event::ForeignSignal { signal, ignored } => foreign(*signal, *ignored),
        Event::SignalDropped { signal } => format!("{signal} dropped, as --rewrite says"),
        Event::ResizeDropped => "SIGWINCH of the terminal dropped: the app would take it for its stop".to_owned(),
        Event::SignalUnheard { signal } => format!("{signal} came when the app was gone"),
        Event::SignalSent { signal, reason, pid, error } => sent(*signal, *reason, *pid, error.as_deref()),
        Event::AppStarted { pid } => format!("the app runs as pid {pid}"),
        Event::Listening { at } => format!("probes and metrics are answered on {at}"),
        Event::ListenFailed { what } => format!("{what}; the app is not started"),
        Event::CheckChanged { .. } => check_changed(&entry.event),
        Event::SpawnFailed { program, why, .. } => format!("cannot run {program}: {why}"),
        Event::AppExited { status, hint: Some(hint), .. } => format!(
            "the app exited {} {} after the stop began, before its signal: it may have obeyed {hint}",
            with(*status),
            human(timeline.since_stop(at))
        ),
        Event::AppExited { status, phase, told, .. } => exited(timeline, at, *status, *phase, *told),
        Event::KilledFromOutside { oom_kills: Some(count) } => format!(
            "the app was killed by SIGKILL that graceful did not send; the cgroup's oom_kill count rose by {count} \
             since the start: out of memory"
        ),
        Event::KilledFromOutside { oom_kills: None } => {
            "the app was killed by SIGKILL that graceful did not send; no out-of-memory kill was counted in its cgroup"
                .to_owned()
        }
        Event::OutOfMemory { count } => format!(
            "the kernel killed {count} {} in the app's cgroup since the start, out of memory (oom_kill)",
            plural(usize::try_from(*count).unwrap_or(usize::MAX), "process", "processes")
        ),
        Event::StartupLate { after, stop, ready, hooks } => {
            let then = if *stop { "stopping it, as --startup-action says" } else { "it goes on" };
            let what = match (ready, hooks) {
                (false, true) => "not ready",
                (true, _) => "post-start hooks still run",
                (false, false) => "not ready, and post-start hooks still run",
            };
            format!("{what} {} after the start (--startup-timeout): {then}", human(*after))
        }
        Event::HoldBegan { what, signal, at_most } => {
            format!("holding the app's {signal} back for {what}, {} at most", human(*at_most))
        }
        Event::HoldCheck { detail } => format!("hold: {detail}"),
        Event::HoldEnded { why } => format!("hold over: {why}"),
        Event::HoldTimedOut { detail, signal } => {
            let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
            format!("the hold timed out{detail}: the app gets its {signal} now")
        }
        Event::InFlight { at, counts, .. } => in_flight(*at, *counts),
        Event::Advice { what, .. } => what.clone(),
        Event::Unanswered { what } => format!("the app exited with {what}"),
        Event::NothingListens => {
            "nothing of the app listens: the default pre-stop delay would delay nothing, and ends".to_owned()
        }
        Event::NotWatched { what } => what.clone(),
        Event::AnswerWentOn { pause, quiet_window } => format!(
            "the app sent more on a connection {} after its answer, which was taken for over; if that is one answer, \
             --quiet-window {}s holds for it",
            human(*pause),
            quiet_window.as_secs()
        ),
        Event::Undelivered { connections, bytes } => {
            let on = plural(*connections, "connection", "connections");
            format!(
                "{} of the app's answers on {connections} {on} are still on their way: waiting for them",
                size(*bytes)
            )
        }
        Event::Delivered { took } => format!("the app's answers are delivered after {}", human(*took)),
        Event::NotDelivered { connections, bytes, why } => {
            let on = plural(*connections, "connection", "connections");
            format!("{} of the app's answers on {connections} {on} are not delivered: {why}", size(*bytes))
        }
        Event::Ready { detail, again: true } => format!("ready again ({detail})"),
        Event::Ready { detail, again: false } => {
            format!("ready after {} ({detail})", human(at.saturating_sub(timeline.app_started)))
        }
        Event::NotReady { detail, refused } => not_ready(timeline, at, detail, *refused),
        Event::NeverAnswered { detail } => {
            format!("nothing has ever listened at --ready-url ({detail}): is the address right?")
        }
        Event::NotReadyYet { detail } => format!("not ready yet: {detail}"),
        Event::StillReady => {
            format!("still ready {}: the app does not fail its readiness", since_told(timeline, at))
        }
        Event::ReadyWarning { detail } => format!("readiness: {detail}"),
        Event::HookBegan { name, stage } => format!("{stage} hook {name} begins"),
        Event::HookEnded { name, stage, result, took } => {
            format!("{stage} hook {name} {result} after {}", human(*took))
        }
        Event::HookOutput { name, line } => format!("[{name}] {line}"),
        Event::LeftoversFound { count } => {
            let app = if timeline.app.is_some() { "the app is gone" } else { "the app is not started" };
            format!("{app}, {count} other {} still there: SIGTERM", plural(*count, "process is", "processes are"))
        }
        Event::LeftoverSignalled { pid, name, signal, error: None, .. } => format!("{signal} to {name} (pid {pid})"),
        Event::LeftoverSignalled { pid, name, signal, error: Some(error), .. } => {
            format!("{signal} to {name} (pid {pid}) failed: {error}")
        }
        Event::MoreSignalled { count, signal, .. } => {
            format!("{signal} to {count} more {}", plural(*count, "process", "processes"))
        }
        Event::NotWaitedFor { count, names, why } => not_waited_for(*count, names, *why),
        Event::EverythingKilled { count, app } => killed(timeline, at, *count, *app),
        Event::Reaped { orphans, after_sigkill } => {
            let orphans = format!("{orphans} {} reaped in all", plural(*orphans as usize, "orphan", "orphans"));
            let killed = plural(*after_sigkill as usize, "process", "processes");
            format!("{orphans}; {after_sigkill} {killed} besides the app ended after SIGKILL")
        }
        Event::AlsoSignalled { signal, whom, count } => {
            format!("{signal} to {count} {} more of the app's {whom}", plural(*count, "process", "processes"))
        }
        Event::InBackground { pid, name, foreground, followed } => {
            in_background(*pid, name, foreground.as_deref(), *followed)
        }
        Event::NotDead => "not even SIGKILL ended everything: leaving it to the kernel".to_owned(),
        Event::Restarting { cause, status, ran, delay, tries, row, .. } => {
            format!("{}: started again in {}{}", came_to(*cause, *status, *ran), human(*delay), try_of(*tries, *row))
        }
        Event::NotLive { detail, failures, then } => {
            let times = plural(usize::try_from(*failures).unwrap_or(usize::MAX), "time", "times");
            format!(
                "the app shows no life: {failures} {times} in a row, the last time: {detail} (--live-action \
                     {then})"
            )
        }
        Event::LiveAgain { detail } => format!("the app shows life again ({detail})"),
        Event::GivenUp { tries } => {
            let times = plural(usize::try_from(*tries).unwrap_or(usize::MAX), "time", "times");
            format!("the app was started again {tries} {times} in a row (--restart-limit), and has ended once more")
        }
        Event::ReloadBegan { by, generation } => format!("{by}: generation {generation} is started"),
        Event::Reloaded { generation, took, ready } => {
            format!("generation {generation} serves ({ready}), {} after the reload began", human(*took))
        }
        Event::ReloadFailed { generation, why } => {
            format!("the reload failed: generation {generation} {why}; the one before it serves on")
        }
        Event::ReloadWaits { by } => format!("{by}: a reload is under way; another one follows it"),
        Event::ReloadRefused { by, why } => format!("{by}: no reload: {why}"),
        Event::Retired { status: Some(status), took } => {
            format!("gone {} after it was replaced ({status})", human(*took))
        }
        Event::Retired { status: None, took } => format!("gone {} after it was replaced", human(*took)),
        Event::NotRestarted { signal } => format!("{signal}: the app has ended, and is not started again"),
        Event::Trouble { what } => what.clone(),
        Event::Finished { code } => format!("exit {code}"),
    }
}

/// The whole log line for people, without a line end.
pub fn line(level: LogLevel, words: &str) -> String {
    let mark = match level {
        LogLevel::Error => "error: ",
        LogLevel::Warn => "warning: ",
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => "",
    };
    printable(&format!("graceful: {mark}{words}")).into_owned()
}

/// Without control characters, which a terminal would obey (and a line end would make a second line, as if graceful had
/// said it): they are shown as `\\x1b`. Much of what is logged has words of others in it: what hooks print, what a
/// server answers, the names that processes give themselves.
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) {
            // Cannot fail: a String takes everything.
            _ = write!(shown, "\\x{:02x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// The whole log line as one JSON object, without a line end. `fields` are its other keys, written as [`fields`] writes
/// them.
pub fn json_line(
    time: SystemTime,
    level: LogLevel,
    words: &str,
    since_stop: Option<Duration>,
    fields: &dyn Display,
) -> String {
    #[derive(Serialize)]
    struct Head<'a> {
        time: String,
        level: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        since_stop_s: Option<f64>,
    }
    let head = Head {
        time: humantime::format_rfc3339_millis(time).to_string(),
        level: match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        },
        message: words,
        since_stop_s: since_stop.map(super::rounded),
    };
    // Cannot fail: it has no map. If it did, the words still get out.
    let Ok(mut line) = serde_json::to_string(&head) else { return words.to_owned() };
    line.pop();
    // Cannot fail: a String takes everything.
    _ = write!(line, ",{fields}}}");
    line
}

/// An event's own keys and values, without the braces around them; made when it is shown.
pub fn fields(event: &Event) -> impl Display {
    std::fmt::from_fn(move |f| {
        // Cannot fail: no map has a key that is not a string.
        let object = serde_json::to_string(event).unwrap_or_default();
        f.write_str(object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default())
    })
}

/// One of two words, by the number.
pub fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

fn stop_began(timeline: &Timeline, cause: StopCause) -> String {
    let delay = timeline.budget.pre_stop_delay;
    let budget = human(timeline.budget.grace_period);
    let kill = human(timeline.budget.kill_at());
    match cause {
        StopCause::Signal(_) if timeline.app.is_none() => {
            format!("{cause}: stopping; the app is not started, SIGKILL after {kill}")
        }
        StopCause::Signal(Signal::INT) => format!("{cause}: stopping without the pre-stop delay, SIGKILL after {kill}"),
        StopCause::Signal(_) if delay.is_zero() => format!("{cause}: stopping, SIGKILL after {kill}"),
        StopCause::Signal(_) => {
            format!("{cause}: stopping; the app serves on for {}, SIGKILL after {kill}", human(delay))
        }
        StopCause::AppExited | StopCause::NotStarted => format!("{cause}: {budget} for what is left"),
        StopCause::HookFailed
        | StopCause::ReadyHookFailed
        | StopCause::StartupTimeout
        | StopCause::Hung
        | StopCause::Replaced
        | StopCause::NotReady => format!("{cause}: stopping, SIGKILL after {kill}"),
    }
}

fn in_flight(at: InFlightMoment, counts: Counts) -> String {
    let when = match at {
        InFlightMoment::Stop => "when the stop began",
        InFlightMoment::Signal => "when the app got its signal",
        InFlightMoment::Exit => "when the app exited",
        InFlightMoment::Kill => "at SIGKILL",
    };
    let Counts { busy, unknown, idle, unaccepted } = counts;
    format!("in flight {when}: {busy} busy, {unknown} unknown, {unaccepted} never accepted, {idle} idle")
}

fn check_changed(event: &Event) -> String {
    let Event::CheckChanged { name, from, status, detail, said, not_tried_for } = event else { return String::new() };
    let parts = [Some(detail), said.as_ref()].into_iter().flatten().map(String::as_str).filter(|part| !part.is_empty());
    let why = parts.collect::<Vec<_>>().join(": ");
    // What is well needs no reason; how it shows is an aside.
    let mut text = match (*status, why.as_str()) {
        (Status::Healthy, "") if from.is_some() => format!("check {name}: healthy again"),
        (Status::Healthy, "") => format!("check {name}: healthy"),
        (Status::Healthy, _) if from.is_some() => format!("check {name}: healthy again ({why})"),
        (Status::Healthy, _) => format!("check {name}: healthy ({why})"),
        (status, "") => format!("check {name}: {status}"),
        (status, _) => format!("check {name}: {status}: {why}"),
    };
    if let Some(pause) = not_tried_for {
        text.push_str(&format!("; the breaker is open, next try in {}", human(*pause)));
    }
    text
}

fn sent(signal: Signal, reason: SignalReason, pid: i32, error: Option<&str>) -> String {
    let why = match reason {
        SignalReason::Forwarded | SignalReason::Stop => "",
        SignalReason::Again => ", again",
        SignalReason::Escalation => ", as --escalate says",
        SignalReason::JobControl => ", to go on",
    };
    match error {
        None => format!("{signal} to the app (pid {pid}){why}"),
        Some(error) => format!("{signal} to the app (pid {pid}) failed: {error}"),
    }
}

fn with(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("with {code}"),
        ExitStatus::Signaled(signal) => format!("by {signal} ({})", status.code()),
    }
}

fn exited(timeline: &Timeline, at: Duration, status: ExitStatus, phase: Phase, told: bool) -> String {
    let ended = with(status);
    let (used, left) = (timeline.since_stop(at), timeline.left(at));
    match (phase, status) {
        (Phase::Running, ExitStatus::Signaled(signal)) if told => {
            format!("the app died of {signal} ({}), which the terminal gave it", status.code())
        }
        (Phase::Running, ExitStatus::Signaled(signal)) if died_of_stop_signal(status) => {
            format!("the app died of {signal}, which graceful had neither received nor sent: {REMEDY}")
        }
        (Phase::Running, _) => {
            format!("the app exited by itself {ended} after {}", human(at.saturating_sub(timeline.app_started)))
        }
        (Phase::Kill, _) => format!("killed after {}", human(used)),
        (_, ExitStatus::Signaled(signal)) if !told => format!(
            "the app died of {signal} {} after the stop began, before graceful sent it a signal: {REMEDY}",
            human(used)
        ),
        (_, _) if !told => format!(
            "the app exited {ended} {} after the stop began, before graceful sent it a signal. If it did not end by \
             itself: {REMEDY}",
            human(used)
        ),
        (_, _) => format!("exited after {} {ended}, {} of budget left", human(used), human(left)),
    }
}

/// The first tries in a row, each of which is logged; of later ones, only those that are a power of two.
const EACH_SAID: u32 = 3;

/// Whether a try in a row is one of too many to be logged.
pub fn is_hushed(tries: u32) -> bool {
    tries > EACH_SAID && !tries.is_power_of_two()
}

fn came_to(cause: RestartCause, status: Option<ExitStatus>, ran: Duration) -> String {
    let after = human(ran);
    match (cause, status) {
        (RestartCause::NotStarted, _) | (_, None) => "the app could not be started".to_owned(),
        (RestartCause::Exit, Some(status)) => format!("the app exited by itself {} after {after}", with(status)),
        (RestartCause::Signal, Some(status)) => format!("the app was ended {} after {after}", with(status)),
        (RestartCause::OutOfMemory, Some(status)) => {
            format!("the app ended {} after {after}, out of memory", with(status))
        }
        (RestartCause::Stopped, Some(status)) => {
            format!("the app, which was stopped, ended {} after {after}", with(status))
        }
        (RestartCause::Hung, Some(status)) => {
            format!("the app, which showed no life, ended {} after {after}", with(status))
        }
    }
}

/// Which try it is; empty for the first.
fn try_of(tries: u32, row: Duration) -> String {
    match tries {
        0..=1 => String::new(),
        2..=EACH_SAID => format!(" (try {tries} in a row)"),
        _ => {
            let next = tries.saturating_mul(2);
            format!(" (try {tries} in a row, within {}; logged again at try {next})", human(row))
        }
    }
}

/// For an app that gets the stop signal from somebody else.
const REMEDY: &str = "something else signals the app or its whole group or cgroup, and no wrapper can delay that. \
                      systemd: KillMode=mixed; a terminal's Ctrl-C: signal graceful's pid instead; Heroku: handle the \
                      signal in the app";

/// The app ended on a stop signal that did not come from graceful, as far as that can be told.
pub(super) fn ended_unasked(event: &Event) -> bool {
    match event {
        Event::AppExited { told: false, phase: Phase::PreStop | Phase::Hold, .. } => true,
        Event::AppExited { told: false, phase: Phase::Running, status, .. } => died_of_stop_signal(*status),
        _ => false,
    }
}

fn died_of_stop_signal(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Signaled(Signal::TERM | Signal::INT | Signal::QUIT))
}

/// `40 ms after the app's SIGTERM`; before the app was told, since the stop began.
fn since_told(timeline: &Timeline, at: Duration) -> String {
    match timeline.told {
        Some((told, signal)) => format!("{} after the app's {signal}", human(at.saturating_sub(told))),
        None => format!("{} after the stop began", human(timeline.since_stop(at))),
    }
}

fn foreign(signal: Signal, ignored: bool) -> String {
    let name = signal.to_string();
    let (what, bare) = (if ignored { "is ignored by it" } else { "was followed by its end" }, &name);
    format!(
        "{signal} came from outside of the container, went to the app, and {what}. If it is the image's STOPSIGNAL: \
         --stop-on {}, and --stop-signal for what the app is to get",
        bare.strip_prefix("SIG").unwrap_or(bare)
    )
}

fn not_ready(timeline: &Timeline, at: Duration, detail: &str, refused: bool) -> String {
    let what = if refused { "listener closed" } else { "not ready" };
    match timeline.t0 {
        Some(_) => format!("{what} {} ({detail})", since_told(timeline, at)),
        None => format!("{what} ({detail})"),
    }
}

fn in_background(pid: i32, name: &str, foreground: Option<&str>, followed: bool) -> String {
    let what = format!("the app put itself into the background ({name}, pid {pid})");
    if followed {
        return format!("{what} and is followed there");
    }
    let how = foreground.map(|how| format!(" ({how})")).unwrap_or_default();
    format!(
        "{what}, and nothing is left to wait for: run it in the foreground{how}, or have it followed with --leftovers wait"
    )
}

fn not_waited_for(count: usize, names: &str, why: Unwaited) -> String {
    let are = plural(count, "process that is left is", "processes that are left are");
    let why = match why {
        Unwaited::NotAllowed => "graceful is not permitted to signal",
        Unwaited::FromOutside => "from outside the container (docker exec, kubectl debug), and the app ended by itself",
    };
    format!("{count} {are} not waited for ({why}): {names}")
}

fn killed(timeline: &Timeline, at: Duration, count: Option<usize>, app: bool) -> String {
    let after = human(timeline.since_stop(at));
    let others = match count {
        Some(0) => String::new(),
        Some(count) if app => format!(" and {count} other {}", plural(count, "process", "processes")),
        Some(count) => format!("{count} {} left", plural(count, "process", "processes")),
        None if app => " and whatever else is left".to_owned(),
        None => "whatever is left".to_owned(),
    };
    let whom = format!("{}{others}", if app { "the app" } else { "" });
    format!("budget spent {after} after the stop began: SIGKILL to {}", if whom.is_empty() { "nobody" } else { &whom })
}
