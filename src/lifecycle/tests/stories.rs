//! The contract as timetables.
//!
//! A line is a time (since graceful's start), a fact, and what follows from it, in order; a line that begins with the
//! arrow goes on with the one before. `time` is a deadline, and must be the very one that the lifecycle asked for; no
//! other line may come after a deadline, unless it begins with `late`. `(INT)` is a SIGINT that the terminal has given
//! to the app as well, `<INT>` one that the kernel sent to graceful alone. In the answers `[Drain]` is the beginning of
//! a phase, `->app` a signal to the app.

use super::*;

/// From graceful's start.
fn story(plan: StopPlan, lines: &str) {
    let mut life = Watched::new(plan).expect("begins");
    let mut now = Duration::ZERO;
    for (line, expected) in parse(lines) {
        let mut words = line.split_whitespace();
        let at = words.next().expect("a time");
        if at != "begin" {
            now = seconds(at);
            let fact: Vec<&str> = words.collect();
            let late = fact[0] == "late";
            let fact = &fact[usize::from(late)..];
            let deadline = life.deadline();
            if fact == ["time"] {
                assert!(late || deadline == Some(now), "{line}: the deadline is {deadline:?}");
            } else {
                assert!(late || deadline.is_none_or(|at| at > now), "{line}: there is a deadline at {deadline:?}");
            }
            life.feed(now, input(fact)).unwrap_or_else(|why| panic!("{line}: {why}"));
        }
        let told: Vec<String> = life.actions.iter().map(said).collect();
        assert_eq!(told.join(", "), expected, "\n{line}");
    }
    assert!(life.is_done() || life.deadline().is_none(), "the story has no end: {:?} {now:?}", life.deadline());
}

/// From the moment that the app runs (no pre-start hooks).
fn running(plan: StopPlan, lines: &str) {
    story(plan, &format!("begin -> spawn\n 0s started -> [Running]\n{lines}"));
}

fn parse(lines: &str) -> Vec<(&str, String)> {
    let mut steps: Vec<(&str, String)> = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (fact, answer) = line.split_once("-> ").or_else(|| line.split_once("->")).expect("an arrow");
        match steps.last_mut() {
            Some((_, answers)) if fact.trim().is_empty() => *answers += &format!(" {answer}"),
            Some(_) | None => steps.push((fact.trim(), answer.trim().to_owned())),
        }
    }
    steps
}

fn seconds(text: &str) -> Duration {
    let number: f64 = text.strip_suffix('s').and_then(|text| text.parse().ok()).expect("seconds");
    ms((number * 1000.0).round() as u64)
}

