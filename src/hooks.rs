//! Hooks: commands and POSTs at five stages of the app's life.
//!
//! The hooks of a stage form groups: higher priority first; hooks of the file with equal priority run together; hooks
//! given by flag or variable are a group each, in the order given, after the file's of priority 0. A group begins when
//! the one before it has ended. A failure that matters (`on_failure = "abort"`) ends the stage.
//!
//! Nothing here waits: [`Hooks`] is told of exits, answers, output and time, and says what happened by [`HookEvent`].
//! A hook that outlives its timeout is killed with its tree and counted as ended at once, even if it cannot die.

use crate::command::{LaunchContext, Running};
use crate::config::{Hook, HookAction, OnFailure};
use crate::pid::Pid;
use crate::secret::Url;
use crate::signal::Signal;
use crate::status::ExitStatus;
use crate::timeline::{HookResult, Stage};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What a hook is told in its environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct HookEnvironment {
    /// The signal that began the stop, once there has been one.
    pub signal: Option<Signal>,
    /// The app's pid, once it runs.
    pub app: Option<i32>,
    /// graceful's exit code, for post-stop hooks.
    pub exit_code: Option<u8>,
    /// Which run of the app it is, from 1 on.
    pub generation: u64,
    /// Why that was started, as "restart".
    pub cause: &'static str,
}

/// What has happened to hooks.
#[derive(Debug, PartialEq)]
pub enum HookEvent {
    /// A hook was started.
    Began {
        /// The name of the hook.
        name: String,
        /// Its stage.
        stage: Stage,
    },
    /// It printed a line.
    Output {
        /// The name of the hook.
        name: String,
        /// The line.
        line: String,
    },
    /// It ended.
    Ended {
        /// The name of the hook.
        name: String,
        /// Its stage.
        stage: Stage,
        /// How it ended.
        result: HookResult,
        /// After how long.
        took: Duration,
    },
    /// A POST is to be made; its answer goes to [`Hooks::posted`].
    Post {
        /// To be named in the answer.
        id: u32,
        /// Where to.
        url: Url,
        /// For the whole of it.
        timeout: Duration,
    },
    /// All hooks of the stage have ended.
    StageDone {
        /// The stage that is over.
        stage: Stage,
        /// Whether a hook failed whose failure matters.
        abort: bool,
    },
}

enum Work {
    Command(Running),
    Post(u32),
}

struct Active {
    hook: Hook,
    work: Work,
    began: Duration,
    deadline: Duration,
}

struct StageRun {
    stage: Stage,
    groups: VecDeque<Vec<Hook>>,
    abort: bool,
}

/// The numbers of two runs' requests are this far apart.
const POSTS_OF_A_RUN: u32 = 1 << 16;

/// All hooks of one run.
pub struct Hooks {
    configured: Vec<Hook>,
    stages: Vec<StageRun>,
    active: Vec<Active>,
    happened: VecDeque<HookEvent>,
    next_post: u32,
    facts: HookEnvironment,
}

impl Hooks {
    /// The hooks of this configuration.
    pub fn new(configured: Vec<Hook>) -> Hooks {
        Hooks {
            configured,
            stages: Vec::new(),
            active: Vec::new(),
            happened: VecDeque::new(),
            next_post: 0,
            facts: HookEnvironment::default(),
        }
    }

