//! A request's head, from the bytes that have come so far. Pure.

use std::time::Duration;

/// A head of more bytes than this is refused.
const LONGEST: usize = 16 * 1024;
/// `?ms=`: an hour at most.
const MOST_MILLIS: u64 = 3_600_000;
/// How long `/slow` takes if it is not told.
const SLOW: Duration = Duration::from_millis(1500);
/// How long `/stream` goes on if it is not told.
const STREAM: Duration = Duration::from_secs(5);

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    BadRequest,
    LengthRequired,
    TooLong,
    NotThisVersion,
}

impl Refusal {
    /// The status line that says so.
    pub(super) fn status(self) -> &'static str {
        match self {
            Refusal::BadRequest => "400 Bad Request",
            Refusal::LengthRequired => "411 Length Required",
            Refusal::TooLong => "431 Request Header Fields Too Large",
            Refusal::NotThisVersion => "505 HTTP Version Not Supported",
        }
    }
}

/// What the bytes that have come so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A request, whose head takes this many bytes.
    Whole(Request, usize),
    /// The beginning of one, or nothing.
    Partial,
    /// Not a request of HTTP.
    Refused(Refusal),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) route: DemoRoute,
    /// Whether it is HEAD: the answer has no body.
    pub(super) head_only: bool,
    /// Whether it is HTTP/1.0, which knows no chunks, and stays connected only if it says so.
    pub(super) old: bool,
    /// Whether the client wants to send another one on this connection.
    pub(super) keep_alive: bool,
    /// The length in bytes of the body that follows.
    pub(super) body: u64,
    /// Whether the client sends the body once it is told to go on.
    pub(super) waits_for_continue: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DemoRoute {
    Hello,
    Slow(Duration),
    Stream(Duration),
    Ready,
    Unknown,
    /// What follows `?ms=` is not such a number.
    WrongTime,
}

/// Reads the first request of what has come.
pub(super) fn parse(input: &[u8]) -> Head {
    // Empty lines before a request are passed over (RFC 9112, 2.2).
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(input.len());
    let text = input.get(start..).unwrap_or_default();
    // The first byte tells: TLS, for one, would wait for an answer for ever.
    if text.first().is_some_and(|first| !first.is_ascii_uppercase()) {
        return Head::Refused(Refusal::BadRequest);
    }
    let Some(length) = head_length(text) else {
        return if input.len() > LONGEST { Head::Refused(Refusal::TooLong) } else { Head::Partial };
    };
    let head = text.get(..length).unwrap_or_default();
    match std::str::from_utf8(head).map_err(|_| Refusal::BadRequest).and_then(request) {
        Ok(request) => Head::Whole(request, start + length),
        Err(refusal) => Head::Refused(refusal),
    }
}

/// The length of the head, the empty line included.
fn head_length(text: &[u8]) -> Option<usize> {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).find_map(|next| match text.get(next..) {
        Some([b'\n', ..]) => Some(next + 1),
        Some([b'\r', b'\n', ..]) => Some(next + 2),
        _ => None,
    })
}

fn request(head: &str) -> Result<Request, Refusal> {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::BadRequest);
    };
    let old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ if version.starts_with("HTTP/") => return Err(Refusal::NotThisVersion),
        _ => return Err(Refusal::BadRequest),
    };
    let mut request = Request {
        route: route(target),
        head_only: method == "HEAD",
        old,
        keep_alive: !old,
        body: 0,
        waits_for_continue: false,
    };
    let mut length = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(Refusal::BadRequest)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("connection") {
            let says = |word: &str| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word));
            request.keep_alive = !says("close") && (request.keep_alive || says("keep-alive"));
        } else if name.eq_ignore_ascii_case("content-length") {
            // Two lengths that differ are two readings of what follows.
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let said = value.parse().ok().filter(|said| digits && length.is_none_or(|before| before == *said));
            length = Some(said.ok_or(Refusal::BadRequest)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Refusal::LengthRequired);
        } else if name.eq_ignore_ascii_case("expect") {
            request.waits_for_continue = !old && value.eq_ignore_ascii_case("100-continue");
        }
    }
    request.body = length.unwrap_or(0);
    Ok(request)
}