fn shown(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

fn input(words: &[&str]) -> Input {
    let stage = |name: &str| match name {
        "pre-start" => Stage::PreStart,
        "post-start" => Stage::PostStart,
        "ready" => Stage::Ready,
        "pre-stop" => Stage::PreStop,
        "post-stop" => Stage::PostStop,
        other => panic!("no stage: {other}"),
    };
    match words {
        ["time"] => Input::Tick,
        ["started"] => Input::Started,
        ["no", "app", code] => Input::SpawnFailed(code.parse().expect("a code")),
        ["app", "exits", code] => Input::AppExited(ExitStatus::Exited(code.parse().expect("a code"))),
        ["app", "dies", signal] => Input::AppExited(ExitStatus::Signaled(Signal::parse(signal).expect("a signal"))),
        [name, "hooks", "done"] => Input::HooksDone { stage: stage(name), abort: false },
        [name, "hooks", "failed"] => Input::HooksDone { stage: stage(name), abort: true },
        ["hold", "over"] => Input::HoldOver,
        ["in", "flight"] => Input::InFlight(true),
        ["nothing", "in", "flight"] => Input::InFlight(false),
        ["no", "handler"] => Input::NoHandler,
        ["nothing", "listens"] => Input::NothingListens,
        ["undelivered", count] => Input::Undelivered(count.parse().expect("a count")),
        ["ready"] => Input::Ready,
        ["hung"] => Input::Hung,
        ["replaced"] => Input::Replaced,
        ["not", "ready"] => Input::NotReady,
        ["left", count] => Input::Left(count.parse().expect("a count")),
        [signal] => {
            let bare = signal.trim_matches(['(', ')', '<', '>']);
            let known = Signal::parse(bare).unwrap_or_else(|| panic!("no fact: {bare}"));
            let source = match signal.as_bytes()[0] {
                b'(' => SignalSource::Shared,
                b'<' => SignalSource::Kernel,
                _ => SignalSource::Process,
            };
            Input::Signal { signal: known, source, value: None }
        }
        other => panic!("no fact: {other:?}"),
    }
}

fn said(action: &Action) -> String {
    match action {
        Action::Spawn => "spawn".to_owned(),
        Action::RunHooks(stage) => format!("run {stage} hooks"),
        Action::SignalHooks(signal) => format!("{} ->hooks", bare(signal)),
        Action::NoMoreHooks => "no more hooks".to_owned(),
        Action::CancelHooks(stage) => format!("cancel {stage} hooks"),
        Action::StopApp { signal, shared: false } => format!("{} ->app", bare(signal)),
        Action::StopApp { shared: true, .. } => "told".to_owned(),
        Action::SignalApp { signal, reason, .. } => {
            format!("{} ->app ({})", bare(signal), format!("{reason:?}").to_lowercase())
        }
        Action::StartHold { until } => format!("hold until {}", shown(*until)),
        Action::EndHold => "end hold".to_owned(),
        Action::WatchInFlight => "watch connections".to_owned(),
        Action::WatchReadiness => "watch readiness".to_owned(),
        Action::CreateDrainFile => "drain file".to_owned(),
        Action::Look => "look".to_owned(),
        Action::LookAfter => "look after".to_owned(),
        Action::SignalLeftovers(signal) => format!("{} ->leftovers", bare(signal)),
        Action::KillEverything => "KILL".to_owned(),
        Action::HoldTimedOut { .. } => "hold timed out".to_owned(),
        Action::Record(event) => event_said(event),
        Action::Exit(outcome) => match outcome {
            Outcome::App(_) => format!("exit {}", outcome.code()),
            Outcome::NotStarted(_) => format!("exit {} not started", outcome.code()),
            Outcome::Stuck => format!("exit {} stuck", outcome.code()),
        },
    }
}

fn bare(signal: &Signal) -> String {
    signal.to_string().replace("SIG", "")
}

fn event_said(event: &Event) -> String {
    match event {
        Event::PhaseBegan { phase } => format!("[{phase:?}]"),
        Event::StopBegan { cause: StopCause::Signal(signal) } => format!("stop ({})", bare(signal)),
        Event::StopBegan { cause } => format!("stop ({cause:?})"),
        Event::ResizeDropped => "resize dropped".to_owned(),
        Event::KeyShared { signal, .. } => format!("{} is the app's", bare(signal)),
        Event::DelaySkipped { .. } => "delay skipped".to_owned(),
        Event::StopRepeated { signal } => format!("{} noted", bare(signal)),
        Event::PhaseCutShort { phase, .. } => format!("{phase:?} cut short"),
        Event::SignalDropped { signal } => format!("{} dropped", bare(signal)),
        Event::SignalUnheard { signal } => format!("{} unheard", bare(signal)),
        Event::AppExited { told: true, .. } => "app gone".to_owned(),
        Event::AppExited { told: false, .. } => "app gone untold".to_owned(),
        Event::StartupLate { ready, hooks, .. } => {
            let missing =
                [(!ready, ", not ready"), (!hooks, ", hooks run")].map(|(is, what)| if is { what } else { "" });
            format!("not ready in time{}", missing.concat())
        }
        Event::LeftoversFound { count } => format!("found {count}"),
        Event::NotDead => "not dead".to_owned(),
        Event::NothingListens => "no delay".to_owned(),
        other => panic!("not the lifecycle's: {other:?}"),
    }
}

fn no_delay() -> StopPlan {
    StopPlan { budget: budget(30, 1, 0), ..plan() }
}

fn with_hold(timeout: Option<Duration>) -> StopPlan {
    StopPlan { hold: Some(HoldPlan { timeout, watches: false }), ..plan() }
}

fn with_hooks(stages: &[Stage]) -> StopPlan {
    StopPlan { hooks: stages.to_vec(), ..plan() }
}

#[test]
fn the_usual_stop() {
    running(
        plan(),
        "10s   TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s   time        -> [Drain], TERM ->app
         16.7s app exits 0 -> app gone, [Leftovers], look
         16.7s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn an_app_that_exits_during_the_delay_ends_it() {
    running(
        plan(),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         12s app exits 4 -> app gone untold, [Leftovers], look
         12s left 0      -> [PostStop], [Done], exit 4",
    );
}

#[test]
fn an_app_that_ends_by_itself_takes_graceful_with_it() {
    running(
        plan(),
        "99s app dies SEGV -> app gone untold, stop (AppExited), [Leftovers], look
         99s left 0        -> [PostStop], [Done], exit 139",
    );
}

#[test]
fn an_app_that_does_not_stop_is_killed_at_k_and_its_status_still_comes_out() {
    running(
        plan(),
        "10s    TERM          -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s    time          -> [Drain], TERM ->app
         39s    time          -> [Kill], KILL, look
         39s    left 1        ->
         39.02s app dies KILL -> app gone, look
         39.02s left 0        -> [PostStop], [Done], exit 137",
    );
}

#[test]
fn what_sigkill_does_not_end_is_killed_again_and_left_at_the_end() {
    running(
        StopPlan { budget: Budget { kill_margin: ms(500), ..budget(30, 0, 0) }, ..no_delay() },
        "10s    TERM   -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         39.5s  time   -> [Kill], KILL, look
         39.5s  left 1 ->
         39.6s  time   -> KILL, look
         39.6s  left 1 ->
         39.7s  time   -> KILL, look
         39.75s time   -> not dead, [Done], exit 137 stuck",
    );
}

#[test]
fn an_app_that_exits_exactly_at_k_keeps_its_status() {
    running(
        no_delay(),
        "10s      TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         39s late app exits 5 -> app gone, [Leftovers], look, [Kill], KILL, look
         39s      left 0      -> [PostStop], [Done], exit 5",
    );
}

#[test]
fn without_a_margin_sigkill_comes_at_g_and_the_dead_are_still_reaped() {
    running(
        StopPlan { budget: budget(30, 0, 0), ..no_delay() },
        "10s    TERM   -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         40s    time   -> [Kill], KILL, look
         40s    left 1 ->
         40.05s time   -> not dead, [Done], exit 137 stuck",
    );
}

#[test]
fn a_tree_that_takes_longer_to_kill_than_the_margin_is_still_reaped() {
    running(
        no_delay(),
        "10s    TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         39s    time        -> [Kill], KILL, look
         40s    late left 1500 -> KILL, look
         40.01s left 900    ->
         40.02s app exits 0 -> app gone, look
         40.03s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_graceful_that_was_frozen_beyond_everything_still_reaps() {
    running(
        with_hold(None),
        "10s     TERM          -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         500s late time        -> [Hold], hold until 500s, end hold, [Kill], KILL, look
         500s    left 1        ->
         500.01s app dies KILL -> app gone, look
         500.01s left 0        -> [PostStop], [Done], exit 137",
    );
}

#[test]
fn sigint_skips_the_delay() {
    running(
        plan(),
        "10s INT         -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], INT ->app
         11s app exits 0 -> app gone, [Leftovers], look
         11s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn the_first_ctrl_c_at_a_terminal_that_the_app_shares_is_the_apps() {
    running(
        with_hold(None),
        "10s (INT)        -> INT is the app's
         10s app dies INT -> app gone, stop (AppExited), [Leftovers], look
         10s left 0       -> [PostStop], [Done], exit 130",
    );
}

#[test]
fn the_second_ctrl_c_begins_the_stop_and_is_not_sent_again() {
    running(
        with_hold(None),
        "10s (INT)        -> INT is the app's
         12s (INT)        -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], told
         13s (INT)        ->
         14s INT          -> INT ->app (again)
         15s app dies INT -> app gone, [Leftovers], look
         15s left 0       -> [PostStop], [Done], exit 130",
    );
}

#[test]
fn a_ctrl_c_of_a_minute_ago_is_forgotten_and_so_is_another_key() {
    running(
        StopPlan { stop_on: plan().stop_on.with(Signal::QUIT), ..plan() },
        "10s  (INT)       -> INT is the app's
         71s  (INT)       -> INT is the app's
         80s  (QUIT)      -> QUIT is the app's
         85s  (INT)       -> INT is the app's
         145s (INT)       -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], told
         146s app exits 0 -> app gone, [Leftovers], look
         146s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_ctrl_c_that_the_app_survived_does_not_shorten_the_stop_that_comes_later() {
    running(
        with_hold(None),
        "9s  (INT)       -> INT is the app's
         10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s time        -> [Hold], hold until 27s
         16s hold over   -> end hold, [Drain], TERM ->app
         17s app exits 0 -> app gone, [Leftovers], look
         17s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_key_that_only_graceful_has_begins_the_stop_at_once() {
    running(
        plan(),
        "10s <INT>       -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], INT ->app
         11s app exits 0 -> app gone, [Leftovers], look
         11s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn what_a_terminal_sends_by_itself_is_never_a_stop() {
    let terminal = [Signal::WINCH, Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::CONT];
    running(
        StopPlan { stop_on: terminal.into_iter().chain([Signal::HUP]).collect(), ..no_delay() },
        "1s  (WINCH)     ->
         2s  <WINCH>     -> resize dropped
         3s  (TSTP)      ->
         4s  (CONT)      ->
         5s  <TTIN>      -> TTIN ->app (forwarded)
         6s  (TTOU)      ->
         7s  TERM        -> TERM ->app (forwarded)
         10s WINCH       -> stop (WINCH), [PreStop], drain file, watch connections, watch readiness, [Drain], WINCH ->app
         11s (WINCH)     ->
         12s app exits 0 -> app gone, [Leftovers], look
         12s left 0      -> [PostStop], [Done], exit 0",
    );
    // An app that is stopped by something else wants to know the size of its window.
    running(
        StopPlan { stop_on: [Signal::WINCH].into_iter().collect(), stop_signal: Some(Signal::TERM), ..no_delay() },
        "2s  <WINCH>     -> WINCH ->app (forwarded)
         10s WINCH       -> stop (WINCH), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         11s app exits 0 -> app gone, [Leftovers], look
         11s left 0      -> [PostStop], [Done], exit 0",
    );
    // Nobody is left at a terminal that was hung up, to say it once more.
    running(
        StopPlan { stop_on: [Signal::HUP].into_iter().collect(), ..no_delay() },
        "10s <HUP>       -> stop (HUP), [PreStop], drain file, watch connections, watch readiness, [Drain], HUP ->app
         11s app exits 0 -> app gone, [Leftovers], look
         11s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn ctrl_c_does_not_stand_for_the_stop_signal_that_the_app_wants() {
    running(
        StopPlan { stop_signal: Some(Signal::QUIT), ..plan() },
        "10s (INT)       -> INT is the app's
         11s (INT)       -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], QUIT ->app
         12s (INT)       -> QUIT ->app (again)
         13s (QUIT)      ->
         14s app exits 0 -> app gone, [Leftovers], look
         14s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn ctrl_c_after_sigterm_does_not_lose_the_sigterm() {
    running(
        with_hold(None),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         11s (INT)       -> delay skipped, [Drain], TERM ->app
         13s app exits 0 -> app gone, [Leftovers], look
         13s left 0      -> [PostStop], [Done], exit 0",
    );
    running(
        with_hold(None),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s time        -> [Hold], hold until 27s
         16s (INT)       -> Hold cut short, end hold, [Drain], TERM ->app
         17s app exits 0 -> app gone, [Leftovers], look
         17s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_sigterm_that_comes_again_changes_nothing_until_the_drain() {
    running(
        with_hold(None),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         11s TERM        -> TERM noted
         12s TERM        -> TERM noted
         15s time        -> [Hold], hold until 27s
         16s TERM        -> TERM noted
         27s time        -> hold timed out, end hold, [Drain], TERM ->app
         28s TERM        -> TERM ->app (again)
         29s app exits 0 -> app gone, [Leftovers], look
         29s left 1      -> found 1, TERM ->leftovers
         30s TERM        -> TERM ->leftovers
         39s time        -> [Kill], KILL, look
         39s TERM        -> TERM noted
         39s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn sigint_hurries_first_the_delay_then_the_hold() {
    running(
        with_hold(None),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         11s INT         -> delay skipped, [Hold], hold until 25s
         12s TERM        -> TERM noted
         13s INT         -> Hold cut short, end hold, [Drain], TERM ->app
         14s INT         -> INT ->app (again)
         15s app exits 0 -> app gone, [Leftovers], look
         15s left 0      -> [PostStop], [Done], exit 0",
    );
    running(
        with_hold(None),
        "10s INT         -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Hold], hold until 24.5s
         11s INT         -> Hold cut short, end hold, [Drain], INT ->app
         12s app exits 0 -> app gone, [Leftovers], look
         12s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_stop_signal_of_the_apps_own_replaces_the_one_that_came() {
    running(
        StopPlan { stop_signal: Some(Signal::QUIT), stop_on: plan().stop_on.with(Signal::PWR), ..no_delay() },
        "10s PWR         -> stop (PWR), [PreStop], drain file, watch connections, watch readiness, [Drain], QUIT ->app
         11s TERM        -> QUIT ->app (again)
         12s app exits 0 -> app gone, [Leftovers], look
         12s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn every_other_signal_goes_to_the_app_at_once_rewritten_or_dropped_on_request() {
    running(
        StopPlan { rewrite: vec![(Signal::HUP, Some(Signal::USR2)), (Signal::WINCH, None)], ..plan() },
        "1s  USR1        -> USR1 ->app (forwarded)
         2s  HUP         -> USR2 ->app (forwarded)
         3s  WINCH       -> WINCH dropped
         4s  (TSTP)      ->
         5s  RTMIN+3     -> RTMIN+3 ->app (forwarded)
         10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         11s USR1        -> USR1 ->app (forwarded)
         15s time        -> [Drain], TERM ->app
         16s SEGV        -> SEGV ->app (forwarded)
         17s app exits 0 -> app gone, [Leftovers], look
         17s USR1        -> USR1 unheard
         17s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_hold_ends_when_its_reason_is_gone() {
    running(
        with_hold(None),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s time        -> [Hold], hold until 27s
         18s HUP         -> HUP ->app (forwarded)
         20s hold over   -> end hold, [Drain], TERM ->app
         21s app exits 0 -> app gone, [Leftovers], look
         21s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_hold_lasts_half_of_what_is_left_or_as_long_as_it_was_told() {
    for (timeout, until) in [(None, "27s"), (Some(s(8)), "23s"), (Some(s(60)), "39s")] {
        let mut life = Watched::new(with_hold(timeout)).expect("begins");
        let signal = Input::Signal { signal: Signal::TERM, source: SignalSource::Process, value: None };
        for (at, input) in [(s(0), Input::Started), (s(10), signal), (s(15), Input::Tick)] {
            life.feed(at, input).expect("the way to the hold");
        }
        assert_eq!(life.actions.last().map(said), Some(format!("hold until {until}")), "{timeout:?}");
    }
    running(
        with_hold(Some(s(8))),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s time        -> [Hold], hold until 23s
         23s time        -> hold timed out, end hold, [Drain], TERM ->app
         23s hold over   ->
         24s app exits 0 -> app gone, [Leftovers], look
         24s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_hold_ends_with_the_app() {
    running(
        with_hold(None),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s time        -> [Hold], hold until 27s
         16s app exits 7 -> app gone untold, end hold, [Leftovers], look
         16s left 0      -> [PostStop], [Done], exit 7",
    );
}

#[test]
fn escalations_come_before_sigkill_and_the_hold_leaves_them_room() {
    running(
        StopPlan { escalate: vec![(s(21), Signal::QUIT), (s(25), Signal::ABRT)], ..with_hold(None) },
        "10s TERM          -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         15s time          -> [Hold], hold until 23s
         23s time          -> hold timed out, end hold, [Drain], TERM ->app
         31s time          -> QUIT ->app (escalation)
         35s time          -> ABRT ->app (escalation)
         36s app dies ABRT -> app gone, [Leftovers], look
         36s left 0        -> [PostStop], [Done], exit 134",
    );
}

#[test]
fn leftovers_get_sigterm_once_further_stop_signals_and_the_rest_of_the_budget() {
    running(
        no_delay(),
        "10s   TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         11s   app exits 0 -> app gone, [Leftovers], look
         11s   left 2      -> found 2, TERM ->leftovers
         12s   left 1      ->
         13s   INT         -> INT ->leftovers
         39s   time        -> [Kill], KILL, look
         39s   left 1      ->
         39.1s time        -> KILL, look
         39.1s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn leftovers_of_an_app_that_ended_by_itself_have_g_from_then() {
    running(
        plan(),
        "100s app exits 1 -> app gone untold, stop (AppExited), [Leftovers], look
         100s left 1      -> found 1, TERM ->leftovers
         105s TERM        -> TERM ->leftovers
         129s time        -> [Kill], KILL, look
         129s left 0      -> [PostStop], [Done], exit 1",
    );
}

#[test]
fn leftovers_that_are_to_be_left_are_not_looked_at() {
    running(
        StopPlan { leave_leftovers: true, hooks: vec![Stage::PreStop], ..plan() },
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, run pre-stop hooks
         11s app exits 0 -> app gone untold, [Leftovers], cancel pre-stop hooks, [PostStop], [Done], exit 0",
    );
}

#[test]
fn an_app_that_cannot_be_executed() {
    story(
        plan(),
        "begin          -> spawn
         0s no app 127  -> stop (NotStarted), [Leftovers], look
         0s left 0      -> [PostStop], [Done], exit 127 not started",
    );
}

#[test]
fn hooks_run_at_all_four_stages() {
    story(
        with_hooks(&[Stage::PreStart, Stage::PostStart, Stage::PreStop, Stage::PostStop]),
        "begin                   -> run pre-start hooks
         1s pre-start hooks done -> spawn
         1s started              -> [Running], run post-start hooks
         2s post-start hooks done ->
         10s TERM                -> stop (TERM), [PreStop], cancel post-start hooks, drain file, watch connections, watch readiness,
                                 -> run pre-stop hooks
         12s pre-stop hooks done ->
         15s time                -> [Drain], TERM ->app
         16s app exits 3         -> app gone, [Leftovers], no more hooks, look
         16s left 0              -> [PostStop], run post-stop hooks
         17s post-stop hooks done -> [Done], exit 3",
    );
}

#[test]
fn pre_stop_hooks_that_outlast_the_delay_are_waited_for_but_not_when_a_person_insists() {
    running(
        with_hooks(&[Stage::PreStop]),
        "10s TERM                -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, run pre-stop hooks
         15s time                ->
         18s pre-stop hooks done -> [Drain], TERM ->app
         19s app exits 0         -> app gone, [Leftovers], no more hooks, look
         19s left 0              -> [PostStop], [Done], exit 0",
    );
    running(
        with_hooks(&[Stage::PreStop]),
        "10s TERM                -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, run pre-stop hooks
         11s INT                 -> delay skipped
         12s pre-stop hooks done -> [Drain], TERM ->app
         13s app exits 0         -> app gone, [Leftovers], no more hooks, look
         13s left 0              -> [PostStop], [Done], exit 0",
    );
    running(
        StopPlan { hold: with_hold(None).hold, ..with_hooks(&[Stage::PreStop]) },
        "10s INT                 -> stop (INT), [PreStop], drain file, watch connections, watch readiness, run pre-stop hooks
         11s TERM                -> TERM noted
         11s INT                 -> PreStop cut short, [Drain], INT ->app
         12s pre-stop hooks done ->
         13s app exits 0         -> app gone, [Leftovers], no more hooks, look
         13s left 0              -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_stop_signal_before_the_app_goes_to_the_hook_that_runs_and_the_app_is_not_started() {
    story(
        with_hooks(&[Stage::PreStart]),
        "begin                   -> run pre-start hooks
         1s USR1                 ->
         2s TERM                 -> stop (TERM), no more hooks, TERM ->hooks
         3s INT                  -> INT ->hooks
         4s pre-start hooks done -> [Leftovers], no more hooks, look
         4s left 0               -> [PostStop], [Done], exit 143 not started",
    );
}

#[test]
fn another_signal_before_the_app_is_kept_for_it() {
    story(
        with_hooks(&[Stage::PreStart]),
        "begin                   -> run pre-start hooks
         1s HUP                  ->
         2s HUP                  ->
         3s pre-start hooks done -> spawn
         3s started              -> [Running], HUP ->app (forwarded)
         9s app exits 0          -> app gone untold, stop (AppExited), [Leftovers], no more hooks, look
         9s HUP                  -> HUP unheard
         9s left 0               -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_pre_start_hook_that_does_not_end_is_killed_at_k_too() {
    story(
        with_hooks(&[Stage::PreStart]),
        "begin                         -> run pre-start hooks
         1s     INT                    -> stop (INT), no more hooks, INT ->hooks
         30s    time                   -> [Kill], no more hooks, KILL, look
         30s    left 1                 ->
         30.01s pre-start hooks failed ->
         30.01s left 0                 -> [PostStop], [Done], exit 130 not started",
    );
}

#[test]
fn a_pre_start_hook_that_fails_keeps_the_app_from_starting() {
    story(
        with_hooks(&[Stage::PreStart, Stage::PostStop]),
        "begin                     -> run pre-start hooks
         1s pre-start hooks failed -> stop (NotStarted), [Leftovers], no more hooks, look
         1s left 0                 -> [PostStop], run post-stop hooks
         2s post-stop hooks done   -> [Done], exit 125 not started",
    );
}

#[test]
fn a_post_start_hook_that_fails_stops_the_app_and_the_first_stop_signal_is_still_the_first() {
    story(
        StopPlan { stop_on: plan().stop_on.with(Signal::QUIT), ..with_hooks(&[Stage::PostStart]) },
        "begin                      -> spawn
         0s started                 -> [Running], run post-start hooks
         1s post-start hooks failed -> stop (HookFailed), [PreStop], cancel post-start hooks, drain file, watch connections, watch readiness
         2s QUIT                    -> QUIT noted
         6s time                    -> [Drain], QUIT ->app
         7s app exits 0             -> app gone, [Leftovers], no more hooks, look
         7s left 0                  -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn an_app_that_is_not_ready_in_time_is_reported_or_stopped() {
    let startup = |stop| StopPlan { waits_for_ready: true, startup: Some((s(3), stop)), ..plan() };
    running(startup(true), "2s ready ->");
    running(
        startup(false),
        "3s   time         -> not ready in time, not ready
         100s app exits 0  -> app gone untold, stop (AppExited), [Leftovers], look
         100s left 0       -> [PostStop], [Done], exit 0",
    );
    running(
        startup(true),
        "3s time        -> not ready in time, not ready, stop (StartupTimeout), [PreStop], drain file, watch connections, watch readiness
         4s INT         -> delay skipped, [Drain], INT ->app
         5s app exits 0 -> app gone, [Leftovers], look
         5s left 0      -> [PostStop], [Done], exit 0",
    );
    running(
        startup(true),
        "1s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         6s time        -> [Drain], TERM ->app
         7s app exits 0 -> app gone, [Leftovers], look
         7s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn an_app_that_hung_is_stopped_without_delay_and_hold() {
    let hold = Some(HoldPlan { timeout: None, watches: true });
    let plan = StopPlan { hold, escalate: vec![(s(9), Signal::QUIT)], ..plan() };
    running(
        plan.clone(),
        "10s hung       -> stop (Hung), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app
         10s hung       ->
         19s time       -> QUIT ->app (escalation)
         39s time       -> [Kill], KILL, look
         39s app dies KILL -> app gone, look
         39s left 0     -> [PostStop], [Done], exit 137",
    );
    running(
        StopPlan { hooks: vec![Stage::PreStop], ..plan },
        "10s hung       -> stop (Hung), [PreStop], drain file, watch connections, watch readiness, run pre-stop hooks
         11s TERM       -> TERM noted
         12s pre-stop hooks done -> [Drain], TERM ->app
         13s app exits 0 -> app gone, [Leftovers], no more hooks, look
         13s left 0     -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn one_that_is_replaced_holds_and_tells_nobody_that_it_leaves() {
    let hold = Some(HoldPlan { timeout: None, watches: true });
    let plan = StopPlan { hold, hooks: vec![Stage::PreStop, Stage::PostStop], ..plan() };
    running(
        plan.clone(),
        "10s replaced   -> stop (Replaced), [PreStop], watch connections
         10s in flight  -> [Hold], hold until 24.5s
         12s hold over  -> end hold, [Drain], TERM ->app
         12s replaced   ->
         13s app exits 0 -> app gone, [Leftovers], no more hooks, look
         13s left 0     -> [PostStop], run post-stop hooks
         13s post-stop hooks done -> [Done], exit 0",
    );
    running(
        plan,
        "10s not ready  -> stop (NotReady), [PreStop], watch connections, [Drain], TERM ->app
         13s app exits 0 -> app gone, [Leftovers], no more hooks, look
         13s left 0     -> [PostStop], run post-stop hooks
         13s post-stop hooks done -> [Done], exit 0",
    );
    story(
        with_hooks(&[Stage::PreStart]),
        "begin         -> run pre-start hooks
         2s not ready  -> stop (TERM), no more hooks, TERM ->hooks
         3s pre-start hooks done -> [Leftovers], no more hooks, look
         3s left 0               -> [PostStop], [Done], exit 143 not started",
    );
}

#[test]
fn post_start_hooks_are_part_of_the_start() {
    let startup =
        |waits_for_ready| StopPlan { waits_for_ready, startup: Some((s(3), false)), ..with_hooks(&[Stage::PostStart]) };
    story(
        startup(false),
        "begin                    -> spawn
         0s started               -> [Running], run post-start hooks
         2s post-start hooks done ->",
    );
    story(
        startup(false),
        "begin                    -> spawn
         0s started               -> [Running], run post-start hooks
         3s time                  -> not ready in time, hooks run
         4s post-start hooks done ->",
    );
    story(
        startup(true),
        "begin                    -> spawn
         0s started               -> [Running], run post-start hooks
         1s ready                 ->
         3s time                  -> not ready in time, hooks run",
    );
    story(
        startup(true),
        "begin                    -> spawn
         0s started               -> [Running], run post-start hooks
         1s post-start hooks done ->
         3s time                  -> not ready in time, not ready",
    );
    story(
        startup(true),
        "begin                    -> spawn
         0s started               -> [Running], run post-start hooks
         1s ready                 ->
         2s post-start hooks done ->",
    );
}

#[test]
fn ready_hooks_run_once_when_the_app_is_ready_for_the_first_time() {
    let ready = StopPlan { waits_for_ready: true, ..with_hooks(&[Stage::Ready]) };
    running(
        ready.clone(),
        "2s  ready            -> run ready hooks
         3s  ready            ->
         9s  ready hooks done ->
         10s TERM             -> stop (TERM), [PreStop], cancel ready hooks, drain file, watch connections, watch readiness
         15s time             -> [Drain], TERM ->app
         16s app exits 0      -> app gone, [Leftovers], no more hooks, look
         16s left 0           -> [PostStop], [Done], exit 0",
    );
    running(
        ready.clone(),
        "10s TERM        -> stop (TERM), [PreStop], cancel ready hooks, drain file, watch connections, watch readiness
         11s ready       ->
         15s time        -> [Drain], TERM ->app
         16s app exits 0 -> app gone, [Leftovers], no more hooks, look
         16s left 0      -> [PostStop], [Done], exit 0",
    );
    running(
        ready,
        "2s ready              -> run ready hooks
         3s ready hooks failed -> stop (ReadyHookFailed), [PreStop], cancel ready hooks, drain file, watch connections, watch readiness
         8s time               -> [Drain], TERM ->app
         9s app exits 0        -> app gone, [Leftovers], no more hooks, look
         9s left 0             -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn post_stop_hooks_have_until_the_end_whatever_stop_signals_come() {
    running(
        with_hooks(&[Stage::PostStop]),
        "10s   INT         -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], INT ->app
         11s   app exits 0 -> app gone, [Leftovers], no more hooks, look
         11s   left 0      -> [PostStop], run post-stop hooks
         12s   TERM        -> TERM noted
         39.5s time        -> cancel post-stop hooks, [Done], exit 0",
    );
}

#[test]
fn a_stop_signal_while_the_app_is_being_started_counts_from_its_arrival() {
    story(
        StopPlan { waits_for_ready: true, startup: Some((s(1), true)), ..plan() },
        "begin          -> spawn
         1s TERM        -> stop (TERM), TERM ->hooks
         2s started     -> [Running], [PreStop], drain file, watch connections, watch readiness
         6s time        -> [Drain], TERM ->app
         7s app exits 0 -> app gone, [Leftovers], look
         7s left 0      -> [PostStop], [Done], exit 0",
    );
}

fn watching(pre_stop_delay: Duration) -> StopPlan {
    StopPlan {
        hold: Some(HoldPlan { timeout: None, watches: true }),
        budget: Budget { pre_stop_delay, ..plan().budget },
        ..plan()
    }
}

#[test]
fn without_requests_in_flight_there_is_no_hold() {
    running(
        watching(s(5)),
        "10s TERM             -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.1s in flight      ->
         12s nothing in flight ->
         15s time             -> [Drain], TERM ->app
         16s app exits 0      -> app gone, [Leftovers], look
         16s left 0           -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn requests_in_flight_hold_the_stop_signal_back() {
    running(
        watching(s(5)),
        "10s TERM             -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.1s nothing in flight ->
         14s in flight        ->
         15s time             -> [Hold], hold until 27s
         17s hold over        -> end hold, [Drain], TERM ->app
         18s app exits 0      -> app gone, [Leftovers], look
         18s left 0           -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn without_a_delay_the_first_look_is_waited_for_but_not_long() {
    running(
        watching(s(0)),
        "10s TERM                -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.01s nothing in flight -> [Drain], TERM ->app
         16s app exits 0         -> app gone, [Leftovers], look
         16s left 0              -> [PostStop], [Done], exit 0",
    );
    running(
        watching(s(0)),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.25s time     -> [Hold], hold until 24.625s
         24.625s time    -> hold timed out, end hold, [Drain], TERM ->app
         26s app exits 0 -> app gone, [Leftovers], look
         26s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn an_app_that_exits_before_the_first_look_ends_the_wait_for_it() {
    running(
        watching(s(0)),
        "10s   TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.1s app exits 0 -> app gone untold, [Leftovers], look
         10.1s left 1      -> found 1, TERM ->leftovers
         12s   left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn an_app_without_a_handler_needs_no_time_of_its_own() {
    running(
        watching(s(5)),
        "10s TERM        -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.1s no handler ->
         10.1s in flight  ->
         15s time        -> [Hold], hold until 37s
         37s time        -> hold timed out, end hold, [Drain], TERM ->app
         37s app dies TERM -> app gone, [Leftovers], look
         37s left 0      -> [PostStop], [Done], exit 143",
    );
    // It turns out while the hold lasts.
    running(
        watching(s(0)),
        "10s TERM         -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.1s in flight  -> [Hold], hold until 24.55s
         10.2s no handler ->
         37s time         -> hold timed out, end hold, [Drain], TERM ->app
         37s app dies TERM -> app gone, [Leftovers], look
         37s left 0       -> [PostStop], [Done], exit 143",
    );
}

/// A worker.
fn default_delay() -> StopPlan {
    StopPlan { delay_is_for_listeners: true, ..plan() }
}

#[test]
fn where_nothing_listens_a_default_delay_ends_at_once() {
    running(
        default_delay(),
        "10s    TERM            -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.01s nothing listens -> no delay, [Drain], TERM ->app
         30s    app exits 0     -> app gone, [Leftovers], look
         30s    left 0          -> [PostStop], [Done], exit 0",
    );
    // However late it turns out.
    running(
        default_delay(),
        "10s TERM            -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         12s nothing listens -> no delay, [Drain], TERM ->app
         13s nothing listens ->
         30s app exits 0     -> app gone, [Leftovers], look
         30s left 0          -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_delay_that_somebody_has_asked_for_is_kept() {
    running(
        plan(),
        "10s    TERM            -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.01s nothing listens ->
         15s    time            -> [Drain], TERM ->app
         16s    app exits 0     -> app gone, [Leftovers], look
         16s    left 0          -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn pre_stop_hooks_run_to_their_end_where_nothing_listens_and_a_hold_still_holds() {
    running(
        StopPlan {
            hold: Some(HoldPlan { timeout: None, watches: false }),
            hooks: vec![Stage::PreStop],
            ..default_delay()
        },
        "10s    TERM                -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, run pre-stop hooks
         10.01s nothing listens     -> no delay
         11s    pre-stop hooks done -> [Hold], hold until 25s
         12s    hold over           -> end hold, [Drain], TERM ->app
         13s    app exits 0         -> app gone, [Leftovers], no more hooks, look
         13s    left 0              -> [PostStop], [Done], exit 0",
    );
    // Whether anything is in flight is still to be told: it follows at once.
    running(
        StopPlan { delay_is_for_listeners: true, ..watching(s(5)) },
        "10s    TERM              -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.01s nothing listens   -> no delay
         10.01s nothing in flight -> [Drain], TERM ->app
         13s    app exits 0       -> app gone, [Leftovers], look
         13s    left 0            -> [PostStop], [Done], exit 0",
    );
}

fn delivering() -> StopPlan {
    StopPlan { delivers: true, ..no_delay() }
}

const STOP: &str =
    "10s TERM -> stop (TERM), [PreStop], drain file, watch connections, watch readiness, [Drain], TERM ->app\n";

#[test]
fn what_the_app_has_handed_over_is_delivered_before_the_end() {
    let story = "11s app exits 0   -> app gone, [Leftovers], look, look after
                 11s left 0        ->
                 11s undelivered 2 ->
                 13s undelivered 1 ->
                 14s undelivered 0 -> look
                 14s left 0        -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{story}"));
    let nothing = "11s app exits 0   -> app gone, [Leftovers], look, look after
                   11s undelivered 0 ->
                   11s left 0        -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{nothing}"));
}

#[test]
fn processes_that_are_left_and_undelivered_bytes_are_waited_for_side_by_side() {
    let story = "11s app exits 0   -> app gone, [Leftovers], look, look after
                 11s left 1        -> found 1, TERM ->leftovers
                 11s undelivered 1 ->
                 12s undelivered 0 ->
                 13s left 0        -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{story}"));
    let killed = "11s app exits 0  -> app gone, [Leftovers], look, look after
                  11s left 1       -> found 1, TERM ->leftovers
                  11s undelivered 1 ->
                  39s time         -> [Kill], KILL, look
                  39s left 0       -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{killed}"));
}

#[test]
fn delivery_ends_at_k_without_a_sigkill_with_sigint_or_when_nothing_is_told_of_it() {
    let at_k = "11s app exits 0   -> app gone, [Leftovers], look, look after
                11s left 0        ->
                11s undelivered 1 ->
                39s time          -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{at_k}"));
    let hurried = "11s app exits 0   -> app gone, [Leftovers], look, look after
                   11s left 0        ->
                   11s undelivered 1 ->
                   12s TERM          -> TERM ->leftovers
                   13s INT           -> INT ->leftovers, look
                   13s left 0        -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{hurried}"));
    let untold = "11s app exits 0   -> app gone, [Leftovers], look, look after
                  11s left 0        ->
                  11.25s time       -> look
                  11.25s left 0     -> [PostStop], [Done], exit 0";
    running(delivering(), &format!("{STOP}{untold}"));
}

#[test]
fn an_app_that_ended_by_itself_is_not_looked_after() {
    running(
        delivering(),
        "99s app exits 0 -> app gone untold, stop (AppExited), [Leftovers], look
         99s left 0      -> [PostStop], [Done], exit 0",
    );
}

#[test]
fn a_hold_with_a_reserve_leaves_just_that() {
    running(
        StopPlan { hold_reserve: Some(s(2)), ..watching(s(0)) },
        "10s TERM         -> stop (TERM), [PreStop], drain file, watch connections, watch readiness
         10.1s in flight  -> [Hold], hold until 37s
         37s time         -> hold timed out, end hold, [Drain], TERM ->app
         38s app exits 0  -> app gone, [Leftovers], look
         38s left 0       -> [PostStop], [Done], exit 0",
    );
}

/// The key gave the app its signal. What a server knows better is no reason for a second one; what somebody asked for
/// is.
#[test]
fn a_default_stop_signal_follows_no_key() {
    for (is_default, told) in [(true, "told"), (false, "QUIT ->app")] {
        running(
            StopPlan { stop_signal: Some(Signal::QUIT), stop_signal_is_default: is_default, ..with_hold(None) },
            &format!(
                "10s (INT)       -> INT is the app's
                 12s (INT)       -> stop (INT), [PreStop], drain file, watch connections, watch readiness, [Drain], {told}
                 13s app exits 0 -> app gone, [Leftovers], look
                 13s left 0      -> [PostStop], [Done], exit 0"
            ),
        );
    }
}

#[test]
fn an_idle_app_is_no_reason_to_wake_up() {
    running(
        StopPlan {
            hold: Some(HoldPlan { timeout: None, watches: false }),
            escalate: vec![(s(9), Signal::QUIT)],
            ..plan()
        },
        "",
    );
}

#[test]
fn sigkill_is_as_much_earlier_as_timers_are_late_but_never_by_more_than_a_quarter() {
    for (late, kill_at) in [(vec![0], 29_000), (vec![2000], 27_000), (vec![2000, 500], 28_500), (vec![60_000], 21_750)]
    {
        let mut life = Watched::new(StopPlan { budget: budget(30, 1, 0), ..plan() }).expect("begins");
        let term = Input::Signal { signal: Signal::TERM, source: SignalSource::Process, value: None };
        let told = late.iter().map(|late| Input::Late(ms(*late)));
        for input in [Input::Started, term].into_iter().chain(told) {
            life.feed(s(0), input).expect("all invariants hold");
        }
        assert_eq!(life.deadline(), Some(ms(kill_at)), "{late:?}");
        life.feed(ms(kill_at), Input::Tick).expect("all invariants hold");
        assert!(life.actions.contains(&Action::KillEverything), "{:?}", life.actions);
    }
}

#[test]
fn the_value_of_a_signal_goes_with_it_to_the_app_and_with_no_other() {
    let rewrite = vec![(Signal::USR2, Some(Signal::HUP))];
    let mut life = Watched::new(StopPlan { rewrite, ..plan() }).expect("begins");
    let values = |life: &Watched| -> Vec<_> {
        let of = |action: &Action| match action {
            Action::SignalApp { signal, value, .. } => Some((*signal, *value)),
            _ => None,
        };
        life.actions.iter().filter_map(of).collect()
    };
    let mut after = |at, input| {
        life.feed(at, input).expect("all invariants hold");
        values(&life)
    };
    let with = |signal, value| Input::Signal { signal, source: SignalSource::Process, value };
    assert_eq!(after(s(0), with(Signal::USR1, Some(3))), [], "the app does not run yet");
    assert_eq!(after(s(1), Input::Started), [(Signal::USR1, None)], "only the signal was kept");
    assert_eq!(after(s(2), with(Signal::USR1, Some(7))), [(Signal::USR1, Some(7))]);
    assert_eq!(after(s(3), with(Signal::USR2, Some(8))), [(Signal::HUP, Some(8))], "rewritten");
    assert_eq!(after(s(4), with(Signal::USR1, None)), [(Signal::USR1, None)]);
}

#[test]
fn of_a_signal_that_is_passed_on_it_is_known_whether_it_came_from_outside() {
    let mut life = Watched::new(plan()).expect("begins");
    life.feed(s(0), Input::Started).expect("all invariants hold");
    let mut after = |at, signal, source| {
        life.feed(at, Input::Signal { signal, source, value: None }).expect("all invariants hold");
        let of = |action: &Action| match action {
            Action::SignalApp { signal, from_outside, .. } => Some((*signal, *from_outside)),
            _ => None,
        };
        life.actions.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(after(s(1), Signal::USR1, SignalSource::Outside), [(Signal::USR1, true)]);
    assert_eq!(after(s(2), Signal::USR1, SignalSource::Process), [(Signal::USR1, false)]);
    assert_eq!(after(s(3), Signal::HUP, SignalSource::Kernel), [(Signal::HUP, false)]);
    assert_eq!(after(s(4), Signal::HUP, SignalSource::Shared), [], "the app has it");
}