    /// The stages that have hooks.
    pub fn stages(&self) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for hook in &self.configured {
            if !stages.contains(&hook.stage) {
                stages.push(hook.stage);
            }
        }
        stages
    }

    /// Begins a stage.
    pub fn run(&mut self, now: Duration, stage: Stage, facts: HookEnvironment, origin: &LaunchContext) {
        self.facts = facts;
        self.stages.push(StageRun { stage, groups: groups(&self.configured, stage), abort: false });
        self.go_on(now, stage, origin);
    }

    /// The same hooks for another run of the app; their requests have other numbers.
    pub fn of_another(&self) -> Hooks {
        let next_post = self.next_post.wrapping_add(POSTS_OF_A_RUN);
        Hooks { next_post, ..Hooks::new(self.configured.clone()) }
    }

    /// The run of the app is over: what is left of the one before, and could not even be killed, is nobody's.
    pub fn begin_anew(&mut self) {
        self.stages.clear();
        self.happened.clear();
        for active in std::mem::take(&mut self.active) {
            if let Work::Command(running) = &active.work {
                running.kill_tree();
            }
        }
    }

    /// The next thing that has happened.
    pub fn poll(&mut self) -> Option<HookEvent> {
        self.happened.pop_front()
    }

    /// When to call [`Hooks::tick`].
    pub fn deadline(&self) -> Option<Duration> {
        self.active.iter().map(|active| active.deadline).min()
    }

    /// What to poll for output.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.active.iter().filter_map(|active| match &active.work {
            Work::Command(running) => running.fd(),
            Work::Post(_) => None,
        })
    }

    /// Reads what the hooks have printed.
    pub fn read(&mut self) {
        for active in &mut self.active {
            if let Work::Command(running) = &mut active.work {
                let name = &active.hook.name;
                self.happened
                    .extend(running.lines().into_iter().map(|line| HookEvent::Output { name: name.clone(), line }));
            }
        }
    }

    /// A child ended; says whether it was a hook.
    pub fn exited(&mut self, now: Duration, pid: Pid, status: ExitStatus, origin: &LaunchContext) -> bool {
        let is = |active: &Active| matches!(&active.work, Work::Command(running) if running.pid() == pid);
        let Some(index) = self.active.iter().position(is) else { return false };
        let result = match status {
            ExitStatus::Exited(0) => HookResult::Ok,
            ExitStatus::Exited(127) => HookResult::Failed("exit status 127 (not found?)".to_owned()),
            status => HookResult::Failed(status.to_string()),
        };
        self.end(now, index, result, origin);
        true
    }

    /// A POST was answered.
    pub fn posted(&mut self, now: Duration, id: u32, result: HookResult, origin: &LaunchContext) {
        let is = |active: &Active| matches!(active.work, Work::Post(own) if own == id);
        if let Some(index) = self.active.iter().position(is) {
            let result = match result {
                // The HTTP thread has the same deadline and may be the first to notice.
                HookResult::Failed(_) if self.active[index].deadline <= now => HookResult::TimedOut,
                result => result,
            };
            self.end(now, index, result, origin);
        }
    }

    /// No POST will be answered from now on.
    pub fn posts_failed(&mut self, now: Duration, why: &str, origin: &LaunchContext) {
        while let Some(index) = self.active.iter().position(|active| matches!(active.work, Work::Post(_))) {
            self.end(now, index, HookResult::Failed(why.to_owned()), origin);
        }
    }

    /// Ends the hooks that are past their timeout.
    pub fn tick(&mut self, now: Duration, origin: &LaunchContext) {
        while let Some(index) = self.active.iter().position(|active| active.deadline <= now) {
            if let Work::Command(running) = &self.active[index].work {
                running.kill_tree();
            }
            self.end(now, index, HookResult::TimedOut, origin);
        }
    }

    /// Begins no further hook of the stages that run; what runs may end.
    pub fn no_more(&mut self) {
        self.stages.iter_mut().for_each(|run| run.groups.clear());
    }

    /// Ends a stage that is no longer needed; it is not reported as done.
    pub fn cancel(&mut self, now: Duration, stage: Stage, origin: &LaunchContext) {
        self.stages.retain(|run| run.stage != stage);
        while let Some(index) = self.active.iter().position(|active| active.hook.stage == stage) {
            if let Work::Command(running) = &self.active[index].work {
                running.kill_tree();
            }
            self.end(now, index, HookResult::Cancelled, origin);
        }
    }

    /// The commands that run.
    pub fn pids(&self) -> impl Iterator<Item = Pid> {
        self.active.iter().filter_map(|active| match &active.work {
            Work::Command(running) => Some(running.pid()),
            Work::Post(_) => None,
        })
    }

    /// Passes a signal to every hook that runs.
    pub fn signal(&self, signal: Signal) {
        for active in &self.active {
            if let Work::Command(running) = &active.work {
                running.signal(signal);
            }
        }
    }

    fn end(&mut self, now: Duration, index: usize, result: HookResult, origin: &LaunchContext) {
        let Active { hook, work, began, .. } = self.active.remove(index);
        if let Work::Command(running) = work {
            let name = &hook.name;
            self.happened
                .extend(running.finish().into_iter().map(|line| HookEvent::Output { name: name.clone(), line }));
        }
        self.ended(&hook, result, now.saturating_sub(began));
        self.go_on(now, hook.stage, origin);
    }

    fn ended(&mut self, hook: &Hook, result: HookResult, took: Duration) {
        let failed = !matches!(result, HookResult::Ok | HookResult::Cancelled);
        if failed && hook.on_failure == OnFailure::Abort {
            self.stages.iter_mut().filter(|run| run.stage == hook.stage).for_each(|run| run.abort = true);
        }
        self.happened.push_back(HookEvent::Ended { name: hook.name.clone(), stage: hook.stage, result, took });
    }

    /// Starts the stage's next group when nothing of it runs, or reports the stage as done.
    fn go_on(&mut self, now: Duration, stage: Stage, origin: &LaunchContext) {
        while !self.active.iter().any(|active| active.hook.stage == stage) {
            let Some(position) = self.stages.iter().position(|run| run.stage == stage) else { return };
            let run = &mut self.stages[position];
            let next = if run.abort { None } else { run.groups.pop_front() };
            match next {
                Some(group) => group.into_iter().for_each(|hook| self.start(now, hook, origin)),
                None => {
                    let abort = run.abort;
                    self.stages.remove(position);
                    self.happened.push_back(HookEvent::StageDone { stage, abort });
                }
            }
        }
    }

    fn start(&mut self, now: Duration, hook: Hook, origin: &LaunchContext) {
        self.happened.push_back(HookEvent::Began { name: hook.name.clone(), stage: hook.stage });
        let work = match &hook.action {
            HookAction::Command(argv) => match Running::start(argv, &self.environment(hook.stage), origin) {
                Ok(running) => Work::Command(running),
                Err(error) => return self.ended(&hook, HookResult::Failed(error.to_string()), Duration::ZERO),
            },
            HookAction::Post(url) => {
                let (id, url, timeout) = (self.next_post, url.clone(), hook.timeout);
                self.next_post += 1;
                self.happened.push_back(HookEvent::Post { id, url, timeout });
                Work::Post(id)
            }
        };
        let deadline = now + hook.timeout;
        self.active.push(Active { hook, work, began: now, deadline });
    }

    fn environment(&self, stage: Stage) -> Vec<(&'static str, String)> {
        let facts = &self.facts;
        let mut env = vec![("GRACEFUL_PHASE", stage.to_string())];
        env.extend(facts.signal.map(|signal| ("GRACEFUL_SIGNAL", signal.to_string())));
        env.extend(facts.app.map(|pid| ("GRACEFUL_APP_PID", pid.to_string())));
        env.extend(facts.exit_code.map(|code| ("GRACEFUL_EXIT_STATUS", code.to_string())));
        env.extend([("GRACEFUL_GENERATION", facts.generation.to_string()), ("GRACEFUL_CAUSE", facts.cause.to_owned())]);
        env
    }
}

