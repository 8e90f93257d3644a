//! Answers that have no end of their own. Pure.
//!
//! Where an answer has neither a Content-Length nor chunks, the end of its connection is its end (RFC 9112, 6.3), and
//! its reader cannot tell a whole one from one that the server's death cut off: both end with FIN. So:
//!
//! | the connection ended | the answer is | its outcome |
//! | --- | --- | --- |
//! | before the stop | anything | as it was: nobody stopped the server |
//! | after it | as long as one that this client got before the stop | as it was |
//! | after it | a stream's | truncated |
//! | after it | another | untold |

use super::record::{ClientKind, RequestOutcome};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What an answer without an end is marked with when it was cut off.
const CUT: &str = "it ended with its connection, which is the only end that it has (no Content-Length, not chunked)";
/// What it is marked with where that cannot be told.
const UNTOLD: &str =
    "whether it was whole cannot be told: no Content-Length, not chunked, and of another length than before the stop";

/// One good answer of this sort.
pub(super) struct UndelimitedAnswer<'a> {
    pub(super) kind: ClientKind,
    pub(super) target: u32,
    /// Its length in bytes.
    pub(super) length: u64,
    /// Whether it was over before the stop.
    pub(super) before: bool,
    pub(super) outcome: &'a mut RequestOutcome,
    pub(super) detail: &'a mut Cow<'static, str>,
}

/// Gives each of them its outcome.
pub(super) fn settle(answers: Vec<UndelimitedAnswer<'_>>) {
    let whole = |answer: &&UndelimitedAnswer<'_>| answer.before && answer.outcome.is_ok();
    let known: BTreeSet<(ClientKind, u32, u64)> =
        answers.iter().filter(whole).map(|answer| (route(answer), answer.target, answer.length)).collect();
    for answer in answers {
        let is_known = known.contains(&(route(&answer), answer.target, answer.length));
        if answer.before || is_known || !answer.outcome.is_ok() {
            continue;
        }
        (*answer.outcome, *answer.detail) = match answer.kind {
            ClientKind::Stream => (RequestOutcome::Truncated, CUT.into()),
            ClientKind::New | ClientKind::Hot | ClientKind::Idle | ClientKind::Slow => {
                (RequestOutcome::Untold, UNTOLD.into())
            }
        };
    }
}

/// New, hot and idle clients ask for the same.
fn route(answer: &UndelimitedAnswer<'_>) -> ClientKind {
    match answer.kind {
        ClientKind::New | ClientKind::Hot | ClientKind::Idle => ClientKind::New,
        kind @ (ClientKind::Slow | ClientKind::Stream) => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RequestOutcome::{Ok, OkClose, Status, Truncated, Untold};

    /// Kind, target, length, whether it was before the stop, and what it came to at first.
    type Row = (ClientKind, u32, u64, bool, RequestOutcome);

    fn settled(rows: &[Row]) -> Vec<RequestOutcome> {
        let mut ends: Vec<(RequestOutcome, Cow<'static, str>)> =
            rows.iter().map(|row| (row.4, Cow::from(""))).collect();
        let answers = rows.iter().zip(&mut ends).map(|((kind, target, length, before, _), (outcome, detail))| {
            UndelimitedAnswer { kind: *kind, target: *target, length: *length, before: *before, outcome, detail }
        });
        settle(answers.collect());
        for ((_, _, _, _, first), (outcome, detail)) in rows.iter().zip(&ends) {
            assert_eq!(detail.is_empty(), first == outcome, "{detail}");
        }
        ends.into_iter().map(|(outcome, _)| outcome).collect()
    }

    #[test]
    fn before_the_stop_nothing_cut_it_off() {
        assert_eq!(
            settled(&[(ClientKind::Stream, 0, 9, true, Ok), (ClientKind::New, 0, 7, true, OkClose)]),
            [Ok, OkClose]
        );
    }

    #[test]
    fn a_stream_that_ends_within_the_stop_is_cut_off() {
        assert_eq!(settled(&[(ClientKind::Stream, 0, 9, false, OkClose)]), [Truncated]);
        // It has ended at this length by itself.
        assert_eq!(settled(&[(ClientKind::Stream, 0, 9, true, Ok), (ClientKind::Stream, 0, 9, false, Ok)]), [Ok, Ok]);
        assert_eq!(
            settled(&[(ClientKind::Stream, 0, 9, true, Ok), (ClientKind::Stream, 0, 8, false, Ok)]),
            [Ok, Truncated]
        );
    }

    #[test]
    fn another_length_than_before_cannot_be_told() {
        let before = (ClientKind::New, 0, 100, true, Ok);
        assert_eq!(settled(&[before, (ClientKind::Hot, 0, 100, false, OkClose)]), [Ok, OkClose]);
        for (kind, target, length) in [
            (ClientKind::Hot, 0, 99),
            (ClientKind::Idle, 0, 101),
            (ClientKind::New, 1, 100),
            (ClientKind::Slow, 0, 100),
        ] {
            assert_eq!(
                settled(&[before, (kind, target, length, false, Ok)]),
                [Ok, Untold],
                "{kind:?} {target} {length}"
            );
        }
        // One that failed shows nothing, before or after.
        assert_eq!(
            settled(&[
                (ClientKind::New, 0, 5, true, Status),
                (ClientKind::New, 0, 5, false, Ok),
                (ClientKind::New, 0, 6, false, Status)
            ]),
            [Status, Untold, Status]
        );
    }
}
