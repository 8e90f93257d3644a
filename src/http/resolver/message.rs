//! Questions and answers of DNS on the wire (RFC 1035, section 4), as far as a stub resolver needs them: one question
//! for one family's addresses, and those addresses out of the answer.
//!
//! A server that does recursion sends the whole chain of aliases with the addresses at its end. So every address of the
//! answer section counts, however long the chain is and whatever the records are called, and no name is decompressed.
//! Nothing else of an answer is looked at: what a server adds to it can make nothing fail.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
/// The longest name on the wire, and the longest label.
const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    V4,
    V6,
}

impl AddressFamily {
    /// A and AAAA.
    fn record(self) -> u16 {
        match self {
            AddressFamily::V4 => 1,
            AddressFamily::V6 => 28,
        }
    }
}

/// What a server answered to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The addresses; none if the name exists, with other records only.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    NoName,
    /// The answer does not fit; to be asked over TCP.
    Truncated,
    /// The server cannot or will not say.
    Failed(Failure),
}

/// Why a server does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// SERVFAIL.
    Server,
    /// REFUSED.
    Refused,
    /// Anything else: the code.
    Other(u8),
    /// It knows nothing and says so without a word: a referral without a referral.
    Lame,
}

/// The whole message; `None` if no name can be like this.
pub(super) fn question(id: u16, name: &str, family: AddressFamily) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    message.extend(id.to_be_bytes());
    // Recursion desired; one question.
    message.extend([0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=MAX_LABEL).contains(&usize::from(*length)))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    if message.len() - HEADER > MAX_NAME {
        return None;
    }
    message.extend(family.record().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Some(message)
}

/// The answer to this question; `None` if it is not one: from somebody else, to another question, or not DNS.
pub(super) fn reply(question: &[u8], message: &[u8]) -> Option<Reply> {
    let (asked, header) = (question.get(HEADER..)?, message.get(..HEADER)?);
    let is_answer = header[2] & 0x80 != 0;
    if header[..2] != question[..2] || !is_answer {
        return None;
    }
    let echoed = message.get(HEADER..HEADER + asked.len());
    let failure = |code| match code {
        2 => Failure::Server,
        5 => Failure::Refused,
        other => Failure::Other(other),
    };
    let code = header[3] & 0x0f;
    match (echoed, code) {
        // Some servers say no without repeating what.
        (_, 1..) if be16(header, 4)? == 0 => return (code != 3).then(|| Reply::Failed(failure(code))),
        (Some(echoed), _) if echoed.eq_ignore_ascii_case(asked) => {}
        _ => return None,
    }
    if header[2] & 0x02 != 0 {
        return Some(Reply::Truncated);
    }
    Some(match code {
        0 => addresses(asked, header, &message[HEADER + asked.len()..])?,
        3 => Reply::NoName,
        code => Reply::Failed(failure(code)),
    })
}

