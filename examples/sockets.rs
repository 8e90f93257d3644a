//! What can be seen of TCP sockets from outside the app, as JSON: `cargo run --example sockets -- [--of PID] [PORT...]`.
//!
//! With ports: their listeners and connections. Without: all listeners of the network namespace. With `--of`: which of
//! those listeners the process and its descendants hold. It shows at once whether a sandbox lets sock_diag(7) through.

use graceful::sys::sockets::{Connection, Held, Listener, SampleSource, Sampler, held_by};
use graceful::sys::tree;
use serde_json::{Value, json};
use std::process::ExitCode;

fn main() -> ExitCode {
    let shown = arguments(std::env::args().skip(1)).and_then(|(of, ports)| show(of, &ports));
    match shown {
        Ok(shown) => {
            println!("{shown:#}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("sockets: error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<(Option<i32>, Vec<u16>), String> {
    let (mut of, mut ports) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--of" {
            let pid = arguments.next().unwrap_or_default();
            of = Some(pid.parse().map_err(|_| format!("--of `{pid}`: expected a pid"))?);
        } else {
            ports.push(argument.parse().map_err(|_| format!("`{argument}`: expected a port"))?);
        }
    }
    Ok((of, ports))
}

fn show(of: Option<i32>, ports: &[u16]) -> Result<Value, String> {
    let mut sampler = Sampler::new(ports);
    let (listeners, connections) = if ports.is_empty() {
        (sampler.listeners().map_err(|error| error.to_string())?.to_vec(), Vec::new())
    } else {
        let snapshot = sampler.sample().map_err(|error| error.to_string())?;
        (snapshot.listeners.clone(), snapshot.connections.clone())
    };
    let refusal = sampler.refusal().map(ToString::to_string);
    let source = if sampler.source() == SampleSource::SockDiag { "sock_diag" } else { "/proc/net/tcp" };
    let held = of.map(|pid| {
        let processes: Vec<i32> = tree::with_group(pid).unwrap_or_default().iter().map(|process| process.pid).collect();
        held(&held_by(&processes, &listeners))
    });
    Ok(json!({
        "source": source,
        "refusal": refusal,
        "listeners": listeners.iter().map(listener).collect::<Vec<_>>(),
        "connections": connections.iter().map(connection).collect::<Vec<_>>(),
        "held": held,
    }))
}

fn listener(listener: &Listener) -> Value {
    json!({ "local": listener.local.to_string(), "inode": listener.inode, "backlog": listener.backlog })
}

fn connection(connection: &Connection) -> Value {
    let counters = connection.counters.map(|counters| {
        json!({
            "received": counters.received,
            "sent": counters.sent,
            "last_received_ms": counters.last_received_ms,
            "last_sent_ms": counters.last_sent_ms,
            "last_ack_ms": counters.last_ack_ms,
            "segments_in": counters.segments_in,
            "data_segments_in": counters.data_segments_in,
            "segments_out": counters.segments_out,
            "data_segments_out": counters.data_segments_out,
        })
    });
    json!({
        "local": connection.local.to_string(),
        "remote": connection.remote.to_string(),
        "state": format!("{:?}", connection.state),
        "inode": connection.inode,
        "unread": connection.unread,
        "unsent": connection.unsent,
        "counters": counters,
    })
}

fn held(held: &Held) -> Value {
    json!({
        "listeners": held.listeners.iter().map(listener).collect::<Vec<_>>(),
        "processes": held.processes,
        "unreadable": held.unreadable,
    })
}
