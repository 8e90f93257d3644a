//! When to send what: an open model. The times are fixed by the rate alone, whatever the server does, so that a server
//! that stalls cannot make the load wait for it (coordinated omission).

use super::plan::Mix;
use super::record::ClientKind;
use std::time::Duration;

/// One request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Since the load's start.
    pub(super) at: Duration,
    /// On a new connection or a kept one.
    pub(super) kind: ClientKind,
    /// Its number, from 0.
    pub(super) number: u64,
}

/// Hands out what is due.
#[derive(Debug)]
pub(super) struct Pacer {
    rate: u32,
    new: u64,
    hot: u64,
    sent: u64,
}

impl Pacer {
    /// `rate`: requests per second. Without a share for either kind nothing is ever due.
    pub(super) fn new(rate: u32, mix: Mix) -> Pacer {
        Pacer { rate: rate.max(1), new: mix.new.into(), hot: mix.hot.into(), sent: 0 }
    }

    /// When the next request is due, since the load's start; none if there never is one.
    pub(super) fn next_at(&self) -> Option<Duration> {
        (self.new + self.hot > 0).then(|| self.time_of(self.sent))
    }

    /// The next request, if its time has come.
    pub(super) fn due(&mut self, now: Duration) -> Option<Due> {
        let at = self.next_at().filter(|at| *at <= now)?;
        let (number, shares) = (self.sent, self.new + self.hot);
        self.sent += 1;
        // As even as whole numbers allow: the kinds take turns in the ratio of their shares (Bresenham).
        let is_new = (number + 1) * self.new / shares > number * self.new / shares;
        Some(Due { at, kind: if is_new { ClientKind::New } else { ClientKind::Hot }, number })
    }

    fn time_of(&self, number: u64) -> Duration {
        let rate = u64::from(self.rate);
        Duration::from_secs(number / rate) + Duration::from_nanos((number % rate) * 1_000_000_000 / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rate: u32, new: u32, hot: u32, until: Duration) -> Vec<Due> {
        let mut pacer = Pacer::new(rate, Mix { new, hot, ..Mix::default() });
        std::iter::from_fn(|| pacer.due(until)).collect()
    }

    proptest::proptest! {
        #[test]
        fn the_rate_is_kept_and_the_shares_are_even(rate in 1u32..30_000, new in 0u32..50, hot in 0u32..50) {
            let sent = all(rate, new, hot, Duration::from_millis(999));
            if new + hot == 0 {
                assert!(sent.is_empty());
                return Ok(());
            }
            assert_eq!(sent.len() as u64, u64::from(rate) * 999 / 1000 + 1);
            assert!(sent.windows(2).all(|pair| pair[0].at < pair[1].at || rate > 1_000_000_000));
            for (count, due) in sent.iter().enumerate() {
                assert_eq!(due.number, count as u64);
                assert_eq!(due.at.as_nanos(), count as u128 * 1_000_000_000 / u128::from(rate));
            }
            let news = sent.iter().filter(|due| due.kind == ClientKind::New).count() as u64;
            assert_eq!(news, sent.len() as u64 * u64::from(new) / u64::from(new + hot));
        }
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut pacer = Pacer::new(10, Mix { new: 1, hot: 0, ..Mix::default() });
        assert!(pacer.due(Duration::ZERO).is_some());
        assert_eq!(pacer.next_at(), Some(Duration::from_millis(100)));
        assert_eq!(pacer.due(Duration::from_micros(99_999)), None);
        assert_eq!(pacer.due(Duration::from_millis(100)).map(|due| due.number), Some(1));
    }

    #[test]
    fn a_stall_is_made_up_for() {
        let mut pacer = Pacer::new(1000, Mix { new: 1, hot: 1, ..Mix::default() });
        let due = std::iter::from_fn(|| pacer.due(Duration::from_millis(50))).count();
        assert_eq!(due, 51);
    }
}
