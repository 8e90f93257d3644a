//! An honest world around the core, and a naive calculation of what must come out of it.
//!
//! A scenario says what the world is like: when signals come, how long hooks take, how fast the app stops. [`simulate`]
//! lets the core live in it; [`expect`] calculates from the whole list at once, with nothing but minima and maxima,
//! when the stop signal must go out, when SIGKILL, and when and how graceful exits. The two know nothing of each other.

use super::*;
use proptest::option::of;
use proptest::prelude::*;

#[derive(Clone, Debug, Default)]
struct Scenario {
    grace: Duration,
    margin: Duration,
    delay: Duration,
    stop_signal: Option<Signal>,
    /// The explicit timeout, and how long the hold's reason lasts.
    hold: Option<(Option<Duration>, Duration)>,
    /// How long pre-stop and post-stop hooks take.
    pre_stop: Option<Duration>,
    post_stop: Option<Duration>,
    /// Stop signals (time, which, given to the app by the terminal), in order, all after the start.
    signals: Vec<(Duration, Signal, bool)>,
    /// The app ends by itself at this time.
    ends: Option<Duration>,
    /// The app ends this long after its first stop signal; never if `None`.
    obeys: Option<Duration>,
    /// A process is left and ends this long after SIGTERM; never if `None`.
    left: Option<Option<Duration>>,
    /// It turns out this long after the stop began that the app listens on nothing.
    deaf: Option<Duration>,
    /// As PID 1: its answers are delivered this long after the app's end; never if `None`.
    delivered: Option<Option<Duration>>,
}

/// What a user would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Course {
    /// When and which stop signal graceful sent.
    stop: Option<(Duration, Signal)>,
    kill: Option<Duration>,
    exit: (Duration, u8),
}

const OWN_END: ExitStatus = ExitStatus::Exited(1);
const OBEYED: ExitStatus = ExitStatus::Exited(0);
const KILLED: ExitStatus = ExitStatus::Signaled(Signal::KILL);

fn soonest(times: &[Option<Duration>]) -> Option<Duration> {
    times.iter().flatten().min().copied()
}

/// Which of the signals begins the stop: not a key that the app has as well, unless it is the second such in a row.
/// (All signals come within the time that makes it the second.)
fn begins(world: &Scenario) -> Option<usize> {
    let mut key = None;
    world.signals.iter().position(|(_, signal, shared)| !shared || key.replace(*signal) == Some(*signal))
}

/// The contract's section on the stop, as sums.
fn expect(world: &Scenario) -> Course {
    let begins = begins(world);
    // The app obeys the first signal that it gets, whoever sends it.
    let given = world.signals.iter().find(|(.., shared)| *shared).map(|(at, ..)| *at);
    let obeys = |at: Option<Duration>| at.zip(world.obeys).map(|(at, obeys)| at + obeys);
    let status = |end: Duration| if world.ends == Some(end) { OWN_END } else { OBEYED };
    let t0 = begins.map(|index| world.signals[index].0);
    let early = soonest(&[world.ends, obeys(given)]).filter(|end| t0.is_none_or(|t0| *end < t0));
    let (Some(begins), None) = (begins, early) else {
        let end = early.expect("there is a stop or an end");
        return after_the_app(world, end, end, None, status(end));
    };
    let (t0, signal, shared) = world.signals[begins];
    let kill_at = t0 + (world.grace - world.margin);
    let owed = world.stop_signal.unwrap_or(signal);
    // PreStop: the delay unless a person or a terminal asks, and the hooks. A person who asks once more waits for
    // nothing.
    let hurries = |signal: Signal, shared: bool| signal == Signal::INT || shared;
    let later = &world.signals[begins + 1..];
    let hurry_after = |after: Duration| {
        later.iter().filter(|(_, signal, shared)| hurries(*signal, *shared)).map(|(at, ..)| *at).find(|at| *at > after)
    };
    let delay = if hurries(signal, shared) { Duration::ZERO } else { world.delay };
    let delay = world.deaf.map_or(delay, |deaf| deaf.min(delay));
    let delay_over = soonest(&[Some(t0 + delay), hurry_after(t0).filter(|_| !delay.is_zero())]).expect("one at least");
    let by_itself = delay_over.max(t0 + world.pre_stop.unwrap_or_default());
    let insisted = hurry_after(delay_over).filter(|at| *at < by_itself);
    // Hold: not if the terminal has given the app a stop signal.
    let terminal = |by: Duration| world.signals[begins..].iter().filter(move |(at, _, given)| *at <= by && *given);
    let drain = match (world.hold, insisted) {
        (_, Some(at)) => at,
        (Some((timeout, reason)), None) if terminal(by_itself).next().is_none() => {
            let left = kill_at.saturating_sub(by_itself);
            let times = [Some(timeout.unwrap_or(left / 2).min(left)), Some(reason)];
            soonest(&[Some(by_itself + soonest(&times).expect("two")), hurry_after(by_itself)]).expect("a hold ends")
        }
        (Some(_) | None, None) => by_itself,
    };
    let sent = (!terminal(drain).any(|(_, signal, _)| *signal == owed)).then_some(drain);
    let again = later.iter().map(|(at, ..)| *at).find(|at| *at > drain);
    let end = soonest(&[world.ends, obeys(soonest(&[sent, given, again]))]);
    let stop = sent.filter(|at| *at <= kill_at && end.is_none_or(|end| *at < end)).map(|at| (at, owed));
    match end.filter(|end| *end < kill_at) {
        Some(at) => after_the_app(world, t0, at, stop, status(at)),
        None => {
            let exit = post_stop(world, t0, kill_at);
            Course { stop, kill: Some(kill_at), exit: (exit, KILLED.code()) }
        }
    }
}

