//! An honest world around it, and a naive calculation of what must come out: once for an app that is started again and again,
//! once for one that is reloaded. [`simulate`] lets the machine live in the world; the calculations know nothing of it.

use super::*;
use proptest::option::of;
use proptest::prelude::*;

/// One run of the app, as the world has it.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// It is not started at all, if `None`.
    lasts: Option<Duration>,
    code: u8,
    /// Ready so long after its start.
    ready: Duration,
    /// It ends so long after it was told to stop.
    obeys: Duration,
}

#[derive(Clone, Debug)]
struct Scenario {
    plan: RestartPlan,
    /// The runs, in order; then it is the last one for ever.
    runs: Vec<Run>,
    reloads: Vec<Duration>,
    stop: Duration,
}

/// What a user would notice: when each generation began, and when and how it all ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Course {
    starts: Vec<Duration>,
    end: (Duration, u8),
}

impl Scenario {
    fn run(&self, generation: usize) -> Run {
        self.runs[(generation - 1).min(self.runs.len() - 1)]
    }
}

fn simulate(world: &Scenario) -> Result<Course, String> {
    let mut life = Watched::new(world.plan)?;
    let mut due: Vec<(Duration, GenerationInput)> = vec![(world.stop, GenerationInput::Stop)];
    due.extend(world.reloads.iter().map(|at| (*at, GenerationInput::Reload)));
    let mut course = Course { starts: Vec::new(), end: (s(0), 0) };
    let mut began = Vec::new();
    let mut now = Duration::ZERO;
    for _ in 0..10_000 {
        for action in std::mem::take(&mut life.actions) {
            match action {
                GenerationAction::Start { generation, .. } => {
                    course.starts.push(now);
                    began.push(now);
                    let run = world.run(course.starts.len());
                    match run.lasts {
                        None => due.push((now, GenerationInput::Failed { generation, code: 127 })),
                        Some(lasts) => {
                            due.push((now.saturating_add(lasts), exited(generation, run.code, lasts)));
                            due.push((now + run.ready, GenerationInput::Ready(generation)));
                        }
                    }
                }
                GenerationAction::Stop { generation, .. } => {
                    let run = world.run(generation.number() as usize);
                    let ran = now + run.obeys - began[generation.number() as usize - 1];
                    due.push((now + run.obeys, exited(generation, 0, ran)));
                }
                GenerationAction::GiveUp { outcome, .. } => {
                    course.end = (now, outcome.code());
                    return Ok(course);
                }
                GenerationAction::Promote(_) | GenerationAction::Wait { .. } => {}
            }
        }
        due.sort_by_key(|(at, _)| *at);
        let deadline = life.generations.poll_deadline();
        let first = due.first().map(|(at, _)| *at);
        let input = match (first, deadline) {
            (Some(at), deadline) if deadline.is_none_or(|deadline| at < deadline) => {
                now = at;
                due.remove(0).1
            }
            (_, deadline) => {
                now = deadline.ok_or("nothing happens any more")?;
                GenerationInput::Tick
            }
        };
        life.feed(now, input)?;
    }
    Err("it does not end".to_owned())
}

/// No reloads: sums and doublings.
fn restarts(world: &Scenario) -> Course {
    let (mut starts, mut now, mut row) = (Vec::new(), Duration::ZERO, 0);
    loop {
        starts.push(now);
        let run = world.run(starts.len());
        let end = now.saturating_add(run.lasts.unwrap_or_default());
        if run.lasts.is_some() && world.stop < end {
            return Course {
                starts,
                end: (end.min(world.stop + run.obeys), if end <= world.stop + run.obeys { run.code } else { 0 }),
            };
        }
        let code = if run.lasts.is_some() { run.code } else { 127 };
        let wanted = if code == 0 { world.plan.clean } else { world.plan.failed };
        let first = run.lasts.is_none() && starts.len() == 1;
        row = if run.lasts.is_some_and(|lasts| lasts > world.plan.delay_max) { 0 } else { row };
        if first || !wanted || world.plan.limit == Some(row) {
            return Course { starts, end: (end, code) };
        }
        let pause = (0..row).fold(world.plan.delay, |pause, _| (pause * 2).min(world.plan.delay_max));
        row += 1;
        now = end + pause;
        if world.stop < now {
            return Course { starts, end: (world.stop.max(end), code) };
        }
    }
}

