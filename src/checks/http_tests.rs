use super::*;
use crate::http::resolver::Names;
use crate::http::testing::{ClosedPort, DEADLINE, Server, say, say_for_ever, until_hangup};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

/// For answers that come by themselves.
const LONG: Duration = DEADLINE;
/// For answers that never come.
const SHORT: Duration = Duration::from_millis(300);

async fn ask(url: &Url, timeout: Duration) -> Attempt {
    attempt(&Client::new(), url, timeout).await
}

/// Status and detail for an answer of exactly these bytes.
async fn saying(answer: impl Into<Vec<u8>>) -> (Status, String) {
    let attempt = ask(&Server::answering(answer).url("/"), LONG).await;
    (attempt.status, attempt.detail)
}

fn words(status: Status, detail: &str) -> (Status, String) {
    (status, detail.to_owned())
}

fn json(code: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {code} x\r\nConnection: close\r\nContent-Type: {kind}\r\n\r\n{body}")
}

#[tokio::test]
async fn the_status_code_counts() {
    use Status::{Healthy, Unhealthy};
    for (code, status, detail) in [
        ("200", Healthy, "200"),
        ("204", Healthy, "204"),
        ("304", Healthy, "304 Not Modified"),
        ("399", Healthy, "399"),
        ("400", Unhealthy, "400 Bad Request"),
        ("503", Unhealthy, "503 Service Unavailable"),
    ] {
        let answer = format!("HTTP/1.1 {code} whatever it says\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(saying(answer).await, words(status, detail), "{code}");
    }
}

#[tokio::test]
async fn a_status_field_of_json_counts_too() {
    use Status::{Degraded, Healthy, Unhealthy};
    let plain = "application/json";
    for (code, kind, body, status, detail) in [
        ("200", plain, r#"{"status":"Healthy"}"#, Healthy, "200"),
        ("200", "Application/JSON ; charset=utf-8", r#"{"status":"degraded"}"#, Degraded, "200, status degraded"),
        ("200", "application/health+json", r#"{"status":"fail"}"#, Unhealthy, "200, status unhealthy"),
        ("200", plain, r#"{"status":"OUT_OF_SERVICE"}"#, Unhealthy, "200, status unhealthy"),
        ("200", plain, r#" {"a":{"status":"down"},"status":"warn","b":[1,{}]} "#, Degraded, "200, status degraded"),
        // The code is worse.
        ("503", plain, r#"{"status":"UP"}"#, Unhealthy, "503 Service Unavailable"),
        ("503", plain, r#"{"status":"warn"}"#, Unhealthy, "503 Service Unavailable, status degraded"),
        // Not ours to understand.
        ("200", plain, r#"{"status":"green"}"#, Healthy, "200"),
        ("200", plain, r#"{"status":7}"#, Healthy, "200"),
        ("200", plain, r#"{"status":null}"#, Healthy, "200"),
        ("200", plain, r#"{"a":{"status":"down"}}"#, Healthy, "200"),
        ("200", plain, r#"["status","down"]"#, Healthy, "200"),
        ("200", plain, r#""down""#, Healthy, "200"),
        ("200", plain, "", Healthy, "200"),
        ("200", plain, r#"{"status":"fail""#, Healthy, "200"),
        ("200", plain, r#"{"status":"fail"} and more"#, Healthy, "200"),
        ("200", "text/plain", r#"{"status":"fail"}"#, Healthy, "200"),
        ("200", "application/jsonlines", r#"{"status":"fail"}"#, Healthy, "200"),
    ] {
        assert_eq!(saying(json(code, kind, body)).await, words(status, detail), "{code} {kind} {body}");
    }
    // Without a type, and with one that is not text.
    let bytes = |kind: &[u8]| [b"HTTP/1.1 200 x\r\n".as_slice(), kind, b"\r\n{\"status\":\"fail\"}"].concat();
    assert_eq!(saying(bytes(b"")).await, words(Healthy, "200"));
    assert_eq!(saying(bytes(b"Content-Type: \xff+json\r\n")).await, words(Healthy, "200"));
}

#[tokio::test]
async fn of_a_long_answer_the_beginning_is_read() {
    let filler = r#""filler":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","#.repeat(1000);
    let early = json("200", "application/json", &format!(r#"{{"status":"down",{filler}"end":1}}"#));
    assert_eq!(saying(early).await, words(Status::Unhealthy, "200, status unhealthy"));
    let late = json("200", "application/json", &format!(r#"{{{filler}"status":"down"}}"#));
    assert_eq!(saying(late).await, words(Status::Healthy, "200"));
    // Long, but broken before its end.
    let broken = json("200", "application/json", &format!(r#"{{"status":"down",,{filler}"end":1}}"#));
    assert_eq!(saying(broken).await, words(Status::Healthy, "200"));
    // An endless one, and one so deep that a parser by recursion would have no stack left.
    for piece in [r#""x":1,"#, "[", r#"{"a":"#, r#""status":{"a":"#] {
        let server = Server::start(move |mut stream, _| {
            let _ = stream.write_all(json("200", "application/json", r#"{"status":"down","a":"#).as_bytes());
            say_for_ever(stream, piece.as_bytes());
        });
        let seen = ask(&server.url("/"), LONG).await;
        assert!(seen.took < LONG, "{piece}");
        assert!(matches!(seen.detail.as_str(), "200" | "200, status unhealthy"), "{piece}: {}", seen.detail);
    }
}

#[tokio::test]
async fn what_an_unhealthy_server_says_is_for_the_log() {
    let body = "{\"status\":\"down\",\r\n \"why\":\"\u{202e}no connection to postgres://amy:s3cret@db\"}";
    let seen = ask(&Server::answering(json("200", "application/json", body)).url("/"), LONG).await;
    assert_eq!((seen.status, seen.detail.as_str()), (Status::Unhealthy, "200, status unhealthy"));
    let said = seen.said.unwrap();
    assert!(said.starts_with(r#"{"status":"down",\r\n "why":"\u{202e}no conn"#), "{said}");
    // Nothing of a healthy one, and nothing that is not JSON: pages of errors are long and say little.
    for answer in
        [json("200", "application/json", r#"{"status":"up"}"#), json("500", "text/html", "<html>"), String::new()]
    {
        assert_eq!(ask(&Server::answering(answer.clone()).url("/"), LONG).await.said, None, "{answer}");
    }
}

#[tokio::test]
async fn no_word_of_the_server_is_for_everybody() {
    let elsewhere = "HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: http://s3cret.internal/\r\n\r\n";
    let seen = ask(&Server::answering(elsewhere).url("/"), LONG).await;
    let detail = "302 Found, redirect to another host not followed";
    assert_eq!((seen.status, seen.detail.as_str()), (Status::Healthy, detail));
    assert_eq!(seen.said, Some(format!("{detail}: s3cret.internal")));

    let odd = "HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: s3cret:now\r\n\r\n";
    let seen = ask(&Server::answering(odd).url("/"), LONG).await;
    let detail = "redirect to what is neither http:// nor https://";
    assert_eq!((seen.status, seen.detail.as_str()), (Status::Unhealthy, detail));
    assert_eq!(seen.said.as_deref(), Some("s3cret:// is neither http:// nor https://"));
}

#[tokio::test]
async fn no_connection_is_said_so_without_credentials() {
    let mut url = url::Url::clone(&ClosedPort::new().url("http", "127.0.0.1"));
    url.set_username("amy").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let seen = ask(&url.into(), LONG).await;
    assert_eq!((seen.status, seen.detail.as_str(), seen.said), (Status::Unhealthy, "connection refused", None));
    let nowhere = PathBuf::from("/nonexistent/file");
    let client = Client::with_names(Names { hosts: nowhere.clone(), resolv_conf: nowhere });
    let seen = attempt(&client, &Url::parse("http://amy:s3cret@app.example/").unwrap(), LONG).await;
    let detail = "cannot resolve app.example: no DNS server, /nonexistent/file: no such file or directory";
    assert_eq!((seen.status, seen.detail.as_str()), (Status::Unhealthy, detail));
}

#[tokio::test]
async fn whoever_hangs_or_drips_costs_the_timeout() {
    // In the backlog, never accepted; accepted, never answered; half an answer; a drip.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backlog = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let silent = Server::start(|stream, _| until_hangup(stream));
    let half = Server::start(|mut stream, _| {
        let _ = stream.write_all(json("200", "application/json", r#"{"status":"down","#).as_bytes());
        until_hangup(stream);
    });
    let drip = Server::start(|mut stream, _| {
        let _ = stream.write_all(json("200", "application/json", "").as_bytes());
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(SHORT / 30);
        }
    });
    let (nothing, cut) = ("no answer within 300ms", "200, but the body was not complete within 300ms");
    for (url, detail) in [(backlog, nothing), (silent.url("/"), nothing), (half.url("/"), cut), (drip.url("/"), cut)] {
        let seen = ask(&url, SHORT).await;
        assert_eq!((seen.status, seen.detail.as_str()), (Status::Unhealthy, detail), "{url}");
        assert!(seen.took >= SHORT, "{:?}", seen.took);
    }
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for garbage in ["SSH-2.0-OpenSSH_9.6\r\n", "\0\0\0\0\0\0\0\0\0\0", "HTTP/1.1 2x0 OK\r\n\r\n"] {
        let (status, detail) = saying(garbage).await;
        assert!(status == Status::Unhealthy && detail.starts_with("not HTTP: "), "{garbage:?}: {detail}");
    }
    let cut = words(Status::Unhealthy, "connection closed before the answer was complete");
    assert_eq!(saying("").await, cut);
    let server = Server::start(|stream, _| say_for_ever(stream, b"X: y\r\n"));
    assert_eq!(ask(&server.url("/"), LONG).await.status, Status::Unhealthy);
    let server = Server::start(|stream, _| say(stream, &[0xff; 100_000]));
    assert_eq!(ask(&server.url("/"), LONG).await.status, Status::Unhealthy);
}

#[cfg(feature = "https")]
mod https {
    use super::*;
    use crate::http::testing::{TlsServer, is_inner, rerun};

    #[test]
    fn names_of_a_certificate_are_for_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        rerun("checks::http::tests::https::inner_names", &[("SSL_CERT_FILE", file.as_os_str())]);
    }

    /// The body of the test above, in a process that has the variable set.
    #[tokio::test]
    async fn inner_names() {
        if !is_inner() {
            return;
        }
        let mut hosts = tempfile::NamedTempFile::new().unwrap();
        hosts.write_all(b"127.0.0.1 app.test\n").unwrap();
        let names = Names { hosts: hosts.path().to_owned(), resolv_conf: "/nonexistent/file".into() };
        let server = TlsServer::start("s3cret.internal", b"HTTP/1.1 204 x\r\n\r\n");
        std::fs::write(std::env::var_os("SSL_CERT_FILE").unwrap(), server.authority_pem()).unwrap();
        let seen = attempt(&Client::with_names(names), &server.url("app.test"), LONG).await;
        let detail = "TLS: the certificate is not valid for this name";
        assert_eq!((seen.status, seen.detail.as_str()), (Status::Unhealthy, detail));
        assert!(seen.said.is_some_and(|said| said.contains("s3cret.internal")));
    }
}
