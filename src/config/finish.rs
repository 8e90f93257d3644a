//! From a [`Draft`] to a [`Config`]: what needs more than one option, or the surroundings, and the defaults.
//!
//! `budget` says whether the times fit, `hook` and `check` settle their own lists, `profile` gives what was not given.
//! Here is the rest: options that have no effect, paths that two of them share, commands that are not there.

use super::budget::plan;
use super::check::finish_checks;
use super::draft::{Draft, Given, GivenPath};
use super::hook::finish_hooks;
use super::options::{
    GRACE_PERIOD, HOLD, HOOK, KILL_MARGIN, OptionSpec, PROBE_LISTEN, READY_URL, REWRITE, STARTUP_TIMEOUT, STOP_ON,
    STOP_SIGNAL,
};
use super::profile;
use super::raw::{ConfigError, Raw};
use super::suggest::did_you_mean;
use super::values::SuccessStatus;
use super::{
    Advice, AdviceAt, AppSocket, CheckTarget, Config, ControlPlace, Environment, FailReadiness, Hold, Hook, HookAction,
    Leftovers, Listen, LogFormat, LogLevel, QUIET_WINDOW, Readiness, Stage, Startup, StartupAction, StopTo, hook,
    stop_signals,
};
use crate::files::{self, Purpose};
use crate::secret::CommandLine;
use crate::signal::{Signal, SignalSet};
use crate::status::SuccessStatuses;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Draft {
    /// Whether the value of this option did not parse.
    pub(super) fn is_broken(&self, option: &'static OptionSpec) -> bool {
        self.broken.contains(&option.name)
    }

    /// Whether a value on which the whole budget depends did not parse.
    pub(crate) fn budget_unknown(&self) -> bool {
        self.is_broken(&GRACE_PERIOD) || self.is_broken(&KILL_MARGIN)
    }

    /// Checks what needs more than one option, and completes the rest with defaults. Every problem is pushed; the
    /// result means something only if there is none.
    pub(super) fn finish(
        mut self,
        command: Vec<OsString>,
        surroundings: &Environment,
        problems: &mut Vec<ConfigError>,
    ) -> Config {
        self.check_schemes(surroundings, problems);
        if !surroundings.foreign {
            self.check_programs(surroundings, problems);
        }
        self.check_leftovers(surroundings, problems);
        self.check_rewrites(problems);
        self.escalate.sort_by_key(|given| given.value.after);
        let budget = plan(&self, problems);
        self.ready_hooks = hook::places_of(&self.hooks, Stage::Ready);
        let hooks = finish_hooks(std::mem::take(&mut self.hooks), &budget, !self.budget_unknown(), problems);
        let (ready, startup) = self.readiness(&hooks, problems);
        self.warn_of_idle_options();
        let probe_listen = self.probe_listen(surroundings, problems);
        let listen = self.listen(probe_listen.as_ref(), surroundings, problems);
        let fail_readiness = self.fail_readiness(problems);
        let live = self.liveness(problems);
        let restart = self.restart(problems);
        let explicit = self.explicit();
        let stop_on = self.stop_signals(surroundings);
        let reload = self.reload(stop_on, problems);
        let control = self.control(surroundings, problems);
        let checks = finish_checks(std::mem::take(&mut self.checks), &surroundings.cwd, problems);
        self.check_paths(&surroundings.cwd, problems);
        let mut file = |path: &GivenPath, purpose| path.resolve(surroundings, purpose, problems);
        let mut config = Config {
            command,
            budget,
            delay_is_default: self.pre_stop_delay.is_none(),
            stop_signal: self.stop_signal.map(|given| given.value),
            stop_on,
            rewrite: self.rewrite.iter().map(|given| given.value).collect(),
            escalate: self.escalate.iter().map(|given| given.value).collect(),
            hold: self.hold.map_or(Hold::Idle, |given| given.value),
            hold_timeout: self.hold_timeout.map(|given| given.value),
            quiet_window: self.quiet_window.map_or(QUIET_WINDOW, |given| given.value),
            ports: (!self.ports.is_empty()).then(|| self.ports.iter().map(|given| given.value).collect()),
            profile: None,
            profile_signal: None,
            hold_reserve: None,
            foreground: None,
            advice: Vec::new(),
            hooks,
            ready,
            startup,
            live,
            probe_listen,
            listen,
            fail_readiness,
            checks,
            drain_file: file(&self.drain_file, Purpose::Create),
            stop_to: self.stop_to.map_or(StopTo::App, |given| given.value),
            leftovers: self.leftovers.map_or(Leftovers::Stop, |given| given.value),
            parent_death_signal: self.parent_death_signal.map(|given| given.value),
            success: success(&self.success),
            restart,
            reload,
            control,
            termination_log: file(&self.termination_log, Purpose::Append),
            report: file(&self.report, Purpose::Replace),
            log_format: self.log_format.map_or(LogFormat::Text, |given| given.value),
            log_level: self.log_level.map_or(LogLevel::Info, |given| given.value),
            warnings: self.warnings,
        };
        let variable = |name: &str| surroundings.variable(name).map(OsString::from);
        let around = profile::Around { cwd: &surroundings.cwd, variable: &variable, files: !surroundings.foreign };
        profile::apply(&mut config, &explicit, &around);
        if let (Some(above), false) = (&surroundings.above, self.of_above.is_empty()) {
            let (names, pid) = (self.of_above.join(", "), above.pid);
            let what =
                format!("{names}: of the graceful above this one (pid {pid}), and without effect here; use a flag");
            config.advice.push(Advice { at: AdviceAt::Detail, what });
        }
        config
    }

    fn check_schemes(&self, surroundings: &Environment, problems: &mut Vec<ConfigError>) {
        let hold = self.hold.as_ref().and_then(|given| match &given.value {
            Hold::Url(url) => Some((url, given.raw.place())),
            Hold::Idle | Hold::Quiet | Hold::Never | Hold::Command(_) => None,
        });
        let own = [self.ready_url.as_ref(), self.live_url.as_ref()].into_iter().flatten();
        let ready = own.map(|given| (&given.value, given.raw.place()));
        let hooks = self.hooks.iter().filter_map(|hook| match &hook.action {
            HookAction::Post(url) => Some((url, hook.place.clone())),
            HookAction::Command(_) => None,
        });
        let checks = self.checks.iter().filter_map(|draft| match &draft.check.target {
            CheckTarget::Http(url) => Some((url, draft.place.clone())),
            CheckTarget::Tcp { .. } | CheckTarget::Exec { .. } | CheckTarget::Disk { .. } => None,
        });
        for (url, place) in hold.into_iter().chain(ready).chain(hooks).chain(checks) {
            if url.scheme() == "https" && !surroundings.https {
                problems.push(ConfigError::new(place, "this build of graceful has no https; expected http://"));
            }
        }
    }

    /// Two options that name one file would destroy each other's content. A stream can take more than one.
    fn check_paths(&self, cwd: &Path, problems: &mut Vec<ConfigError>) {
        let socket = self.probe_listen.as_ref().and_then(|given| match &given.value {
            Listen::Unix(path) => Some((&given.raw, cwd.join(path))),
            Listen::Tcp(_) => None,
        });
        let given = [&self.drain_file, &self.report, &self.termination_log].map(|path| path.0.as_ref());
        let paths = given.into_iter().flatten().map(|raw| (raw, cwd.join(&raw.text))).chain(socket);
        let mut seen: Vec<(&Raw, PathBuf)> = Vec::new();
        for (raw, path) in paths.filter(|(_, path)| path.metadata().map_or(true, |found| found.is_file())) {
            match seen.iter().find(|(_, other)| *other == path) {
                Some((first, _)) if files::descriptor(&path).is_none() => {
                    let reason = format!("is the path of {} too; expected a path of its own", first.origin.name());
                    problems.push(raw.problem(reason));
                }
                _ => seen.push((raw, path)),
            }
        }
    }

    /// A hold whose command is missing would last as long as it may, at every stop. A hook's or a check's may still
    /// appear: a pre-start hook or the app can bring it.
    fn check_programs(&mut self, surroundings: &Environment, problems: &mut Vec<ConfigError>) {
        if let Some(Given { value: Hold::Command(argv), raw }) = &self.hold
            && let Some(why) = missing(argv, surroundings)
        {
            let hint = did_you_mean(&raw.text.to_string_lossy(), ["idle", "quiet", "never"], str::to_owned);
            problems.push(raw.problem(format!("{why}; expected idle, quiet, never, a URL or a command{hint}")));
        }
        let hooks = self.hooks.iter().filter_map(|hook| match &hook.action {
            HookAction::Command(argv) => Some((&hook.place, argv)),
            HookAction::Post(_) => None,
        });
        let checks = self.checks.iter().filter_map(|draft| match &draft.check.target {
            CheckTarget::Exec { argv, .. } => Some((&draft.place, argv)),
            CheckTarget::Http(_) | CheckTarget::Tcp { .. } | CheckTarget::Disk { .. } => None,
        });
        let missing = hooks.chain(checks).filter_map(|(place, argv)| Some((place, missing(argv, surroundings)?)));
        self.warnings.extend(missing.map(|(place, why)| ConfigError::new(place.clone(), why).to_string()));
    }

    fn check_leftovers(&self, surroundings: &Environment, problems: &mut Vec<ConfigError>) {
        if let Some(given) = self.leftovers.as_ref().filter(|given| given.value == Leftovers::Leave)
            && surroundings.pid == 1
        {
            problems.push(given.raw.problem(
                "leave only works when graceful is not PID 1: the kernel ends every process of a container \
                 together with its PID 1; expected stop or wait",
            ));
        }
    }

    /// A signal that is rewritten is the app's, and begins no stop: what was said of it outweighs a default. Where
    /// nothing would be left, whoever wrote `TERM:QUIT` for another init would have no clean stop at all.
    fn stop_signals(&mut self, surroundings: &Environment) -> SignalSet {
        let explicit = (!self.stop_on.is_empty()).then(|| self.stop_on.iter().map(|given| given.value).collect());
        let all = stop_signals(explicit, surroundings.pid == 1);
        let rewritten: SignalSet = self.rewrite.iter().map(|given| given.value.0).collect();
        if rewritten.contains(Signal::TERM) && all.contains(Signal::TERM) {
            self.warnings.push(format!(
                "{}: SIGTERM no longer begins a stop, and there is no delay and no hold; what the app gets at a stop \
                 is set by {}",
                REWRITE.flag(),
                STOP_SIGNAL.flag()
            ));
        }
        SignalSet::from_bits(all.bits() & !rewritten.bits())
    }

    fn check_rewrites(&self, problems: &mut Vec<ConfigError>) {
        let mut seen = SignalSet::EMPTY;
        for given in &self.rewrite {
            let from = given.value.0;
            if self.stop_on.iter().any(|stop| stop.value == from) {
                problems.push(given.raw.problem(format!(
                    "{from} is in {}, and a rewritten signal begins no stop; what the app gets at a stop is set by {}",
                    STOP_ON.flag(),
                    STOP_SIGNAL.flag()
                )));
            } else if seen.contains(from) {
                problems.push(given.raw.problem(format!("{from} is rewritten twice; give it only once")));
            }
            seen = seen.with(from);
        }
    }

    fn readiness(&self, hooks: &[Hook], problems: &mut Vec<ConfigError>) -> (Option<Readiness>, Option<Startup>) {
        let polled = self.ready_url.is_some() || self.is_broken(&READY_URL);
        if !polled {
            for given in [&self.ready_interval, &self.ready_timeout].into_iter().flatten() {
                problems.push(given.raw.problem(READY_URL.is_missing()));
            }
        }
        self.check_ready_hooks(polled, problems);
        let hooked = hooks.iter().any(|hook| hook.stage == Stage::PostStart) || self.is_broken(&HOOK);
        let action = self.startup_action.as_ref().map(|given| &given.raw);
        if !polled && !hooked {
            let timeout = self.startup_timeout.as_ref().map(|given| &given.raw);
            for raw in timeout.into_iter().chain(action) {
                let (url, hook) = (&READY_URL, HOOK.flag());
                problems.push(raw.problem(format!(
                    "has no effect without {} or a post-start hook; add {} or {hook} post-start=COMMAND",
                    url.flag(),
                    url.form()
                )));
            }
        } else if let Some(raw) = action
            && self.startup_timeout.is_none()
            && !self.is_broken(&STARTUP_TIMEOUT)
        {
            problems.push(raw.problem(STARTUP_TIMEOUT.is_missing()));
        }
        let or_second = |given: &Option<Given<Duration>>| given.as_ref().map_or(Duration::from_secs(1), |g| g.value);
        let ready = self.ready_url.as_ref().map(|given| Readiness {
            url: given.value.clone(),
            interval: or_second(&self.ready_interval),
            timeout: or_second(&self.ready_timeout),
        });
        let action = self.startup_action.as_ref().map_or(StartupAction::Report, |given| given.value);
        let startup = self.startup_timeout.as_ref().map(|given| Startup { timeout: given.value, action });
        (ready, startup)
    }

    /// Without an endpoint, nothing tells when the app is ready.
    fn check_ready_hooks(&self, polled: bool, problems: &mut Vec<ConfigError>) {
        for hook in self.ready_hooks.iter().filter(|_| !polled) {
            problems.push(ConfigError::new(
                hook.clone(),
                format!(
                    "a ready hook has no effect without {}; expected {} beside it, or post-start, which runs right \
                     after the start",
                    READY_URL.flag(),
                    READY_URL.form()
                ),
            ));
        }
    }

    fn probe_listen(&self, surroundings: &Environment, problems: &mut Vec<ConfigError>) -> Option<Listen> {
        let given = self.probe_listen.as_ref()?;
        let Listen::Unix(typed) = &given.value else { return Some(given.value.clone()) };
        let path = surroundings.cwd.join(typed);
        match unbindable(&path).filter(|_| !surroundings.foreign) {
            Some(reason) => problems.push(given.raw.problem(reason)),
            None => return Some(Listen::Unix(path)),
        }
        None
    }

    fn control(&self, surroundings: &Environment, problems: &mut Vec<ConfigError>) -> ControlPlace {
        let Some(given) = &self.control else { return ControlPlace::Usual };
        let ControlPlace::At(typed) = &given.value else { return given.value.clone() };
        let path = surroundings.cwd.join(typed);
        if let Some(reason) = unbindable(&path).filter(|_| !surroundings.foreign) {
            problems.push(given.raw.problem(reason));
        }
        ControlPlace::At(path)
    }

    /// Each address once, and none that is graceful's own.
    fn listen(
        &self,
        probes: Option<&Listen>,
        surroundings: &Environment,
        problems: &mut Vec<ConfigError>,
    ) -> Vec<AppSocket> {
        let mut sockets: Vec<AppSocket> = Vec::new();
        for given in &self.listen {
            let address = given.value.address.clone().below(&surroundings.cwd);
            let unbindable = match &address {
                Listen::Unix(path) => unbindable(path).filter(|_| !surroundings.foreign),
                Listen::Tcp(_) => None,
            };
            // The kernel chooses another port each time.
            let is_chosen = matches!(address, Listen::Tcp(address) if address.port() == 0);
            if let Some(reason) = unbindable {
                problems.push(given.raw.problem(reason));
            } else if probes.is_some_and(|probes| *probes == address && !is_chosen) {
                let reason = format!("{} listens there; expected another address", PROBE_LISTEN.flag());
                problems.push(given.raw.problem(reason));
            } else if sockets.iter().any(|other| other.address == address && !is_chosen) {
                problems.push(given.raw.problem(format!("{address} is given more than once; give it only once")));
            } else {
                sockets.push(AppSocket { address, name: given.value.name.clone() });
            }
        }
        sockets
    }

    fn fail_readiness(&self, problems: &mut Vec<ConfigError>) -> FailReadiness {
        let Some(given) = &self.fail_readiness else { return FailReadiness::AtStop };
        if self.probe_listen.is_none() && !self.is_broken(&PROBE_LISTEN) {
            problems.push(given.raw.problem(PROBE_LISTEN.is_missing()));
        }
        given.value
    }

    /// What was given, and is therefore not the profile's to give.
    fn explicit(&self) -> profile::Explicit {
        profile::Explicit {
            choice: self.profile.as_ref().map(|given| given.value),
            stop_signal: self.stop_signal.is_some(),
            stop_on: !self.stop_on.is_empty(),
            // Whoever says how long to hold, or for which ports, wants a hold.
            hold: self.hold.is_some()
                || self.hold_timeout.is_some()
                || self.quiet_window.is_some()
                || !self.ports.is_empty(),
            hold_timeout: self.hold_timeout.is_some(),
            pre_stop_delay: self.pre_stop_delay.is_some(),
            grace_period: self.grace_period.is_some(),
        }
    }

    /// An option that changes nothing is not an error, but whoever set it expects an effect.
    fn warn_of_idle_options(&mut self) {
        self.warn_of_idle_restart();
        let hold = self.hold.as_ref().map_or(&Hold::Idle, |given| &given.value);
        let watches = matches!(hold, Hold::Idle | Hold::Quiet);
        let hold_flag = HOLD.flag();
        let (no_hold, watching) = (format!("with {hold_flag} never"), format!("without {hold_flag} idle or quiet"));
        let idle = [
            (self.hold_timeout.as_ref().map(|given| &given.raw), *hold == Hold::Never, &no_hold),
            (self.quiet_window.as_ref().map(|given| &given.raw), !watches, &watching),
            (self.ports.first().map(|given| &given.raw), *hold == Hold::Never, &no_hold),
        ];
        for (raw, _, why) in idle.into_iter().filter(|(_, is_idle, _)| *is_idle) {
            self.warnings.extend(raw.map(|raw| format!("{}: has no effect {why}", raw.place())));
        }
        if let Some(first) = self.checks.first().filter(|_| self.probe_listen.is_none()) {
            let (flag, form) = (PROBE_LISTEN.flag(), PROBE_LISTEN.form());
            let reason = format!("without {flag} the results of checks are only logged; add {form}");
            self.warnings.push(ConfigError::new(first.place.clone(), reason).to_string());
        }
    }
}

