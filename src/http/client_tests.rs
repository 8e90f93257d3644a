use super::*;
use crate::http::testing::{ClosedPort, DEADLINE, Server, say, say_for_ever, until_hangup};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, mpsc};

/// For answers that come by themselves.
const LONG: Duration = DEADLINE;
/// For answers that never come.
const SHORT: Duration = Duration::from_millis(300);

async fn get(url: &Url, timeout: Duration) -> Observation {
    Client::new().get(url, timeout).await
}

/// Verdict and words for an answer of exactly these bytes.
async fn saying(bytes: impl Into<Vec<u8>>) -> (RequestResult, String) {
    let server = Server::answering(bytes);
    let seen = get(&server.url("/"), LONG).await;
    assert!(!seen.refused);
    (seen.verdict, seen.detail)
}

fn words(verdict: RequestResult, detail: &str) -> (RequestResult, String) {
    (verdict, detail.to_owned())
}

#[tokio::test]
async fn the_request_is_a_get_on_a_connection_of_its_own() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let seen = get(&server.url("/healthz?full=1"), LONG).await;
    assert_eq!((seen.verdict, seen.detail.as_str(), seen.refused), (RequestResult::Ready, "200", false));
    assert!(seen.took > Duration::ZERO && seen.took < LONG);
    let request = server.request().to_lowercase();
    let mut lines: Vec<&str> = request.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.remove(0), "get /healthz?full=1 http/1.1");
    lines.sort_unstable();
    let agent = format!("user-agent: graceful/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", server.addr);
    assert_eq!(lines, ["accept: */*", "connection: close", host.as_str(), agent.as_str()]);
}

#[tokio::test]
async fn a_server_that_would_keep_the_connection_sees_it_closed() {
    let (closed, hangup) = mpsc::channel();
    let closed = Mutex::new(closed);
    let server = Server::start(move |mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok").unwrap();
        until_hangup(stream);
        closed.lock().unwrap().send(()).unwrap();
    });
    assert_eq!(get(&server.url("/"), LONG).await.detail, "200");
    // The connection is closed by a task of its own, which needs the runtime's thread.
    let closed = tokio::task::spawn_blocking(move || hangup.recv_timeout(DEADLINE));
    closed.await.unwrap().expect("the connection stayed open");
}

#[tokio::test]
async fn the_status_decides() {
    use RequestResult::{NotReady, Ready, Warning};
    for (status, verdict, detail) in [
        (200, Ready, "200"),
        (204, Ready, "204"),
        (299, Ready, "299"),
        (300, Warning, "300 Multiple Choices"),
        (304, Warning, "304 Not Modified"),
        (399, Warning, "399"),
        (400, NotReady, "400 Bad Request"),
        (404, NotReady, "404 Not Found"),
        (503, NotReady, "503 Service Unavailable"),
        (600, NotReady, "600"),
        (999, NotReady, "999"),
    ] {
        let answer = format!("HTTP/1.1 {status} \x1b[31mred\r\nContent-Length: 0\r\n\r\n");
        // Control characters in the reason are not HTTP; this one is dropped from the words in any case.
        let answer = answer.replace('\x1b', "");
        assert_eq!(saying(answer).await, words(verdict, detail), "{status}");
    }
}

#[tokio::test]
async fn informational_answers_are_noise() {
    let noise = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 199 x\r\n\r\n";
    let answer = format!("{noise}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(saying(answer).await, words(RequestResult::Ready, "200"));
    let cut = words(RequestResult::NotReady, "connection closed before the answer was complete");
    assert_eq!(saying("HTTP/1.1 199 x\r\n\r\n").await, cut);
    let (verdict, detail) = saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!((verdict, detail.as_str()), (RequestResult::NotReady, "101 Switching Protocols"));
    let server = Server::start(|mut stream, _| {
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
            std::thread::sleep(SHORT / 30);
        }
    });
    assert_eq!(get(&server.url("/"), SHORT).await.detail, "no answer within 300ms");
}

#[tokio::test]
async fn a_closed_listener_is_refused() {
    let port = ClosedPort::new();
    for host in ["127.0.0.1", "localhost"] {
        let seen = get(&port.url("http", host), LONG).await;
        let told = (seen.verdict, seen.detail.as_str(), seen.refused);
        assert_eq!(told, (RequestResult::NotReady, "connection refused", true), "{host}");
    }
}

