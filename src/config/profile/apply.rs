//! From a profile to the configuration: what was not given is the profile's to give, and what it gave is logged.

use super::drain::{self, Around};
use super::{Choice, Holding, Profile, by_name, detect};
use crate::config::{Advice, AdviceAt, Config, Hold, values};
use crate::signal::Signal;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What was given explicitly, and stays.
#[derive(Debug, Default)]
pub(crate) struct Explicit {
    /// `--profile`; `None` is the default, auto.
    pub(crate) choice: Option<Choice>,
    pub(crate) stop_signal: bool,
    pub(crate) stop_on: bool,
    /// `--hold`, or an option that has no effect without one.
    pub(crate) hold: bool,
    pub(crate) hold_timeout: bool,
    pub(crate) pre_stop_delay: bool,
    pub(crate) grace_period: bool,
}

/// The profile that was chosen.
struct Chosen {
    profile: &'static Profile,
    /// The arguments of the server itself.
    args: Vec<OsString>,
    /// The word of the command line that told which server it is, if none was named.
    word: Option<String>,
}

fn choose(choice: Choice, command: &[OsString]) -> Option<Chosen> {
    let found = detect(command);
    match choice {
        Choice::None => None,
        Choice::Auto => found.map(|found| {
            let args = found.args.iter().map(OsString::from).collect();
            Chosen { profile: found.profile, args, word: Some(found.word) }
        }),
        Choice::Named(name) => {
            let profile = by_name(name)?;
            let args = match found.filter(|found| found.profile.name == name) {
                Some(found) => found.args.iter().map(OsString::from).collect(),
                None => command.get(1..).unwrap_or_default().to_vec(),
            };
            Some(Chosen { profile, args, word: None })
        }
    }
}

/// Completes the configuration with what is right for the server that its command starts.
pub(crate) fn apply(config: &mut Config, explicit: &Explicit, around: &Around<'_>) {
    let choice = explicit.choice.unwrap_or_default();
    if choice == Choice::None {
        return;
    }
    warn_of_su(config, around);
    let Some(chosen) = choose(choice, &config.command) else {
        if explicit.choice.is_some() {
            let what = "profile auto: no known server in the command line; nothing is changed".to_owned();
            config.advice.push(Advice { at: AdviceAt::Start, what });
        }
        return;
    };
    let profile = chosen.profile;
    config.profile = Some(profile.name);
    config.foreground = profile.foreground;
    let changes = give(profile, config, explicit);
    let how = chosen.word.as_ref().map(|word| format!(", by {word:?} in the command line")).unwrap_or_default();
    let what = format!("profile {}{how}: {}", profile.name, changes.join(", "));
    let is_new = changes.len() > 1 || config.profile_signal.is_some_and(|signal| signal != Signal::TERM);
    let at = match explicit.choice {
        Some(_) => AdviceAt::Start,
        None if is_new => AdviceAt::Stop,
        None => AdviceAt::Detail,
    };
    config.advice.push(Advice { at, what });
    let what = format!("profile {}: {}", profile.name, profile.advice);
    config.advice.push(Advice { at: AdviceAt::Detail, what });
    compare_drain(config, explicit, &chosen, around);
}

/// What this profile gives, in words; the first is the stop signal.
fn give(profile: &Profile, config: &mut Config, explicit: &Explicit) -> Vec<String> {
    let mut changes = Vec::new();
    match (config.stop_signal.filter(|_| explicit.stop_signal), profile.stop_signal) {
        (Some(signal), _) => changes.push(format!("stopped by {signal}, as --stop-signal says")),
        (None, Some(signal)) => {
            config.profile_signal = Some(signal);
            changes.push(format!("stopped by {signal}"));
        }
        (None, None) => changes.push("stopped by the signal received".to_owned()),
    }
    if !explicit.stop_on {
        // Whoever rewrites a signal wants it to be something other than a stop.
        let rewritten = |signal: &Signal| config.rewrite.iter().any(|(from, _)| from == signal);
        let own = profile.stop_on.iter().copied().filter(|signal| !rewritten(signal));
        config.stop_on = own.fold(config.stop_on, |set, signal| set.with(signal));
    }
    if let Some(delay) = profile.delay.filter(|_| !explicit.pre_stop_delay) {
        config.budget.pre_stop_delay = delay.min(config.budget.pre_stop_delay);
        changes.push("no pre-stop delay".to_owned());
    }
    changes.extend(give_hold(profile.hold, config, explicit));
    changes
}

/// Sets the profile's hold; returns it in words if it is not the default.
fn give_hold(hold: Holding, config: &mut Config, explicit: &Explicit) -> Option<String> {
    match hold {
        Holding::AllBut(reserve) if !explicit.hold_timeout => {
            config.hold_reserve = Some(reserve);
            None
        }
        Holding::AtMost(limit) if !explicit.hold => {
            // The app keeps half, as without a profile.
            let end = config
                .escalate
                .first()
                .map_or(config.budget.kill_at(), |first| first.after.min(config.budget.kill_at()));
            let half = end.saturating_sub(config.budget.pre_stop_delay) / 2;
            config.hold_timeout = Some(limit.min(half));
            Some(format!("a hold of {} at most", values::show(limit.min(half))))
        }
        Holding::Never if !explicit.hold => {
            config.hold = Hold::Never;
            Some("no hold".to_owned())
        }
        Holding::Usual | Holding::AllBut(_) | Holding::AtMost(_) | Holding::Never => None,
    }
}

/// A time that somebody set is reported at the start. That the server's default does not fit graceful's own is only
/// worth a line when SIGKILL had to be sent.
fn compare_drain(config: &mut Config, explicit: &Explicit, chosen: &Chosen, around: &Around<'_>) {
    let Some(found) = drain::find(chosen.profile, &chosen.args, around) else { return };
    let time = config.budget.kill_at().saturating_sub(config.budget.pre_stop_delay);
    let Some(why) = drain::misfit(chosen.profile, &found, time) else { return };
    let what = format!("profile {}: {why}", chosen.profile.name);
    if found.is_set || explicit.grace_period || explicit.pre_stop_delay {
        config.warnings.push(what);
    } else {
        config.advice.push(Advice { at: AdviceAt::Kill, what });
    }
}

/// util-linux' su and runuser kill their child 2 s after they got SIGTERM (su-common.c); busybox's executes it.
fn warn_of_su(config: &mut Config, around: &Around<'_>) {
    let Some(name) = detect::through_su(&config.command) else { return };
    let Some(program) = config.command.first() else { return };
    if !around.files || is_busybox(program, around) {
        return;
    }
    config.warnings.push(format!(
        "{name} kills its command 2 s after SIGTERM, whatever is left of the grace period: start it with setpriv or \
         gosu instead, as setpriv --reuid USER --regid GROUP --init-groups COMMAND"
    ));
}

fn is_busybox(program: &OsStr, around: &Around<'_>) -> bool {
    let path = (around.variable)("PATH").unwrap_or_default();
    let name = Path::new(program);
    let candidates = std::env::split_paths(&path).map(|folder| around.cwd.join(folder).join(name));
    let found = candidates.into_iter().find_map(|path| path.canonicalize().ok());
    found.is_some_and(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("busybox")))
}
