//! Children that have ended, in turns: what wait(2) has to tell, whether anybody is left, and what is counted of the dead.
//!
//! Whoever forks says so to [`Children`], which this shares; nobody else keeps whether there are any.

use crate::sys::reap::{ChildChange, Children};
use std::rc::Rc;

/// Deaths taken in one turn: a storm of orphans must not make a deadline late.
const REAPED_AT_ONCE: usize = 1000;

/// The main loop's side of wait(2).
#[derive(Debug, Default)]
pub(super) struct Reaper {
    children: Rc<Children>,
    /// Of this turn.
    taken: usize,
    /// There is more to tell than one turn of the loop takes.
    more: bool,
    /// What is left could not be told yet, or changes with the next end: to be asked when something was reaped.
    look_again: bool,
    orphans: u64,
    sigkill_sent: bool,
    after_sigkill: u64,
    /// How many that were at the last look.
    looked_at: Option<u64>,
}

impl Reaper {
    /// Of these children.
    pub(super) fn new(children: Rc<Children>) -> Reaper {
        Reaper { children, ..Reaper::default() }
    }

    /// Begins a turn.
    pub(super) fn begin_turn(&mut self) {
        (self.taken, self.more) = (0, false);
    }

    /// The next change of this turn.
    pub(super) fn next(&mut self) -> Option<ChildChange> {
        if self.taken == REAPED_AT_ONCE {
            self.more = true;
            return None;
        }
        self.taken += 1;
        match self.children.next() {
            ChildChange::Nothing | ChildChange::NoChildren => None,
            change @ (ChildChange::Ended { .. } | ChildChange::Stopped { .. } | ChildChange::Continued { .. }) => {
                Some(change)
            }
        }
    }

    /// The app is started again; what was killed was the one before.
    pub(super) fn begin_generation(&mut self) {
        (self.look_again, self.sigkill_sent, self.after_sigkill, self.looked_at) = (false, false, 0, None);
    }

    /// The last turn did not come to the end.
    pub(super) fn has_more(&self) -> bool {
        self.more
    }

    /// As far as it is known without asking.
    pub(super) fn may_have_children(&self) -> bool {
        self.children.may_be_left()
    }

    /// Asks.
    pub(super) fn has_children(&self) -> bool {
        self.children.are_left()
    }

    /// To be looked again when something was reaped.
    pub(super) fn look_again(&mut self) {
        self.look_again = true;
    }

    /// Whether it is time to look who is left: it was asked for, or there is no child.
    pub(super) fn is_to_look(&mut self) -> bool {
        std::mem::take(&mut self.look_again) || !self.may_have_children()
    }

    /// A child has ended that is not the app.
    pub(super) fn other_ended(&mut self) {
        self.after_sigkill += u64::from(self.sigkill_sent);
    }

    /// Nobody knew that child.
    pub(super) fn orphan_ended(&mut self) {
        self.orphans += 1;
    }

    pub(super) fn sigkill_was_sent(&mut self) {
        self.sigkill_sent = true;
    }

    pub(super) fn is_sigkill_sent(&self) -> bool {
        self.sigkill_sent
    }

    /// Since the last look, SIGKILL has ended somebody.
    pub(super) fn is_dying(&mut self) -> bool {
        self.looked_at.replace(self.after_sigkill) != Some(self.after_sigkill)
    }

    /// Orphans, and who ended after SIGKILL: what the report says, if there is anything to say.
    pub(super) fn counts(&self) -> Option<(u64, u64)> {
        (self.orphans > 0 || self.sigkill_sent).then_some((self.orphans, self.after_sigkill))
    }
}
