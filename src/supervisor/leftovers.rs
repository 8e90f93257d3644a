//! What is left when the app is gone, and SIGKILL.
//!
//! As PID 1 that is every other process of the namespace, those that were brought in from outside (`docker exec`)
//! included; their end raises no SIGCHLD, so it is watched through pidfds or, where there are none, looked for. Otherwise
//! it is graceful's own descendants and nothing else: being their subreaper, graceful has no child left exactly when no
//! descendant is left.
//!
//! Not all of them are waited for:
//!
//! | what is left | is told | is waited for |
//! | --- | --- | --- |
//! | what came from the app, or from graceful's hooks | SIGTERM | until K |
//! | what was brought in from outside, in a stop | SIGTERM | until K |
//! | what was brought in from outside, when the app ended by itself | SIGTERM | no: a session of somebody's must not keep a crashed app from being started again |
//! | the same, when the app is started again (`--restart`) | nothing | no: whoever looks into a crash is not to be thrown out by the next one |
//! | what graceful may not signal (EPERM: root's session in a container of another user) | nothing can be | no: not even SIGKILL would end it |
//!
//! Whoever is not waited for is not in the number that the lifecycle is told; so nobody delays the end who cannot be ended.

use super::Supervisor;
use crate::config::AdviceAt;
use crate::config::Leftovers;
use crate::lifecycle::Input;
use crate::pid::Pid;
use crate::signal::Signal;
use crate::sys::tree::{self, Process};
use crate::sys::{fds, handlers, process};
use crate::timeline::{Event, InFlightMoment, LEFTOVERS_NAMED, Phase, Unwaited};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// At most this many processes whose end raises no SIGCHLD are watched; the others are looked for when one of these ends.
const WATCHED: usize = 32;
/// At most this many are looked at before they are signalled: none of them is to wait long for its signal.
const LOOKED_AT: usize = 1000;
/// Passes over /proc while processes still fork under SIGKILL.
const PASSES: usize = 16;
/// Looks at our own children after each of them: each takes some microseconds.
const QUICK_LOOKS: usize = 16;
/// No further pass is begun after this long: SIGKILL comes again soon, and the end must not be late for it.
const PASSES_LAST: Duration = Duration::from_millis(50);

/// What is known of the end of those who are left, while it is waited for.
#[derive(Debug, Default)]
pub(super) struct LeftoverWatch {
    /// Processes that are no children of ours, nor of others that are waited for: to be told of their end.
    ends: Vec<OwnedFd>,
    /// The end of some can only be seen by looking, at this time.
    look_at: Option<Duration>,
    /// Of whom it was said that they are not waited for.
    said: Vec<Unwaited>,
}

impl LeftoverWatch {
    /// When to call `leftovers_tick`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.look_at
    }

    /// What to poll.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ends.iter().map(AsFd::as_fd)
    }
}

/// Everybody who is left.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    waited_for: Vec<Process>,
    not_allowed: Vec<Process>,
    from_outside: Vec<Process>,
}

impl Left {
    /// `may_signal`: whether a pid may be signalled. `outsiders`: whether those from outside are waited for.
    fn sort(all: Vec<Process>, may_signal: impl Fn(i32) -> bool, outsiders: bool) -> Left {
        let parents: HashMap<i32, i32> = all.iter().map(|process| (process.pid, process.parent)).collect();
        let mut left = Left::default();
        for process in all {
            if !may_signal(process.pid) {
                left.not_allowed.push(process);
            } else if !outsiders && is_from_outside(&process, &parents) {
                left.from_outside.push(process);
            } else {
                left.waited_for.push(process);
            }
        }
        left
    }

    /// wait(2) would go on to know of children when nobody is left who is waited for.
    fn keeps_children(&self, own: i32) -> bool {
        self.not_allowed.iter().chain(&self.from_outside).any(|process| process.parent == own)
    }

    /// Those whose end raises no SIGCHLD here, nor that of another who is waited for.
    fn unheard(&self, own: i32) -> impl Iterator<Item = &Process> {
        let heard: HashSet<i32> = self.waited_for.iter().map(|process| process.pid).chain([own]).collect();
        self.waited_for.iter().filter(move |process| !heard.contains(&process.parent))
    }
}

/// It, or who it descends from, has its parent in another namespace: `docker exec`, `kubectl debug`, nsenter(1).
fn is_from_outside(process: &Process, parents: &HashMap<i32, i32>) -> bool {
    let mut parent = process.parent;
    // A list that is not of one moment could hold a circle.
    for _ in 0..parents.len() {
        match parents.get(&parent) {
            Some(next) => parent = *next,
            None => break,
        }
    }
    parent == 0
}

