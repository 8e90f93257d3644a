//! A server for tests that says exactly the bytes it is told to, and misbehaves as told.

use crate::secret::Url;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// For events that must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Listens until the test process ends.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Server {
    /// `respond` gets each connection, on a thread of its own, once its request has been read.
    pub(crate) fn start(respond: impl Fn(TcpStream, &str) + Send + Sync + 'static) -> Server {
        Server::on("127.0.0.1:0", respond)
    }

    pub(crate) fn on(addr: &str, respond: impl Fn(TcpStream, &str) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::channel();
        let (seen, respond) = (Mutex::new(seen), Arc::new(respond));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (seen, respond) = (seen.lock().unwrap().clone(), respond.clone());
                thread::spawn(move || {
                    let request = read_head(&mut stream);
                    // The test may be over by now.
                    let _ = seen.send(request.clone());
                    respond(stream, &request);
                });
            }
        });
        Server { addr, requests }
    }

    /// Says this to everybody and closes.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Server {
        let bytes = bytes.into();
        Server::start(move |stream, _| say(stream, &bytes))
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.addr)).unwrap()
    }

    /// The next request's head, lines and all.
    pub(crate) fn request(&self) -> String {
        self.requests.recv_timeout(DEADLINE).expect("no request came")
    }

    /// How many requests came since the last look.
    pub(crate) fn drain(&self) -> usize {
        self.requests.try_iter().count()
    }
}

/// Writes and closes; the client may have hung up already.
pub(crate) fn say(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Writes the same thing until the client hangs up.
pub(crate) fn say_for_ever(mut stream: TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

/// Returns when the client has hung up.
pub(crate) fn until_hangup(mut stream: TcpStream) {
    while !matches!(stream.read(&mut [0; 1024]), Ok(0) | Err(_)) {}
}

/// A port of 127.0.0.1 on which nothing listens, and nothing else can while this lives: it is bound.
pub(crate) struct ClosedPort {
    _socket: OwnedFd,
    pub(crate) port: u16,
}

impl ClosedPort {
    pub(crate) fn new() -> ClosedPort {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let port = getsockname::<SockaddrIn>(socket.as_raw_fd()).unwrap().port();
        ClosedPort { _socket: socket, port }
    }

    pub(crate) fn url(&self, scheme: &str, host: &str) -> Url {
        Url::parse(&format!("{scheme}://{host}:{}/", self.port)).unwrap()
    }
}

/// A port of 127.0.0.1 whose listener takes no more connections: a further one gets no answer.
pub(crate) struct FullPort {
    _listener: OwnedFd,
    _waiting: Vec<TcpStream>,
    pub(crate) addr: SocketAddr,
}

impl FullPort {
    pub(crate) fn new() -> FullPort {
        let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let port = getsockname::<SockaddrIn>(listener.as_raw_fd()).unwrap().port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        // The queue takes one more than its length (listen(2)); what comes then is dropped.
        let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
        let waiting = std::iter::from_fn(connect).collect();
        FullPort { _listener: listener, _waiting: waiting, addr }
    }
}

/// Runs one test of this binary, and nothing else, in a process of its own: for what belongs to a whole process.
/// That test returns at once when GRACEFUL_TEST_INNER is not set.
pub(crate) fn rerun(test: &str, env: &[(&str, &OsStr)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("GRACEFUL_TEST_INNER", "1")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test}: {text}{failure}");
}

/// Whether this is the process that [`rerun`] started.
pub(crate) fn is_inner() -> bool {
    std::env::var_os("GRACEFUL_TEST_INNER").is_some()
}

/// Waits until the thread sleeps for good, then sees that it does.
pub(crate) fn assert_asleep(thread: libc::pid_t) {
    const LOOK: Duration = Duration::from_millis(300);
    let start = Instant::now();
    let mut before = voluntary_switches(thread);
    loop {
        thread::sleep(LOOK);
        let now = voluntary_switches(thread);
        if now == before {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "the idle thread keeps waking up");
        before = now;
    }
    thread::sleep(LOOK);
    assert_eq!(voluntary_switches(thread), before, "the idle thread woke up");
}

fn voluntary_switches(thread: libc::pid_t) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// An HTTPS server on 127.0.0.1 with a certificate for one name, signed by an authority of its own.
#[cfg(feature = "https")]
pub(crate) struct TlsServer {
    port: u16,
    authority: String,
}

#[cfg(feature = "https")]
impl TlsServer {
    pub(crate) fn start(name: &str, answer: &'static [u8]) -> TlsServer {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(params, authority_key);
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, config) = (stream.unwrap(), config.clone());
                thread::spawn(move || {
                    let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
                    // A client which does not trust the certificate hangs up.
                    if read_head(&mut stream).ends_with("\r\n\r\n") {
                        let _ = stream.write_all(answer);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        TlsServer { port, authority }
    }

    pub(crate) fn url(&self, host: &str) -> Url {
        Url::parse(&format!("https://{host}:{}/", self.port)).unwrap()
    }

    pub(crate) fn authority_pem(&self) -> &str {
        &self.authority
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
