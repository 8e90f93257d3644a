//! `--profile`: what is right for a known server where nothing else was given, and which settings are known not to fit.
//!
//! ```text
//!   command line ─► detect ─┐
//!   --profile NAME ─────────┴─► Profile ─► apply: Config (what was not given), and what is to be said, and when
//!                     tables ───┘   └────► drain: its own limit (command line, variable, file) against the budget
//! ```
//!
//! - The tables: `python`, `workers`, `runtimes`, `web`, `stores`, `managers`; one [`Profile`] a server, in the order
//!   of `--profile list`.
//! - `detect`: which server a command line starts, through what stands before it: `env`, `setpriv`, an init, `python
//!   -m`, `sh -c 'exec …'`, an image's entrypoint script.
//! - `drain`: how long the server itself waits for its requests or jobs, and whether the budget has that time.
//! - `apply`: from a profile to the configuration.
//!
//! # Rules
//!
//! - Whatever was given explicitly wins, and a profile never changes the exit status.
//! - `auto` is the default. It is a comparison of strings: for a command that no profile knows, nothing is read and
//!   nothing is logged. A profile is logged at debug level at the start, since a log line starts a thread and an idle
//!   graceful has one, and at info level at the stop, where the profile changes it. A profile that was asked for is
//!   logged at once.
//! - Two defaults that do not fit each other are no reason for a warning. A time that somebody set and that does not
//!   fit is one, at the start; the rest is logged when SIGKILL had to be sent.
//! - A profile is the server's, not the app's: where the app's own code decides what a signal does (Node, Go, the JVM),
//!   the signal received is the right one.
//!
//! Sources: what tests/profiles_*.rs see the servers do ([`Source::Measured`]), and their own documentation.

mod apply;
mod detect;
mod drain;
mod managers;
mod python;
mod runtimes;
mod stores;
mod web;
mod workers;

pub(crate) use apply::{Explicit, apply};
pub(crate) use detect::detect;
pub(crate) use drain::Around;

use super::suggest::did_you_mean;
use super::{OwnLimit, Server};
use crate::signal::Signal;
use drain::OwnDrain;
use std::ffi::OsString;
use std::time::Duration;

/// What is known about a server.
#[derive(Debug)]
pub(crate) struct Profile {
    /// As `--profile` takes it.
    pub(crate) name: &'static str,
    /// What its command line looks like.
    known_by: &'static [Program],
    /// The signal on which it ends its requests; `None`: the one received is right.
    pub(crate) stop_signal: Option<Signal>,
    /// What its images declare as STOPSIGNAL: they begin the stop, too, unless `--stop-on` was given.
    stop_on: &'static [Signal],
    /// The hold that fits it, unless one was asked for.
    hold: Holding,
    /// The default pre-stop delay; `None`: as without a profile. Zero for a worker: nobody sends it anything.
    delay: Option<Duration>,
    /// How long it waits for its own requests or jobs.
    drain: Option<OwnDrain>,
    /// The exit statuses of a clean stop, besides 0.
    pub(crate) clean: &'static [u8],
    /// How it is kept in the foreground, where its default is to put itself into the background.
    pub(crate) foreground: Option<&'static str>,
    /// What to know about it.
    pub(crate) advice: &'static str,
    /// Where all this comes from.
    source: Source,
}

/// The default of `--hold` and `--hold-timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// As without a profile.
    Usual,
    /// Until this long before SIGKILL, rather than for half of the budget: its runtime catches every signal whatever
    /// the app does, so that a caught signal does not prove a handler.
    AllBut(Duration),
    /// No longer than this: its connections do not reliably tell whether it works.
    AtMost(Duration),
    /// Its connections do not tell at all whether it works.
    Never,
}

/// Where a profile comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A test stops the real server, and a control loses what the profile saves.
    Measured,
    /// The server's own documentation; nobody has tried it here.
    Documentation,
}

/// An executable, a script or a module that is the server.
#[derive(Debug)]
struct Program {
    /// Its name without folder, version and `.py`.
    name: &'static str,
    /// One of these words follows it somewhere, if there are any: `celery worker` is a worker, `celery inspect` is not.
    with: &'static [&'static str],
}

/// A program that is the server whatever its arguments are.
const fn any(name: &'static str) -> Program {
    Program { name, with: &[] }
}