fn after_the_app(
    world: &Scenario,
    t0: Duration,
    end: Duration,
    stop: Option<(Duration, Signal)>,
    status: ExitStatus,
) -> Course {
    let kill_at = t0 + (world.grace - world.margin);
    let gone = match world.left {
        None => Some(end),
        Some(ends_after) => ends_after.map(|after| end + after),
    };
    let in_time = gone.filter(|at| *at < kill_at);
    // Its answers are waited for up to K, but not if it ended by itself; a person does not wait.
    let hurried = world
        .signals
        .iter()
        .map(|(at, signal, _)| (*at, *signal))
        .find(|(at, signal)| *at > end && *signal == Signal::INT);
    let delivered = world.delivered.filter(|_| t0 < end).map(|takes| {
        let by_itself = takes.map(|takes| end + takes);
        soonest(&[by_itself, hurried.map(|(at, _)| at), Some(kill_at)]).expect("K at least")
    });
    let over = in_time.map(|gone| gone.max(delivered.unwrap_or(gone)));
    let exit = post_stop(world, t0, over.unwrap_or(kill_at));
    Course { stop, kill: in_time.is_none().then_some(kill_at), exit: (exit, status.code()) }
}

fn post_stop(world: &Scenario, t0: Duration, begins: Duration) -> Duration {
    let end_at = t0 + (world.grace - world.margin) + (world.margin / 2).max(ms(50));
    world.post_stop.map_or(begins, |takes| (begins + takes).min(end_at))
}

/// The core in the world of the scenario. SIGKILL kills at once.
fn simulate(world: &Scenario) -> Result<Course, String> {
    let stages = [(Stage::PreStop, world.pre_stop), (Stage::PostStop, world.post_stop)];
    let mut life = Watched::new(StopPlan {
        budget: Budget { grace_period: world.grace, kill_margin: world.margin, pre_stop_delay: world.delay },
        stop_signal: world.stop_signal,
        hold: world.hold.map(|(timeout, _)| HoldPlan { timeout, watches: false }),
        delay_is_for_listeners: world.deaf.is_some(),
        delivers: world.delivered.is_some(),
        stop_on: plan().stop_on.with(Signal::QUIT),
        hooks: stages.iter().filter(|(_, takes)| takes.is_some()).map(|(stage, _)| *stage).collect(),
        ..plan()
    })?;
    let mut due: Vec<(Duration, Input)> = vec![(Duration::ZERO, Input::Started)];
    due.extend(world.signals.iter().map(|(at, signal, shared)| {
        let source = if *shared { SignalSource::Shared } else { SignalSource::Process };
        (*at, Input::Signal { signal: *signal, source, value: None })
    }));
    due.extend(world.ends.map(|at| (at, Input::AppExited(OWN_END))));
    let (mut course, mut running, mut told) = (Course { stop: None, kill: None, exit: (s(0), 0) }, true, false);
    let mut left = usize::from(world.left.is_some());
    for _ in 0..1000 {
        let next = due.iter().enumerate().min_by_key(|(index, (at, _))| (*at, *index)).map(|(index, _)| index);
        let deadline = life.deadline();
        let (now, input) = match next {
            Some(index) if deadline.is_none_or(|deadline| due[index].0 < deadline) => due.remove(index),
            Some(_) | None => (deadline.ok_or("nothing happens any more")?, Input::Tick),
        };
        if let Input::AppExited(_) = input {
            if !running {
                continue;
            }
            running = false;
        }
        let given = matches!(input, Input::Signal { source: SignalSource::Shared, .. }) && running;
        if let Input::Left(0) = input {
            left = 0;
        }
        life.feed(now, input)?;
        let mut gets_stop = given;
        for action in life.actions.clone() {
            match action {
                Action::RunHooks(Stage::PreStop) => due.extend(hooks(now, Stage::PreStop, world.pre_stop)),
                Action::RunHooks(Stage::PostStop) => due.extend(hooks(now, Stage::PostStop, world.post_stop)),
                Action::StartHold { .. } => due.extend(world.hold.map(|(_, lasts)| (now + lasts, Input::HoldOver))),
                Action::SignalApp { .. } => gets_stop = true,
                Action::StopApp { signal, shared: false } => {
                    gets_stop = true;
                    course.stop = Some((now, signal));
                }
                Action::Look => due.push((now, Input::Left(left))),
                Action::LookAfter => {
                    due.push((now, Input::Undelivered(1)));
                    due.extend(world.delivered.flatten().map(|after| (now + after, Input::Undelivered(0))));
                }
                Action::WatchInFlight => due.extend(world.deaf.map(|after| (now + after, Input::NothingListens))),
                Action::SignalLeftovers(Signal::TERM) => {
                    due.extend(world.left.flatten().filter(|_| left > 0).map(|after| (now + after, Input::Left(0))));
                }
                Action::KillEverything => {
                    course.kill.get_or_insert(now);
                    left = 0;
                    due.insert(0, (now, Input::AppExited(KILLED)));
                }
                Action::Exit(outcome) => {
                    course.exit = (now, outcome.code());
                    return Ok(course);
                }
                _ => {}
            }
        }
        if gets_stop && !std::mem::replace(&mut told, true) {
            due.extend(world.obeys.map(|after| (now + after, Input::AppExited(OBEYED))));
        }
    }
    Err("it does not end".to_owned())
}

