//! What the three probes answer, without any I/O: facts in, verdicts and pages out.
//!
//! ```text
//! supervisor ── writes ──► SharedStatus ───┐
//! checks ── Attempt ──► CheckHistory ──────┼──► judge(probe) ──► ProbeVerdict ──► page (text as the Kubernetes API
//! readiness polls ─────────────────────────┘                                      server's, JSON)
//! ```
//!
//! - [`board`]: what the main loop knows, in atomics. The main loop never waits for whoever reads it.
//! - [`check`]: one check's memory: thresholds, degraded, circuit breaker.
//! - [`verdict`]: what each probe says of all that.
//! - [`page`]: the verdict as a body.
//!
//! Invariants: a verdict is made of what is known already, so that no probe waits for anything; whatever is not known
//! yet is not ready; once the stop signal has come, /readyz is never 200 again (unless `--fail-readiness` says so).

pub mod board;
pub mod check;
pub mod page;
pub mod verdict;

pub use crate::timeline::Status;
pub use board::{AppHealth, SharedStatus, StatusSnapshot};
pub use check::{Attempt, Breaker, CheckHistory, CheckTransition, Rules};
pub use verdict::{Checked, Item, Probe, ProbeVerdict, ReadyUrl, Situation, judge};
