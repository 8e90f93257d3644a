//! graceful: one process between an orchestrator and an app that makes every stop a clean one.

pub mod cli;
pub mod config;
pub mod probe;
pub mod signal;
pub mod status;
