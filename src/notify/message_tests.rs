use super::*;
use NotifyMessage as M;
use proptest::prelude::*;

fn messages(datagram: &[u8]) -> Vec<NotifyMessage> {
    let lines = parse(datagram);
    assert!(lines.errors.is_empty(), "{:?}", lines.errors);
    lines.messages
}

fn error(line: &str) -> String {
    let lines = parse(line.as_bytes());
    assert!(lines.messages.is_empty(), "{line}: {:?}", lines.messages);
    assert_eq!(lines.errors.len(), 1, "{line}");
    lines.errors[0].to_string()
}

#[test]
fn every_key_of_sd_notify_is_read() {
    let second = Duration::from_secs(1);
    for (line, expected) in [
        ("READY=1", M::Ready),
        ("RELOADING=1", M::Reloading),
        ("STOPPING=1", M::Stopping),
        ("STATUS=Answering requests.", M::Status("Answering requests.".to_owned())),
        ("STATUS=", M::Status(String::new())),
        ("STATUS=a=b", M::Status("a=b".to_owned())),
        ("ERRNO=2", M::Errno(2)),
        ("ERRNO=0", M::Errno(0)),
        ("MAINPID=4711", M::MainPid(4711)),
        ("MAINPID=1", M::MainPid(1)),
        ("WATCHDOG=1", M::Watchdog),
        ("WATCHDOG=trigger", M::WatchdogTrigger),
        ("WATCHDOG_USEC=1000000", M::WatchdogUsec(second)),
        ("WATCHDOG_USEC=0", M::WatchdogUsec(Duration::ZERO)),
        ("EXTEND_TIMEOUT_USEC=1000000", M::ExtendTimeout(second)),
        ("EXTEND_TIMEOUT_USEC=18446744073709551615", M::ExtendTimeout(Duration::from_micros(u64::MAX))),
        ("MONOTONIC_USEC=1000000", M::MonotonicUsec(second)),
        ("FDSTORE=1", M::Other("FDSTORE".to_owned())),
        ("FDNAME=x", M::Other("FDNAME".to_owned())),
        ("BARRIER=1", M::Other("BARRIER".to_owned())),
        ("ready=1", M::Other("ready".to_owned())),
        ("X_MINE=1", M::Other("X_MINE".to_owned())),
        ("=1", M::Other(String::new())),
    ] {
        for end in ["", "\n"] {
            assert_eq!(messages(format!("{line}{end}").as_bytes()), std::slice::from_ref(&expected), "{line}");
        }
    }
}

#[test]
fn lines_keep_their_order_and_what_is_none_is_passed_over() {
    let datagram = b"\n\nREADY=1\njunk\n\xff\xfe\0\nSTATUS=up\nREADY=1\n";
    assert_eq!(messages(datagram), [M::Ready, M::Status("up".to_owned()), M::Ready]);
    assert!(messages(b"").is_empty());
}

#[test]
fn an_error_names_key_and_value_and_what_would_be_right() {
    for (line, expected) in [
        ("READY=0", "READY=0: expected 1"),
        ("RELOADING=yes", "RELOADING=yes: expected 1"),
        ("STOPPING=", "STOPPING=: expected 1"),
        ("WATCHDOG=2", "WATCHDOG=2: expected 1 or trigger"),
        ("ERRNO=4096", "ERRNO=4096: expected an error number from 0 to 4095, as 2"),
        ("ERRNO=-2", "ERRNO=-2: expected an error number from 0 to 4095, as 2"),
        ("MAINPID=0", "MAINPID=0: expected a process id, as 4711"),
        ("MAINPID=-1", "MAINPID=-1: expected a process id, as 4711"),
        ("MAINPID=2147483648", "MAINPID=2147483648: expected a process id, as 4711"),
        ("MAINPID= 7", "MAINPID= 7: expected a process id, as 4711"),
        ("MAINPID=+7", "MAINPID=+7: expected a process id, as 4711"),
        ("WATCHDOG_USEC=1s", "WATCHDOG_USEC=1s: expected a number of microseconds, as 5000000"),
        ("MONOTONIC_USEC=", "MONOTONIC_USEC=: expected a number of microseconds, as 5000000"),
        (
            "EXTEND_TIMEOUT_USEC=18446744073709551616",
            "EXTEND_TIMEOUT_USEC=18446744073709551616: expected a number of microseconds, as 5000000",
        ),
    ] {
        assert_eq!(error(line), expected);
    }
}

#[test]
fn an_error_spoils_no_other_line() {
    let lines = parse(b"MAINPID=me\nREADY=1\nERRNO=\x1b[31m\nSTATUS=up");
    assert_eq!(lines.messages, [M::Ready, M::Status("up".to_owned())]);
    let errors: Vec<(&str, &str)> = lines.errors.iter().map(|error| (error.key, error.value.as_str())).collect();
    assert_eq!(errors, [("MAINPID", "me"), ("ERRNO", "\u{fffd}[31m")]);
}

