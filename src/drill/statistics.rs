//! How much is known of a percentile from a number of requests, and of the quotient of two percentiles. Pure.
//!
//! - One percentile: an interval by order statistics, which assumes nothing about how latencies are distributed. The
//!   number of requests below the true percentile is binomial, so two ranks hold it with the wanted confidence (Hahn
//!   and Meeker, Statistical Intervals, 5.2). With few requests not even the slowest is a bound from above: then there
//!   is none.
//! - Slow requests come in bursts (garbage is collected, a disk is full), and those of a burst are one witness, not
//!   many. So there are fewer independent requests than requests, by as much as the number of slow ones varies more
//!   than it would: for clusters of sizes S, the mean of S squared by the mean of S (a compound Poisson process).
//!   Clusters are found by runs, as those of extremes are (Coles, An Introduction to Statistical Modeling of Extreme
//!   Values, 5.3), above several thresholds, of which the worst counts.
//! - The quotient of two: from both intervals by the method of variance estimates recovery, on logarithms (MOVER; Zou
//!   and Donner, Statistics in Medicine 27, 2008). It is a closed formula, and nothing is random: the same drills give
//!   the same verdict.

/// The chance that an interval misses the truth on each side: it holds it with 95 %.
const TAIL: f64 = 0.025;
/// With fewer independent requests, not even the slowest is above the 99th percentile for certain: 0.99 to this power
/// is a tail.
const LEAST: f64 = 368.0;
/// Nobody sends more requests.
const MOST: f64 = 1e7;
/// Slow requests belong together if there is time between them for fewer than this many others.
const RUN: f64 = 3.0;
/// Clusters are looked for among this many times as many requests as are above the percentile.
const WIDER: [usize; 2] = [1, 2];

/// A number and what it may really be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Not less than this.
    pub low: f64,
    /// As it was seen.
    pub value: f64,
    /// Not more than this; `None` where nothing says so.
    pub high: Option<f64>,
    /// How many requests would say as much as all of these, if each were independent of all others.
    pub independent: usize,
    /// All requests.
    pub requests: usize,
}

impl Interval {
    /// A number of which nothing but itself is known.
    pub fn exactly(value: f64, requests: usize) -> Interval {
        Interval { low: value, value, high: Some(value), independent: requests, requests }
    }

    /// The interval of the larger of two numbers.
    pub fn max(self, other: Interval) -> Interval {
        let high = self.high.zip(other.high).map(|(one, two)| one.max(two));
        let larger = if self.value >= other.value { self } else { other };
        Interval { low: self.low.max(other.low), high, ..larger }
    }

    /// The interval with nothing below this.
    pub fn at_least(self, floor: f64) -> Interval {
        let high = self.high.map(|high| high.max(floor));
        Interval { low: self.low.max(floor), value: self.value.max(floor), high, ..self }
    }

    /// Divided by another, both above 0.
    pub fn over(self, base: Interval) -> Interval {
        let ratio = self.value / base.value;
        let apart = |part: Option<f64>, value: f64| part.map(|part| (part / value).ln());
        let both = |one: Option<f64>, two: Option<f64>| one.zip(two).map(|(one, two)| one.hypot(two));
        let down = both(apart(Some(self.low), self.value), apart(base.high, base.value));
        let up = both(apart(self.high, self.value), apart(Some(base.low), base.value));
        Interval {
            low: down.map_or(0.0, |down| ratio * (-down).exp()),
            value: ratio,
            high: up.map(|up| ratio * up.exp()),
            independent: self.independent.min(base.independent),
            requests: self.requests.min(base.requests),
        }
    }

    /// About how many more requests it takes until all of it is on one side of a limit: its width shrinks with the root
    /// of their number. None where nobody can say, such as where the value is the limit itself.
    pub fn needed(&self, limit: f64) -> Option<usize> {
        let apart = |one: f64, two: f64| (one / two).ln().abs();
        let width = match self.high {
            Some(high) if self.value <= limit => apart(high, self.value),
            // There is no bound from above: it takes as many as the least number with one still lacks.
            None if self.value <= limit => {
                let least = LEAST * self.requests as f64 / self.independent.max(1) as f64;
                return Some((least - self.requests as f64).max(1.0).ceil() as usize);
            }
            _ => apart(self.low, self.value),
        };
        let wanted = self.requests as f64 * (width / apart(limit, self.value)).powi(2);
        let more = wanted - self.requests as f64;
        (more.is_finite() && more < MOST).then(|| more.max(1.0).round() as usize)
    }
}