#[tokio::test]
async fn localhost_is_both_addresses() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::on(addr, |stream, _| say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let url = Url::parse(&format!("http://localhost:{}/", server.addr.port())).unwrap();
        assert_eq!(get(&url, LONG).await.detail, "200", "{addr}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_timeout_and_no_more() {
    // In the backlog, never accepted.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let seen = get(&url, SHORT).await;
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, "no answer within 300ms"));
    assert!(seen.took >= SHORT);

    // Accepted and read, never answered; and the client hangs up after its timeout.
    let (closed, hangup) = mpsc::channel();
    let closed = Mutex::new(closed);
    let server = Server::start(move |stream, _| {
        until_hangup(stream);
        closed.lock().unwrap().send(()).unwrap();
    });
    assert_eq!(get(&server.url("/"), SHORT).await.detail, "no answer within 300ms");
    let closed = tokio::task::spawn_blocking(move || hangup.recv_timeout(DEADLINE));
    closed.await.unwrap().expect("the connection stayed open");

    // Half a header; a header and half a body; a body that comes too slowly.
    let server = Server::start(|mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap();
        until_hangup(stream);
    });
    assert_eq!(get(&server.url("/"), SHORT).await.detail, "no answer within 300ms");
    let slow = "200, but the body was not complete within 300ms";
    for head in ["Content-Length: 9\r\n\r\n1234", "\r\n1234", "Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n"] {
        let server = Server::start(move |mut stream, _| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).unwrap();
            until_hangup(stream);
        });
        let seen = get(&server.url("/"), SHORT).await;
        assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, slow), "{head:?}");
    }
}

#[tokio::test]
async fn one_timeout_is_over_the_whole_chain() {
    // Every hop is well within the timeout; an endless chain of them is not.
    let server = Server::start(|stream, _| {
        std::thread::sleep(SHORT / 4);
        say(stream, b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
    });
    assert_eq!(get(&server.url("/"), SHORT).await.detail, "no answer within 300ms");
}

#[tokio::test]
async fn what_is_not_http_is_said_so() {
    for garbage in
        ["SSH-2.0-OpenSSH_9.6\r\n", "\0\0\0\0\0\0\0\0\0\0", "HTTP/9.1 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n"]
    {
        let (verdict, detail) = saying(garbage).await;
        assert!(verdict == RequestResult::NotReady && detail.starts_with("not HTTP: "), "{garbage:?}: {detail}");
    }
    let (verdict, detail) = saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").await;
    assert!(verdict == RequestResult::NotReady && detail.starts_with("200, but not HTTP: "), "{detail}");
    let cut = words(RequestResult::NotReady, "connection closed before the answer was complete");
    assert_eq!(saying("").await, cut);
    assert_eq!(saying("HTTP/1.1 200 OK\r\n").await, cut);
}

#[tokio::test]
async fn endless_heads_end() {
    let endless = "not HTTP: message head is too large";
    for piece in ["X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", "X-no-line-end-"] {
        let server = Server::start(move |mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            say_for_ever(stream, piece.as_bytes());
        });
        let seen = get(&server.url("/"), LONG).await;
        assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, endless), "{piece}");
    }
    let server = Server::start(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 ");
        say_for_ever(stream, b"OOOOOOOOOOOOOOOOOK");
    });
    let seen = get(&server.url("/"), LONG).await;
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, endless));
}

/// What is not a message yet, and never will be: it is neither head nor body, so that no limit on those ends it.
const ENDLESS: [(&[u8], &[u8], &str); 4] = [
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n", ""),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", "200, but "),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n", "200, but "),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxx\r\ny\r\n", "200, but "),
];

#[tokio::test]
async fn what_never_becomes_a_message_ends() {
    for (head, piece, before) in ENDLESS {
        let server = Server::start(move |mut stream, _| {
            let _ = stream.write_all(head);
            say_for_ever(stream, &piece.repeat(1000));
        });
        let seen = get(&server.url("/"), LONG).await;
        let shown = String::from_utf8_lossy(piece);
        assert_eq!(seen.verdict, RequestResult::NotReady, "{shown:?}");
        assert!(seen.detail.starts_with(before), "{shown:?}: {}", seen.detail);
        assert!(seen.took < DEADLINE / 2, "{shown:?}: {seen:?}");
    }
}