/// Nothing ends by itself: each reload that finds one generation begins at once, others when the one before is over.
fn reloads(world: &Scenario) -> Course {
    let mut starts = vec![Duration::ZERO];
    let mut counts = 1;
    let mut asked = world.reloads.iter().copied().peekable();
    let mut free = Duration::ZERO;
    // All that came before it was free are one.
    while let Some(first) = asked.next() {
        let begins = first.max(free);
        while asked.next_if(|at| *at <= begins).is_some() {}
        if begins > world.stop {
            break;
        }
        starts.push(begins);
        let ready = begins + world.run(starts.len()).ready;
        let old_gone = ready + world.run(counts).obeys;
        if ready > world.stop {
            // Both are stopped, and the old one counts.
            let both = [world.run(counts).obeys, world.run(starts.len()).obeys];
            return Course { starts, end: (world.stop + both[0].max(both[1]), 0) };
        }
        counts = starts.len();
        if old_gone > world.stop {
            return Course { starts, end: (old_gone.max(world.stop + world.run(counts).obeys), 0) };
        }
        free = old_gone;
    }
    Course { starts, end: (world.stop + world.run(counts).obeys, 0) }
}

/// Some milliseconds and some microseconds of its own, so that no two sums are the same moment.
fn time(limit: u64, unique: u64) -> impl Strategy<Value = Duration> {
    (0..limit).prop_map(move |millis| ms(millis) + Duration::from_micros(unique))
}

fn runs(lasts: impl Strategy<Value = Option<Duration>>) -> impl Strategy<Value = Vec<Run>> {
    let run = (lasts, 0u8..3, time(3_000, 3), time(4_000, 5));
    let run = run.prop_map(|(lasts, code, ready, obeys)| Run { lasts, code, ready, obeys });
    let unique = |(index, mut run): (usize, Run)| {
        // One bit of its own for each run, in nanoseconds.
        run.ready += Duration::from_nanos(1 << index);
        run.obeys += Duration::from_nanos(1 << (index + 16));
        run.lasts = run.lasts.map(|lasts| lasts + Duration::from_nanos(1 << index));
        run
    };
    prop::collection::vec(run, 1..8).prop_map(move |runs| runs.into_iter().enumerate().map(unique).collect())
}

fn restart_plans() -> impl Strategy<Value = RestartPlan> {
    (any::<bool>(), any::<bool>(), 1u64..2_000, 0u64..10_000, of(1u32..5)).prop_map(
        |(failed, clean, delay, more, limit)| RestartPlan {
            failed: failed || clean,
            clean,
            delay: ms(delay),
            delay_max: ms(delay + more),
            limit,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn starts_and_exit_come_when_a_naive_calculation_of_restarts_says(
        (plan, runs, stop) in (restart_plans(), runs(of(time(15_000, 1))), time(60_000, 7))
    ) {
        let world = Scenario { plan, runs, reloads: Vec::new(), stop };
        prop_assert_eq!(simulate(&world).map_err(TestCaseError::fail)?, restarts(&world));
    }

    #[test]
    fn starts_and_exit_come_when_a_naive_calculation_of_reloads_says(
        (runs, mut reloads_at, stop) in
            (runs(Just(Some(Duration::MAX / 2))), prop::collection::vec(time(30_000, 11), 0..8), time(40_000, 7))
    ) {
        reloads_at.sort();
        // Of two at once the second would come during the first.
        reloads_at.dedup();
        let world = Scenario { plan: RestartPlan::default(), runs, reloads: reloads_at, stop };
        prop_assert_eq!(simulate(&world).map_err(TestCaseError::fail)?, reloads(&world));
    }
}
