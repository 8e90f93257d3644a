//! Samples in rounds, medians, ratios within a round, Markdown. An init without samples has an empty cell.

use crate::contender::{CONFIGURED, Contender, GRACEFUL};
use std::fmt::Write;

/// What a row counts in, and so how it is printed.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Micros,
    KiB,
    Count,
}

/// One figure of all contenders: for each a sample per round, in the contenders' order.
pub(crate) struct Row {
    label: String,
    unit: Unit,
    samples: Vec<Vec<f64>>,
    pub(crate) notes: Vec<String>,
    /// The ratio is to the column without an init, not to the best other init.
    pub(crate) against_bare: bool,
}

/// The whole result.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

/// Takes one sample of each contender per round, in an order shuffled anew each time. A contender that fails drops
/// out of this row with a note; an empty problem means that the figure does not apply to it.
pub(crate) fn interleave(
    label: &str,
    unit: Unit,
    contenders: &[Contender],
    rounds: usize,
    mut measure: impl FnMut(&Contender) -> Result<f64, String>,
) -> Row {
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    let mut notes = Vec::new();
    let mut order: Vec<usize> = (0..contenders.len()).filter(|at| contenders[*at].takes_part()).collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        dice.shuffle(&mut order);
        order.retain(|at| match measure(&contenders[*at]) {
            Ok(sample) => {
                samples[*at].push(sample);
                true
            }
            Err(problem) => {
                samples[*at].clear();
                if !problem.is_empty() {
                    notes.push(format!("{label}: {}: {problem}", contenders[*at].name));
                }
                false
            }
        });
    }
    Row { label: label.to_owned(), unit, samples, notes, against_bare: false }
}

impl Row {
    /// Each contender's samples less those of the one named, round by round.
    pub(crate) fn less(&self, contenders: &[Contender], name: &str, label: &str) -> Row {
        let floor = position(contenders, name).map_or(&[][..], |at| &self.samples[at]);
        let mut samples: Vec<Vec<f64>> = self.samples.iter().map(|own| paired(own, floor, |a, b| a - b)).collect();
        if let Some(at) = position(contenders, name) {
            samples[at].clear();
        }
        Row { label: label.to_owned(), unit: self.unit, samples, notes: Vec::new(), against_bare: false }
    }

    /// Each contender's samples less its own earlier ones.
    pub(crate) fn minus(&self, earlier: &Row, label: &str) -> Row {
        let both = self.samples.iter().zip(&earlier.samples);
        let samples = both.map(|(now, then)| paired(now, then, |a, b| a - b)).collect();
        Row { label: label.to_owned(), unit: self.unit, samples, notes: Vec::new(), against_bare: false }
    }

    fn markdown(&self, contenders: &[Contender]) -> String {
        let unit = match self.unit {
            Unit::Micros => ", µs",
            Unit::KiB => ", KiB",
            Unit::Count => "",
        };
        let mut line = format!("| {}{unit} |", self.label);
        for own in &self.samples {
            let _ = match (quantile(own, 0.5), self.unit) {
                (None, _) => write!(line, " |"),
                (Some(median), Unit::Micros) => write!(line, " {median:.1} |"),
                (Some(median), _) => write!(line, " {median:.0} |"),
            };
        }
        let ratios = [GRACEFUL, CONFIGURED].map(|name| self.ratio(contenders, name).unwrap_or_default());
        format!("{line} {} |", ratios.join(" | "))
    }

    /// The median ratio within a round of one of graceful's columns to whoever of the others has the best median, and the
    /// middle half.
    fn ratio(&self, contenders: &[Contender], name: &str) -> Option<String> {
        let own = &self.samples[position(contenders, name)?];
        let rival = |at: &usize| contenders[*at].is_bare() == self.against_bare && !contenders[*at].is_graceful();
        let (at, best) = (0..contenders.len())
            .filter(rival)
            .filter_map(|at| Some((at, quantile(&self.samples[at], 0.5)?)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let name = contenders[at].name;
        if best == 0.0 {
            return quantile(own, 0.5).map(|own| format!("{own:.0} to {best:.0}, {name}"));
        }
        let ratios = paired(own, &self.samples[at], |a, b| a / b);
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(&ratios, part));
        if ratios.len() == 1 {
            return Some(format!("{:.2}, {name}", middle?));
        }
        Some(format!("{:.2} ({:.2} to {:.2}), {name}", middle?, low?, high?))
    }
}

impl Table {
    /// The table with a line per figure, then the notes.
    pub(crate) fn markdown(&self, contenders: &[Contender]) -> String {
        let mut text = String::from("| median of all rounds |");
        for contender in contenders {
            let _ = write!(text, " {} |", contender.name);
        }
        text.push_str(" graceful to the best other, within a round (middle half) | configured, likewise |\n| --- |");
        text.push_str(&" ---: |".repeat(contenders.len()));
        text.push_str(" --- | --- |\n");
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.markdown(contenders));
        }
        for note in self.notes.iter().chain(self.rows.iter().flat_map(|row| &row.notes)) {
            let _ = write!(text, "\n- {note}");
        }
        text.push('\n');
        text
    }
}

fn position(contenders: &[Contender], name: &str) -> Option<usize> {
    contenders.iter().position(|contender| contender.name == name)
}

fn paired(own: &[f64], other: &[f64], combine: fn(f64, f64) -> f64) -> Vec<f64> {
    own.iter().zip(other).map(|(own, other)| combine(*own, *other)).collect()
}

/// The value below which this part of the samples lies, between two neighbours if need be; `None` without samples.
fn quantile(samples: &[f64], part: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

/// xorshift64: the same orders in every run, none of them periodic.
struct Dice(u64);

impl Dice {
    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            order.swap(last, self.0 as usize % (last + 1));
        }
    }
}
