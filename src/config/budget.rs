//! Whether the explicit times fit into the grace period, and defaults that always do.
//!
//! ```text
//! t0 ── delay ── hold ── (escalations) ── K ── margin ── G
//! ```
//!
//! An explicit value is never changed: it fits, or it is refused with the bound it must keep. A default is never the
//! reason for a refusal of another default: it shrinks until it fits. The default delay is 5s, or a quarter of G, or
//! half of what an explicit margin, hold and first escalation leave, whichever is shortest. (While the app runs it
//! turns out whether anything listens; where nothing does, a default delay ends at once.)

use super::Budget;
use super::draft::{Draft, Given};
use super::options::GRACE_PERIOD;
use super::raw::ConfigError;
use super::values::show;
use std::time::Duration;

/// Grace period, margin and delay of this draft, with a problem for each explicit time that does not fit.
pub(crate) fn plan(draft: &Draft, problems: &mut Vec<ConfigError>) -> Budget {
    let grace_period = draft.grace_period.as_ref().map_or(Duration::from_secs(30), |given| given.value);
    let mut budget = Budget::for_grace_period(grace_period);
    if draft.budget_unknown() {
        return budget;
    }
    if let Some(margin) = &draft.kill_margin {
        if margin.value >= grace_period {
            let (margin, grace) = (&margin.raw, show(grace_period));
            problems.push(margin.problem(format!("must be shorter than the grace period, {grace}")));
            return budget;
        }
        budget.kill_margin = margin.value;
    }
    let end = end_of_delay_and_hold(draft, &budget);
    let delay_fits = match &draft.pre_stop_delay {
        Some(delay) => {
            budget.pre_stop_delay = delay.value;
            check_delay(delay, &budget, problems)
        }
        None => {
            let hold = draft.hold_timeout.as_ref().map_or(Duration::ZERO, |given| given.value);
            budget.pre_stop_delay = budget.pre_stop_delay.min(end.saturating_sub(hold) / 2);
            true
        }
    };
    check_escalations(draft, &budget, delay_fits, problems);
    // Escalations that are wrong themselves say nothing about the hold.
    if delay_fits && draft.escalate.iter().all(|given| fits_before_kill(given.value.after, &budget)) {
        check_hold(draft, &budget, end, problems);
    }
    budget
}

/// The delay and the hold must be over by then: the first escalation, or K.
fn end_of_delay_and_hold(draft: &Draft, budget: &Budget) -> Duration {
    let first = draft.escalate.iter().map(|given| given.value.after).min();
    first.map_or(budget.kill_at(), |first| first.min(budget.kill_at()))
}

fn fits_before_kill(after: Duration, budget: &Budget) -> bool {
    after < budget.kill_at()
}

fn check_delay(delay: &Given<Duration>, budget: &Budget, problems: &mut Vec<ConfigError>) -> bool {
    if delay.value < budget.kill_at() {
        return true;
    }
    problems.push(delay.raw.problem(format!(
        "the delay and the kill margin, {}, do not fit into the grace period, {}; the delay must be shorter than \
         {}, or {} longer",
        show(budget.kill_margin),
        show(budget.grace_period),
        show(budget.kill_at()),
        GRACE_PERIOD.flag(),
    )));
    false
}

fn check_escalations(draft: &Draft, budget: &Budget, delay_fits: bool, problems: &mut Vec<ConfigError>) {
    for given in &draft.escalate {
        if !fits_before_kill(given.value.after, budget) {
            problems.push(given.raw.problem(format!(
                "SIGKILL is sent at {} (grace period less kill margin); DUR must be shorter",
                show(budget.kill_at())
            )));
        } else if delay_fits && given.value.after <= budget.pre_stop_delay {
            problems.push(given.raw.problem(format!(
                "the app gets its stop signal only after the pre-stop delay, {}; DUR must be longer",
                show(budget.pre_stop_delay)
            )));
        }
    }
}

fn check_hold(draft: &Draft, budget: &Budget, end: Duration, problems: &mut Vec<ConfigError>) {
    let Some(hold) = &draft.hold_timeout else { return };
    let delay = draft.pre_stop_delay.as_ref().map_or(Duration::ZERO, |given| given.value);
    if draft.pre_stop_delay.is_some() && delay >= end {
        return; // The escalation that comes too early was reported.
    }
    if hold.value + delay >= end {
        let what = if end < budget.kill_at() { "the first escalation" } else { "SIGKILL" };
        problems.push(hold.raw.problem(format!(
            "the pre-stop delay, {}, and the hold must be over before {what} at {}; the hold must be shorter than {}",
            show(delay),
            show(end),
            show(end.saturating_sub(delay)),
        )));
    }
}