/// The percentile of this share, such as 0.99, of requests with their times and latencies in seconds; none without
/// requests.
pub(super) fn percentile(requests: &[(f64, f64)], share: f64) -> Option<Interval> {
    let mut sorted: Vec<f64> = requests.iter().map(|(_, latency)| *latency).collect();
    sorted.sort_by(f64::total_cmp);
    let (count, slowest) = (sorted.len(), *sorted.last()?);
    let value = sorted.get(rank(count, share) - 1).copied().unwrap_or(slowest);
    let cluster = cluster(requests, count - rank(count, share) + 1);
    let independent = ((count as f64 / cluster) as usize).max(1);
    let (few, many) = above(independent, 1.0 - share);
    // From the slowest down: how many of all requests this many independent ones are.
    let down = |above: usize, round: fn(f64) -> f64| round(above as f64 * cluster) as usize;
    let low = count.checked_sub(down(many, f64::ceil) + 1).and_then(|at| sorted.get(at)).copied();
    let high = few.and_then(|few| count.checked_sub(down(few, f64::floor) + 1)).and_then(|at| sorted.get(at)).copied();
    Some(Interval {
        low: low.unwrap_or(0.0).min(value),
        value,
        high: high.map(|high| high.max(value)),
        independent,
        requests: count,
    })
}

/// The rank of the percentile, from 1.
fn rank(count: usize, share: f64) -> usize {
    ((count as f64 * share).ceil() as usize).clamp(1, count.max(1))
}

/// How many slow requests say as much as one, where this many are above the percentile.
fn cluster(requests: &[(f64, f64)], slowest: usize) -> f64 {
    let mut slow: Vec<&(f64, f64)> = requests.iter().collect();
    slow.sort_by(|one, two| two.1.total_cmp(&one.1));
    let times = || requests.iter().map(|(at, _)| *at);
    let span = times().fold(f64::MIN, f64::max) - times().fold(f64::MAX, f64::min);
    let run = RUN * span / requests.len() as f64;
    let dispersion = |number: usize| {
        let mut times: Vec<f64> = slow.iter().take(number).map(|(at, _)| *at).collect();
        times.sort_by(f64::total_cmp);
        let sizes = times.chunk_by(|one, two| two - one < run).map(|cluster| cluster.len() as f64);
        let (all, squares) = sizes.fold((0.0, 0.0), |(all, squares), size| (all + size, squares + size * size));
        squares / all
    };
    WIDER.iter().map(|wider| dispersion(wider * slowest)).fold(1.0, f64::max)
}

