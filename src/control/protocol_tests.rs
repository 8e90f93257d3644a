use super::*;
use crate::control::tests::{serving, stopping};
use proptest::prelude::*;

fn text(line: Vec<u8>) -> String {
    let text = String::from_utf8(line).unwrap();
    let one = text.strip_suffix('\n').unwrap_or_else(|| panic!("no end: {text:?}"));
    assert!(!one.contains('\n'), "{text:?}");
    one.to_owned()
}

fn answers() -> Vec<ControlAnswer> {
    vec![
        ControlAnswer::Status(Box::new(serving())),
        ControlAnswer::Status(Box::new(stopping())),
        ControlAnswer::Reload(ReloadAnswer::Serves { generation: 2, took: Duration::from_millis(1400) }),
        ControlAnswer::Reload(ReloadAnswer::Failed { reason: "not ready within 10s".to_owned() }),
        ControlAnswer::Reload(ReloadAnswer::Refused { reason: "a stop goes on".to_owned() }),
        ControlAnswer::Error { error: ControlFault::NotAllowed, reason: "user 7 may not ask".to_owned() },
    ]
}

#[test]
fn requests_are_one_line_and_are_read_back() {
    assert_eq!(text(ControlRequest::Status.line()), r#"{"do":"status","v":1}"#);
    assert_eq!(text(ControlRequest::Reload.line()), r#"{"do":"reload","v":1}"#);
    for (name, request) in ControlRequest::NAMED {
        assert_eq!(request.name(), name);
        assert_eq!(ControlRequest::read(&request.line()), Ok(request));
        // As a person types it.
        assert_eq!(ControlRequest::read(format!("{{\"do\":\"{name}\"}}").as_bytes()), Ok(request));
        assert_eq!(
            ControlRequest::read(format!(" {{ \"more\": [1], \"do\": \"{name}\" }}\r\n").as_bytes()),
            Ok(request)
        );
    }
}

#[test]
fn answers_are_one_line_and_are_read_back() {
    for answer in answers() {
        let line = answer.line();
        assert_eq!(ControlAnswer::read(&line), Ok(answer));
        assert!(text(line).starts_with(r#"{"v":1,"answer":""#));
    }
}

/// What scripts rely on.
#[test]
fn the_form_of_each_answer() {
    let lines: Vec<String> = answers().iter().map(|answer| text(answer.line())).collect();
    assert_eq!(
        lines,
        [
            r#"{"v":1,"answer":"status","version":"0.1.0","pid":1,"generation":{"number":1,"cause":"start","app_pid":7,"started_s_ago":180.0,"phase":"running","ready":null},"other":null,"restarts_in_a_row":0,"in_flight":null,"budget_left_s":null,"stop_signal":null,"last_reload":null}"#,
            r#"{"v":1,"answer":"status","version":"0.1.0","pid":1,"generation":{"number":3,"cause":"reload","app_pid":81,"started_s_ago":2.0,"phase":"drain","ready":false},"other":{"role":"old","number":2,"cause":"restart","app_pid":null,"started_s_ago":null,"phase":"hold","ready":null},"restarts_in_a_row":4,"in_flight":{"busy":2,"unknown":1,"idle":5,"unaccepted":0},"budget_left_s":12.3,"stop_signal":"SIGTERM","last_reload":{"generation":3,"result":"failed","reason":"not ready within 10s","took_s":1.4}}"#,
            r#"{"v":1,"answer":"reload","result":"serves","generation":2,"took_s":1.4}"#,
            r#"{"v":1,"answer":"reload","result":"failed","reason":"not ready within 10s"}"#,
            r#"{"v":1,"answer":"reload","result":"refused","reason":"a stop goes on"}"#,
            r#"{"v":1,"answer":"error","error":"not-allowed","reason":"user 7 may not ask"}"#,
        ]
    );
}

#[test]
fn who_serves_is_told_by_phase_readiness_and_stop() {
    let with = |change: fn(&mut StatusDocument)| {
        let mut status = serving();
        change(&mut status);
        status.serves()
    };
    assert!(with(|_| {}));
    assert!(with(|status| status.generation.ready = Some(true)));
    assert!(!with(|status| status.generation.ready = Some(false)));
    assert!(!with(|status| status.generation.app_pid = None));
    assert!(!with(|status| status.generation.phase = Phase::PreStart));
    assert!(!with(|status| status.generation.phase = Phase::PreStop));
    assert!(!with(|status| status.stop_signal = Some(Signal::TERM)));
    assert!(!stopping().serves());
}

#[test]
fn what_is_no_request_is_refused_by_what_is_wrong_with_it() {
    let malformed = |part: &'static str| (ControlFault::Malformed, part);
    let long = format!("{{\"do\":\"{}\"}}", "x".repeat(LINE_MAX));
    let deep = "[".repeat(LINE_MAX);
    let rows: &[(&[u8], (ControlFault, &str))] = &[
        (b"", malformed("not JSON")),
        (b"\n", malformed("not JSON")),
        (b"status", malformed("expected {\"do\":\"status\"} or {\"do\":\"reload\"}")),
        (b"\xff\xfe", malformed("not JSON")),
        (b"[1,\"status\"]", malformed("not a JSON object")),
        (b"{}", malformed("no text called \"do\"")),
        (b"{\"do\":7}", malformed("no text called \"do\"")),
        (b"{\"do\":\"status\"} {}", malformed("not JSON")),
        (b"{\"v\":\"1\",\"do\":\"status\"}", malformed("\"v\" is not a number")),
        (b"GET /readyz HTTP/1.1\r", malformed("--probe-listen")),
        (deep.as_bytes(), malformed("not JSON")),
        (b"{\"do\":\"stop\"}", (ControlFault::UnknownRequest, "unknown request \"stop\"; expected status or reload")),
        (b"{\"v\":2,\"do\":\"status\"}", (ControlFault::Version, "of version 2, and this graceful")),
        (long.as_bytes(), (ControlFault::TooLong, "longer than 64 KiB")),
    ];
    for (line, (fault, part)) in rows {
        let shown = String::from_utf8_lossy(&line[..line.len().min(50)]).into_owned();
        let error = ControlRequest::read(line).unwrap_err();
        let ControlAnswer::Error { error, reason } = error.answer() else { panic!("{shown}") };
        assert_eq!(error, *fault, "{shown}: {reason}");
        assert!(reason.contains(part), "{shown}: {reason}");
    }
    // A long word is not said back whole.
    let word = format!("{{\"do\":\"{}\"}}", "ä".repeat(1000));
    let why = ControlRequest::read(word.as_bytes()).unwrap_err().to_string();
    assert!(why.len() < 120 && why.contains("ä…"), "{why}");
}

#[test]
fn an_answer_of_a_later_graceful_is_read_as_far_as_it_is_known() {
    let later = br#"{"v":1,"answer":"error","error":"too-early","reason":"x","since":3}"#;
    let read = ControlAnswer::read(later).unwrap();
    assert_eq!(read, ControlAnswer::Error { error: ControlFault::Other, reason: "x".to_owned() });
    let least =
        br#"{"answer":"status","version":"9","pid":1,"generation":{"number":1,"cause":"start","phase":"running"}}"#;
    let ControlAnswer::Status(status) = ControlAnswer::read(least).unwrap() else { panic!("no status") };
    assert_eq!((status.other, status.stop_signal, status.budget_left), (None, None, None));
    for wrong in [
        &br#"{"answer":"reload","result":"serves","generation":2,"took_s":-1}"#[..],
        br#"{"answer":"reload","result":"serves","generation":2,"took_s":1e300}"#,
        br#"{"answer":"reload","result":"serves","generation":-2,"took_s":1}"#,
        br#"{"answer":"reload"}"#,
        br#"{"answer":"more"}"#,
    ] {
        let error = ControlAnswer::read(wrong).unwrap_err();
        assert!(matches!(error, ProtocolError::Malformed(_)), "{error:?}");
    }
    assert_eq!(ControlAnswer::read(b"HTTP/1.1 400 Bad Request\r"), Err(ProtocolError::Http));
    assert_eq!(ControlAnswer::read(br#"{"v":7}"#), Err(ProtocolError::Version(7)));
}

#[test]
fn no_answer_is_longer_than_a_line_may_be() {
    let reason = "\u{1b}".repeat(LINE_MAX);
    let answers = [
        ControlAnswer::Reload(ReloadAnswer::Failed { reason: reason.clone() }),
        ControlAnswer::Reload(ReloadAnswer::Refused { reason: reason.clone() }),
        ControlAnswer::Error { error: ControlFault::Busy, reason: reason.clone() },
        ControlAnswer::Status(Box::new(StatusDocument {
            last_reload: Some(LastReload {
                generation: 2,
                result: ReloadResult::Failed,
                reason: Some(reason.clone()),
                took: Duration::ZERO,
            }),
            ..serving()
        })),
    ];
    for answer in answers {
        let line = answer.line();
        assert!(line.len() <= LINE_MAX, "{}", line.len());
        let kind = |answer: &ControlAnswer| std::mem::discriminant(answer);
        assert_eq!(kind(&ControlAnswer::read(&line).unwrap()), kind(&answer));
    }
    // What cannot be cut is told of.
    let endless = ControlAnswer::Status(Box::new(StatusDocument { version: reason, ..serving() }));
    let read = ControlAnswer::read(&endless.line()).unwrap();
    assert!(matches!(read, ControlAnswer::Error { error: ControlFault::TooLong, .. }), "{read:?}");
}

proptest! {
    /// Whatever comes, there is a request, an answer or an error that can be answered.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = ControlRequest::read(&bytes) {
            prop_assert!(error.answer().line().len() <= LINE_MAX);
        }
        _ = ControlAnswer::read(&bytes);
    }

    /// The same close to what is right: a line with some of its bytes replaced, or cut off.
    #[test]
    fn no_damage_panics(which in 0usize..6, at in 0usize..500, byte in any::<u8>(), end in 0usize..600) {
        let mut line = answers()[which].line();
        let place = at % line.len();
        line[place] = byte;
        line.truncate(end);
        _ = ControlAnswer::read(&line);
        if let Err(error) = ControlRequest::read(&line) {
            prop_assert!(ControlAnswer::read(&error.answer().line()).is_ok());
        }
    }

    /// A status is what it was on the other side, to the millisecond.
    #[test]
    fn a_status_arrives_as_it_was(
        number in any::<u64>(),
        millis in prop::option::of(0u64..100_000_000_000),
        ready in any::<Option<bool>>(),
        reason in prop::option::of("\\PC{0,40}"),
        signal in prop::option::of(1i32..=64),
    ) {
        let mut status = stopping();
        status.generation.number = number;
        status.generation.ready = ready;
        status.budget_left = millis.map(Duration::from_millis);
        status.stop_signal = signal.and_then(Signal::new);
        if let Some(reload) = &mut status.last_reload {
            reload.reason = reason;
        }
        let sent = ControlAnswer::Status(Box::new(status));
        let ControlAnswer::Status(read) = ControlAnswer::read(&sent.line()).unwrap() else { panic!("no status") };
        let ControlAnswer::Status(sent) = sent else { panic!("no status") };
        // Seconds as a number lose nanoseconds.
        let (was, is) = (sent.budget_left.unwrap_or_default(), read.budget_left.unwrap_or_default());
        prop_assert!(was.abs_diff(is) < Duration::from_micros(1));
        prop_assert_eq!(StatusDocument { budget_left: sent.budget_left, ..*read }, *sent);
    }
}