impl GivenPath {
    /// Absolute, so that nothing the app or a hook does to a directory changes what it names.
    fn resolve(
        &self,
        surroundings: &Environment,
        purpose: Purpose,
        problems: &mut Vec<ConfigError>,
    ) -> Option<PathBuf> {
        let raw = self.0.as_ref()?;
        let path = surroundings.cwd.join(&raw.text);
        if surroundings.foreign {
            return Some(path);
        }
        match unwritable(&path, "a file").or_else(|| files::obstacle(&path, purpose)) {
            Some(reason) => problems.push(raw.problem(reason)),
            None => return Some(path),
        }
        None
    }
}

/// Why `what` cannot be created under this path. What only an attempt can show (permissions, a full disk) is reported
/// when it is written.
fn unwritable(path: &Path, what: &str) -> Option<String> {
    let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if ends_in_slash || path.is_dir() || path.file_name().is_none() {
        return Some(format!("is a directory; expected the path of {what}"));
    }
    let parent = path.parent()?;
    match parent.metadata() {
        Ok(found) if !found.is_dir() => Some(format!("{} is not a directory", parent.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("the directory {} does not exist; create it first", parent.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            Some(format!("{} is not a directory", parent.display()))
        }
        _ => None,
    }
}

/// Why this command cannot be run now, by the rules of execvp(3).
fn missing(argv: &CommandLine, surroundings: &Environment) -> Option<String> {
    let program = argv.first()?;
    let can_run = |file: PathBuf| file.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
    if program.contains('/') {
        let file = surroundings.cwd.join(program);
        return (!can_run(file)).then(|| format!("no program that can be run at the path of {argv}"));
    }
    let path = surroundings.variable("PATH").unwrap_or("/bin:/usr/bin".as_ref());
    let there = std::env::split_paths(path).any(|folder| can_run(surroundings.cwd.join(folder).join(program)));
    (!there).then(|| format!("no program {argv} is in PATH"))
}

/// Why no socket can be made under this path.
fn unbindable(path: &Path) -> Option<String> {
    // sun_path holds 108 bytes, its end included (unix(7)).
    const LONGEST: usize = 107;
    let length = path.as_os_str().len();
    if length > LONGEST {
        return Some(format!("the path of a socket is {LONGEST} bytes at most (unix(7)), and this one has {length}"));
    }
    unwritable(path, "a socket").or_else(|| {
        let taken = path.symlink_metadata().is_ok_and(|found| !found.file_type().is_socket());
        taken.then(|| "is a file, not a socket; expected a path of its own, as unix:/run/graceful.sock".into())
    })
}

fn success(given: &[Given<SuccessStatus>]) -> SuccessStatuses {
    let mut statuses = SuccessStatuses::default();
    for status in given {
        match status.value {
            SuccessStatus::Code(code) => drop(statuses.codes.insert(code)),
            SuccessStatus::Signal(signal) => statuses.signals = statuses.signals.with(signal),
        }
    }
    statuses
}
