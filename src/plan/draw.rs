//! The timeline of a stop as a picture: a row for each phase, drawn to scale, and below it what happens when. Pure.
//!
//! A solid bar is time that passes in any case, a light one is time that may: the hold ends when its reason is gone,
//! and the drain begins then.

use super::Platform;
use crate::config::values::show;
use crate::config::{self, Config, ConfigError, Environment, FailReadiness, Hold, OwnLimit, Settings, StopTo};
use crate::secret::hidden_command;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

/// Columns of a row's bar.
const WIDTH: usize = 50;

/// Columns of the label before it.
const LABEL: usize = 11;

/// The moments of a stop, each counted from the stop signal.
struct Moments {
    delay: Duration,
    /// The hold is over by then.
    hold: Duration,
    /// `K`: when graceful sends SIGKILL.
    kill: Duration,
    /// `G`: when the grace period ends.
    grace: Duration,
    /// Where the drawing ends.
    end: Duration,
}

impl Moments {
    fn of(config: &Config, platform: Option<Platform>) -> Moments {
        let budget = &config.budget;
        let delay = budget.pre_stop_delay;
        let (kill, grace) = (budget.kill_at(), budget.grace_period);
        let first = config.escalate.iter().map(|escalation| escalation.after).min();
        let left = first.map_or(kill, |first| first.min(kill)).saturating_sub(delay);
        // As the lifecycle has it, where the app has a handler of its own.
        let default = config.hold_reserve.map_or(left / 2, |reserve| left.saturating_sub(reserve).max(left / 2));
        let hold = match config.hold {
            Hold::Never => Duration::ZERO,
            Hold::Idle | Hold::Quiet | Hold::Url(_) | Hold::Command(_) => {
                config.hold_timeout.unwrap_or(default).min(left)
            }
        };
        let end = platform.map_or(grace, |platform| grace.max(platform.default_grace()));
        Moments { delay, hold: delay + hold, kill, grace, end }
    }

    fn column(&self, at: Duration) -> usize {
        if self.end.is_zero() {
            return 0;
        }
        let share = at.as_secs_f64() / self.end.as_secs_f64() * WIDTH as f64;
        (share.round() as usize).min(WIDTH)
    }
}

/// The picture of a stop with these options, and the exit status.
///
/// # Errors
/// The options are wrong; the errors are those that `run` would report.
pub fn draw(
    settings: Settings,
    command: Vec<OsString>,
    platform: Option<Platform>,
    surroundings: &Environment,
) -> Result<(String, u8), Vec<ConfigError>> {
    let is_app_given = !command.is_empty();
    let command = if is_app_given { command } else { vec!["app".into()] };
    let config = config::load(settings, command, surroundings)?;
    let server = config::server(&config.command, &|name| surroundings.environment_of(name));
    let limit = server.and_then(|server| server.limit);
    Ok((timeline(&config, platform, limit.as_ref(), is_app_given), 0))
}

/// The whole text. `limit`: how long the server itself gives its requests.
fn timeline(config: &Config, platform: Option<Platform>, limit: Option<&OwnLimit>, is_app_given: bool) -> String {
    let at = Moments::of(config, platform);
    let words: Vec<String> = config.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let app = if is_app_given { hidden_command(&shell_words::join(&words)) } else { "an app".to_owned() };
    let mut text = match config.profile {
        Some(profile) => format!("The stop of {app} (profile {profile})\n\n"),
        None => format!("The stop of {app}\n\n"),
    };
    rows(&mut text, config, &at, platform);
    text.push('\n');
    events(&mut text, config, &at, platform);
    remarks(&mut text, config, &at, platform, limit);
    text
}

