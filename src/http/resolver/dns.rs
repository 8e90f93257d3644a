//! Asking DNS servers as glibc's stub resolver does, within a deadline.
//!
//! ```text
//!   name ─► candidates (search, ndots) ─► one after the other until one is found
//!   candidate ─► try server 1 ─ silent, refused, SERVFAIL ─► server 2 ─► server 3 ─► server 1 again …
//!   try ─► A and AAAA at once, each from a socket of its own ─► over TCP if it is cut off
//! ```
//!
//! - **One server at a time, in the order of the file.** Internal names are known to the first; a second one that is
//!   public would deny them. What a server says is final, "no such name" too; the next is asked only when there is
//!   silence, a refusal (ICMP, REFUSED) or a failure (SERVFAIL).
//! - Times are cut so that every server is asked before the deadline, which is that of a probe and often one second. A
//!   server that was left for the next one may still answer while that one is asked: a slow answer is not lost.
//! - One family's addresses are enough: the other has [`OTHER_FAMILY`] from then on (RFC 8305, section 3, has 50 ms),
//!   since there are networks where AAAA is dropped.
//!
//! What fails one candidate does not fail the name: a domain of the search list that cannot be one is left out.

use super::conf::Conf;
use super::message::{AddressFamily, Failure, Reply, question, reply};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

/// How long the other family is waited for after one has answered.
const OTHER_FAMILY: Duration = Duration::from_millis(250);
/// In bytes: more than any server sends over UDP to whoever offers no more than 512.
const MAX_UDP: usize = 4096;

/// What is known about a name in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    Found(Vec<IpAddr>),
    NoName,
    /// The name is there and has no address.
    NoAddress,
    /// No server said.
    Failed(NoAnswer),
}

/// Why no server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    Silent,
    Said(Failure),
    /// No server could be reached; the system's own words, as refused, no route.
    Unreachable(String),
}

impl std::error::Error for NoAnswer {}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::Silent => f.write_str("no answer from the DNS servers"),
            NoAnswer::Unreachable(error) => write!(f, "the DNS servers cannot be reached: {error}"),
            NoAnswer::Said(Failure::Server) => f.write_str("the DNS servers cannot find out (SERVFAIL)"),
            NoAnswer::Said(Failure::Refused) => f.write_str("the DNS servers refuse to answer (REFUSED)"),
            NoAnswer::Said(Failure::Lame) => f.write_str("the DNS servers know nothing about it and ask nobody"),
            NoAnswer::Said(Failure::Other(code)) => write!(f, "the DNS servers answer with error {code}"),
        }
    }
}

/// The addresses of a name, IPv6 first.
pub(super) async fn look_up(conf: &Conf, name: &str, until: Instant) -> Resolution {
    let (mut failed, mut has_no_address, mut search_is_over) = (None, false, false);
    let mut candidates = candidates(conf, name).into_iter().peekable();
    while let Some(Candidate { name, is_search }) = candidates.next() {
        if is_search && search_is_over {
            continue;
        }
        // At most two are met with silence: one of the search list ends the search.
        let is_last = failed.is_some() || candidates.peek().is_none();
        let now = Instant::now();
        let until = if is_last { until } else { now + until.saturating_duration_since(now) / 2 };
        match ask(conf, &name, until).await {
            found @ Resolution::Found(_) => return found,
            Resolution::NoName => {}
            Resolution::NoAddress => has_no_address = true,
            // Of one name alone.
            Resolution::Failed(why @ NoAnswer::Said(Failure::Server)) => failed = failed.or(Some(why)),
            Resolution::Failed(why) => {
                failed = failed.or(Some(why));
                search_is_over |= is_search;
            }
        }
    }
    match failed {
        // Whoever did not answer may know it.
        Some(why) => Resolution::Failed(why),
        None if has_no_address => Resolution::NoAddress,
        None => Resolution::NoName,
    }
}

/// A name to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    name: String,
    /// Whether a domain of the search list was added.
    is_search: bool,
}

/// In which order a name is tried (resolv.conf(5): search, ndots; glibc's `__res_context_search`).
fn candidates(conf: &Conf, name: &str) -> Vec<Candidate> {
    let as_it_is = Candidate { name: name.to_owned(), is_search: false };
    if name.ends_with('.') {
        return vec![as_it_is];
    }
    let with =
        |domain: &String| Candidate { name: format!("{name}.{}", domain.trim_start_matches('.')), is_search: true };
    let mut candidates: Vec<_> = conf.search.iter().map(with).collect();
    let dots = name.matches('.').count();
    if dots >= conf.ndots {
        candidates.insert(0, as_it_is);
    } else if dots > 0 || candidates.is_empty() || !conf.no_tld_query {
        candidates.push(as_it_is);
    }
    candidates
}