#[tokio::test]
async fn ten_kibibytes_of_a_body_are_enough() {
    let body = vec![b'x'; MAX_BODY];
    for head in ["\r\n", "Content-Length: 99999999\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2800\r\n"] {
        // Hangs after the first 10 KiB; with a timeout that would show it.
        let body = body.clone();
        let server = Server::start(move |mut stream, _| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
            until_hangup(stream);
        });
        let seen = get(&server.url("/"), LONG).await;
        assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::Ready, "200"), "{head:?}");
    }
    let server = Server::start(|mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        say_for_ever(stream, &[b'x'; 4096]);
    });
    assert_eq!(get(&server.url("/"), LONG).await.detail, "200");
}

#[tokio::test]
async fn bodies_of_every_framing_are_fine() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(saying(answer).await, words(RequestResult::Ready, "200"), "{answer:?}");
    }
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok";
    let cut = "200, but connection closed before the answer was complete";
    assert_eq!(saying(short).await, words(RequestResult::NotReady, cut));
    // The status is the better reason.
    let short = short.replace("200 OK", "500 x");
    assert_eq!(saying(short).await, words(RequestResult::NotReady, "500 Internal Server Error"));
}

#[tokio::test]
async fn a_reset_is_said_so() {
    let reset = |stream: TcpStream| {
        // Linger 0: close sends RST.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    };
    let server = Server::start(move |stream, _| reset(stream));
    let seen = get(&server.url("/"), LONG).await;
    let told = (seen.verdict, seen.detail.as_str(), seen.refused);
    assert_eq!(told, (RequestResult::NotReady, "connection reset", false));
}

/// Redirects /N to /N-1 by what `location` makes of it, and answers 200 at /0.
fn countdown(location: impl Fn(u32) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |stream, request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let answer = match path.trim_start_matches('/').parse::<u32>() {
            Ok(n @ 1..) => {
                format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", location(n - 1))
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        say(stream, answer.as_bytes());
    })
}

#[tokio::test]
async fn ten_redirects_on_the_same_host_are_followed() {
    let server = countdown(|n| format!("/{n}"));
    assert_eq!(get(&server.url("/10"), LONG).await.detail, "200");
    assert_eq!(server.drain(), 11);
    let seen = get(&server.url("/11"), LONG).await;
    let told = (seen.verdict, seen.detail.as_str());
    assert_eq!(told, (RequestResult::NotReady, "redirect loop: more than 10 redirects"));
    assert_eq!(server.drain(), 11);
    for status in ["301 x", "303 x", "307 x", "308 x"] {
        let server = Server::start(move |stream, request| {
            let answer = match request.starts_with("GET /end ") {
                true => "HTTP/1.1 204 x\r\n\r\n".to_owned(),
                false => format!("HTTP/1.1 {status}\r\nLocation: end\r\nContent-Length: 0\r\n\r\n"),
            };
            say(stream, answer.as_bytes());
        });
        assert_eq!(get(&server.url("/start"), LONG).await.detail, "204", "{status}");
    }
}

#[tokio::test]
async fn the_same_host_may_be_spelled_out_and_have_another_port() {
    let target = Server::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let port = target.addr.port();
    let server = countdown(move |_| format!("http://127.0.0.1:{port}/there"));
    assert_eq!(get(&server.url("/1"), LONG).await.detail, "204");
    assert!(target.request().starts_with("GET /there HTTP/1.1\r\n"));
}

#[tokio::test]
async fn another_host_is_a_warning_and_never_asked() {
    let target = Server::on("127.0.0.2:0", |stream, _| say(stream, b"HTTP/1.1 204 x\r\n\r\n"));
    let elsewhere = target.addr;
    let server = countdown(move |_| format!("http://amy:s3cret@{elsewhere}/there"));
    let seen = get(&server.url("/1"), LONG).await;
    let detail = "302 Found, redirect to another host not followed: 127.0.0.2";
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::Warning, detail));
    let held = Client::new().get_2xx(&server.url("/1"), LONG).await;
    assert_eq!((held.verdict, held.detail.as_str()), (RequestResult::NotReady, detail));
    assert_eq!(target.drain(), 0);
    // Other spellings of the same address are other hosts, too, as kubelet compares names.
    let server = countdown(|_| "//localhost/".to_owned());
    assert_eq!(get(&server.url("/1"), LONG).await.verdict, RequestResult::Warning);
}

