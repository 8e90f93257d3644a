//! How many requests a second one core's drill sends, and whether it ever takes one for dropped that was not.
//!
//! nginx answers 200 from memory on one processor, and `graceful drill --no-stop` asks it from another (taskset(1)), on kept
//! connections, and with a new connection for one request of ten. Nothing is stopped, so whatever counts as dropped is a
//! fault of the drill's, and the bench fails. A rate that the drill cannot hold has to be inconclusive, and says so.
//!
//!     cargo bench --bench load
//!
//! On a machine with one processor both share it. Nothing else is to run meanwhile.

use graceful::drill::evidence::{Document, Verdict};
use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const RATES: [u32; 3] = [5000, 10_000, 20_000];
const MIXES: [(&str, &str); 2] = [("kept", "new=0,hot=1,idle=0"), ("1 in 10 new", "new=1,hot=9,idle=0")];
const LOAD: Duration = Duration::from_secs(4);
const UP_WITHIN: Duration = Duration::from_secs(10);

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    if std::env::args().any(|argument| argument == "--list") {
        // A test runner that lists every target finds no test here.
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Nginx::start(folder.path())?;
    println!("| requests a second | connections | verdict | ok | dropped | p50 | p99 | processor of the drill |");
    println!("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |");
    let mut false_drops = 0;
    for (name, mix) in MIXES {
        for rate in RATES {
            let (document, processor) = load(&server, folder.path(), rate, mix)?;
            let drill = document.drills.first().ok_or("no drill in the document")?;
            let ok = drill.requests.iter().filter(|record| record.outcome.is_ok()).count();
            let after = &drill.latency.after;
            // A load that could not be held proves nothing, and says so.
            if document.verdict != Verdict::Inconclusive {
                false_drops += drill.dropped;
            }
            println!(
                "| {rate} | {name} | {:?} | {ok} | {} | {:.1} ms | {:.1} ms | {:.0} % |",
                document.verdict,
                drill.dropped,
                after.p50_s * 1000.0,
                after.p99_s * 1000.0,
                processor * 100.0
            );
            if let Some(reason) = &drill.inconclusive {
                println!("\n{reason}\n");
            }
        }
    }
    match false_drops {
        0 => Ok(()),
        dropped => Err(format!("{dropped} requests were taken for dropped, and nothing was stopped").into()),
    }
}

/// Its document, and the share of one processor that it took.
fn load(server: &Nginx, folder: &Path, rate: u32, mix: &str) -> Result<(Document, f64), Failure> {
    let json = folder.join("load.json");
    let mut command = on_processor(0, env!("CARGO_BIN_EXE_graceful"));
    command.args(["drill", "--no-stop", "--quiet", "--mix", mix, "--rate", &rate.to_string()]);
    let half = format!("{}ms", LOAD.as_millis() / 2);
    command.args(["--before", &half, "--lb-lag", &half]);
    command.arg(format!("--url=http://{}/", server.address)).arg(format!("--output=json={}", json.display()));
    let before = processor_of_children();
    let began = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = began.elapsed().min(LOAD);
    let processor = (processor_of_children() - before).as_secs_f64() / took.as_secs_f64();
    Ok((serde_json::from_str(&fs::read_to_string(&json)?)?, processor))
}

/// The time of a processor that all ended children took.
fn processor_of_children() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    usage.map_or(Duration::ZERO, |usage| {
        let time = usage.user_time() + usage.system_time();
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    })
}

/// The command, on that processor alone where there are two.
fn on_processor(number: usize, program: &str) -> Command {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &number.to_string(), program]);
    command
}

struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(folder: &Path) -> Result<Nginx, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = folder.join("nginx.conf");
        let config = format!(
            "daemon off;\nmaster_process off;\nerror_log stderr;\npid {}/nginx.pid;\nevents {{ worker_connections 20000; }}\n\
             http {{ access_log off; keepalive_requests 100000000;\n\
             server {{ listen {address} backlog=4096; location / {{ return 200 \"ok\\n\"; }} }} }}\n",
            folder.display()
        );
        fs::write(&file, config)?;
        let mut command = on_processor(1, "nginx");
        command.arg("-p").arg(folder).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("nginx cannot be run: {error}; on Debian: apt install nginx"))?;
        let server = Nginx { child, address };
        let deadline = Instant::now() + UP_WITHIN;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err("nginx does not answer".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // taskset(1) becomes what it starts: this is nginx itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
