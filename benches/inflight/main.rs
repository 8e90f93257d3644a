//! What one look at the connections in flight costs, with 50,000 of them.
//!
//! `cargo bench --bench inflight [-- --quick --connections NUMBER]` makes a network namespace with that many connections,
//! every second one with a request in it, and prints one Markdown table: the time of a sample, and where it goes. The
//! goal is 50 ms for 50,000. `--both-ends`: the clients are in it too, and the kernel's table is twice as long.
//!
//! The connections are held by child processes, each with a listener, as many as the limit on descriptors makes necessary.
//! Their clients are taken away without a word (TCP_REPAIR), as if they were on other machines.
//!
//! Nothing here judges a speed; the bench fails only when it cannot measure.

use graceful::sys::sockets::{SampleSource, Sampler, Snapshot};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 50_000;
const QUICK: usize = 2000;
const ROUNDS: usize = 60;
const QUICK_ROUNDS: usize = 5;
/// The first argument of this binary inside the namespace, and as a holder of connections.
const INSIDE: &str = "--inside-namespace";
const HOLDER: &str = "--holder";
const BOTH_ENDS: &str = "--both-ends";
/// At most so many connections per holder and address: fewer than there are ephemeral ports (28,232 by default).
const PER_HOLDER: usize = 20_000;
/// The first holder listens here, the next one above.
const FIRST_PORT: u16 = 8000;
/// The first client of each holder, each of which has an address of its own.
const FIRST_CLIENT_PORT: u16 = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        // A test runner that lists every target finds no test here.
        return ExitCode::SUCCESS;
    }
    let both_ends = arguments.iter().any(|argument| argument == BOTH_ENDS);
    let numbers: Vec<usize> = arguments.iter().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let result = match (arguments.first().map(String::as_str), numbers.as_slice()) {
        (Some(INSIDE), [connections, rounds]) => measure(*connections, *rounds, both_ends),
        (Some(HOLDER), [number, connections]) => hold(*number, *connections, both_ends),
        _ => parse(&arguments).and_then(|(connections, rounds)| in_namespace(connections, rounds, both_ends)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("inflight: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Connections and rounds. cargo adds `--bench` when it is `cargo bench` that calls; `cargo test --benches` does not, and
/// gets the quick run.
fn parse(arguments: &[String]) -> Result<(usize, usize), String> {
    let full = arguments.iter().any(|argument| argument == "--bench");
    let mut asked = if full { (CONNECTIONS, ROUNDS) } else { (QUICK, QUICK_ROUNDS) };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" | BOTH_ENDS => {}
            "--quick" => asked = (QUICK, QUICK_ROUNDS),
            "--connections" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                asked.0 = number.ok_or("--connections: expected a number")?;
            }
            option => return Err(format!("{option}: expected --quick, --both-ends or --connections NUMBER")),
        }
    }
    Ok(asked)
}

/// Runs this binary again where its connections are alone.
fn in_namespace(connections: usize, rounds: usize, both_ends: bool) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this binary: {error}"))?;
    let mut unshare = Command::new("unshare");
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "--kill-child", "--fork", "--"]).arg(this).arg(INSIDE);
    unshare.args([connections.to_string(), rounds.to_string()]).args(both_ends.then_some(BOTH_ENDS));
    let status = unshare.status();
    match status.map_err(|error| format!("unshare: {error}"))? {
        status if status.success() => Ok(()),
        status => Err(format!("inside the network namespace: {status}")),
    }
}

fn measure(connections: usize, rounds: usize, both_ends: bool) -> Result<(), String> {
    loopback_up().map_err(|error| format!("lo: {error}"))?;
    let descriptors = raise_limit().map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    // Beside the few descriptors that every process has.
    let each = (descriptors.saturating_sub(20) / if both_ends { 2 } else { 1 }).clamp(1, PER_HOLDER);
    let counts = (0..connections.div_ceil(each)).map(|number| each.min(connections - number * each));
    let holders = counts
        .enumerate()
        .map(|(number, count)| Holder::start(number, count, both_ends))
        .collect::<Result<Vec<_>, _>>()?;
    let ports: Vec<u16> = holders.iter().map(|holder| holder.port).collect();
    let mut table =
        format!("| one sample of {connections} connections | least | median | 95 % below | kernel | own code |\n");
    table.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
    let ways = [
        ("sock_diag", Sampler::new(&ports), SampleSource::SockDiag, connections),
        ("sock_diag, of a port with nobody", Sampler::new(&[1]), SampleSource::SockDiag, 0),
        ("/proc/net/tcp", Sampler::of_proc(&ports), SampleSource::Proc, connections),
    ];
    for (name, mut sampler, source, expected) in ways {
        // Memory is touched and doubts are laid to rest before the clock runs.
        for _ in 0..5 {
            check(sampler.sample().map_err(|error| error.to_string())?, source, expected)?;
        }
        table.push_str(&row(name, rounds, || sampler.sample().map(drop).map_err(|error| error.to_string()))?);
    }
    print!("{table}");
    Ok(())
}

