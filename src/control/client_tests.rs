use super::*;
use crate::control::ControlFault;
use crate::control::tests::{serving, stopping};
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use tempfile::TempDir;

/// Long enough for a machine that is busy; nobody waits for all of it.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// Somebody who listens there, and does this with the first who comes.
fn listener(then: impl FnOnce(UnixStream) + Send + 'static) -> (TempDir, ControlAddress) {
    let folder = tempfile::tempdir().unwrap();
    let address = ControlAddress::at(folder.path().join("s"));
    let listener = UnixListener::bind(address.path()).unwrap();
    thread::spawn(move || then(listener.accept().unwrap().0));
    (folder, address)
}

/// Who answers every line with this.
fn answering(bytes: Vec<u8>) -> (TempDir, ControlAddress) {
    listener(move |mut stream| {
        let mut request = [0; 64];
        assert_ne!(stream.read(&mut request).unwrap(), 0);
        stream.write_all(&bytes).unwrap();
    })
}

fn reason<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn where_to_ask_is_said_by_the_first_that_says_it() {
    let found = |given: Option<&str>, variable: Option<&str>| {
        let given = given.map(|text| ControlAddress::parse(text).unwrap());
        search(given, variable.map(OsString::from))
            .map(|address| address.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(found(Some("/a"), Some("unix:/b")).as_deref(), Ok("unix:/a"));
    assert_eq!(found(None, Some("unix:/b")).as_deref(), Ok("unix:/b"));
    assert_eq!(found(None, Some("")).as_deref(), Ok("unix:/run/graceful-control.sock"));
    assert_eq!(found(None, None).as_deref(), Ok("unix:/run/graceful-control.sock"));
    let error = found(None, Some(":9090")).unwrap_err();
    assert!(error.starts_with("GRACEFUL_CONTROL=\":9090\": expected the path"), "{error}");
    // What is not looked at is not complained of.
    assert!(found(Some("/a"), Some(":9090")).is_ok());
}

#[test]
fn a_reload_that_serves_is_a_line_and_any_other_an_error() {
    let reload = |answer: ControlAnswer| {
        let (_folder, address) = answering(answer.line());
        reload(&address, LONG)
    };
    let took = Duration::from_millis(1400);
    let serves = ControlAnswer::Reload(ReloadAnswer::Serves { generation: 2, took });
    assert_eq!(reload(serves).as_deref(), Ok("generation 2 serves after 1.4 s\n"));
    let failed = ControlAnswer::Reload(ReloadAnswer::Failed { reason: "not ready within 10s\u{1b}[31m".to_owned() });
    let said = reason(reload(failed));
    assert!(said.starts_with("reload unix:/") && said.ends_with(": failed: not ready within 10s[31m"), "{said}");
    let refused = ControlAnswer::Reload(ReloadAnswer::Refused { reason: "a stop goes on".to_owned() });
    assert!(reason(reload(refused)).ends_with(": refused: a stop goes on"));
    let error = ControlAnswer::Error { error: ControlFault::NotAllowed, reason: "user 7 may not ask".to_owned() };
    assert!(reason(reload(error)).ends_with(": user 7 may not ask"));
    let other = ControlAnswer::Status(Box::new(serving()));
    assert!(reason(reload(other)).ends_with(": graceful answered something else"));
}

#[test]
fn a_status_is_written_as_text_or_as_it_came() {
    let status = |bytes: Vec<u8>, form| {
        let (_folder, address) = answering(bytes);
        status(&address, form, LONG).unwrap()
    };
    let line = |status| ControlAnswer::Status(Box::new(status)).line();
    let (serves, text) = status(line(serving()), StatusForm::Text);
    assert!(serves && text == view::text(&serving()), "{text}");
    let (serves, text) = status(line(stopping()), StatusForm::Text);
    assert!(!serves && text == view::text(&stopping()), "{text}");
    let (serves, json) = status(line(serving()), StatusForm::Json);
    assert!(serves && json.into_bytes() == line(serving()));
    // Fields of a later graceful are handed on.
    let more = String::from_utf8(line(serving())).unwrap().replace("\"pid\":1", "\"pid\":1,\"later\":\"\u{9b}7\"");
    let (_, json) = status(more.clone().into_bytes(), StatusForm::Json);
    assert_eq!(json, more.replace('\u{9b}', ""));
}

#[test]
fn what_is_in_the_way_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = |path: &str| reason(status(&ControlAddress::at(folder.path().join(path)), StatusForm::Text, LONG));
    let why = said("nothing");
    assert!(
        why.starts_with("status unix:/") && why.contains("no such socket; is graceful running with --control"),
        "{why}"
    );
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(said("file").contains("not a socket; expected that of graceful's --control"));
    assert!(said("file/x").contains("not a directory"));
    drop(UnixListener::bind(folder.path().join("left")).unwrap());
    assert!(said("left").contains("nobody listens there"));
    assert!(said(&"x".repeat(200)).contains("path must be shorter"));
}

#[test]
fn what_is_no_answer_is_said() {
    let said = |bytes: &[u8]| {
        let (_folder, address) = answering(bytes.to_vec());
        reason(reload(&address, LONG))
    };
    assert!(said(b"").contains("closed the connection without an answer"));
    assert!(said(b"HTTP/1.1 400 Bad Request\r\n\r\n").contains("a probe server (--probe-listen)"));
    assert!(said(b"hello\n").contains("the answer is not graceful's: not JSON"));
    assert!(said(b"{\"v\":7}\n").contains("the answer is of version 7"));
    assert!(said(&vec![b'x'; LINE_MAX + 2]).contains("longer than 64 KiB"));
    // Cut off.
    assert!(said(b"{\"v\":1,\"answer\":\"rel").contains("not JSON"));
}

#[test]
fn it_ends_in_time_whatever_the_other_side_does() {
    // Silence.
    let (_folder, address) = listener(|stream| drop((stream, thread::sleep(LONG))));
    let began = Instant::now();
    let said = reason(status(&address, StatusForm::Text, SHORT));
    assert!(said.ends_with("no answer within 200ms"), "{said}");
    let said = {
        let (_folder, address) = listener(|stream| drop((stream, thread::sleep(LONG))));
        reason(reload(&address, SHORT))
    };
    assert!(
        said.ends_with("no answer within 200ms; the reload may still go on, and graceful status tells how it ends")
    );
    // A byte now and then.
    let (_folder, address) = listener(|mut stream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(matches!(ask(&address, ControlRequest::Status, SHORT), Err(ControlError::NoAnswer(_))));
    // A waiting line that is full.
    let folder = tempfile::tempdir().unwrap();
    let address = ControlAddress::at(folder.path().join("s"));
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(address.path()).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = UnixStream::connect(address.path()).unwrap();
    assert!(matches!(ask(&address, ControlRequest::Status, SHORT), Err(ControlError::NoAnswer(_))));
    assert!(began.elapsed() < LONG);
    // And no limit is no overflow.
    let (_folder, address) = answering(ControlAnswer::Status(Box::new(serving())).line());
    assert!(ask(&address, ControlRequest::Status, Duration::MAX).is_ok());
}
