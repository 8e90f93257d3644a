//! All short sequences of inputs and a million random ones: whatever comes, sensible or not, the invariants of
//! [`Watched`] hold, and time alone leads to the end.

use super::random::Random;
use super::*;

const EXITED: Input = Input::AppExited(ExitStatus::Exited(3));

const fn stop(signal: Signal, source: SignalSource) -> Input {
    Input::Signal { signal, source, value: None }
}

fn plans() -> Vec<StopPlan> {
    // The second SIGKILL and the end fall together, and there are fewer ticks to pay for in a million sequences.
    let plan = || StopPlan { budget: Budget { kill_margin: ms(200), ..budget(30, 0, 5) }, ..plan() };
    let hooks = STAGES.to_vec();
    let hold = Some(HoldPlan { timeout: None, watches: false });
    let full = StopPlan {
        stop_signal: Some(Signal::QUIT),
        rewrite: vec![(Signal::USR1, Some(Signal::USR2)), (Signal::WINCH, None)],
        escalate: vec![(s(20), Signal::QUIT), (s(25), Signal::ABRT)],
        hold,
        waits_for_ready: true,
        startup: Some((s(3), true)),
        hooks: hooks.clone(),
        ..plan()
    };
    let no_time = StopPlan { budget: Budget::default(), hold, ..plan() };
    let no_margin = StopPlan { budget: budget(30, 0, 0), hooks: hooks[3..].to_vec(), ..plan() };
    let terminal = [Signal::QUIT, Signal::HUP, Signal::WINCH, Signal::CONT];
    let watches = StopPlan {
        stop_on: plan().stop_on.iter().chain(terminal).collect(),
        hold: Some(HoldPlan { timeout: None, watches: true }),
        ..no_margin.clone()
    };
    let leave =
        StopPlan { leave_leftovers: true, hold: Some(HoldPlan { timeout: Some(s(60)), watches: false }), ..plan() };
    let late = StopPlan {
        waits_for_ready: true,
        startup: Some((s(1), false)),
        escalate: vec![(s(1), Signal::QUIT)],
        ..no_margin.clone()
    };
    let for_ever = StopPlan {
        budget: Budget { grace_period: Duration::MAX, ..plan().budget },
        waits_for_ready: true,
        startup: Some((Duration::MAX, true)),
        hold,
        ..plan()
    };
    let worker = StopPlan { delay_is_for_listeners: true, hold, ..plan() };
    let delivers = StopPlan { delivers: true, hooks: hooks[3..].to_vec(), ..plan() };
    vec![plan(), full, no_time, no_margin, watches, leave, late, for_ever, worker, delivers]
}

/// Nothing but time from here on: it must end, and not by waking up all the time.
fn ends_by_itself(life: &mut Watched, now: Duration) -> Result<(), String> {
    if life.life.t0().is_none() {
        life.feed(now, stop(Signal::TERM, SignalSource::Process))?;
    }
    let mut ticks = 0;
    while let Some(deadline) = life.deadline() {
        life.feed(deadline, Input::Tick)?;
        ticks += 1;
        if ticks > 50 {
            return Err("no end in sight".to_owned());
        }
    }
    if life.is_done() { Ok(()) } else { Err("time led to no end".to_owned()) }
}

/// What a step of the exhaustive test does: the next deadline, a jump beyond all of them, or an input at once.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deadline,
    Jump,
    Input(Input),
}

const ALPHABET: [Step; 9] = [
    Step::Deadline,
    Step::Jump,
    Step::Input(Input::Started),
    Step::Input(EXITED),
    Step::Input(stop(Signal::TERM, SignalSource::Process)),
    Step::Input(stop(Signal::INT, SignalSource::Shared)),
    Step::Input(Input::HooksDone { stage: Stage::PreStop, abort: false }),
    Step::Input(Input::Left(0)),
    Step::Input(Input::Left(2)),
];

fn step(life: &mut Watched, now: &mut Duration, step: Step) -> Result<(), String> {
    let input = match step {
        Step::Deadline => {
            *now = life.deadline().unwrap_or(*now + s(1));
            Input::Tick
        }
        Step::Jump => {
            *now = now.saturating_add(s(1000));
            Input::Tick
        }
        Step::Input(input) => input,
    };
    life.feed(*now, input)
}

fn all_from(life: &Watched, now: Duration, path: &mut Vec<Step>, depth: usize, count: &mut usize) {
    for next in ALPHABET {
        let (mut life, mut now) = (life.clone(), now);
        path.push(next);
        if let Err(why) = step(&mut life, &mut now, next) {
            panic!("{why}, after {path:?} with {:?}", life.life.plan);
        }
        *count += 1;
        // After the end everything is in vain; that is checked once for each way to it.
        if depth > 1 && !life.is_done() {
            all_from(&life, now, path, depth - 1, count);
        } else if life.is_done() {
            for input in ALPHABET {
                step(&mut life, &mut now, input).unwrap_or_else(|why| panic!("{why}, {input:?} after {path:?}"));
            }
        } else if let Err(why) = ends_by_itself(&mut life, now) {
            panic!("{why}, by time alone after {path:?} with {:?}", life.life.plan);
        }
        path.pop();
    }
}

