//! When another run of the app is started beside the current one: `--reload-on` and `--reload-ready`.

use super::draft::Draft;
use super::options::{CONTROL, LISTEN, READY_URL, RELOAD_ON, STOP_ON};
use super::raw::ConfigError;
use super::{ControlPlace, Listen, ReadyCondition, Reload};
use crate::signal::{Signal, SignalSet};
use std::net::Ipv4Addr;

impl Draft {
    /// `stop_on`: what begins a stop, and so cannot mean a reload.
    pub(super) fn reload(&self, stop_on: SignalSet, problems: &mut Vec<ConfigError>) -> Reload {
        let on = match &self.reload_on {
            Some(given) => given.value,
            None => {
                let taken =
                    stop_on.contains(Signal::HUP) || self.rewrite.iter().any(|given| given.value.0 == Signal::HUP);
                (!self.listen.is_empty() && !taken).then_some(Signal::HUP)
            }
        };
        if let Some(given) = &self.reload_on
            && let Some(signal) = given.value.filter(|signal| stop_on.contains(*signal))
        {
            let reason =
                format!("{signal} begins a stop ({}); expected a signal that does not, as HUP", STOP_ON.flag());
            problems.push(given.raw.problem(reason));
        }
        if let Some(given) = &self.reload_ready {
            let by_control = self.control.as_ref().is_some_and(|given| matches!(given.value, ControlPlace::At(_)));
            let unknown = [&RELOAD_ON, &LISTEN, &CONTROL].into_iter().any(|spec| self.is_broken(spec));
            if on.is_none() && !by_control && !unknown {
                problems.push(given.raw.problem(RELOAD_ON.is_missing()));
            }
            if let Some(reason) = (given.value == ReadyCondition::Url).then(|| self.cannot_be_asked()).flatten() {
                problems.push(given.raw.problem(reason));
            }
        }
        let within = self.startup_timeout.as_ref().map_or(Reload::default().within, |given| given.value);
        let ready = self.reload_ready.as_ref().map_or(Reload::default().ready, |given| given.value);
        Reload { on, ready, within }
    }

    /// Why `--ready-url` cannot ask one of two runs alone: that works only over IPv4 loopback, and only at a socket
    /// that graceful has bound.
    fn cannot_be_asked(&self) -> Option<String> {
        let Some(url) = &self.ready_url else {
            return (!self.is_broken(&READY_URL)).then(|| READY_URL.is_missing());
        };
        let url = &url.value;
        let host = url.host_str().unwrap_or_default();
        let is_loopback = host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        let port = url.port_or_known_default();
        let is_bound = self.listen.iter().any(|given| match given.value.address {
            Listen::Tcp(address) => Some(address.port()) == port,
            Listen::Unix(_) => false,
        });
        if is_loopback && is_bound || self.is_broken(&LISTEN) {
            return None;
        }
        let (ready, listen) = (READY_URL.flag(), LISTEN.flag());
        Some(format!(
            "expected a {ready} of 127.0.0.1 and a TCP port of {listen}: only there one of two runs can be asked alone"
        ))
    }
}