/// A program that is the server if one of these words follows.
const fn with(name: &'static str, with: &'static [&'static str]) -> Program {
    Program { name, with }
}

impl Profile {
    /// A server about which nothing is known, to be completed.
    const UNKNOWN: Profile = Profile {
        name: "",
        known_by: &[],
        stop_signal: None,
        stop_on: &[],
        hold: Holding::Usual,
        delay: None,
        drain: None,
        clean: &[],
        foreground: None,
        advice: "",
        source: Source::Documentation,
    };

    /// A worker: it takes jobs from a queue, and no load balancer has to learn that it is going away.
    const WORKER: Profile = Profile { delay: Some(Duration::ZERO), ..Profile::UNKNOWN };

    /// A runtime whose handler says nothing: apps that let their requests finish look the same as apps that do not.
    const RUNTIME: Profile = Profile { hold: Holding::AllBut(Duration::from_secs(2)), ..Profile::UNKNOWN };

    /// A store that answers queries. A client that waits (BLPOP, LISTEN) looks like one whose query takes long: each is
    /// worth some seconds, but not half of a budget.
    const STORE: Profile = Profile { hold: Holding::AtMost(Duration::from_secs(5)), ..Profile::UNKNOWN };

    /// A broker: its clients keep connections that wait for messages for ever.
    const BROKER: Profile = Profile { hold: Holding::Never, ..Profile::UNKNOWN };
}

/// A worker of a queue, as its command line shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueWorker {
    /// The profile's name.
    pub name: &'static str,
    /// The signal on which it finishes its jobs; `None` if any signal does.
    pub signal: Option<Signal>,
    /// How long it gives its jobs by itself, and what sets that; `None` if it waits for ever, or nothing is known.
    pub limit: Option<(Duration, String)>,
}

/// The worker that this command line starts, if it is a known one: nobody sends it requests.
pub(crate) fn worker(command: &[OsString], around: &Around<'_>) -> Option<QueueWorker> {
    let found = detect(command)?;
    found.profile.delay.filter(Duration::is_zero)?;
    let args: Vec<OsString> = found.args.iter().map(OsString::from).collect();
    let limit = drain::find(found.profile, &args, around).map(|found| (found.limit, found.place));
    Some(QueueWorker { name: found.profile.name, signal: found.profile.stop_signal, limit })
}

/// What is known of the server that this command line starts.
pub(crate) fn server(command: &[OsString], around: &Around<'_>) -> Option<Server> {
    let found = detect(command)?;
    let args: Vec<OsString> = found.args.iter().map(OsString::from).collect();
    let limit = drain::find(found.profile, &args, around);
    Some(Server {
        name: found.profile.name,
        stop_signal: found.profile.stop_signal,
        is_worker: found.profile.delay.is_some_and(|delay| delay.is_zero()),
        limit: limit.map(|found| OwnLimit { limit: found.limit, place: found.place, is_set: found.is_set }),
    })
}

/// Every profile, in the order of `--profile list`.
pub(crate) fn all() -> impl Iterator<Item = &'static Profile> {
    [python::PROFILES, workers::PROFILES, runtimes::PROFILES, web::PROFILES, stores::PROFILES, managers::PROFILES]
        .into_iter()
        .flatten()
}

/// The profile of this name.
pub(crate) fn by_name(name: &str) -> Option<&'static Profile> {
    all().find(|profile| profile.name == name)
}

/// `--profile`, except `list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By the command line.
    #[default]
    Auto,
    /// None, whatever the command line says.
    None,
    /// This one.
    Named(&'static str),
}

/// `--profile`.
pub(crate) fn parse(text: &str) -> Result<Choice, crate::reason::Reason> {
    let text = text.trim();
    let names = || all().map(|profile| profile.name).chain(["auto", "none", "list"]);
    match names().find(|name| *name == text) {
        Some("auto") => Ok(Choice::Auto),
        Some("none") => Ok(Choice::None),
        Some("list") => Err("prints the table by itself: graceful run --profile list".into()),
        Some(name) => Ok(Choice::Named(name)),
        None => {
            let hint = did_you_mean(text, names(), str::to_owned);
            Err(format!(
                "unknown server; expected auto, none or a name that `graceful run --profile list` prints{hint}"
            )
            .into())
        }
    }
}

/// `--profile list`.
pub(crate) fn table() -> String {
    let mut text = format!("{:<12} {:<8} {:<9} {}\n", "profile", "signal", "source", "to know");
    for profile in all() {
        let signal = profile.stop_signal.map_or("as sent".to_owned(), |signal| signal.to_string());
        let source = match profile.source {
            Source::Measured => "tests",
            Source::Documentation => "documents",
        };
        text.push_str(&format!("{:<12} {signal:<8} {source:<9} {}\n", profile.name, profile.advice));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_its_own_name_and_fits_the_table() {
        let mut names: Vec<&str> = all().map(|profile| profile.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count());
        for profile in all() {
            let name = profile.name;
            assert!(!profile.advice.contains("  ") && !profile.advice.ends_with('.'), "{name}");
            assert!(!profile.advice.is_empty() && name.len() <= 12, "{name}");
            assert!(table().contains(profile.advice), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_told_with_its_neighbour() {
        assert_eq!(parse("none"), Ok(Choice::None));
        assert_eq!(parse(" nginx "), Ok(Choice::Named("nginx")));
        assert!(parse("nginks").unwrap_err().to_string().contains("did you mean nginx?"));
        assert!(parse("list").unwrap_err().to_string().contains("graceful run --profile list"));
    }
}
