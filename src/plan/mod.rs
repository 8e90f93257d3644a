//! `graceful plan`: the timeline of a stop before there is one, and manifests checked against it.
//!
//! ```text
//!   options of run ─► Config ─► draw: the timeline as a picture
//!
//!   files ─► input ─► read::{kubernetes, compose, dockerfile, ecs, nomad, …} ─► model ─► rules ─► findings ─► view
//!              │        │  yaml, hcl: a tree of values, line and column, bounded│          │
//!              │        └─ wrapped: graceful in a command line, read by        │          └─ less what comments and
//!              │           the code of `run` (config::load)                    │             --ignore name
//!              └─ the only I/O                                                 └─ nothing of a file format
//! ```
//!
//! A reader makes no judgement and a rule knows no format: so a rule holds for a Pod and for a Compose service alike,
//! and a new format needs no new rule. Every value has its place, so that a finding can name file, line and column.
//!
//! # Rules
//!
//! - An error is what cannot work as it is written. What depends on something that no file says is a warning at most,
//!   and what is a matter of taste is not said at all: a linter that cries wolf is switched off.
//! - Nothing on this machine is looked at (its files, programs, variables): the manifests run elsewhere. What they name
//!   beside themselves is part of them: files with variables, the Dockerfile of a build and what it copies. Where
//!   options may come from something that is not there, whatever depends on them is a note that names it ([`rules`]).
//! - A message says what is wrong in numbers and never shows what may be a secret.
//! - Every input is bounded: [`input::LARGEST`] bytes per file, `tree::LARGEST` values and `tree::DEEPEST` levels per
//!   document.

mod draw;
#[cfg(feature = "plan")]
mod duration;
#[cfg(feature = "plan")]
mod elsewhere;
#[cfg(feature = "plan")]
mod error;
#[cfg(feature = "plan")]
mod finding;
#[cfg(feature = "plan")]
mod fix;
#[cfg(feature = "plan")]
mod hcl;
#[cfg(feature = "plan")]
mod ignore;
#[cfg(feature = "plan")]
mod image;
#[cfg(feature = "plan")]
mod input;
#[cfg(feature = "plan")]
mod model;
#[cfg(feature = "plan")]
mod place;
mod platform;
#[cfg(feature = "plan")]
mod read;
#[cfg(feature = "plan")]
mod result;
#[cfg(feature = "plan")]
pub mod rules;
#[cfg(feature = "plan")]
mod shell;
#[cfg(feature = "plan")]
mod tree;
#[cfg(feature = "plan")]
mod view;
#[cfg(feature = "plan")]
mod wrap;
#[cfg(feature = "plan")]
mod wrap_compose;
#[cfg(feature = "plan")]
mod wrap_places;
#[cfg(feature = "plan")]
mod wrapped;
#[cfg(feature = "plan")]
mod yaml;

#[cfg(all(test, feature = "plan"))]
mod testing;

#[cfg(feature = "plan")]
mod check;
mod request;

#[cfg(feature = "plan")]
pub use check::check;
pub use draw::draw;
pub use platform::Platform;
#[cfg(not(feature = "plan"))]
pub use request::check;
pub use request::{CheckRequest, FixMode, OutputFormat, PlanRequest, ReadOptions, Severity};