#[tokio::test]
async fn odd_locations_are_no_trap() {
    let at = |location: &'static str| countdown(move |_| location.to_owned());
    let seen = get(&at("http://[::1/").url("/1"), LONG).await;
    assert_eq!(seen.verdict, RequestResult::NotReady);
    assert!(seen.detail.starts_with("302 Found, and its Location is not a URL: "), "{}", seen.detail);
    let seen = get(&at("ftp://127.0.0.1/").url("/1"), LONG).await;
    assert_eq!(
        (seen.verdict, seen.detail.as_str()),
        (RequestResult::NotReady, "ftp:// is neither http:// nor https://")
    );
    let seen = get(&at("mailto:amy").url("/1"), LONG).await;
    assert_eq!(
        (seen.verdict, seen.detail.as_str()),
        (RequestResult::NotReady, "mailto:// is neither http:// nor https://")
    );
    // Without a Location there is nothing to follow.
    let told = saying("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(told, words(RequestResult::Warning, "302 Found"));
    // Not UTF-8, and characters that a URL does not have.
    let mut answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: //\xff\xfe {}|`^\r\n\r\n".to_vec();
    assert_eq!(saying(answer.clone()).await.0, RequestResult::NotReady);
    answer.splice(47..49, *b"/x");
    let (_, detail) = saying(answer).await;
    assert!(!detail.is_empty());
}

#[tokio::test]
async fn a_hold_wants_2xx() {
    let client = Client::new();
    let server = countdown(|n| format!("/{n}"));
    assert_eq!(client.get_2xx(&server.url("/3"), LONG).await.verdict, RequestResult::Ready);
    let server = Server::answering("HTTP/1.1 304 x\r\n\r\n");
    let seen = client.get_2xx(&server.url("/"), LONG).await;
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, "304 Not Modified"));
}

#[tokio::test]
async fn a_post_has_no_body_and_follows_nothing() {
    let client = Client::new();
    let server = Server::answering("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    let seen = client.post(&server.url("/drain"), LONG).await;
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::Ready, "202"));
    let request = server.request().to_lowercase();
    assert!(
        request.starts_with("post /drain http/1.1\r\n") && request.contains("\r\ncontent-length: 0\r\n"),
        "{request}"
    );

    let server = countdown(|n| format!("/{n}"));
    let seen = client.post(&server.url("/1"), LONG).await;
    let detail = "302 Found, and a POST follows no redirect";
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, detail));
    assert_eq!(server.drain(), 1);
    let server = Server::answering("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n");
    let seen = client.post(&server.url("/"), LONG).await;
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, "500 Internal Server Error"));
}

#[tokio::test]
async fn names_that_do_not_resolve_are_said_so() {
    let nowhere = PathBuf::from("/nonexistent/file");
    let client = Client::with_names(Names { hosts: nowhere.clone(), resolv_conf: nowhere });
    let seen = client.get(&Url::parse("http://amy:s3cret@app.example/").unwrap(), LONG).await;
    let detail = "cannot resolve app.example: no DNS server, /nonexistent/file: no such file or directory";
    assert_eq!((seen.verdict, seen.detail.as_str(), seen.refused), (RequestResult::NotReady, detail, false));
}

#[tokio::test]
async fn timeouts_of_any_length_are_fine() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(get(&server.url("/"), Duration::MAX).await.detail, "200");
    let hanging = Server::start(|stream, _| until_hangup(stream));
    assert_eq!(get(&hanging.url("/"), Duration::ZERO).await.detail, "no answer within 0s");
}

#[cfg(not(feature = "https"))]
#[tokio::test]
async fn https_needs_a_build_with_it() {
    let seen = get(&Url::parse("https://127.0.0.1:1/").unwrap(), LONG).await;
    let detail = "this graceful was built without https";
    assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, detail));
}

#[cfg(feature = "https")]
mod https {
    use super::*;
    use crate::http::testing::{TlsServer, is_inner, rerun};
    use std::io::Write;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// A client for which app.test is 127.0.0.1.
    fn with_app_test() -> (Client, tempfile::NamedTempFile) {
        let mut hosts = tempfile::NamedTempFile::new().unwrap();
        hosts.write_all(b"127.0.0.1 app.test\n").unwrap();
        let names = Names { hosts: hosts.path().to_owned(), resolv_conf: "/nonexistent/file".into() };
        (Client::with_names(names), hosts)
    }

