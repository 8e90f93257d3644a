//! graceful beside the other inits: what it costs to stand between an orchestrator and an app.
//!
//! `cargo bench --bench inits [-- FILTER... --quick --graceful PATH]` prints one Markdown table. Every figure comes from
//! one run in which the inits take turns: each round measures each of them once, in an order shuffled anew, so
//! that a slow minute of the machine hits all alike. What counts is therefore the last column: the median of
//! the ratios within a round, and the middle half of them.
//!
//! Nothing here judges a speed; the bench fails only when it cannot measure. An init that is missing, or does
//! not pass on an exit status, leaves its column empty and is named below the table.
//!
//! - `contender` who takes part, and how to start it, in a PID namespace or not
//! - `child`     the app under the init: this very binary, called again with a hidden argument
//! - `process`   clock, pipes and /proc
//! - `start`, `signals`, `orphans`, `idle`, `tree`  the figures
//! - `table`     medians, paired ratios, Markdown

mod child;
mod contender;
mod idle;
mod orphans;
mod process;
mod signals;
mod start;
mod table;
mod tree;

use contender::{Contender, Namespace};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use table::{Row, Table};

/// How often each figure is taken.
pub(crate) struct Effort {
    pub(crate) starts: usize,
    pub(crate) signals: usize,
    pub(crate) stops: usize,
    pub(crate) orphan_rounds: usize,
    pub(crate) orphans: usize,
    pub(crate) idle: Duration,
    pub(crate) tree_rounds: usize,
    pub(crate) tree: usize,
    limit: Duration,
}

const FULL: Effort = Effort {
    starts: 1000,
    signals: 2000,
    stops: 500,
    orphan_rounds: 15,
    orphans: 2000,
    idle: Duration::from_secs(5),
    tree_rounds: 5,
    tree: 10_000,
    limit: Duration::from_secs(900),
};

const QUICK: Effort = Effort {
    starts: 30,
    signals: 100,
    stops: 20,
    orphan_rounds: 1,
    orphans: 400,
    idle: Duration::from_secs(2),
    tree_rounds: 1,
    tree: 1000,
    limit: Duration::from_secs(120),
};

/// What the command line asks for.
struct Request {
    quick: bool,
    graceful: PathBuf,
    filters: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((child::HIDDEN, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        child::run(rest);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        // A test runner that lists every target finds no test here.
        return ExitCode::SUCCESS;
    }
    match parse(arguments).and_then(bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("inits: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// cargo adds `--bench` when it is `cargo bench` that calls; `cargo test --benches` does not, and gets the quick run.
fn parse(arguments: Vec<String>) -> Result<Request, String> {
    let mut request = Request {
        quick: !arguments.iter().any(|argument| argument == "--bench"),
        graceful: PathBuf::from(env!("CARGO_BIN_EXE_graceful")),
        filters: Vec::new(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => request.quick = true,
            "--graceful" => request.graceful = arguments.next().ok_or("--graceful: expected a path")?.into(),
            option if option.starts_with('-') => {
                return Err(format!("{option}: expected --quick, --graceful PATH or a part of a figure's name"));
            }
            _ => request.filters.push(argument),
        }
    }
    Ok(request)
}

type Measure = fn(&[Contender], &Namespace, &Effort) -> Result<Vec<Row>, String>;

const FIGURES: &[(&str, Measure)] = &[
    ("spawn", start::spawn_to_exit),
    ("signal", signals::signal_latency),
    ("exit", start::exit_latency),
    ("stop", signals::share_of_a_stop),
    ("orphans", orphans::cpu_per_orphan),
    ("idle", idle::at_rest),
    ("size", idle::binary_size),
    ("tree", tree::kill),
];

fn bench(request: Request) -> Result<(), String> {
    let effort = if request.quick { &QUICK } else { &FULL };
    let wanted = |name: &str| request.filters.is_empty() || request.filters.iter().any(|part| name.contains(part));
    if !FIGURES.iter().any(|(name, _)| wanted(name)) {
        let known: Vec<_> = FIGURES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no figure is called {}; there are {}", request.filters.join(", "), known.join(", ")));
    }
    give_up_after(effort.limit);
    let mut table = Table::default();
    let installed = contender::Installed::new(&request.graceful)?;
    let contenders = contender::all(installed.path(), &mut table.notes);
    let namespace = Namespace::find();
    for (name, measure) in FIGURES.iter().filter(|(name, _)| wanted(name)) {
        eprintln!("inits: {name} ...");
        match measure(&contenders, &namespace, effort) {
            Ok(rows) => table.rows.extend(rows),
            Err(problem) => table.notes.push(format!("{name}: {problem}")),
        }
    }
    println!("{}\n", contender::machine(&contenders, request.quick));
    print!("{}", table.markdown(&contenders));
    Ok(())
}

/// An init that never ends would hang the run; the children it leaves behind end by their own alarm.
fn give_up_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("inits: not done after {} s: an init under test does not end", limit.as_secs());
        std::process::exit(1);
    });
}
