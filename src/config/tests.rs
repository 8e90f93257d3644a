//! What is accepted and what it means, source by source; and that the table of options is consistent. What is
//! refused is shown from outside, in tests/it/bad_input.rs.

mod health;

use super::options::{OPTIONS, Repeat, ValueKind};
use super::*;
use crate::signal::Signal;
use std::collections::BTreeSet;

const ARGV: [&str; 2] = ["app", "--flag"];

/// What was typed where.
#[derive(Default)]
struct Typed {
    flags: Vec<(&'static str, OsString)>,
    environment: Vec<(OsString, OsString)>,
    file: Option<String>,
}

fn flags(given: &[(&'static str, &str)]) -> Typed {
    Typed { flags: given.iter().map(|(name, value)| (*name, value.into())).collect(), ..Typed::default() }
}

fn env(given: &[(&str, &str)]) -> Typed {
    let environment = given.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Typed { environment, ..Typed::default() }
}

fn file(text: &str) -> Typed {
    Typed { file: Some(text.to_owned()), ..Typed::default() }
}

impl Typed {
    fn and(mut self, other: Typed) -> Typed {
        self.flags.extend(other.flags);
        self.environment.extend(other.environment);
        self.file = self.file.or(other.file);
        self
    }

    fn load_with(mut self, change: impl FnOnce(&mut Environment)) -> Result<Config, Vec<ConfigError>> {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = &self.file {
            std::fs::write(dir.path().join("graceful.toml"), text).unwrap();
            self.flags.push(("config", "graceful.toml".into()));
        }
        let settings = Settings { flags: self.flags, problems: Vec::new() };
        let cwd = dir.path().to_owned();
        let owned = |(name, value): (OsString, OsString)| (name.into(), value.into());
        let environment = self.environment.into_iter().map(owned).collect();
        let mut surroundings = Environment { environment, cwd, pid: 7, https: true, foreign: false, above: None };
        change(&mut surroundings);
        let mut config = load(settings, ARGV.map(OsString::from).to_vec(), &surroundings)?;
        // The hooks and checks of these tests are not on the machine that runs them.
        config.warnings.retain(|warning| !warning.contains(": no program "));
        Ok(config)
    }

    #[track_caller]
    fn load(self) -> Config {
        self.load_with(|_| ()).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// The only line that is reported.
    #[track_caller]
    fn problem(self, change: impl FnOnce(&mut Environment)) -> String {
        let problems = self.load_with(change).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    }

    /// Accepted, without a warning, and the defaults changed by `change` are the result.
    #[track_caller]
    fn means(self, change: impl FnOnce(&mut Config)) {
        let mut expected = Config::defaults(ARGV.map(OsString::from).to_vec(), false);
        change(&mut expected);
        assert_eq!(self.load(), expected);
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A hook as a flag or variable gives it.
fn hook(name: &str, stage: Stage, action: HookAction) -> Hook {
    let on_failure = if stage == Stage::PreStart { OnFailure::Abort } else { OnFailure::Continue };
    Hook { name: name.into(), stage, action, timeout: secs(10), priority: 0, sequential: true, on_failure }
}

fn run(argv: &[&str]) -> HookAction {
    HookAction::Command(words(argv).into())
}

#[test]
fn nothing_said_is_the_defaults() {
    flags(&[]).means(|_| ());
    file("").means(|_| ());
    file("# a comment\n").means(|_| ());
    env(&[("GRACEFUL_GRACE_PERIOD", ""), ("PATH", "/bin"), ("GRACEFUL_HOOK", ""), ("GRACEFUL_CHECK", "\n")])
        .means(|_| ());
    assert_eq!(Config::defaults(Vec::new(), false).budget.kill_at(), secs(29));
}

#[test]
fn the_budget_and_its_defaults() {
    let budget = |typed: Typed| {
        let budget = typed.load().budget;
        let millis = |duration: Duration| duration.as_millis();
        (millis(budget.grace_period), millis(budget.kill_margin), millis(budget.pre_stop_delay))
    };
    assert_eq!(budget(flags(&[("grace-period", "60s")])), (60_000, 1000, 5000));
    assert_eq!(budget(flags(&[("grace-period", "5m")])), (300_000, 1000, 5000));
    assert_eq!(budget(flags(&[("grace-period", "4s")])), (4000, 400, 1000));
    assert_eq!(budget(flags(&[("grace-period", "1ms")])), (1, 0, 0));
    assert_eq!(budget(flags(&[("kill-margin", "0s"), ("pre-stop-delay", "0s")])), (30_000, 0, 0));
    assert_eq!(budget(flags(&[("pre-stop-delay", "28s")])), (30_000, 1000, 28_000));
    assert_eq!(budget(flags(&[("grace-period", "1m 30s"), ("pre-stop-delay", "1.5s")])), (90_000, 1000, 1500));
    // Defaults shrink: half of what is left before SIGKILL, the hold, the first escalation.
    assert_eq!(budget(flags(&[("grace-period", "25s"), ("kill-margin", "20s")])), (25_000, 20_000, 2500));
    assert_eq!(budget(flags(&[("escalate", "4s:QUIT,20s:ABRT")])), (30_000, 1000, 2000));
    assert_eq!(budget(flags(&[("hold", "true"), ("hold-timeout", "25s")])), (30_000, 1000, 2000));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let in_file = || file("grace_period = \"10s\"\nlog_level = \"debug\"\nstop_on = [\"HUP\"]");
    let in_env = || env(&[("GRACEFUL_GRACE_PERIOD", "20s"), ("GRACEFUL_STOP_ON", "USR1,USR2")]);
    let in_flags = || flags(&[("grace-period", "40s"), ("stop-on", "WINCH")]);
    let grace = |typed: Typed| typed.load().budget.grace_period;
    assert_eq!(grace(in_file()), secs(10));
    assert_eq!(grace(in_file().and(in_env())), secs(20));
    assert_eq!(grace(in_file().and(in_env()).and(in_flags())), secs(40));
    let all = in_file().and(in_env()).and(in_flags()).load();
    assert_eq!(all.log_level, LogLevel::Debug, "the file still says what nobody else says");
    assert_eq!(all.stop_on, SignalSet::EMPTY.with(Signal::WINCH), "the strongest source gives the whole list");
    let env_over_file = in_file().and(in_env()).load();
    assert_eq!(env_over_file.stop_on, SignalSet::EMPTY.with(Signal::USR1).with(Signal::USR2));
}

#[test]
fn the_file_named_by_a_variable_and_by_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    for (name, level) in [("a.toml", "debug"), ("b.toml", "error")] {
        std::fs::write(dir.path().join(name), format!("log_level = \"{level}\"")).unwrap();
    }
    let at = |surroundings: &mut Environment| surroundings.cwd = dir.path().to_owned();
    let by_env = env(&[("GRACEFUL_CONFIG", "a.toml")]).load_with(at).unwrap();
    assert_eq!(by_env.log_level, LogLevel::Debug);
    let by_both = env(&[("GRACEFUL_CONFIG", "a.toml")]).and(flags(&[("config", "b.toml")])).load_with(at).unwrap();
    assert_eq!(by_both.log_level, LogLevel::Error);
}

#[test]
fn what_begins_the_shutdown() {
    let of = |typed: Typed, pid| typed.load_with(|around| around.pid = pid).unwrap_or_else(|p| panic!("{p:?}")).stop_on;
    let set = |signals: &[Signal]| signals.iter().copied().collect::<SignalSet>();
    let usual = [Signal::TERM, Signal::INT];
    assert_eq!(of(flags(&[]), 7), set(&usual));
    assert_eq!(of(flags(&[]), 1), set(&[Signal::TERM, Signal::INT, Signal::RTMIN_3, Signal::PWR]));
    assert_eq!(Config::defaults(Vec::new(), true).stop_on, of(flags(&[]), 1), "the short way knows it, too");
    // A list is the whole list.
    assert_eq!(of(flags(&[("stop-on", "USR1")]), 1), set(&[Signal::USR1]));
    assert_eq!(of(flags(&[("stop-on", "QUIT,TERM")]), 7), set(&[Signal::QUIT, Signal::TERM]));
    // What is rewritten begins no stop.
    assert_eq!(of(flags(&[("rewrite", "INT:0"), ("rewrite", "PWR:HUP")]), 1), set(&[Signal::TERM, Signal::RTMIN_3]));
    let none = flags(&[("rewrite", "TERM:QUIT")]).load();
    assert_eq!(none.stop_on, set(&[Signal::INT]));
    assert!(none.warnings[0].contains("SIGTERM no longer begins a stop"), "{:?}", none.warnings);
    // A profile adds to the default, and to nothing else.
    let nginx = |typed: Typed| of(typed.and(flags(&[("profile", "nginx")])), 7);
    assert_eq!(nginx(flags(&[])), set(&[Signal::TERM, Signal::INT, Signal::QUIT]));
    assert_eq!(nginx(flags(&[("stop-on", "TERM")])), set(&[Signal::TERM]));
    assert_eq!(nginx(flags(&[("rewrite", "QUIT:0")])), set(&usual));
}

#[test]
fn signals_of_every_form() {
    flags(&[("stop-signal", "SIGQUIT")]).means(|c| c.stop_signal = Some(Signal::QUIT));
    env(&[("GRACEFUL_STOP_SIGNAL", "winch")]).means(|c| c.stop_signal = Some(Signal::WINCH));
    file("stop_signal = 3").means(|c| c.stop_signal = Some(Signal::QUIT));
    file("stop_signal = \"RTMIN+3\"").means(|c| c.stop_signal = Signal::new(37));
    flags(&[("stop-on", "HUP"), ("stop-on", "TERM, 37")])
        .means(|c| c.stop_on = [Signal::HUP, Signal::TERM, Signal::RTMIN_3].into_iter().collect());
    let rewritten = vec![(Signal::HUP, Some(Signal::USR1)), (Signal::USR2, None)];
    flags(&[("rewrite", "HUP:USR1"), ("rewrite", "12:0")]).means(|c| c.rewrite = rewritten.clone());
    env(&[("GRACEFUL_REWRITE", "HUP:USR1,USR2:0")]).means(|c| c.rewrite = rewritten.clone());
    file("rewrite = [\"HUP:USR1\", \"USR2:0\"]").means(|c| c.rewrite = rewritten);
    let escalations = vec![
        Escalation { after: secs(20), signal: Signal::QUIT },
        Escalation { after: secs(25), signal: Signal::ABRT },
    ];
    flags(&[("escalate", "25s:ABRT"), ("escalate", "20s:QUIT")]).means(|c| c.escalate = escalations.clone());
    file("escalate = \"25s:ABRT,20s:QUIT\"").means(|c| c.escalate = escalations);
}

#[test]
fn holds() {
    flags(&[("hold", "idle")]).means(|_| ());
    flags(&[("hold", "never")]).means(|c| c.hold = Hold::Never);
    file("hold = \"quiet\"\nquiet_window = \"3s\"\nports = [8000, \"8443\"]").means(|c| {
        c.hold = Hold::Quiet;
        c.quiet_window = secs(3);
        c.ports = Some(vec![8000, 8443]);
    });
    flags(&[("ports", "8000,8443"), ("ports", "9")]).means(|c| c.ports = Some(vec![8000, 8443, 9]));
    env(&[("GRACEFUL_HOLD", "http://127.0.0.1:9/idle")]).means(|c| c.hold = Hold::Url(url("http://127.0.0.1:9/idle")));
    file("hold = \"sh -c 'exit 0'\"").means(|c| c.hold = Hold::Command(words(&["sh", "-c", "exit 0"]).into()));
    flags(&[("hold", "HTTPS://h/")]).and(flags(&[("hold-timeout", "9s")])).means(|c| {
        c.hold = Hold::Url(url("https://h/"));
        c.hold_timeout = Some(secs(9));
    });
}

#[test]
fn readiness_and_startup() {
    let ready = |interval, timeout| Some(Readiness { url: url("http://[::1]:80/r?x=1"), interval, timeout });
    let ready_url = ("ready-url", "http://[::1]/r?x=1");
    flags(&[ready_url]).means(|c| c.ready = ready(secs(1), secs(1)));
    flags(&[ready_url, ("ready-interval", "5s"), ("ready-timeout", "200ms"), ("startup-timeout", "1m")]).means(|c| {
        c.ready = ready(secs(5), Duration::from_millis(200));
        c.startup = Some(Startup { timeout: secs(60), action: StartupAction::Report });
    });
    file("ready_url = \"http://[::1]/r?x=1\"\nstartup_timeout = \"1m\"\nstartup_action = \"stop\"").means(|c| {
        c.ready = ready(secs(1), secs(1));
        c.startup = Some(Startup { timeout: secs(60), action: StartupAction::Stop });
    });
}

#[test]
fn endings_and_output() {
    flags(&[("leftovers", "leave")]).means(|c| c.leftovers = Leftovers::Leave);
    let success = || SuccessStatuses {
        codes: BTreeSet::from([0, 143]),
        signals: SignalSet::EMPTY.with(Signal::TERM).with(Signal::INT),
    };
    flags(&[("success-exit-status", "143,SIGTERM"), ("success-exit-status", "0,int")]).means(|c| c.success = success());
    file("success_exit_status = [143, \"0\", \"TERM\", \"INT\"]").means(|c| c.success = success());
    env(&[("GRACEFUL_SUCCESS_EXIT_STATUS", "7")]).means(|c| c.success.codes = BTreeSet::from([7]));
    env(&[("GRACEFUL_LOG_FORMAT", "json")]).means(|c| c.log_format = LogFormat::Json);
    for (name, level) in [("error", LogLevel::Error), ("debug", LogLevel::Debug), ("trace", LogLevel::Trace)] {
        flags(&[("log-level", name)]).means(|c| c.log_level = level);
    }
}

#[test]
fn paths_become_absolute_and_may_be_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let dir = tempfile::tempdir().unwrap();
    let bytes = OsString::from_vec(b"\xff.json".to_vec());
    let typed = flags(&[("drain-file", "drain"), ("termination-log", "/dev/null")]);
    let typed = Typed { environment: vec![("GRACEFUL_REPORT".into(), bytes.clone())], ..typed };
    let config = typed.load_with(|surroundings| surroundings.cwd = dir.path().to_owned()).unwrap();
    assert_eq!(config.drain_file, Some(dir.path().join("drain")));
    assert_eq!(config.termination_log, Some(PathBuf::from("/dev/null")));
    assert_eq!(config.report, Some(dir.path().join(bytes)));
}

#[test]
fn a_path_that_a_stronger_source_replaces_need_not_exist() {
    let typed = flags(&[("report", "here.json")]).and(env(&[("GRACEFUL_REPORT", "/nowhere/at/all.json")]));
    assert!(typed.load().report.unwrap().ends_with("here.json"));
}

#[test]
fn hooks_of_all_sources_add_up_in_order() {
    let typed = flags(&[("hook", "post-stop=http://h:1/gone?x"), ("hook", "pre-stop=a 'b c'=d")])
        .and(env(&[("GRACEFUL_HOOK", "\npre-start=./bin/check\n\n post-start =x\n")]))
        .and(file("[[hook]]\nstage = \"pre-stop\"\nrun = [\"/bin/drain\", \"\"]\n"));
    typed.means(|c| {
        c.hooks = vec![
            Hook { sequential: false, ..hook("drain", Stage::PreStop, run(&["/bin/drain", ""])) },
            hook("check", Stage::PreStart, run(&["./bin/check"])),
            hook("x", Stage::PostStart, run(&["x"])),
            hook("h", Stage::PostStop, HookAction::Post(url("http://h:1/gone?x"))),
            hook("a", Stage::PreStop, run(&["a", "b c=d"])),
        ];
    });
}

#[test]
fn hooks_and_checks_of_the_graceful_above_are_not_run_twice() {
    const HOOK: (&str, &str) = ("GRACEFUL_HOOK", "pre-stop=a");
    const CHECK: (&str, &str) = ("GRACEFUL_CHECK", "db=tcp://db:1");
    let below = |of_above: &[(&str, &str)], typed: Typed| {
        let pairs = of_above.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let above = OuterGraceful { pid: 1, environment: Some(pairs) };
        let config = typed.load_with(|surroundings| surroundings.above = Some(above)).unwrap();
        let hooks: Vec<String> = config.hooks.iter().map(|hook| hook.name.clone()).collect();
        (hooks, config.checks.len())
    };
    let both = [HOOK, CHECK];
    assert_eq!(below(&both, env(&both)), (vec![], 0));
    assert_eq!(below(&both, env(&both).and(flags(&[("hook", "pre-stop=b")]))), (words(&["b"]), 0), "a flag is its own");
    assert_eq!(below(&[], env(&both)), (words(&["a"]), 1), "variables that only this one has");
    assert_eq!(below(&[("GRACEFUL_HOOK", "pre-stop=c")], env(&[HOOK])), (words(&["a"]), 0), "of another value");
    // A file that both read is that of the one above, as long as no flag names it.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.toml");
    std::fs::write(&path, "[[hook]]\nstage = \"pre-stop\"\nrun = \"f\"\n").unwrap();
    let path = path.to_str().unwrap();
    let named = [("GRACEFUL_CONFIG", path)];
    assert_eq!(below(&named, env(&named)), (vec![], 0));
    assert_eq!(below(&[], env(&named)), (words(&["f"]), 0));
    assert_eq!(below(&named, env(&named).and(flags(&[("config", path)]))), (words(&["f"]), 0));
}

#[test]
fn a_hook_of_the_file_in_full() {
    let text = "[[hook]]\nstage = \"post-start\"\nname = \"tell\"\nurl = \"https://h/up\"\ntimeout = \"3s\"\n\
                priority = -5\non_failure = \"abort\"\n\
                [[hook]]\nstage = \"pre-start\"\nrun = \"check\"\non_failure = \"continue\"";
    file(text).means(|c| {
        c.hooks = vec![
            Hook {
                name: "tell".into(),
                stage: Stage::PostStart,
                action: HookAction::Post(url("https://h/up")),
                timeout: secs(3),
                priority: -5,
                sequential: false,
                on_failure: OnFailure::Abort,
            },
            Hook {
                sequential: false,
                on_failure: OnFailure::Continue,
                ..hook("check", Stage::PreStart, run(&["check"]))
            },
        ];
    });
}

#[test]
fn default_timeouts_of_hooks_fit_and_explicit_ones_are_kept() {
    let timeouts =
        |typed: Typed| -> Vec<u128> { typed.load().hooks.iter().map(|hook| hook.timeout.as_millis()).collect() };
    let pre_stop = ("hook", "pre-stop=x");
    assert_eq!(timeouts(flags(&[("grace-period", "10s"), pre_stop])), [4500], "half of the time to SIGKILL");
    assert_eq!(timeouts(flags(&[pre_stop; 2])), [10_000; 2]);
    assert_eq!(timeouts(flags(&[pre_stop; 3])), [7250; 3], "one after the other, and over before SIGKILL");
    assert_eq!(timeouts(flags(&[("hook", "post-stop=x"); 4])), [10_000; 4]);
    let together = "[[hook]]\nstage = \"pre-stop\"\nrun = \"x\"\ntimeout = \"20s\"\n".repeat(3);
    assert_eq!(timeouts(file(&together)), [20_000; 3], "equal priority runs together and counts once");
    assert_eq!(timeouts(file(&together).and(flags(&[pre_stop]))), [20_000, 20_000, 20_000, 4500]);
}

#[test]
fn what_depends_on_the_surroundings() {
    let pid_1 = |surroundings: &mut Environment| surroundings.pid = 1;
    let line = flags(&[("leftovers", "leave")]).problem(pid_1);
    assert!(line.starts_with("--leftovers \"leave\": ") && line.contains("not PID 1"), "{line}");
    assert_eq!(flags(&[("leftovers", "stop")]).load_with(pid_1).map(|config| config.leftovers), Ok(Leftovers::Stop));
    let plain = |surroundings: &mut Environment| surroundings.https = false;
    for (typed, place) in [
        (flags(&[("ready-url", "https://h/")]), "--ready-url \"https://h/\": "),
        (env(&[("GRACEFUL_HOLD", "https://h/")]), "GRACEFUL_HOLD=\"https://h/\": "),
        (flags(&[("hook", "pre-stop=https://h/")]), "--hook \"pre-stop=https://h/\": "),
        (file("[[hook]]\nstage = \"pre-stop\"\nurl = \"https://h/\""), "graceful.toml: hook[1].url = \"https://h/\": "),
        (flags(&[("check", "a=https://h/")]), "--check \"a=https://h/\": "),
        (file("[[check]]\nname = \"a\"\ntarget = \"https://h/\""), "graceful.toml: check[1].target = \"https://h/\": "),
    ] {
        let line = typed.problem(plain);
        assert!(line.starts_with(place) && line.contains("no https; expected http://"), "{line}");
    }
    assert!(flags(&[("ready-url", "http://h/")]).load_with(plain).is_ok());
}

#[test]
fn slips_in_variable_names_are_warned_of_and_foreign_ones_are_not() {
    let warnings = |name: &str| env(&[(name, "tcp://10.0.0.1:80")]).load().warnings;
    for (name, meant) in [
        ("GRACEFUL_GRACE_PERIODE", "GRACEFUL_GRACE_PERIOD?"),
        ("GRACEFUL_GRACEPERIOD", "GRACEFUL_GRACE_PERIOD?"),
        ("GRACEFUL_STOP_SIGNALS", "GRACEFUL_STOP_SIGNAL?"),
        ("GRACEFUL_HOOKS", "GRACEFUL_HOOK?"),
        ("GRACEFUL_CHECKS", "GRACEFUL_CHECK?"),
        ("GRACEFUL_PROBE_LISTENER", "GRACEFUL_PROBE_LISTEN?"),
        ("GRACEFUL_PROBE", "GRACEFUL_PROBE_LISTEN?"),
        ("GRACEFUL_FAIL_READYNESS", "GRACEFUL_FAIL_READINESS?"),
    ] {
        let lines = warnings(name);
        assert!(lines.len() == 1 && lines[0].starts_with(name) && lines[0].contains(meant), "{name}: {lines:?}");
    }
    for name in [
        "GRACEFUL_SERVICE_HOST",
        "GRACEFUL_SERVICE_PORT",
        "GRACEFUL_SERVICE_PORT_HTTP",
        "GRACEFUL_PORT",
        "GRACEFUL_PORT_80_TCP",
        "GRACEFUL_PORT_80_TCP_ADDR",
        "GRACEFUL_RE_PORT",
        "GRACEFUL_REPORT_SERVICE_HOST",
        "GRACEFUL_PHASE",
        "GRACEFUL_SIGNAL",
        "GRACEFUL_APP_PID",
        "GRACEFUL_EXIT_STATUS",
        "GRACEFUL_GENERATION",
        "GRACEFUL_CAUSE",
        "GRACEFUL_BANANA",
        "GRACEFULLY_HOOKS",
    ] {
        assert_eq!(warnings(name), [""; 0], "{name}");
    }
}

#[test]
fn what_says_nothing_with_this_hold_is_warned_of() {
    for (hold, idle) in [
        ("idle", &[][..]),
        ("quiet", &[]),
        ("/bin/true", &["--quiet-window \"5s\": has no effect without --hold idle or quiet"]),
        (
            "never",
            &[
                "--hold-timeout \"5s\": has no effect with --hold never",
                "--quiet-window \"5s\": has no effect without --hold idle or quiet",
                "--ports \"80\": has no effect with --hold never",
            ],
        ),
    ] {
        let given = [("hold", hold), ("hold-timeout", "5s"), ("quiet-window", "5s"), ("ports", "80")];
        assert_eq!(flags(&given).load().warnings, idle, "{hold}");
    }
}

/// The lines of this moment.
fn said(config: &Config, at: AdviceAt) -> Vec<&str> {
    config.advice.iter().filter(|advice| advice.at == at).map(|advice| advice.what.as_str()).collect()
}

#[test]
fn a_profile_gives_what_was_not_given() {
    let config = flags(&[("profile", "nginx")]).load();
    assert_eq!((config.stop_signal, config.profile_signal), (None, Some(Signal::QUIT)));
    assert!(config.stop_on.contains(Signal::QUIT));
    assert_eq!(said(&config, AdviceAt::Start), ["profile nginx: stopped by SIGQUIT"]);
    assert!(said(&config, AdviceAt::Detail)[0].starts_with("profile nginx: TERM and INT drop requests"), "{config:?}");
    let config = flags(&[("profile", "nginx"), ("stop-signal", "TERM")]).load();
    assert_eq!((config.stop_signal, config.profile_signal), (Some(Signal::TERM), None));
    assert_eq!(said(&config, AdviceAt::Start), ["profile nginx: stopped by SIGTERM, as --stop-signal says"]);
    let config = flags(&[("profile", "redis")]).load();
    assert_eq!((config.hold, config.hold_timeout), (Hold::Idle, Some(secs(5))));
    for wants_a_hold in [("hold", "idle"), ("ports", "80"), ("quiet-window", "1s")] {
        assert_eq!(flags(&[("profile", "redis"), wants_a_hold]).load().hold_timeout, None, "{wants_a_hold:?}");
    }
    let timeout = |given: (&'static str, &str)| flags(&[("profile", "redis"), given]).load().hold_timeout;
    assert_eq!(timeout(("hold-timeout", "9s")), Some(secs(9)));
    // Half of what is left after the delay is the app's: K is at 7.2 s, the delay 2 s.
    assert_eq!(timeout(("grace-period", "8s")), Some(Duration::from_millis(2600)));
    let delay = |given: &[(&'static str, &str)]| flags(given).load().budget.pre_stop_delay;
    assert_eq!(delay(&[("profile", "celery")]), secs(0));
    assert_eq!(delay(&[("profile", "celery"), ("pre-stop-delay", "3s")]), secs(3));
    let reserve = |given: &[(&'static str, &str)]| flags(given).load().hold_reserve;
    assert_eq!(reserve(&[("profile", "node")]), Some(secs(2)));
    assert_eq!(reserve(&[("profile", "node"), ("hold-timeout", "3s")]), None);
    let stop_on = |given: &[(&'static str, &str)]| flags(given).load().stop_on.contains(Signal::WINCH);
    assert!(stop_on(&[("profile", "httpd")]) && !stop_on(&[]));
    assert!(!stop_on(&[("profile", "httpd"), ("stop-on", "USR1")]));
    assert!(!stop_on(&[("profile", "httpd"), ("rewrite", "WINCH:0")]));
}

/// The command is `app`, which is not a known server.
#[test]
fn a_command_that_no_profile_knows_is_as_without() {
    for (given, lines) in [(&[][..], 0), (&[("profile", "none")], 0), (&[("profile", "auto")], 1)] {
        let config = flags(given).load();
        assert_eq!((config.profile, config.profile_signal, config.advice.len()), (None, None, lines));
        assert_eq!(Config { advice: Vec::new(), ..config }, Config::defaults(ARGV.map(OsString::from).to_vec(), false));
    }
}

#[test]
fn a_server_is_known_without_being_asked_for_and_says_nothing_at_the_start() {
    for (command, at) in [
        (&["uvicorn", "app:app"][..], AdviceAt::Detail),
        (&["gunicorn", "app:app"], AdviceAt::Detail),
        (&["nginx"], AdviceAt::Stop),
        (&["redis-server"], AdviceAt::Stop),
        (&["celery", "worker"], AdviceAt::Stop),
    ] {
        let config = Config::of_command(command.iter().map(OsString::from).collect(), false);
        let name = config.profile.unwrap();
        let line = format!("profile {name}, by {:?} in the command line: stopped by SIG", command[0]);
        assert!(said(&config, at).iter().any(|said| said.starts_with(&line)), "{config:?}");
        assert_eq!((said(&config, AdviceAt::Start), config.warnings.len()), (Vec::<&str>::new(), 0), "{name}");
    }
}

#[test]
fn a_servers_own_time_is_a_warning_only_where_somebody_set_one() {
    let config = flags(&[("profile", "gunicorn")]).load();
    assert_eq!(config.warnings, Vec::<String>::new());
    let why = "profile gunicorn: gunicorn gives its requests up to 30s (the default of --graceful-timeout), and SIGKILL \
               comes 24s after its stop signal: lower it, or raise --grace-period";
    assert_eq!(said(&config, AdviceAt::Kill), [why]);
    let config = flags(&[("profile", "gunicorn"), ("grace-period", "20s")]).load();
    assert!(config.warnings[0].contains("gunicorn gives its requests up to 30s"), "{config:?}");
    assert_eq!(said(&config, AdviceAt::Kill), Vec::<&str>::new());
    assert_eq!(flags(&[("profile", "gunicorn"), ("grace-period", "40s")]).load().warnings, Vec::<String>::new());
}

#[test]
fn the_names_of_an_option_are_one_name() {
    let mut seen = BTreeSet::new();
    for spec in OPTIONS {
        let name = spec.name;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        let key = name.replace('-', "_");
        assert_eq!(spec.variable, format!("GRACEFUL_{}", key.to_ascii_uppercase()), "{name}");
        match name {
            // The file does not name itself; its hooks and checks are tables.
            "config" | "hook" | "check" => assert_eq!(spec.key, None),
            _ => assert_eq!(spec.key, Some(key.as_str()), "{name}"),
        }
    }
}

#[test]
fn every_option_has_help_with_its_default_under_one_heading() {
    let mut headings: Vec<&str> = Vec::new();
    for spec in OPTIONS {
        let (name, help) = (spec.name, spec.help);
        assert!(help.contains("Default: ") && help.len() > 20, "{name}: {help}");
        assert!(!help.ends_with('.') && !help.contains("  ") && !help.contains('\n'), "{name}: {help}");
        assert_eq!(help.contains("repeatable"), spec.repeat != Repeat::No, "{name}: {help}");
        if headings.last() != Some(&spec.heading) {
            assert!(!headings.contains(&spec.heading), "{name}: {} is in two places", spec.heading);
            headings.push(spec.heading);
        }
        if let ValueKind::Choice(_, choices) = spec.value {
            assert!(choices.iter().all(|word| help.contains(word)), "{name}: {help}");
        }
    }
}

/// The three ways of one option lead to the same configuration, and each of them changes something.
#[test]
fn of_the_two_pauses_what_was_given_moves_what_was_not() {
    let pauses = |typed: &[(&'static str, &str)]| {
        let restart = flags(&[("restart", "always")]).and(flags(typed)).load().restart;
        (restart.delay, restart.delay_max)
    };
    let half = Duration::from_millis(500);
    assert_eq!(pauses(&[]), (half, secs(30)));
    assert_eq!(pauses(&[("restart-delay", "60s")]), (secs(60), secs(60)));
    assert_eq!(pauses(&[("restart-delay-max", "100ms")]), (Duration::from_millis(100), Duration::from_millis(100)));
    assert_eq!(pauses(&[("restart-delay", "2s"), ("restart-delay-max", "5s")]), (secs(2), secs(5)));
}

#[test]
fn what_never_is_started_again_has_no_pause_and_a_hung_app_may_have_one() {
    let never = flags(&[("restart", "never"), ("restart-limit", "3")]).load();
    assert_eq!(never.warnings, ["--restart-limit \"3\": has no effect with --restart never"]);
    let hung = [("live-url", "http://h/"), ("live-action", "restart"), ("restart-limit", "3")];
    let config = flags(&hung).load();
    assert!(config.restarts() && config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn every_option_is_read_from_every_source() {
    for spec in OPTIONS.iter().filter(|spec| spec.name != "config") {
        let value = match (spec.value, spec.name) {
            (ValueKind::Path, "drain-file") => "/tmp/graceful-is-draining",
            (ValueKind::Path, _) => "/dev/null",
            (ValueKind::Signal | ValueKind::SignalOrNone, _) => "USR1",
            (ValueKind::Control, _) => "none",
            (ValueKind::Hold, _) => "true",
            (_, "grace-period") => "31s",
            (ValueKind::Duration, _) => "1500ms",
            (ValueKind::Choice(_, words), "log-level") => words[0],
            (ValueKind::Choice(_, words), _) => words[words.len() - 1],
            (kind, _) => kind.example(),
        };
        // What the option needs beside it, and what it does not change by being repeated.
        let beside: &[(&'static str, &str)] = match spec.name {
            "ready-interval" | "ready-timeout" => &[("ready-url", "http://h/")],
            "startup-timeout" => &[("ready-url", "http://h/")],
            "startup-action" => &[("ready-url", "http://h/"), ("startup-timeout", "9s")],
            "hold-timeout" => &[("hold", "true")],
            "check" | "fail-readiness" => &[("probe-listen", ":9090")],
            "live-interval" | "live-timeout" | "live-threshold" | "live-action" => &[("live-url", "http://h/")],
            "reload-ready" => &[("listen", ":8000")],
            "restart-delay" | "restart-delay-max" | "restart-limit" => &[("restart", "always")],
            _ => &[],
        };
        let without = flags(beside).load();
        let by_flag = flags(beside).and(flags(&[(spec.name, value)])).load();
        let by_variable = flags(beside).and(env(&[(spec.variable, value)])).load();
        assert_ne!(by_flag, without, "--{} {value} changes nothing", spec.name);
        assert_eq!(by_variable, by_flag, "{}={value}", spec.variable);
        if let Some(key) = spec.key {
            let by_file = flags(beside).and(file(&format!("{key} = {value:?}"))).load();
            assert_eq!(by_file, by_flag, "{key} = {value:?}");
        }
    }
}

proptest::proptest! {
    /// No value makes the reader panic, and no value breaks a message into two lines.
    #[test]
    fn any_value_of_any_option_is_taken_or_refused_on_one_line(which in 0..OPTIONS.len(), value in VALUE) {
        one_line_each(flags(&[(OPTIONS[which].name, &value)]));
        one_line_each(env(&[(OPTIONS[which].variable, &value)]));
        if let Some(key) = OPTIONS[which].key {
            one_line_each(file(&format!("{key} = {}", toml_string(&value))));
        }
    }

    #[test]
    fn any_text_is_a_file_or_refused_on_one_line(lines in proptest::collection::vec(FILE_LINE, 0..6)) {
        one_line_each(file(&lines.join("\n")));
    }
}

/// Near what is right, and far from it.
const VALUE: &str = concat!(
    r#"(never|http://[a-z\[:/@%]{0,5}|[0-9]{1,25}(ns|ms|s|m|y)?|[A-Z0-9]{0,6}:[A-Z0-9+]{0,8}|"#,
    r#"pre-stop=.{0,6}|[a-z.]{0,3}=(http://|tcp://|tcp:|exec:|disk:|[a-z]{1,4}://)[a-z0-9:\[\]@/.%]{0,8}|"#,
    r#"(unix:|[a-z0-9.\[\]]{0,4}:)[a-z0-9/]{0,5}|\PC{0,8}|.{0,8}|\n|'|")"#
);
const FILE_LINE: &str = concat!(
    r#"(\[\[hook\]\]|\[\[check\]\]|\[[a-z]{1,4}\]|"#,
    r#"(stage|run|timeout|priority|name|url|hook|grace_period|stop_on|check|target|interval|jitter|degraded_after|"#,
    r#"critical|failure_threshold|breaker_after|breaker_reset|reset_after|send|expect|degraded_status|degraded_free|unhealthy_free|"a\\nb") = "#,
    r#"("(pre-stop|1s|x|\\n|exec:x|tcp://h:1|disk:/|5%|30%)"|[0-9]{1,3}|\[.{0,4}\]|true|\{.{0,3}\})|.{0,9})"#
);

/// The value as a TOML string, every character escaped.
fn toml_string(value: &str) -> String {
    let escaped: String = value.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
    format!("\"{escaped}\"")
}

fn one_line_each(typed: Typed) {
    for problem in typed.load_with(|_| ()).err().unwrap_or_default() {
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
}