    #[tokio::test]
    async fn loopback_may_have_any_certificate() {
        let server = TlsServer::start("somebody.else", OK);
        for host in ["127.0.0.1", "localhost"] {
            let seen = get(&server.url(host), LONG).await;
            assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::Ready, "200"), "{host}");
        }
    }

    #[tokio::test]
    async fn elsewhere_the_certificate_must_be_trusted() {
        // The right name, but signed by nobody known; and it does not help that the address is a loopback one.
        let server = TlsServer::start("app.test", OK);
        let (client, _hosts) = with_app_test();
        let seen = client.get(&server.url("app.test"), LONG).await;
        let detail = "TLS: the certificate is signed by nobody who is trusted here";
        assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, detail));
    }

    #[test]
    fn an_authority_of_ssl_cert_file_is_trusted_for_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let inner = "http::client::tests::https::inner_ssl_cert_file";
        rerun(inner, &[("SSL_CERT_FILE", file.as_os_str())]);
    }

    /// The body of the test above, in a process that has the variable set.
    #[tokio::test]
    async fn inner_ssl_cert_file() {
        if !is_inner() {
            return;
        }
        let file = std::env::var_os("SSL_CERT_FILE").unwrap();
        let server = TlsServer::start("app.test", OK);
        std::fs::write(file, server.authority_pem()).unwrap();
        let (client, _hosts) = with_app_test();
        assert_eq!(client.get(&server.url("app.test"), LONG).await.detail, "200");
        let other = TlsServer::start("other.test", OK);
        let seen = client.get(&other.url("app.test"), LONG).await;
        assert!(seen.verdict == RequestResult::NotReady && seen.detail.starts_with("TLS: "), "{}", seen.detail);
    }

    #[test]
    fn certificates_that_hang_hold_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        // Reading it waits for a writer.
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let inner = "http::client::tests::https::inner_certificates_that_hang";
        rerun(inner, &[("SSL_CERT_FILE", file.as_os_str())]);
    }

    /// The body of the test above, in a process that has the variable set.
    #[tokio::test]
    async fn inner_certificates_that_hang() {
        if !is_inner() {
            return;
        }
        let server = TlsServer::start("app.test", OK);
        let (client, _hosts) = with_app_test();
        for _ in 0..3 {
            let seen = client.get(&server.url("app.test"), SHORT).await;
            assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, "no answer within 300ms"));
        }
        // Requests that do not need it are served all the while.
        let (plain, own, hanging) = (Server::answering(OK), server.url("127.0.0.1"), server.url("app.test"));
        tokio::select! {
            seen = client.get(&hanging, LONG) => panic!("{seen:?}"),
            () = async {
                assert_eq!(client.get(&plain.url("/"), LONG).await.detail, "200");
                assert_eq!(client.get(&own, LONG).await.detail, "200");
            } => {}
        }
        // One reader was started for all, which gets what it waits for.
        let file = std::env::var_os("SSL_CERT_FILE").unwrap();
        std::fs::write(file, server.authority_pem()).unwrap();
        assert_eq!(client.get(&server.url("app.test"), LONG).await.detail, "200");
    }

    /// The bound is below TLS: it counts what encrypted answers weigh.
    #[tokio::test]
    async fn what_never_becomes_a_message_ends_behind_tls_too() {
        let hints = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(40_000).leak();
        let server = TlsServer::start("127.0.0.1", hints);
        let seen = get(&server.url("127.0.0.1"), LONG).await;
        let detail = "more than 256 KiB came before the answer was complete";
        assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, detail));
    }

    #[tokio::test]
    async fn plain_and_tls_are_told_apart() {
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("https://{}/", plain.local_addr().unwrap())).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = plain.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
            until_hangup(stream);
        });
        let seen = get(&url, LONG).await;
        let detail = "not TLS: the server does not speak https";
        assert_eq!((seen.verdict, seen.detail.as_str()), (RequestResult::NotReady, detail));
        // Accepts and never shakes hands.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hanging = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
        assert_eq!(get(&hanging, SHORT).await.detail, "no answer within 300ms");
        assert!(get(&ClosedPort::new().url("https", "127.0.0.1"), LONG).await.refused);
    }

    #[tokio::test]
    async fn a_redirect_to_https_on_loopback_works() {
        let server = TlsServer::start("x", OK);
        let target = server.url("127.0.0.1");
        let plain = countdown(move |_| target.to_string());
        assert_eq!(get(&plain.url("/1"), LONG).await.detail, "200");
    }
}