fn rows(text: &mut String, config: &Config, at: &Moments, platform: Option<Platform>) {
    let mut row = |name: &str, bars: &[(Duration, Duration, char)], what: String| {
        let mut line = vec![' '; WIDTH + 1];
        for (from, to, mark) in bars {
            // Whatever takes any time at all is visible.
            let from_column = at.column(*from).min(WIDTH - 1);
            let to_column = at.column(*to).max((from_column + usize::from(to > from)).min(WIDTH));
            line[from_column..to_column].fill(*mark);
        }
        let drawn: String = line.iter().collect();
        _ = writeln!(text, "{}", format!("  {name:<LABEL$}{drawn}{what}").trim_end());
    };
    let (zero, left) = (Duration::ZERO, at.kill.saturating_sub(at.hold));
    if !at.delay.is_zero() {
        row("PRE-STOP", &[(zero, at.delay, '█')], show(at.delay));
    }
    if at.hold > at.delay {
        row("HOLD", &[(at.delay, at.hold, '░')], format!("up to {}", show(at.hold - at.delay)));
    }
    let most = at.kill.saturating_sub(at.delay);
    let drain = if most > left { format!("{} to {}", show(left), show(most)) } else { format!("up to {}", show(left)) };
    row("DRAIN", &[(at.delay, at.hold, '░'), (at.hold, at.kill, '█')], drain);
    row("KILL", &[(at.kill, at.grace, '█')], format!("{} before G", show(config.budget.kill_margin)));
    if let Some(platform) = platform {
        let theirs = platform.default_grace();
        row(platform.name(), &[(zero, theirs, '─')], format!("SIGKILL at {}", show(theirs)));
    }
    // The scale: each moment that has room.
    let mut scale = vec![' '; WIDTH + 12];
    let mut free = 0;
    for moment in [zero, at.delay, at.hold, at.kill, at.grace, at.end] {
        let (column, label) = (at.column(moment), show(moment));
        if column >= free || moment.is_zero() {
            for (offset, character) in label.chars().enumerate() {
                if let Some(cell) = scale.get_mut(column + offset) {
                    *cell = character;
                }
            }
            free = column + label.chars().count() + 1;
        }
    }
    let scale: String = scale.iter().collect();
    _ = writeln!(text, "  {}{}", " ".repeat(LABEL), scale.trim_end());
}

fn events(text: &mut String, config: &Config, at: &Moments, platform: Option<Platform>) {
    let mut event = |moment: Duration, what: String| _ = writeln!(text, "  {:>7}  {what}", show(moment));
    let stops: Vec<String> =
        crate::signal::Signal::all().filter(|signal| config.stop_on.contains(*signal)).map(|s| s.to_string()).collect();
    let probe = match (&config.probe_listen, config.fail_readiness) {
        (Some(_), FailReadiness::AtStop) => "; /readyz says 503 from now on",
        (Some(_), FailReadiness::AtDrain | FailReadiness::Never) => "; /readyz stays as it is",
        (None, _) => "",
    };
    let serves = if at.delay.is_zero() { "" } else { ": the app serves on, untouched" };
    event(Duration::ZERO, format!("{} arrives{serves}{probe}", stops.join(" or ")));
    let signal = config.stop_signal.or(config.profile_signal);
    let signal = signal.map_or("the same signal".to_owned(), |signal| signal.to_string());
    let whom = match config.stop_to {
        StopTo::App => "the app",
        StopTo::Group => "the app's process group",
        StopTo::Tree => "the app and its descendants",
    };
    let later = match (&config.probe_listen, config.fail_readiness) {
        (Some(_), FailReadiness::AtDrain) => "; /readyz says 503",
        (Some(_) | None, _) => "",
    };
    if at.hold > at.delay {
        let reason = match &config.hold {
            Hold::Quiet => "while requests are in flight or still come".to_owned(),
            Hold::Url(url) => format!("until {url} answers 2xx"),
            Hold::Command(argv) => format!("until {argv} exits 0"),
            Hold::Idle | Hold::Never => "while requests are in flight".to_owned(),
        };
        event(at.delay, format!("{signal} to {whom} is held back {reason}, no longer than {}{later}", show(at.hold)));
        event(at.hold, format!("at the latest: {signal} to {whom}"));
    } else {
        event(at.delay, format!("{signal} to {whom}{later}"));
    }
    for escalation in &config.escalate {
        event(escalation.after, format!("{} to {whom}, if it still runs", escalation.signal));
    }
    event(at.kill, "K: SIGKILL to everything that is left; post-stop hooks, the report".to_owned());
    let who = platform.map_or("the orchestrator", Platform::name);
    event(at.grace, format!("G: {who} would send its own SIGKILL, which is not reached"));
}