fn hooks(now: Duration, stage: Stage, takes: Option<Duration>) -> Option<(Duration, Input)> {
    takes.map(|takes| (now + takes, Input::HooksDone { stage, abort: false }))
}

/// Some milliseconds, and a bit of microseconds of its own, so that no two sums are the same moment.
fn time(limit: u64, unique: u64) -> impl Strategy<Value = Duration> {
    (0..limit).prop_map(move |millis| ms(millis) + Duration::from_micros(unique))
}

fn signals() -> impl Strategy<Value = Vec<(Duration, Signal, bool)>> {
    let which = prop::sample::select(vec![Signal::TERM, Signal::TERM, Signal::INT, Signal::QUIT]);
    prop::collection::vec((1u64..40_000, which, prop::bool::weighted(0.2)), 1..4).prop_map(|mut signals| {
        signals.sort_by_key(|(at, ..)| *at);
        let unique = |(index, (at, signal, given)): (usize, (u64, Signal, bool))| {
            (ms(at) + Duration::from_micros(index as u64 + 1), signal, given)
        };
        signals.into_iter().enumerate().map(unique).collect()
    })
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let budget = (1_000u64..40_000, 0u64..100, 0u64..100).prop_map(|(grace, margin, delay)| {
        let margin = grace * margin / 200;
        (ms(grace), ms(margin), ms((grace - margin) * delay / 100))
    });
    let wants = prop::sample::select(vec![None, None, Some(Signal::QUIT), Some(Signal::USR1)]);
    let hold = of((of(time(20_000, 8)), time(20_000, 16)));
    let left = of(of(time(20_000, 32)));
    let sockets = (of(time(20_000, 1 << 10)), of(of(time(20_000, 1 << 11))));
    (
        (budget, wants, hold, of(time(20_000, 64)), of(time(20_000, 128))),
        (signals(), of(time(60_000, 256)), of(time(20_000, 512)), left, sockets),
    )
        .prop_map(|(before, (signals, ends, obeys, left, (deaf, delivered)))| {
            let ((grace, margin, delay), stop_signal, hold, pre_stop, post_stop) = before;
            let stops =
                Scenario { grace, margin, delay, stop_signal, hold, pre_stop, post_stop, ..Scenario::default() };
            Scenario { signals, ends, obeys, left, deaf, delivered, ..stops }
        })
        .prop_filter("something ends it", |world| {
            let asked = world.obeys.is_some() && world.signals.iter().any(|(.., shared)| *shared);
            begins(world).is_some() || world.ends.is_some() || asked
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stop_signal_sigkill_and_exit_come_when_a_naive_calculation_says(world in scenarios()) {
        let course = simulate(&world).map_err(TestCaseError::fail)?;
        prop_assert_eq!(course, expect(&world));
    }
}