/// The groups of a stage, in the order in which they run.
fn groups(configured: &[Hook], stage: Stage) -> VecDeque<Vec<Hook>> {
    let mut together: BTreeMap<i32, Vec<Hook>> = BTreeMap::new();
    let mut one_by_one = Vec::new();
    for hook in configured.iter().filter(|hook| hook.stage == stage) {
        if hook.sequential {
            one_by_one.push(vec![hook.clone()]);
        } else {
            together.entry(hook.priority).or_default().push(hook.clone());
        }
    }
    let later = together.split_off(&0);
    // `later` holds priority 0 and above: those run first, highest first; then the flags' hooks; then what is below 0.
    let (first, last) = (later.into_values().rev(), together.into_values().rev());
    first.chain(one_by_one).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str, priority: i32, sequential: bool) -> Hook {
        Hook {
            name: name.to_owned(),
            stage: Stage::PreStop,
            action: HookAction::Command(vec!["true".to_owned()].into()),
            timeout: Duration::from_secs(1),
            priority,
            sequential,
            on_failure: OnFailure::Continue,
        }
    }

    #[test]
    fn higher_first_equal_together_flags_in_order_after_zero() {
        let hooks = [
            hook("low", -1, false),
            hook("a", 0, false),
            hook("high", 5, false),
            hook("b", 0, false),
            hook("flag 1", 0, true),
            hook("flag 2", 0, true),
        ];
        let order: Vec<Vec<String>> = groups(&hooks, Stage::PreStop)
            .into_iter()
            .map(|group| group.into_iter().map(|hook| hook.name).collect())
            .collect();
        assert_eq!(order, [vec!["high"], vec!["a", "b"], vec!["flag 1"], vec!["flag 2"], vec!["low"]]);
        assert!(groups(&hooks, Stage::PreStart).is_empty());
    }
}
