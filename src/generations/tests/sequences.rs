//! All short sequences of inputs and a million random ones: whatever comes, sensible or not, the invariants of [`Watched`]
//! hold, and a stop with the ends of all who are there leads to the end.

use super::*;
use crate::lifecycle::tests::random::Random;

fn plans() -> Vec<RestartPlan> {
    let never = RestartPlan { failed: false, ..plan() };
    let always = RestartPlan { clean: true, ..plan() };
    let limited = RestartPlan { limit: Some(2), ..always };
    let huge = RestartPlan { delay: s(1 << 40), delay_max: Duration::MAX, ..always };
    vec![never, plan(), always, limited, huge]
}

/// What a step does: the deadline, or an input at once.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deadline,
    Stop,
    Reload,
    /// Of the one that counts.
    Exits(u8, u64),
    Hung,
    Fails,
    /// Of the other one, or of nobody.
    OtherReady,
    OtherLate,
    OtherEnds,
    Stuck,
}

const ALPHABET: [Step; 11] = [
    Step::Deadline,
    Step::Stop,
    Step::Reload,
    Step::Exits(0, 1),
    Step::Exits(1, 9),
    Step::Hung,
    Step::Fails,
    Step::OtherReady,
    Step::OtherLate,
    Step::OtherEnds,
    Step::Stuck,
];

fn step(life: &mut Watched, now: &mut Duration, step: Step) -> Result<(), String> {
    // Who is not there may be spoken of, too.
    let nobody = id(1);
    let (counts, other) = (life.counts.unwrap_or(nobody), life.other().unwrap_or(nobody));
    let input = match step {
        Step::Deadline => {
            *now = life.generations.poll_deadline().unwrap_or(now.saturating_add(s(1)));
            GenerationInput::Tick
        }
        Step::Stop => GenerationInput::Stop,
        Step::Reload => GenerationInput::Reload,
        Step::Exits(code, ran) => exited(counts, code, s(ran)),
        Step::Hung => GenerationInput::Hung(counts),
        Step::Fails => GenerationInput::Failed { generation: counts, code: 127 },
        Step::OtherReady => GenerationInput::Ready(other),
        Step::OtherLate => GenerationInput::Late(other),
        Step::OtherEnds => exited(other, 0, s(1)),
        Step::Stuck => GenerationInput::Stuck(counts),
    };
    life.feed(*now, input)
}

/// A stop, and the end of all who are there.
fn ends(life: &mut Watched, now: Duration) -> Result<(), String> {
    life.feed(now, GenerationInput::Stop)?;
    while let Some(generation) = life.there.keys().next().copied() {
        life.feed(now, exited(generation, 4, s(1)))?;
    }
    if life.over.is_some() { Ok(()) } else { Err("a stop led to no end".to_owned()) }
}

fn all_from(life: &Watched, now: Duration, path: &mut Vec<Step>, depth: usize, count: &mut usize) {
    for next in ALPHABET {
        let (mut life, mut now) = (life.clone(), now);
        path.push(next);
        if let Err(why) = step(&mut life, &mut now, next) {
            panic!("{why}, after {path:?} with {:?}", life.generations.plan);
        }
        *count += 1;
        if depth > 1 {
            all_from(&life, now, path, depth - 1, count);
        } else if let Err(why) = ends(&mut life, now) {
            panic!("{why}, by a stop after {path:?} with {:?}", life.generations.plan);
        }
        path.pop();
    }
}

#[test]
fn the_invariants_hold_after_every_short_sequence() {
    let mut count = 0;
    for plan in plans() {
        all_from(&Watched::new(plan).expect("begins"), s(0), &mut Vec::new(), 4, &mut count);
    }
    assert!(count > 70_000, "{count}");
}

fn random_sequence(seed: u64, plan: RestartPlan, mut tell: impl FnMut(Step)) -> Result<(), String> {
    let mut random = Random(seed);
    let (mut life, mut now) = (Watched::new(plan)?, Duration::ZERO);
    for _ in 0..3 + random.below(12) {
        // Stops are rare, or nothing else would be seen.
        let next = match random.below(24) {
            0 => Step::Stop,
            1 => Step::Stuck,
            2..6 => Step::Deadline,
            6..10 => Step::Reload,
            10..14 => Step::OtherReady,
            14..18 => Step::OtherEnds,
            18 => Step::OtherLate,
            19 => Step::Hung,
            20 => Step::Fails,
            _ => Step::Exits(random.below(2) as u8, random.below(10)),
        };
        now = now.saturating_add(ms(random.below(3) * random.below(2_000)));
        if life.generations.poll_deadline().is_some_and(|at| at < now) {
            now = life.generations.poll_deadline().expect("there is one");
        }
        tell(next);
        step(&mut life, &mut now, next)?;
    }
    ends(&mut life, now)
}

#[test]
fn the_invariants_hold_after_a_million_random_sequences() {
    const SEQUENCES: u64 = 1_000_000;
    let plans = plans();
    // The seeds are fixed, so that a failure comes again.
    let run = |seed: u64| {
        let plan = plans[(seed % plans.len() as u64) as usize];
        if let Err(why) = random_sequence(seed, plan, |_| {}) {
            let mut story = Vec::new();
            _ = random_sequence(seed, plan, |step| story.push(step));
            panic!("seed {seed}: {why}\n{plan:?}\n{story:?}");
        }
    };
    std::thread::scope(|scope| {
        for half in [0..SEQUENCES / 2, SEQUENCES / 2..SEQUENCES] {
            scope.spawn(|| half.for_each(run));
        }
    });
}
