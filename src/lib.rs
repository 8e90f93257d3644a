//! graceful: one process between an orchestrator and an app that makes every stop a clean one.

pub mod cli;
pub mod command;
pub mod config;
pub mod hold;
pub mod hooks;
pub mod lifecycle;
pub mod probe;
pub mod scribe;
pub mod signal;
pub mod status;
pub mod supervisor;
pub mod sys;
pub mod timeline;
