//! Every two signals, from wherever they come, in every phase: who gets what.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    App,
    Hooks,
    Leftovers,
}

const PHASES: [Phase; 9] = [
    Phase::PreStart,
    Phase::Running,
    Phase::PreStop,
    Phase::Hold,
    Phase::Drain,
    Phase::Leftovers,
    Phase::Kill,
    Phase::PostStop,
    Phase::Done,
];

const SOURCES: [SignalSource; 4] =
    [SignalSource::Process, SignalSource::Outside, SignalSource::Kernel, SignalSource::Shared];

fn signals() -> [Signal; 8] {
    let real_time = Signal::parse("RTMIN").expect("there are real-time signals");
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP, Signal::USR1, Signal::CONT, Signal::WINCH, real_time]
}

fn plans() -> [StopPlan; 2] {
    let rewrite = vec![(Signal::USR1, Some(Signal::USR2)), (Signal::WINCH, None)];
    let hooks = vec![Stage::PreStart, Stage::PostStop];
    let usual = StopPlan { hold: Some(HoldPlan { timeout: None, watches: false }), rewrite, hooks, ..plan() };
    // The app wants SIGQUIT, and more stops than usual, what a terminal sends by itself included.
    let more = [Signal::QUIT, Signal::HUP, Signal::WINCH, Signal::CONT];
    let other = StopPlan {
        stop_signal: Some(Signal::QUIT),
        stop_on: usual.stop_on.iter().chain(more).collect(),
        rewrite: usual.rewrite[..1].to_vec(),
        hold: None,
        ..usual.clone()
    };
    [usual, other]
}

/// A life that has come to this phase; the stop began with SIGTERM.
fn life_in(phase: Phase, plan: &StopPlan) -> Watched {
    // Only here: a phase Hold that is reached needs a hold.
    let hold = plan.hold.or((phase == Phase::Hold).then_some(HoldPlan { timeout: None, watches: false }));
    let mut life = Watched::new(StopPlan { hold, ..plan.clone() }).expect("begins");
    let mut feed = |at: Duration, input: Input| life.feed(at, input).expect("the way to the phase");
    let exited = Input::AppExited(ExitStatus::Exited(0));
    let term = Input::Signal { signal: Signal::TERM, source: SignalSource::Process, value: None };
    let to_drain: &[(Duration, Input)] = &[(s(10), term), (s(15), Input::Tick), (s(16), Input::HoldOver)];
    if phase > Phase::PreStart {
        feed(s(0), Input::HooksDone { stage: Stage::PreStart, abort: false });
        feed(s(0), Input::Started);
    }
    let steps = match phase {
        Phase::PreStart | Phase::Running => &[],
        Phase::PreStop => &to_drain[..1],
        Phase::Hold => &to_drain[..2],
        Phase::Drain | Phase::Leftovers | Phase::Kill | Phase::PostStop | Phase::Done => to_drain,
    };
    steps.iter().for_each(|(at, input)| feed(*at, *input));
    match phase {
        Phase::PreStart | Phase::Running | Phase::PreStop | Phase::Hold | Phase::Drain => {}
        Phase::Leftovers => [exited, Input::Left(1)].into_iter().for_each(|input| feed(s(17), input)),
        Phase::Kill => feed(s(39), Input::Tick),
        Phase::PostStop => [exited, Input::Left(0)].into_iter().for_each(|input| feed(s(17), input)),
        Phase::Done => [exited, Input::Left(0), Input::HooksDone { stage: Stage::PostStop, abort: false }]
            .into_iter()
            .for_each(|input| feed(s(17), input)),
    }
    assert_eq!(life.life.phase(), phase);
    life
}

/// The contract's words on signals, written down a second time.
struct Expected<'a> {
    plan: &'a StopPlan,
    phase: Phase,
    /// The signal that began the stop.
    first: Signal,
    /// The key that was left to the app.
    key: Option<Signal>,
    /// What the terminal has given the app since, of the stop signals.
    from_terminal: Vec<Signal>,
}