/// What a try reports.
enum TryOutcome {
    /// The server is alive: the rest of its answer is on its way.
    Heard,
    /// The result of the try of this turn.
    Over(usize, Resolution),
}

/// Asks one server after the other for one name.
async fn ask(conf: &Conf, name: &str, until: Instant) -> Resolution {
    let families = if conf.no_aaaa { &[AddressFamily::V4][..] } else { &[AddressFamily::V4, AddressFamily::V6] };
    let questions: Option<Vec<_>> = families.iter().map(|family| question(random(), name, *family)).collect();
    // A label that is empty or too long: nobody has such a name.
    let Some(questions) = questions else { return Resolution::NoName };
    let questions: Arc<[Vec<u8>]> = questions.into();
    // Dropped at the end, it cancels the tries that still wait.
    let mut tries = JoinSet::new();
    let (news, mut told) = unbounded_channel();
    let mut failure = None;
    for (turn, (server, left)) in turns(conf).enumerate() {
        debug!(name: "dns_asked", %server, host = name, "DNS server {server} is asked for {name}");
        tries.spawn(a_try(turn, server, questions.clone(), conf.use_tcp, news.clone()));
        let share = until.saturating_duration_since(Instant::now()) / left;
        match wait(&mut told, turn, share.min(conf.timeout), until).await {
            Some(Resolution::Failed(why)) => {
                let error = why.to_string();
                debug!(name: "dns_failed", %server, host = name, error, "DNS server {server}, asked for {name}: {error}");
                failure = Some(why);
            }
            Some(answer) => {
                let what = match &answer {
                    Resolution::Found(_) => "here are its addresses",
                    Resolution::NoName => "no such name",
                    Resolution::NoAddress => "the name has no address",
                    Resolution::Failed(_) => "nothing",
                };
                debug!(name: "dns_answered", host = name, answer = what, "DNS says about {name}: {what}");
                return answer;
            }
            None => debug!(name: "dns_silent", %server, host = name, "DNS server {server} has not answered in time"),
        }
    }
    Resolution::Failed(failure.unwrap_or(NoAnswer::Silent))
}

