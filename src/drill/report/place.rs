//! What goes where in the timeline: pure geometry, in the units of the drawing.

use crate::drill::record::{ClientKind, Record};

/// At most this many requests are drawn, in all drills of a page: more lines would show nothing more.
pub(super) const MAX_LINES: usize = 4000;

/// The seconds of a drawing and its horizontal units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) from_s: f64,
    pub(super) to_s: f64,
    pub(super) left: f64,
    pub(super) width: f64,
}

impl Scale {
    /// Where a moment is: at the edge, if it is outside the drawing or not a number.
    pub(super) fn x(&self, seconds: f64) -> f64 {
        self.left + self.part(seconds) * self.width
    }

    fn part(&self, seconds: f64) -> f64 {
        let part = (seconds - self.from_s) / (self.to_s - self.from_s);
        if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) }
    }

    /// The scale made narrower, so that texts that begin at these moments and are this wide end before `right`.
    pub(super) fn leaves_room(mut self, texts: &[(f64, f64)], right: f64) -> Scale {
        for &(seconds, width) in texts {
            let part = self.part(seconds);
            if part > 0.0 {
                self.width = self.width.min((right - self.left - width) / part);
            }
        }
        self
    }

    /// Where the axis has its numbers: at most ten or so, and round ones.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let rough = (self.to_s - self.from_s) / 10.0;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * magnitude).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * magnitude);
        let (first, last) = ((self.from_s / step).ceil() as i64, (self.to_s / step).floor() as i64);
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

/// Rows for labels that begin at `x` and are this wide, each with a line from it down through row 0: no label covers
/// another, nor crosses another's line. In the order of the argument, which is by `x`.
pub(super) fn rows(labels: &[(f64, f64)]) -> Vec<usize> {
    let mut rows = vec![0; labels.len()];
    for index in (0..labels.len()).rev() {
        let (x, width) = labels[index];
        // Those that begin where this one still goes on have their lines here: it has to be above them all.
        let under = labels[index + 1..].iter().zip(&rows[index + 1..]).take_while(|((other, _), _)| *other < x + width);
        rows[index] = under.map(|(_, row)| row + 1).max().unwrap_or(0);
    }
    rows
}

/// Where in a band from `x` to `end` a text of this width crosses none of these lines; at its beginning, if nowhere.
pub(super) fn beside(x: f64, end: f64, width: f64, lines: &[f64]) -> f64 {
    let starts = std::iter::once(x).chain(lines.iter().copied().filter(|line| (x..end).contains(line)));
    let free = |start: &f64| start + width <= end && !lines.iter().any(|line| *line > *start && *line < start + width);
    let mut starts: Vec<f64> = starts.filter(free).collect();
    starts.sort_by(f64::total_cmp);
    starts.first().copied().unwrap_or(x)
}

/// At least this share of the room is for requests that were not ok, if there are that many.
const FAILURES: f64 = 0.6;
/// Up to this many requests of one kind are all drawn: where streams and slow requests are few, each one tells
/// something.
const RARE: usize = 60;

/// The requests to draw: every one that was not ok, up to a bound, and of the others as many as there is room for, of
/// each kind in proportion. What failed comes last, and so on top.
pub(super) fn drawn(requests: &[Record], room: usize) -> Vec<&Record> {
    let (ok, not_ok): (Vec<&Record>, Vec<&Record>) = requests.iter().partition(|request| request.outcome.is_ok());
    // Where most of them failed, most of what is drawn did.
    let share = not_ok.len() as f64 / requests.len().max(1) as f64;
    let not_ok = evenly(not_ok, (room as f64 * share.max(FAILURES)) as usize);
    let room = room - not_ok.len();
    let kinds =
        ClientKind::ALL.map(|kind| ok.iter().copied().filter(|request| request.kind == kind).collect::<Vec<_>>());
    let fits = ok.len() <= room;
    let (rare, common): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|kind| fits || kind.len() <= RARE);
    let mut drawn: Vec<&Record> = rare.into_iter().flatten().collect();
    let (left, all) = (room.saturating_sub(drawn.len()), common.iter().map(Vec::len).sum::<usize>().max(1));
    for kind in common {
        let mine = left * kind.len() / all;
        drawn.extend(evenly(kind, mine));
    }
    drawn.extend(not_ok);
    drawn
}

fn evenly(all: Vec<&Record>, room: usize) -> Vec<&Record> {
    if all.len() <= room {
        return all;
    }
    (0..room).map(|index| all[index * all.len() / room]).collect()
}

/// A lane for each line from x1 to x2, in the order of x1; and how many lanes there are. The lines go round the lanes,
/// so that what happens at nearly the same time lies side by side and can be told apart.
pub(super) fn lanes(lines: &[(f64, f64)]) -> (Vec<usize>, usize) {
    /// Lines that begin closer than this are in different lanes: the width of a sign, and some air.
    const APART: f64 = 18.0;
    const MOST: usize = 40;
    let ends: Vec<f64> = lines.iter().map(|(x1, x2)| x2.max(x1 + APART)).collect();
    // How many lanes are needed is the largest number of lines that are there at one time.
    let mut open: Vec<f64> = Vec::new();
    let mut needed = 1;
    for ((x1, _), end) in lines.iter().zip(&ends) {
        open.retain(|open| open > x1);
        open.push(*end);
        needed = needed.max(open.len());
    }
    let needed = needed.min(MOST);
    let mut free_from = vec![f64::MIN; needed];
    let mut next = 0;
    let mut chosen = Vec::with_capacity(lines.len());
    for ((x1, _), end) in lines.iter().zip(&ends) {
        let round = (next..needed).chain(0..next);
        let free = round.clone().find(|lane| free_from[*lane] <= *x1);
        let lane = free.or_else(|| round.min_by(|a, b| free_from[*a].total_cmp(&free_from[*b]))).unwrap_or(0);
        free_from[lane] = *end;
        next = (lane + 1) % needed;
        chosen.push(lane);
    }
    (chosen, needed)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