#[test]
fn the_invariants_hold_after_every_short_sequence() {
    let mut count = 0;
    for plan in plans() {
        // Duration::MAX is beyond the reach of a jump; the random test has it.
        let plan = if plan.budget.grace_period == Duration::MAX { continue } else { plan };
        let mut life = Watched::new(plan).expect("begins");
        if life.life.plan.hooks.contains(&Stage::PreStart) {
            life.feed(s(0), Input::HooksDone { stage: Stage::PreStart, abort: false }).expect("the app may start");
        }
        all_from(&life, s(0), &mut Vec::new(), 5, &mut count);
    }
    assert!(count > 100_000, "{count}");
}

const STAGES: [Stage; 5] = [Stage::PreStart, Stage::PostStart, Stage::Ready, Stage::PreStop, Stage::PostStop];
const SOURCES: [SignalSource; 5] =
    [SignalSource::Process, SignalSource::Process, SignalSource::Outside, SignalSource::Kernel, SignalSource::Shared];
const SIGNALS: [Signal; 7] =
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP, Signal::USR1, Signal::CONT, Signal::WINCH];

/// Half of the time what the phase waits for, so that sequences get far; else anything.
fn random_input(random: &mut Random, phase: Phase) -> Input {
    let hooks = |stage, random: &mut Random| Input::HooksDone { stage, abort: random.below(8) == 0 };
    if random.below(2) == 0 {
        return match phase {
            Phase::PreStart => match random.below(3) {
                0 => hooks(Stage::PreStart, random),
                _ => Input::Started,
            },
            Phase::Running => random.one(&[stop(Signal::TERM, SignalSource::Process), Input::Ready, Input::Tick]),
            Phase::PreStop => hooks(Stage::PreStop, random),
            Phase::Hold => Input::HoldOver,
            Phase::Drain => EXITED,
            Phase::Leftovers => random.one(&[Input::Left(2), Input::Left(0)]),
            Phase::Kill => random.one(&[EXITED, Input::Left(0), Input::Tick]),
            Phase::PostStop => hooks(Stage::PostStop, random),
            Phase::Done => Input::Tick,
        };
    }
    match random.below(16) {
        0 => Input::Started,
        1 => Input::SpawnFailed(127),
        2..=5 => stop(random.one(&SIGNALS), random.one(&SOURCES)),
        6 => random.one(&[EXITED, Input::AppExited(ExitStatus::Signaled(Signal::TERM))]),
        7 => hooks(random.one(&STAGES), random),
        8 => random.one(&[Input::HoldOver, Input::NothingListens]),
        9 => random.one(&[Input::Ready, Input::Undelivered(0), Input::Undelivered(2)]),
        10 => Input::Left(random.below(3) as usize),
        11 => Input::InFlight(random.below(2) == 0),
        12 => Input::NoHandler,
        13 => Input::Late(ms(random.below(8_000))),
        14 => random.one(&[Input::Hung, Input::Replaced, Input::NotReady]),
        _ => Input::Tick,
    }
}

fn random_time(random: &mut Random, now: Duration, deadline: Option<Duration>) -> Duration {
    match (random.below(8), deadline) {
        (0, Some(deadline)) => deadline,
        (1, Some(deadline)) => deadline.saturating_sub(ms(1)).max(now),
        (2, _) => now.saturating_add(ms(random.below(40_000))),
        (3, _) if random.below(8) == 0 => now.saturating_add(s(1_000_000)),
        _ => now,
    }
}

fn random_sequence(seed: u64, start: &Watched, mut tell: impl FnMut(Duration, Input)) -> Result<(), String> {
    let mut random = Random(seed);
    let (mut life, mut now) = (start.clone(), Duration::ZERO);
    for _ in 0..2 + random.below(8) {
        now = random_time(&mut random, now, life.deadline());
        let input = random_input(&mut random, life.life.phase());
        tell(now, input);
        life.feed(now, input)?;
        if life.is_done() && random.below(2) == 0 {
            break;
        }
    }
    ends_by_itself(&mut life, now)
}

#[test]
fn the_invariants_hold_after_a_million_random_sequences() {
    const SEQUENCES: u64 = 1_000_000;
    let starts: Vec<Watched> = plans().into_iter().map(|plan| Watched::new(plan).expect("begins")).collect();
    // The seeds are fixed, so that a failure comes again.
    let run = |seed: u64| {
        let start = &starts[(seed % starts.len() as u64) as usize];
        if let Err(why) = random_sequence(seed, start, |_, _| {}) {
            let mut story = String::new();
            _ = random_sequence(seed, start, |now, input| story += &format!("  {now:?} {input:?}\n"));
            panic!("seed {seed}: {why}\n{:?}\n{story}", start.life.plan);
        }
    };
    std::thread::scope(|scope| {
        for half in [0..SEQUENCES / 2, SEQUENCES / 2..SEQUENCES] {
            scope.spawn(|| half.for_each(run));
        }
    });
}
