//! `graceful probe URL`: one request, one line, for HEALTHCHECK and exec probes in images without curl.

use super::{Client, Observation, Verdict, shown};
use std::time::Duration;
use url::Url;

/// Makes one readiness probe. Whether it succeeded, and one line that says why, without a line end.
pub fn run(url: &Url, timeout: Duration) -> (bool, String) {
    let observed = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the HTTP client: {e}"))
        .and_then(|runtime| {
            let client = Client::new().map_err(|e| e.to_string())?;
            Ok(runtime.block_on(client.get(url, timeout)))
        });
    match observed {
        Ok(observation) => (observation.verdict.is_ready(), line(url, &observation)),
        Err(why) => (false, format!("{}: {why}", shown(url))),
    }
}

fn line(url: &Url, observation: &Observation) -> String {
    let (url, detail) = (shown(url), &observation.detail);
    match observation.verdict {
        Verdict::Ready => format!("{url}: {detail} in {:.1} ms", observation.took.as_secs_f64() * 1000.0),
        Verdict::Warning => format!("{url}: warning: {detail}"),
        Verdict::NotReady => format!("{url}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{ClosedPort, Server};

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_ready_app_is_one_line_with_its_time() {
        let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let url = server.url("/healthz");
        let (ok, line) = run(&url, LONG);
        assert!(ok, "{line}");
        let rest = line.strip_prefix(&format!("{url}: 200 in ")).unwrap_or_else(|| panic!("{line}"));
        let time = rest.strip_suffix(" ms").unwrap_or_else(|| panic!("{line}"));
        assert!(time.parse::<f64>().is_ok() && time.contains('.'), "{line}");
    }

    #[test]
    fn failures_and_warnings_say_why() {
        let port = ClosedPort::new();
        let url = port.url("http", "127.0.0.1");
        assert_eq!(run(&url, LONG), (false, format!("{url}: connection refused")));
        let server = Server::answering("HTTP/1.1 503 Nope\r\nContent-Length: 0\r\n\r\n");
        let url = server.url("/");
        assert_eq!(run(&url, LONG), (false, format!("{url}: 503 Service Unavailable")));
        let server = Server::answering("HTTP/1.1 304 x\r\n\r\n");
        let url = server.url("/");
        assert_eq!(run(&url, LONG), (true, format!("{url}: warning: 304 Not Modified")));
    }

    #[test]
    fn credentials_are_sent_and_not_printed() {
        let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n");
        let mut url = server.url("/x");
        url.set_username("amy").unwrap();
        url.set_password(Some("s3cret")).unwrap();
        let (ok, line) = run(&url, LONG);
        assert!(ok && line.starts_with(&format!("{}: 204 in ", server.url("/x"))), "{line}");
        // base64 of "amy:s3cret"
        assert!(server.request().contains("\r\nauthorization: Basic YW15OnMzY3JldA==\r\n"));
    }
}