/// What does not fit together.
fn remarks(text: &mut String, config: &Config, at: &Moments, platform: Option<Platform>, limit: Option<&OwnLimit>) {
    let mut remarks: Vec<String> = config.warnings.clone();
    if let Some(platform) = platform {
        let theirs = platform.default_grace();
        if theirs < at.grace {
            remarks.push(format!(
                "{} sends its SIGKILL after {} unless {} says otherwise: set {}, or --grace-period {}",
                platform.name(),
                show(theirs),
                platform.setting(),
                platform.written(at.grace),
                show(theirs),
            ));
        }
        if let Some(longest) = platform.longest_grace().filter(|longest| *longest < at.grace) {
            remarks.push(format!("{} allows {} at most", platform.name(), show(longest)));
        }
    }
    let time = at.kill.saturating_sub(at.delay);
    if let Some(limit) = limit.filter(|limit| limit.limit > time && config.warnings.is_empty()) {
        remarks.push(format!(
            "the server gives its requests up to {} ({}), and SIGKILL comes {} after its signal at the latest: lower it, or \
             raise --grace-period",
            show(limit.limit),
            limit.place,
            show(time),
        ));
    }
    if config.delay_is_for_listeners() && !at.delay.is_zero() {
        remarks.push("where nothing of the app listens, there is no delay".to_owned());
    }
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        _ = writeln!(text, "  - {remark}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use std::time::Duration;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::defaults(vec!["app".into()], true);
        change(&mut config);
        config
    }

    #[test]
    fn the_picture_of_the_defaults() {
        let text = timeline(&config(|_| {}), None, None, false);
        assert_eq!(
            text,
            "\
The stop of an app

  PRE-STOP   ████████                                           5s
  HOLD               ░░░░░░░░░░░░░░░░░░░░                       up to 12s
  DRAIN              ░░░░░░░░░░░░░░░░░░░░████████████████████   12s to 24s
  KILL                                                       ██ 1s before G
             0s      5s                  17s                 29s

       0s  SIGINT or SIGTERM or SIGPWR or SIGRTMIN+3 arrives: the app serves on, untouched
       5s  the same signal to the app is held back while requests are in flight, no longer than 17s
      17s  at the latest: the same signal to the app
      29s  K: SIGKILL to everything that is left; post-stop hooks, the report
      30s  G: the orchestrator would send its own SIGKILL, which is not reached

  - where nothing of the app listens, there is no delay
"
        );
    }

    #[test]
    fn nothing_is_drawn_outside_however_odd_the_times_are() {
        for millis in [1, 10, 999, 1_000, 86_400_000, 3_000_000_000_000] {
            let config = config(|config| {
                config.budget = crate::config::Budget::for_grace_period(Duration::from_millis(millis));
            });
            for platform in Platform::value_variants().iter().map(|platform| Some(*platform)).chain([None]) {
                let text = timeline(&config, platform, None, true);
                let bars = text.lines().filter(|line| line.contains(['█', '░', '─']));
                let widths = bars.map(|line| line.chars().filter(|c| "█░─".contains(*c)).count());
                assert!(
                    widths.clone().count() >= 3 && widths.into_iter().all(|width| (1..=WIDTH).contains(&width)),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_platform_that_kills_earlier_is_told_of() {
        let text = timeline(&config(|_| {}), Some(Platform::Nomad), None, true);
        assert!(text.contains("Nomad sends its SIGKILL after 5s unless kill_timeout says otherwise"), "{text}");
        assert!(!timeline(&config(|_| {}), Some(Platform::Kubernetes), None, true).contains("SIGKILL after"));
    }
}