/// The servers to ask, in order, each with the number by which to divide the time that is left then: the turns that are
/// left in its round, and one more part, for the next round and for what the addresses are wanted for.
fn turns(conf: &Conf) -> impl Iterator<Item = (SocketAddr, u32)> {
    static ROTATION: AtomicUsize = AtomicUsize::new(0);
    let first = if conf.rotate { ROTATION.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let count = conf.servers.len();
    let round = move |_| {
        let servers = conf.servers.iter().cycle().skip(first % count.max(1)).take(count);
        servers.zip((2..).take(count).collect::<Vec<_>>().into_iter().rev()).map(|(server, left)| (*server, left))
    };
    (0..conf.attempts).flat_map(round)
}

/// Waits until a server answers, the one whose turn it is fails, or its turn is over (`None`). A server that is heard
/// has some time to finish.
async fn wait(
    told: &mut UnboundedReceiver<TryOutcome>,
    turn: usize,
    share: Duration,
    until: Instant,
) -> Option<Resolution> {
    let mut end = Instant::now() + share;
    loop {
        match timeout_at(end.min(until), told.recv()).await {
            Ok(Some(TryOutcome::Heard)) => end = end.max(Instant::now() + OTHER_FAMILY * 2),
            Ok(Some(TryOutcome::Over(of, failed @ Resolution::Failed(_)))) if of == turn => return Some(failed),
            // A server that was silent in an earlier turn has failed by now.
            Ok(Some(TryOutcome::Over(_, Resolution::Failed(_)))) => {}
            Ok(Some(TryOutcome::Over(_, answer))) => return Some(answer),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Asks one server once, and waits for it as long as somebody wants to know.
async fn a_try(
    turn: usize,
    server: SocketAddr,
    questions: Arc<[Vec<u8>]>,
    use_tcp: bool,
    news: UnboundedSender<TryOutcome>,
) {
    let one = |index: usize| {
        let (questions, news) = (questions.clone(), news.clone());
        async move {
            let question = questions.get(index)?;
            let told = exchange(server, question, use_tcp, &news).await;
            if told.is_ok() {
                // Nobody may listen any more.
                _ = news.send(TryOutcome::Heard);
            }
            Some(told)
        }
    };
    let (first, second) = both(one(0), one(1)).await;
    _ = news.send(TryOutcome::Over(turn, combined(first, second)));
}

type Told = io::Result<Reply>;

/// Both families' answers, or the one that has addresses and what the other says soon after it; `None` is an answer
/// that was not asked for, or not waited for.
async fn both(
    first: impl Future<Output = Option<Told>>,
    second: impl Future<Output = Option<Told>>,
) -> (Option<Told>, Option<Told>) {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    tokio::select! {
        told = &mut first => {
            let other = if settles(told.as_ref()) { timeout(OTHER_FAMILY, second).await.ok().flatten() } else { second.await };
            (told, other)
        }
        told = &mut second => {
            let other = if settles(told.as_ref()) { timeout(OTHER_FAMILY, first).await.ok().flatten() } else { first.await };
            (other, told)
        }
    }
}

/// Whether one family's answer is worth something without the other's.
fn settles(told: Option<&Told>) -> bool {
    match told {
        Some(Ok(Reply::Addresses(addresses))) => !addresses.is_empty(),
        Some(Ok(Reply::NoName)) => true,
        Some(Ok(Reply::Truncated | Reply::Failed(_)) | Err(_)) | None => false,
    }
}

/// What a server's answers for both families come to. Addresses of one are enough; a failure of one is a failure if the
/// other has none.
fn combined(v4: Option<Told>, v6: Option<Told>) -> Resolution {
    let (mut found, mut no_name, mut why) = (Vec::new(), false, None);
    for told in [v6, v4].into_iter().flatten() {
        match told {
            Ok(Reply::Addresses(addresses)) => found.extend(addresses),
            Ok(Reply::NoName) => no_name = true,
            Ok(Reply::Failed(failure)) => why = Some(NoAnswer::Said(failure)),
            // A server that cuts off over TCP, too.
            Ok(Reply::Truncated) => why = Some(NoAnswer::Said(Failure::Lame)),
            Err(error) => why = Some(NoAnswer::Unreachable(crate::sys::as_fragment(&error))),
        }
    }
    match why {
        _ if !found.is_empty() => Resolution::Found(found),
        _ if no_name => Resolution::NoName,
        Some(why) => Resolution::Failed(why),
        None => Resolution::NoAddress,
    }
}

/// One question, from a socket of its own: the kernel chooses a port that nobody can guess, and an ICMP error reaches
/// the socket that it concerns.
async fn exchange(server: SocketAddr, question: &[u8], use_tcp: bool, news: &UnboundedSender<TryOutcome>) -> Told {
    if use_tcp {
        return over_tcp(server, question).await;
    }
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; MAX_UDP];
    loop {
        let count = socket.recv(&mut buffer).await?;
        match reply(question, &buffer[..count]) {
            Some(Reply::Truncated) => {
                _ = news.send(TryOutcome::Heard);
                return over_tcp(server, question).await;
            }
            Some(reply) => return Ok(reply),
            // From somebody else, or to an earlier question.
            None => {}
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> Told {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    reply(question, &message).ok_or_else(|| io::Error::other("the DNS server's answer makes no sense"))
}

/// Hard to guess: each RandomState has keys from the kernel.
fn random() -> u16 {
    RandomState::new().hash_one(Instant::now()) as u16
}

#[cfg(test)]
mod tests {
    use super::super::conf::ResolverEnvironment;
    use super::*;

    fn conf(text: &str) -> Conf {
        Conf::read(text.as_bytes(), &ResolverEnvironment::default())
    }

    fn tried(text: &str, name: &str) -> Vec<String> {
        candidates(&conf(text), name).into_iter().map(|candidate| candidate.name).collect()
    }

    #[test]
    fn the_search_list_comes_before_or_after_the_name_itself() {
        let search = "search a.test .b.test .";
        assert_eq!(tried(search, "app"), ["app.a.test", "app.b.test", "app.", "app"]);
        assert_eq!(tried(search, "app.x"), ["app.x", "app.x.a.test", "app.x.b.test", "app.x."]);
        assert_eq!(tried("search a.test\noptions ndots:2", "app.x"), ["app.x.a.test", "app.x"]);
        assert_eq!(tried("search a.test\noptions ndots:0", "app"), ["app", "app.a.test"]);
        assert_eq!(tried("search a.test\noptions no-tld-query", "app"), ["app.a.test"]);
        assert_eq!(tried("search a.test", "app."), ["app."]);
        assert_eq!(tried("options no-tld-query", "app"), ["app"]);
    }

    #[test]
    fn each_server_has_its_turn_in_the_order_of_the_file() {
        let turns = |text: &str| {
            let turns = turns(&conf(text)).map(|(server, left)| (server.ip().to_string(), left)).collect::<Vec<_>>();
            turns.iter().map(|(ip, left)| format!("{ip}/{left}")).collect::<Vec<_>>().join(" ")
        };
        let three = "nameserver 192.0.2.3\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        let round = "192.0.2.3/4 192.0.2.1/3 192.0.2.2/2";
        assert_eq!(turns(three), format!("{round} {round}"));
        assert_eq!(turns(&format!("{three}options attempts:1")), round);
        let rotating = format!("{three}options attempts:1 rotate");
        let first: std::collections::BTreeSet<_> = (0..3).map(|_| turns(&rotating)[..9].to_owned()).collect();
        assert_eq!(first.len(), 3, "each is once the first");
        assert_eq!(turns(""), "");
    }
}