fn check(snapshot: &Snapshot, source: SampleSource, expected: usize) -> Result<(), String> {
    let with_counters = snapshot.connections.iter().filter(|connection| connection.counters.is_some()).count();
    let counted = if source == SampleSource::SockDiag { expected } else { 0 };
    let found = (snapshot.source, snapshot.connections.len(), with_counters);
    let right = (source, expected, counted);
    if found == right { Ok(()) } else { Err(format!("a sample of {found:?}, expected {right:?}")) }
}

fn row(name: &str, rounds: usize, mut sample: impl FnMut() -> Result<(), String>) -> Result<String, String> {
    let (mut times, before) = (Vec::new(), cpu());
    for _ in 0..rounds {
        let begin = Instant::now();
        sample()?;
        times.push(begin.elapsed());
    }
    let (user, system) = cpu();
    times.sort_unstable();
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let share = |time: Duration| millis(time / rounds as u32);
    let (median, high) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    let (kernel, own) = (share(system - before.1), share(user - before.0));
    Ok(format!("| {name} | {} | {} | {} | {kernel} | {own} |\n", millis(times[0]), millis(median), millis(high)))
}

/// User and system time of this process.
fn cpu() -> (Duration, Duration) {
    // SAFETY: all of a rusage may be zero, and getrusage(2) fills a live one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (time(usage.ru_utime), time(usage.ru_stime))
}

/// A process that holds many connections.
struct Holder {
    port: u16,
    child: Child,
}

impl Holder {
    fn start(number: usize, connections: usize, both_ends: bool) -> Result<Holder, String> {
        let failed = |error: io::Error| format!("holder {number}: {error}");
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args([HOLDER, &number.to_string(), &connections.to_string()]).args(both_ends.then_some(BOTH_ENDS));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let port = line.trim().parse().map_err(|_| format!("holder {number}: it made no connections"))?;
        Ok(Holder { port, child })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Makes the connections, tells the port, and keeps them until standard input is closed.
fn hold(number: usize, connections: usize, both_ends: bool) -> Result<(), String> {
    let failed = |error: io::Error| format!("holder {number}: {error}");
    raise_limit().map_err(failed)?;
    // The namespace is new, and no client of another holder comes from a port below the ephemeral ones.
    let port = FIRST_PORT + number as u16;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    let from = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + 1 + number as u32);
    let mut ends = Vec::with_capacity(connections);
    for number in 0..connections {
        // Each from a port of its own: the kernel takes that of a client which is gone for free, and a second connection from
        // there would end the first.
        let here = SocketAddrV4::new(from, FIRST_CLIENT_PORT + number as u16);
        let mut client = connect(here, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        if number % 2 == 0 {
            client.write_all(b"GET / HTTP/1.1\r\n").map_err(failed)?;
        }
        let accepted = listener.accept().map_err(failed)?.0;
        acknowledge(&accepted).map_err(failed)?;
        ends.push(accepted);
        if both_ends {
            ends.push(client);
        } else {
            vanish(client).map_err(failed)?;
        }
    }
    println!("{port}");
    io::stdin().read_to_end(&mut Vec::new()).map(drop).map_err(failed)
}

/// What has come, at once (tcp(7), TCP_QUICKACK).
fn acknowledge(end: &TcpStream) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: a live number with its size.
    let result = unsafe {
        let size = size_of_val(&on) as u32;
        libc::setsockopt(end.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_QUICKACK, (&raw const on).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From a certain address and port.
fn connect(from: SocketAddrV4, to: SocketAddrV4) -> io::Result<TcpStream> {
    // SAFETY: takes numbers; the descriptor is new and ours.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let call = |function: unsafe extern "C" fn(i32, *const libc::sockaddr, u32) -> i32, to: SocketAddrV4| {
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: to.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.ip().octets()) },
            sin_zero: [0; 8],
        };
        // SAFETY: bind(2) or connect(2), with a live address and its size.
        let result = unsafe { function(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    call(libc::bind, from)?;
    call(libc::connect, to)?;
    Ok(TcpStream::from(socket))
}

/// Closes a connection's end and says nothing to the other one.
fn vanish(end: TcpStream) -> io::Result<()> {
    // An acknowledgement that finds nobody would be answered with a reset.
    let mut unacknowledged: i32 = 1;
    while unacknowledged > 0 {
        // SAFETY: writes one live number.
        if unsafe { libc::ioctl(end.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let on: i32 = 1;
    // SAFETY: a live number with its size.
    let result = unsafe {
        let size = size_of_val(&on) as u32;
        libc::setsockopt(end.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR, (&raw const on).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// As far as one may; how many descriptors that are.
fn raise_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both take a live rlimit.
    let result = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(limit.rlim_max as usize) }
}

/// A new namespace's loopback is down.
fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: all of an ifreq may be zero; the request is live, and named with a string that ends.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