impl Supervisor {
    /// Counts who is left and waited for: an input for the next `act`.
    pub(super) fn look(&mut self) {
        if self.run.lifecycle.phase() == Phase::Kill {
            // To look can take long, and who has ended by now must not be missed for it.
            self.take_exits();
        }
        let children = self.reaper.has_children();
        self.run.left.look_at = None;
        let left = if self.beside.is_some() {
            Some(self.left_of_this_run())
        } else if children && self.run.lifecycle.phase() == Phase::Kill && self.reaper.is_dying() {
            // How many is of no interest, and to count ten thousand takes longer than to kill them.
            Some(1)
        } else if self.launch.init {
            self.left_in_namespace()
        } else {
            self.left_of_ours()
        };
        match left {
            Some(left) => self.run.inputs.push_back(Input::Left(left)),
            None => self.reaper.look_again(),
        }
    }

    fn left_of_ours(&mut self) -> Option<usize> {
        if !self.reaper.may_have_children() {
            return Some(0);
        }
        match self.seen(tree::descendants()) {
            Some(left) => self.count(left),
            None => Some(1),
        }
    }

    /// The other one's are not waited for.
    fn left_of_this_run(&mut self) -> usize {
        let list = self.seen(tree::descendants()).unwrap_or_default();
        let mut left = self.own(list);
        left.retain(|process| process::may_signal(process.pid) && !self.is_of_killed_check(process));
        let left = Left { waited_for: left, ..Left::default() };
        self.watch_ends(&left);
        left.waited_for.len()
    }

    fn left_in_namespace(&mut self) -> Option<usize> {
        if !self.reaper.may_have_children() && process::namespace_is_empty().unwrap_or(false) {
            return Some(0);
        }
        match self.seen(tree::others()) {
            Some(left) => self.count(left),
            None => Some(usize::from(self.reaper.may_have_children())),
        }
    }

    /// `None`: only commands of checks, which graceful itself has just killed; when they are reaped it can be told.
    fn count(&mut self, mut all: Vec<Process>) -> Option<usize> {
        all.retain(|process| !self.is_of_killed_check(process));
        let in_a_stop = self.run.lifecycle.stop_signal().is_some();
        let left = Left::sort(all, process::may_signal, in_a_stop);
        self.watch_ends(&left);
        // Those who stay would keep wait(2) from ever saying that nobody is left.
        let keeps_children = left.keeps_children(self.launch.pid);
        if keeps_children {
            self.reaper.look_again();
        }
        match left.waited_for.len() {
            0 if self.awaits_killed_checks() => None,
            0 => {
                self.take_leave(&left);
                // A zombie that nobody has reaped yet is not in the list, but wait(2) says that there is something.
                Some(usize::from(self.reaper.may_have_children() && !keeps_children))
            }
            count => Some(count),
        }
    }

    pub(super) fn seen(&mut self, list: Option<Vec<Process>>) -> Option<Vec<Process>> {
        if list.is_none() {
            self.trouble_once("/proc is not there or shows another namespace: leftovers cannot be listed".to_owned());
        }
        list
    }

    /// Says who is left behind, and tells those who can be told.
    fn take_leave(&mut self, left: &Left) {
        for (why, who) in [(Unwaited::NotAllowed, &left.not_allowed), (Unwaited::FromOutside, &left.from_outside)] {
            let stay = why == Unwaited::FromOutside && self.run.comes_back;
            if who.is_empty() || stay || self.run.left.said.contains(&why) {
                continue;
            }
            self.run.left.said.push(why);
            let names =
                who.iter().take(LEFTOVERS_NAMED).map(|process| format!("{} (pid {})", process.name, process.pid));
            let names = names.collect::<Vec<_>>().join(", ");
            self.record(Event::NotWaitedFor { count: who.len(), names, why });
            for process in who.iter().filter(|_| why == Unwaited::FromOutside) {
                _ = process::signal_process(process, Signal::TERM);
                _ = process::signal_process(process, if process.leads_terminal { Signal::HUP } else { Signal::CONT });
            }
        }
    }

    fn watch_ends(&mut self, left: &Left) {
        self.run.left.ends.clear();
        let now = self.now();
        for process in left.unheard(self.launch.pid).take(WATCHED) {
            match process::pidfd_open(process.pid) {
                Ok(end) => self.run.left.ends.push(end),
                // It has ended since it was listed.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => self.run.left.look_at = Some(now),
                // Before Linux 5.3, denied by a seccomp profile that knows no pidfd, or no descriptor to be had.
                Err(_) => self.run.left.look_at = self.run.left.look_at.or(Some(now + fds::BLIND)),
            }
        }
    }