#[test]
fn what_is_quoted_is_cut() {
    let exactly = "9".repeat(QUOTED);
    assert_eq!(error(&format!("MAINPID={exactly}")), format!("MAINPID={exactly}: expected a process id, as 4711"));
    assert_eq!(error(&format!("MAINPID={exactly}9")), format!("MAINPID={exactly}…: expected a process id, as 4711"));
    // Of any bytes, also those of which each becomes three.
    let text = quoted(&[0xff; 1000]);
    assert_eq!((text.chars().count(), text.chars().last()), (QUOTED + 1, Some(CUT)));
}

#[test]
fn a_status_has_no_control_characters_and_a_bound() {
    let status = |text: &[u8]| match messages(&[b"STATUS=", text].concat()).as_slice() {
        [M::Status(text)] => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(b"a\tb\x1b[2J\x07\0\x7f\xc2\x85"), "a b\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    assert_eq!(status(b"\xff"), "\u{fffd}");
    let exactly = "x".repeat(LONGEST_STATUS);
    assert_eq!(status(exactly.as_bytes()), exactly);
    assert_eq!(status(format!("{exactly}x").as_bytes()), format!("{}…", &exactly[..LONGEST_STATUS - 3]));
    // A character of several bytes is not cut in two.
    let wide = status("é".repeat(LONGEST_STATUS).as_bytes());
    assert!(wide.len() <= LONGEST_STATUS && wide.ends_with("é…"), "{}", wide.len());
}

#[test]
fn what_is_sent_is_what_the_manual_says() {
    let second = Duration::from_secs(1);
    let reloading = [M::Reloading, M::MonotonicUsec(second + Duration::from_nanos(999))];
    assert_eq!(encode(&reloading), "RELOADING=1\nMONOTONIC_USEC=1000000\n");
    let extended = [M::ExtendTimeout(second), M::Status("5 in flight\nREADY=1".to_owned()), M::MainPid(7)];
    assert_eq!(encode(&extended), "EXTEND_TIMEOUT_USEC=1000000\nSTATUS=5 in flight\u{fffd}READY=1\nMAINPID=7\n");
    assert_eq!(encode(&[M::Other("X_MINE".to_owned()), M::Watchdog]), "WATCHDOG=1\n");
    assert_eq!(encode(&[M::WatchdogUsec(Duration::MAX)]), format!("WATCHDOG_USEC={}\n", u64::MAX));
    assert_eq!(encode(&[]), "");
}

fn any_message() -> impl Strategy<Value = NotifyMessage> {
    let time = || any::<u64>().prop_map(Duration::from_micros);
    prop_oneof![
        Just(M::Ready),
        Just(M::Reloading),
        Just(M::Stopping),
        any::<String>().prop_map(|text| M::Status(cleaned(&text, LONGEST_STATUS))),
        (0..=LARGEST_ERRNO).prop_map(M::Errno),
        (1..=i32::MAX).prop_map(M::MainPid),
        Just(M::Watchdog),
        Just(M::WatchdogTrigger),
        time().prop_map(M::WatchdogUsec),
        time().prop_map(M::ExtendTimeout),
        time().prop_map(M::MonotonicUsec),
    ]
}

const KEYS: [&str; 12] = [
    "READY",
    "RELOADING",
    "STOPPING",
    "STATUS",
    "ERRNO",
    "MAINPID",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
    "MONOTONIC_USEC",
    "FDSTORE",
    "",
];

proptest! {
    #[test]
    fn what_is_encoded_is_read_again(messages in proptest::collection::vec(any_message(), 0..20)) {
        prop_assert_eq!(parse(encode(&messages).as_bytes()), NotifyLines { messages, errors: Vec::new() });
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let lines = parse(&bytes);
        prop_assert!(lines.messages.len() + lines.errors.len() <= bytes.len());
    }

    #[test]
    fn no_value_is_too_strange(
        keys in proptest::collection::vec(proptest::sample::select(&KEYS[..]), 0..10),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 10),
    ) {
        let lines: Vec<_> = keys.into_iter().zip(values).collect();
        let line = |(key, value): &(&str, Vec<u8>)| [key.as_bytes(), b"=", value, b"\n"].concat();
        let datagram: Vec<u8> = lines.iter().flat_map(line).collect();
        let read = parse(&datagram);
        // Each is read or refused; a line end in a value can make more of them.
        prop_assert!(read.messages.len() + read.errors.len() >= lines.len());
        for error in read.errors {
            prop_assert!(!error.to_string().contains(char::is_control));
            prop_assert!(error.value.chars().count() <= QUOTED + 1);
        }
        // And what is read can be handed on.
        let known: Vec<_> = read.messages.into_iter().filter(|message| !matches!(message, M::Other(_))).collect();
        prop_assert_eq!(parse(encode(&known).as_bytes()).messages, known);
    }

    #[test]
    fn cleaning_twice_changes_nothing(text in any::<String>(), longest in 3..40usize) {
        let once = cleaned(&text, longest);
        prop_assert!(once.len() <= longest);
        prop_assert_eq!(cleaned(&once, longest), once);
    }
}