fn addresses(asked: &[u8], header: &[u8], records: &[u8]) -> Option<Reply> {
    let record = be16(asked, asked.len().checked_sub(4)?)?;
    let (count, extra) = (be16(header, 6)?, be16(header, 10)?);
    let (authoritative, recursive) = (header[2] & 0x04 != 0, header[3] & 0x80 != 0);
    if count == 0 && extra == 0 && !authoritative && !recursive {
        return Some(Reply::Failed(Failure::Lame));
    }
    let (mut rest, mut found) = (records, Vec::new());
    for _ in 0..count {
        rest = after_name(rest)?;
        let (kind, class, length) = (be16(rest, 0)?, be16(rest, 2)?, usize::from(be16(rest, 8)?));
        let data = rest.get(10..10 + length)?;
        if (kind, class) == (record, CLASS_IN) {
            found.push(address(data)?);
        }
        rest = &rest[10 + length..];
    }
    Some(Reply::Addresses(found))
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => <[u8; 4]>::try_from(data).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(data).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// What follows the name at the beginning: labels up to an empty one, or to a pointer into the message.
fn after_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(*bytes.first()?);
        match length {
            0 => return bytes.get(1..),
            1..=MAX_LABEL => bytes = bytes.get(1 + length..)?,
            0xc0.. => return bytes.get(2..),
            _ => return None,
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to this question: flags, then records of (type, data).
    fn answer(question: &[u8], flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    const OK: [u8; 2] = [0x81, 0x80];

    #[test]
    fn a_question_is_one_for_one_name() {
        let message = question(0x1234, "my_app.test", AddressFamily::V6).unwrap();
        assert_eq!(message, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06my_app\x04test\0\0\x1c\0\x01");
        assert_eq!(question(0x1234, "my_app.test.", AddressFamily::V6).unwrap(), message);
        let long = ["x".repeat(63).as_str(); 4].join(".");
        for name in ["", ".", "a..b", ".a", "a..", &"x".repeat(64), &long] {
            assert_eq!(question(1, name, AddressFamily::V4), None, "{name}");
        }
    }

    #[test]
    fn addresses_at_the_end_of_any_chain_count() {
        let asked = question(7, "app.test", AddressFamily::V4).unwrap();
        let mut records: Vec<(u16, &[u8])> = vec![(5, b"\x01x\xc0\x0c"); 30];
        records.extend([(1, &[192, 0, 2, 7][..]), (1, &[192, 0, 2, 8]), (28, &[0; 16])]);
        let expected = ["192.0.2.7", "192.0.2.8"].map(|address| address.parse().unwrap());
        assert_eq!(reply(&asked, &answer(&asked, OK, &records)), Some(Reply::Addresses(expected.to_vec())));
        assert_eq!(reply(&asked, &answer(&asked, OK, &records[..30])), Some(Reply::Addresses(Vec::new())));
    }

    #[test]
    fn codes_are_told_apart() {
        let asked = question(7, "app.test", AddressFamily::V4).unwrap();
        let said = |flags| reply(&asked, &answer(&asked, flags, &[]));
        assert_eq!(said([0x81, 0x83]), Some(Reply::NoName));
        assert_eq!(said([0x81, 0x82]), Some(Reply::Failed(Failure::Server)));
        assert_eq!(said([0x81, 0x85]), Some(Reply::Failed(Failure::Refused)));
        assert_eq!(said([0x81, 0x84]), Some(Reply::Failed(Failure::Other(4))));
        assert_eq!(said([0x83, 0x80]), Some(Reply::Truncated));
        assert_eq!(said([0x81, 0x00]), Some(Reply::Failed(Failure::Lame)));
        assert_eq!(said(OK), Some(Reply::Addresses(Vec::new())));
        // Twelve bytes without the question: FORMERR as some old servers say it.
        assert_eq!(reply(&asked, b"\0\x07\x81\x81\0\0\0\0\0\0\0\0"), Some(Reply::Failed(Failure::Other(1))));
    }

    #[test]
    fn what_answers_another_question_is_no_answer() {
        let asked = question(7, "app.test", AddressFamily::V4).unwrap();
        for (id, name, family) in
            [(8, "app.test", AddressFamily::V4), (7, "app.text", AddressFamily::V4), (7, "app.test", AddressFamily::V6)]
        {
            let other = question(id, name, family).unwrap();
            assert_eq!(reply(&asked, &answer(&other, OK, &[])), None, "{id} {name} {family:?}");
        }
        assert_eq!(reply(&asked, &asked), None, "a question");
        let shouted = question(7, "APP.test", AddressFamily::V4).unwrap();
        assert!(reply(&asked, &answer(&shouted, OK, &[])).is_some(), "case means nothing");
        assert_eq!(reply(&asked, b"\0\x07\x81\x83\0\0\0\0\0\0\0\0"), None, "of which name?");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_a_trap(flags: [u8; 2], cut in 0usize..80, noise in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let asked = question(7, "app.test", AddressFamily::V4).unwrap();
            let mut message = answer(&asked, flags, &[(1, &[192, 0, 2, 7]), (5, b"\x01x\xc0\x0c")]);
            message.truncate(cut);
            message.extend(noise);
            _ = reply(&asked, &message);
            _ = reply(&message, &asked);
        }
    }
}