    /// One of those whose end raises no SIGCHLD has ended: look again.
    pub(super) fn look_after_ends(&mut self) {
        let polled: Vec<BorrowedFd<'_>> = self.run.left.fds().collect();
        if !polled.is_empty() && fds::poll(&polled, Some(Duration::ZERO)).contains(&true) {
            self.run.left.ends.clear();
            self.look_if_asked();
        }
    }

    /// Their end can only be seen by looking.
    pub(super) fn leftovers_tick(&mut self, now: Duration) {
        if self.run.left.look_at.take_if(|at| *at <= now).is_some() {
            self.look_if_asked();
        }
    }

    pub(super) fn look_if_asked(&mut self) {
        if self.run.lifecycle.is_waiting_for_the_last() {
            self.look();
        }
    }

    /// SIGTERM, or a stop signal that came late. Before it SIGCONT to those that are stopped, who could not act on it (where
    /// /proc does not tell who is: as PID 1, to all); behind it SIGHUP to a shell that leads a terminal's session,
    /// because interactive shells ignore SIGTERM and end on a hang-up (systemd.kill(5), SendSIGHUP=).
    pub(super) fn signal_leftovers(&mut self, signal: Signal) {
        // With another run beside it nothing goes to all.
        let alone = self.beside.is_none();
        let list = if self.launch.init && alone { tree::others() } else { tree::descendants() };
        let list = self.seen(list).map(|list| self.own(list));
        let all = self.launch.init && alone && !(self.run.comes_back && list.is_some());
        if list.is_none() && all {
            _ = process::signal_namespace(Signal::CONT);
        }
        let mut list = list.unwrap_or_default();
        if !all && self.launch.init && alone {
            list = Left::sort(list, |_| true, false).waited_for;
        }
        for process in list.iter().filter(|process| process.stopped) {
            _ = process::signal_process(process, Signal::CONT);
        }
        // One that has ended since it was listed, and a zombie shows no dispositions, ended by itself as well.
        let ignores = |process: &Process| {
            let disposition = handlers::disposition(process.pid, signal);
            disposition.is_none_or(|is| is == handlers::Disposition::Ignored) || tree::has_let_go(process.pid)
        };
        let ignored: Vec<bool> = list.iter().take(LOOKED_AT).map(ignores).collect();
        let mut errors: Vec<Option<String>> = Vec::new();
        if all {
            let error = process::signal_namespace(signal).err().map(|error| error.to_string());
            // To all at once, those who may not be signalled are passed over without an error.
            let denied = || Some(std::io::Error::from_raw_os_error(libc::EPERM).to_string());
            let errors_of = list
                .iter()
                .take(LEFTOVERS_NAMED)
                .map(|process| if process::may_signal(process.pid) { error.clone() } else { denied() });
            errors.extend(errors_of);
        } else {
            for process in &list {
                errors.push(process::signal_process(process, signal).err().map(|error| error.to_string()));
            }
        }
        for process in list.iter().filter(|process| process.leads_terminal) {
            _ = process::signal_process(process, Signal::HUP);
        }
        let count = list.len().saturating_sub(LEFTOVERS_NAMED);
        let rest = ignored.iter().skip(LEFTOVERS_NAMED).filter(|ignored| **ignored).count();
        let named = list.into_iter().zip(errors).zip(ignored).take(LEFTOVERS_NAMED);
        for ((Process { pid, name, .. }, error), ignored) in named {
            self.record(Event::LeftoverSignalled { pid, name, signal, ignored, error });
        }
        if count > 0 {
            self.record(Event::MoreSignalled { count, signal, ignored: rest });
        }
    }

    /// SIGKILL to the app and all the rest. First the deed, then the words.
    pub(super) fn kill_everything(&mut self) {
        let app = self.run.app.is_some();
        let first = !self.reaper.is_sigkill_sent();
        let hint = if first { self.stop_to_hint() } else { None };
        if first {
            // The numbers are there already: nothing waits for this.
            self.record_in_flight(InFlightMoment::Kill);
            self.run.in_flight.watch_no_longer();
        }
        let all = self.launch.init && self.beside.is_none();
        let count = if all { self.kill_namespace() } else { self.kill_ours() };
        self.reaper.sigkill_was_sent();
        if first {
            self.record(Event::EverythingKilled { count, app });
            if app {
                self.advise(AdviceAt::Kill);
            }
            if let Some(what) = hint {
                self.record(Event::Advice { what, detail: false });
            }
        }
    }

    fn kill_namespace(&mut self) -> Option<usize> {
        if let Err(error) = process::signal_namespace(Signal::KILL)
            && error.raw_os_error() != Some(libc::ESRCH)
        {
            self.trouble_once(format!("SIGKILL to the namespace failed: {error}"));
        }
        None
    }