fn route(target: &str) -> DemoRoute {
    // A proxy's form, http://host/path.
    let target = target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("ms="));
    let millis = asked.map(|text| text.parse().ok().filter(|millis| *millis <= MOST_MILLIS));
    let time = |default: Duration| millis.map_or(Some(default), |millis| millis.map(Duration::from_millis));
    match path {
        "/" => DemoRoute::Hello,
        "/ready" => DemoRoute::Ready,
        "/slow" => time(SLOW).map_or(DemoRoute::WrongTime, DemoRoute::Slow),
        "/stream" => time(STREAM).map_or(DemoRoute::WrongTime, DemoRoute::Stream),
        _ => DemoRoute::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Request {
        let (request, length) = first(text.as_bytes());
        assert_eq!(length, text.len());
        request
    }

    fn first(bytes: &[u8]) -> (Request, usize) {
        match parse(bytes) {
            Head::Whole(request, length) => (request, length),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn where_it_goes() {
        let route = |target: &str| whole(&format!("GET {target} HTTP/1.1\r\n\r\n")).route;
        assert_eq!(route("/"), DemoRoute::Hello);
        assert_eq!(route("/?a=b"), DemoRoute::Hello);
        assert_eq!(route("/slow"), DemoRoute::Slow(Duration::from_millis(1500)));
        assert_eq!(route("/slow?a=b&ms=20"), DemoRoute::Slow(Duration::from_millis(20)));
        assert_eq!(route("/stream?ms=3600000"), DemoRoute::Stream(Duration::from_secs(3600)));
        assert_eq!(route("http://host:80/ready"), DemoRoute::Ready);
        assert_eq!(route("http://host"), DemoRoute::Hello);
        assert_eq!(route("*"), DemoRoute::Unknown);
        for wrong in ["/slow?ms=", "/slow?ms=-1", "/stream?ms=1s", "/stream?ms=3600001"] {
            assert_eq!(route(wrong), DemoRoute::WrongTime, "{wrong}");
        }
    }

    #[test]
    fn who_stays_connected() {
        for (version, header, kept) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "connection: TE, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            assert_eq!(whole(&format!("GET / HTTP/{version}\r\n{header}\r\n")).keep_alive, kept, "{version} {header}");
        }
    }

    #[test]
    fn bodies_and_heads() {
        let request = whole("\r\nPOST / HTTP/1.1\nContent-Length: 7\nContent-Length: 7\nExpect: 100-continue\n\n");
        assert_eq!((request.body, request.waits_for_continue, request.head_only), (7, true, false));
        assert!(whole("HEAD / HTTP/1.1\r\n\r\n").head_only);
        let two = b"GET / HTTP/1.1\r\n\r\nGET /ready HTTP/1.1\r\n\r\n";
        let (_, length) = first(two);
        assert_eq!(first(&two[length..]).0.route, DemoRoute::Ready);
    }

    #[test]
    fn what_is_refused() {
        for (text, status) in [
            ("\x16\x03\x01", "400"),
            ("get / HTTP/1.1\r\n\r\n", "400"),
            ("GET /\r\n\r\n", "400"),
            ("GET / x HTTP/1.1\r\n\r\n", "400"),
            ("GET / FTP/1.1\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\n", "505"),
            ("GET / HTTP/1.1\r\nno header\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "411"),
        ] {
            let Head::Refused(refusal) = parse(text.as_bytes()) else { panic!("{text:?} is taken") };
            assert_eq!(refusal.status().split(' ').next(), Some(status), "{text:?}");
        }
        assert_eq!(parse(&[b'A'; LONGEST + 1]), Head::Refused(Refusal::TooLong));
    }

    proptest! {
        #[test]
        fn half_a_request_is_waited_for(cut in 0..40usize) {
            let text = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
            let cut = cut.min(text.len() - 1);
            prop_assert_eq!(parse(&text[..cut]), Head::Partial);
        }

        #[test]
        fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Head::Whole(_, length) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
            let _ = parse(&[b"GET ".as_slice(), &bytes, b"\r\n\r\n"].concat());
        }
    }
}