/// For this many requests, each above the true percentile with this chance: the largest number that no more are above
/// with a chance of a tail at most, if there is one; and the smallest that no more are above with all but that chance.
fn above(count: usize, chance: f64) -> (Option<usize>, usize) {
    let (mut few, mut sum) = (None, 0.0);
    let odds = (chance / (1.0 - chance)).ln();
    let mut log = count as f64 * (1.0 - chance).ln();
    for number in 0..=count {
        sum += log.exp();
        if sum <= TAIL {
            few = Some(number);
        }
        if sum >= 1.0 - TAIL {
            return (few, number);
        }
        log += ((count - number) as f64 / (number + 1) as f64).ln() + odds;
    }
    (few, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random numbers, the same in each run (xorshift64*).
    struct Lot(u64);

    impl Lot {
        fn next(&mut self) -> f64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * self.next().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
        }

        /// A hundred requests a second to a server with a long tail, whose latency depends on the one before it, and
        /// which stands still as often as this.
        fn server(&mut self, count: usize, stands_still: f64, factor: f64) -> Vec<(f64, f64)> {
            let (mut state, mut still) = (0.0, 0);
            let request = |number| {
                state = 0.7 * state + 0.5 * self.normal();
                still = if self.next() < stands_still { 5 } else { i32::max(still - 1, 0) };
                let latency: f64 = 0.002 * f64::exp(state) + if still > 0 { 0.03 } else { 0.0 };
                (number as f64 / 100.0, latency * factor)
            };
            (0..count).map(request).collect()
        }
    }

    fn p99(requests: &[(f64, f64)]) -> Interval {
        percentile(requests, 0.99).expect("there are requests")
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        // From the binomial's cumulative probabilities, added up by themselves.
        assert_eq!(above(367, 0.01), (None, 8));
        assert_eq!(above(368, 0.01), (Some(0), 8));
        assert_eq!(above(1000, 0.01), (Some(3), 17));
        assert_eq!(above(1_000_000, 0.01), (Some(9804), 10_195));
    }

    #[test]
    fn the_bounds_lie_around_the_percentile_and_few_requests_have_none_above() {
        // 1 to the number, the large ones far apart.
        let even = |count: usize| (0..count).map(|at| (at as f64, (at * 387 % count) as f64 + 1.0)).collect::<Vec<_>>();
        let all = p99(&even(1000));
        assert_eq!((all.low, all.value, all.high, all.independent), (983.0, 990.0, Some(997.0), 1000));
        let few = p99(&even(200));
        assert_eq!((few.value, few.high, few.needed(300.0)), (198.0, None, Some(168)));
        assert_eq!(p99(&even(368)).high, Some(368.0));
        assert_eq!(p99(&[(0.0, 3.0)]).value, 3.0);
        assert_eq!(percentile(&[], 0.99), None);
    }

    #[test]
    fn a_burst_is_one_witness() {
        let slow = |apart: f64| {
            let mut all: Vec<(f64, f64)> =
                (0..1990).map(|at| (at as f64, 1.0 + (at * 387 % 1990) as f64 * 1e-6)).collect();
            all.extend((0..20).map(|at| (3000.0 + at as f64 * apart, 2.0)));
            p99(&all)
        };
        assert_eq!(slow(5.0).independent, 2010);
        let burst = slow(0.01);
        assert!(burst.independent < 200 && burst.high.is_none(), "{burst:?}");
        assert!(burst.needed(3.0).is_some_and(|more| more > 1000), "{burst:?}");
    }

    #[test]
    fn four_times_as_many_requests_halve_the_interval() {
        let seen = Interval { low: 1.0, value: 2.0, high: Some(8.0), independent: 100, requests: 100 };
        // Above it there is room for a factor of 2, and the interval has 4: half of its width is wanted.
        assert_eq!(seen.needed(4.0), Some(300));
        assert_eq!(seen.needed(2.0_f64.powf(0.5)), Some(300), "and below it");
        assert_eq!(seen.needed(2.0), None);
        assert_eq!(seen.needed(2.0001), None, "more than anybody sends");
        assert_eq!(seen.needed(1000.0), Some(1));
    }

    #[test]
    fn intervals_are_combined() {
        let of = |low, value, high| Interval { low, value, high, independent: 9, requests: 9 };
        let (fast, slow) = (of(1.0, 2.0, Some(3.0)), of(1.5, 1.6, None));
        assert_eq!(fast.max(slow), of(1.5, 2.0, None));
        assert_eq!(slow.max(fast), of(1.5, 2.0, None));
        assert_eq!(fast.at_least(2.5), of(2.5, 2.5, Some(3.0)));
        let twice = of(2.0, 4.0, Some(8.0)).over(of(1.0, 2.0, Some(4.0)));
        let half = (-(2.0_f64.ln().hypot(2.0_f64.ln()))).exp();
        assert!((twice.low - 2.0 * half).abs() < 1e-9 && (twice.high.unwrap() - 2.0 / half).abs() < 1e-9, "{twice:?}");
        let unknown = fast.over(slow);
        assert_eq!((unknown.low, unknown.high.is_some()), (0.0, true));
        assert_eq!(slow.over(fast).high, None);
    }

    /// With the strictest limit there is: not slower at all.
    #[test]
    fn a_server_is_hardly_ever_slower_than_itself_and_one_that_is_is_found() {
        let mut lot = Lot(42);
        // It stands still for half a percent of the requests, or for so many that the percentile is sometimes among
        // them.
        for (count, stands_still, twice_as_slow) in [
            (200, 0.0002, 0),
            (500, 0.0002, 0),
            (1000, 0.0002, 40),
            (2000, 0.0002, 60),
            (5000, 0.0002, 90),
            (200, 0.003, 0),
            (1000, 0.003, 0),
            (3000, 0.003, 0),
        ] {
            let mut compared = |factor: f64| {
                let mut p99_of = |factor: f64| p99(&lot.server(count, stands_still, factor));
                let ratios = (0..100).map(|_| p99_of(factor).over(p99_of(1.0)));
                ratios.filter(|ratio| ratio.low > 1.0).count()
            };
            let (itself, found) = (compared(1.0), compared(2.0));
            assert!(itself <= 5, "{itself} of 100 with {count} requests");
            assert!(found >= twice_as_slow, "{found} of 100 with {count} requests");
        }
    }

    #[test]
    fn the_truth_is_within() {
        let mut lot = Lot(7);
        let truth = {
            let mut all: Vec<f64> = lot.server(400_000, 0.003, 1.0).into_iter().map(|(_, latency)| latency).collect();
            all.sort_by(f64::total_cmp);
            all[396_000]
        };
        for count in [500, 2000] {
            let within = |interval: Interval| interval.low <= truth && interval.high.is_none_or(|high| truth <= high);
            let right = (0..200).filter(|_| within(p99(&lot.server(count, 0.003, 1.0)))).count();
            assert!(right >= 180, "{right} of 200 with {count} requests");
        }
    }
}