    fn kill_ours(&mut self) -> Option<usize> {
        if let Some(app) = self.run.app
            && let Err(error) = process::signal_child(app, Signal::KILL, None)
        {
            self.trouble_once(format!("SIGKILL to the app (pid {app}) failed: {error}"));
        }
        if self.config.leftovers == Leftovers::Leave {
            return Some(0);
        }
        let until = self.now() + PASSES_LAST;
        let mut killed: HashSet<i32> = self.run.app.into_iter().map(Pid::number).collect();
        let (mut count, _) = self.tell_all_of_ours(Signal::KILL, &mut killed)?;
        // More that came meanwhile: they fork faster than they are killed, and each that dies makes room for another one
        // (pids.max). So all are stopped before any more are killed.
        for _ in 0..PASSES {
            let (listed, new) = self.tell_all_of_ours(Signal::KILL, &mut killed)?;
            count += listed;
            if new == 0 || self.now() >= until {
                break;
            }
            let mut stopped = killed.clone();
            while self.tell_all_of_ours(Signal::STOP, &mut stopped)?.1 > 0 && self.now() < until {}
        }
        Some(count)
    }

    /// A signal to all who have not been told yet: how many of them were seen alive, and how many there were in all.
    fn tell_all_of_ours(&mut self, signal: Signal, told: &mut HashSet<i32>) -> Option<(usize, usize)> {
        let before = told.len();
        let list = self.seen(tree::descendants())?;
        let list = self.own(list);
        for process in list.into_iter().filter(|process| told.insert(process.pid)) {
            if let Err(error) = process::signal_process(&process, signal)
                && error.raw_os_error() != Some(libc::ESRCH)
            {
                self.trouble_once(format!("{signal} to {} (pid {}) failed: {error}", process.name, process.pid));
            }
        }
        let listed = told.len() - before;
        // A chain, each link of which forks the next one and ends, has moved on while all of /proc was read. Its links
        // are children of ours by then, who can be told in no time and by their pid; and the next one with them by their
        // group, which no fork escapes: fork(2) fails and is begun again while a signal is pending, of a group's as of
        // its own (copy_process() in kernel/fork.c).
        for _ in 0..QUICK_LOOKS {
            let new: Vec<i32> = tree::children().into_iter().filter(|pid| told.insert(*pid)).collect();
            for pid in new.into_iter().filter_map(Pid::new) {
                if !self.is_own(pid.number()) {
                    told.remove(&pid.number());
                    continue;
                }
                // It may have ended, and cannot be another's: nobody has reaped it. Nor can its group.
                if !process::shares_our_group(pid)
                    && let Some(group) = process::group_of(pid)
                {
                    _ = process::signal_group(group, signal);
                }
                _ = process::signal_child(pid, signal, None);
            }
        }
        Some((listed, told.len() - before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// pid, parent.
    fn sorted(list: &[(i32, i32)], denied: &[i32], outsiders: bool) -> [Vec<i32>; 3] {
        let left = left(list, denied, outsiders);
        [left.waited_for, left.not_allowed, left.from_outside]
            .map(|list| list.iter().map(|process| process.pid).collect())
    }

    fn left(list: &[(i32, i32)], denied: &[i32], outsiders: bool) -> Left {
        let all = list.iter().map(|(pid, parent)| Process::made_up(*pid, *parent)).collect();
        Left::sort(all, |pid| !denied.contains(&pid), outsiders)
    }

    #[test]
    fn who_descends_from_outside_is_from_outside() {
        let list = [(7, 1), (8, 7), (20, 0), (21, 20), (22, 21), (30, 29)];
        assert_eq!(sorted(&list, &[], false), [vec![7, 8, 30], vec![], vec![20, 21, 22]]);
        assert_eq!(sorted(&list, &[], true), [vec![7, 8, 20, 21, 22, 30], vec![], vec![]]);
        // A list that is not of one moment.
        assert_eq!(sorted(&[(5, 6), (6, 5)], &[], false)[0], [5, 6]);
    }

    #[test]
    fn who_may_not_be_signalled_is_not_waited_for_but_his_children_are() {
        let list = [(7, 1), (8, 7), (9, 8), (20, 0)];
        assert_eq!(sorted(&list, &[7, 20], true), [vec![8, 9], vec![7, 20], vec![]]);
        let left = left(&list, &[7, 20], true);
        assert!(left.keeps_children(1), "7 is a child that stays");
        assert_eq!(left.unheard(1).map(|process| process.pid).collect::<Vec<_>>(), [8], "7 does not tell of it");
    }

    #[test]
    fn the_end_of_own_children_and_below_is_heard() {
        let left = left(&[(7, 1), (8, 7), (20, 0), (21, 20)], &[], true);
        assert!(!left.keeps_children(1));
        assert_eq!(left.unheard(1).map(|process| process.pid).collect::<Vec<_>>(), [20]);
    }
}