impl Expected<'_> {
    fn after(&mut self, signal: Signal, source: SignalSource) -> Vec<(To, Signal)> {
        let terminals_own = matches!(signal, Signal::WINCH | Signal::CONT)
            && !matches!(source, SignalSource::Process | SignalSource::Outside);
        if terminals_own || !self.plan.stop_on.contains(signal) {
            return self.after_other(signal, source);
        }
        let shared = source == SignalSource::Shared && (Phase::Running..=Phase::Drain).contains(&self.phase);
        if shared && self.phase == Phase::Running && self.key.replace(signal) != Some(signal) {
            return vec![];
        }
        if shared {
            self.from_terminal.push(signal);
        }
        let hurries = signal == Signal::INT || shared;
        match self.phase {
            Phase::PreStart => vec![(To::Hooks, signal)],
            Phase::Running => {
                self.first = signal;
                self.phase = Phase::PreStop;
                if hurries { self.hold() } else { vec![] }
            }
            Phase::PreStop if hurries => self.hold(),
            Phase::Hold if hurries => self.drain(),
            Phase::PreStop | Phase::Hold => vec![],
            Phase::Drain => {
                let to_app = self.plan.stop_signal.unwrap_or(signal);
                if shared && to_app == signal { vec![] } else { vec![(To::App, to_app)] }
            }
            Phase::Leftovers => vec![(To::Leftovers, signal)],
            Phase::Kill | Phase::PostStop | Phase::Done => vec![],
        }
    }

    fn hold(&mut self) -> Vec<(To, Signal)> {
        if self.plan.hold.is_some() && self.from_terminal.is_empty() {
            self.phase = Phase::Hold;
            return vec![];
        }
        self.drain()
    }

    fn drain(&mut self) -> Vec<(To, Signal)> {
        self.phase = Phase::Drain;
        let owed = self.plan.stop_signal.unwrap_or(self.first);
        if self.from_terminal.contains(&owed) { vec![] } else { vec![(To::App, owed)] }
    }

    fn after_other(&self, signal: Signal, source: SignalSource) -> Vec<(To, Signal)> {
        match self.phase {
            _ if source == SignalSource::Shared => vec![],
            Phase::Running | Phase::PreStop | Phase::Hold | Phase::Drain | Phase::Kill => match signal {
                Signal::USR1 => vec![(To::App, Signal::USR2)],
                Signal::WINCH if self.plan.rewrite.len() > 1 => vec![],
                other => vec![(To::App, other)],
            },
            Phase::PreStart | Phase::Leftovers | Phase::PostStop | Phase::Done => vec![],
        }
    }
}

fn who_got_what(actions: &[Action]) -> Vec<(To, Signal)> {
    let got = |action: &Action| match action {
        Action::SignalApp { signal, .. } | Action::StopApp { signal, shared: false } => Some((To::App, *signal)),
        Action::SignalHooks(signal) => Some((To::Hooks, *signal)),
        Action::SignalLeftovers(signal) => Some((To::Leftovers, *signal)),
        _ => None,
    };
    actions.iter().filter_map(got).collect()
}

#[test]
fn every_two_signals_in_every_phase_reach_whom_they_should() {
    let mut pairs = 0;
    for (plan, phase) in plans().iter().flat_map(|plan| PHASES.map(|phase| (plan, phase))) {
        let start = life_in(phase, plan);
        let at = match phase {
            Phase::PreStart => s(0),
            Phase::Kill => s(39),
            _ => s(18).min(start.deadline().map_or(s(18), |deadline| deadline - ms(1))),
        };
        for (one, two) in signals().into_iter().flat_map(|one| signals().map(|two| (one, two))) {
            for (from, then) in SOURCES.into_iter().flat_map(|from| SOURCES.map(|then| (from, then))) {
                let mut life = start.clone();
                let mut expected =
                    Expected { plan: &start.life.plan, phase, first: Signal::TERM, key: None, from_terminal: vec![] };
                for (signal, source) in [(one, from), (two, then)] {
                    let what = format!("{one} ({from:?}) and {two} ({then:?}) in {phase:?}");
                    life.feed(at, Input::Signal { signal, source, value: None })
                        .unwrap_or_else(|why| panic!("{what}: {why}"));
                    assert_eq!(who_got_what(&life.actions), expected.after(signal, source), "{what}");
                    assert_eq!(life.life.phase(), expected.phase, "{what}");
                }
                pairs += 1;
            }
        }
    }
    assert_eq!(pairs, 2 * 9 * 8 * 8 * 16);
}
