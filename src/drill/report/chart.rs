//! The timeline of one drill in SVG.
//!
//! From the top: labels of the moments, the lag of the load balancer, the phases, a group of lanes for each kind of
//! client, the axis. A request is a line from when it was sent to when its outcome was certain; what is not a plain
//! success has a sign of its own at its end, so that nothing is shown by colour alone.
//!
//! All requests of one kind with one outcome are one path, with a line in it for each: ten times less to send and to
//! lay out than an element for each. What the pointer shows about a request is beside the drawing, in the order of
//! those lines (see [`details`]).
//!
//! There are two sizes. Where there is room, what happened is in words at its line; in a narrow drawing it is a number,
//! and the table of what happened has the words. Two drills that are compared have the same time axis.

use super::place::{self, Scale};
use super::text::{count, duration, escape, moment, plain};
use crate::drill::evidence::{Drill, JobCounts, JobsAt, TimelineMarkKind};
use crate::drill::record::{ClientKind, Record, RequestOutcome};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The width at the left of the lanes, for the names of the kinds.
const LEFT: f64 = 58.0;
/// The width at their right.
const AIR: f64 = 8.0;
/// The height of one row of labels.
const ROW: f64 = 15.0;
/// The height of the strips of the lag and of the phases.
const STRIP: f64 = 18.0;
/// The least height of a group: its name and its number.
const GROUP: f64 = 38.0;
/// The most height that all lanes together take, if they can.
const LANES: f64 = 560.0;

/// The height of the curves of jobs.
const CURVE: f64 = 220.0;

/// Where the strip of the lag, that of the phases and the lanes begin, and where the lanes end.
#[derive(Clone, Copy)]
struct Heights {
    strips: f64,
    phases: f64,
    top: f64,
    bottom: f64,
}

/// A vertical line with its label.
struct Mark {
    at_s: f64,
    label: String,
    title: String,
    strong: bool,
    phase: Option<(f64, String)>,
}

/// How large a drawing is, in its own units, and whether it has numbers in place of words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    /// The width of the whole drawing.
    pub(super) width: f64,
    /// Whether events have their numbers, and not their words.
    pub(super) is_numbered: bool,
    /// Its class in the page.
    pub(super) class: &'static str,
}

impl Size {
    /// The page's whole width.
    pub(super) const WIDE: Size = Size { width: 1200.0, is_numbered: false, class: "wide" };
    /// Half of it.
    pub(super) const HALF: Size = Size { width: 660.0, is_numbered: true, class: "wide" };
    /// A telephone.
    pub(super) const NARROW: Size = Size { width: 420.0, is_numbered: true, class: "narrow" };

    /// Where the time axis ends. A number at its end has room beside it.
    fn right(self) -> f64 {
        self.width - if self.is_numbered { text_width("00") } else { AIR }
    }
}

/// The seconds that a drawing shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DrawnSpan {
    from_s: f64,
    to_s: f64,
}

impl DrawnSpan {
    /// The time in which there is something to see in these drills.
    pub(super) fn of(drills: &[&Drill]) -> DrawnSpan {
        let of = |drill: &&Drill| {
            let moments = drill.timeline.iter().map(|moment| moment.at_s);
            let phases = drill.phases.iter().flat_map(|phase| [phase.start_s, phase.start_s + phase.duration_s]);
            let requests = drill.requests.iter().flat_map(|request| [request.sent_s, request.ended_s]);
            let looks = drill.jobs.iter().flat_map(|jobs| jobs.curve.iter().map(|look| look.at_s));
            let all = moments.chain(phases).chain(requests).chain(looks).chain([0.0, drill.lb_lag_s]);
            all.filter(|seconds| seconds.is_finite())
                .fold((0.0, 0.0), |(from, to): (f64, f64), seconds| (from.min(seconds), to.max(seconds)))
        };
        let all = drills.iter().map(of);
        let (from_s, to_s) = all.fold((0.0, 0.0), |(from, to): (f64, f64), (a, b)| (from.min(a), to.max(b)));
        // A drill in which nothing takes any time is drawn too.
        let to_s = to_s.max(from_s + 0.001);
        let air = (to_s - from_s) * 0.01;
        DrawnSpan { from_s: from_s - air, to_s: to_s + air }
    }
}

/// Something that happened, or a phase of the stop.
pub(super) struct DrawnEvent {
    pub(super) at_s: f64,
    /// What a label has room for.
    pub(super) label: String,
    /// What the table says.
    pub(super) words: String,
    strong: bool,
    /// For a phase, how many seconds it lasted, and its name.
    pub(super) phase: Option<(f64, String)>,
}

/// The events in order of time; each has its number by its place.
pub(super) fn events(drill: &Drill) -> Vec<DrawnEvent> {
    let mut events: Vec<DrawnEvent> = drill
        .timeline
        .iter()
        .map(|moment_of| DrawnEvent {
            at_s: moment_of.at_s,
            label: format!("{} {}", short(moment_of.what), moment(moment_of.at_s)),
            words: moment_of.words.clone(),
            strong: matches!(
                moment_of.what,
                TimelineMarkKind::Stop
                    | TimelineMarkKind::Signal
                    | TimelineMarkKind::Refused
                    | TimelineMarkKind::Exit
                    | TimelineMarkKind::Kill
            ),
            phase: None,
        })
        .collect();
    events.extend(drill.phases.iter().map(|phase| DrawnEvent {
        at_s: phase.start_s,
        label: format!("{} ({})", phase.phase, duration(phase.duration_s)),
        words: format!("phase {} begins, and lasts {}", phase.phase, duration(phase.duration_s)),
        strong: false,
        phase: Some((phase.duration_s, phase.phase.clone())),
    }));
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    events
}

/// The drawing, with these requests of the drill in it.
pub(super) fn svg(drill: &Drill, drawn: &[&Record], span: DrawnSpan, size: Size) -> String {
    let Size { width, is_numbered, class } = size;
    let scale = Scale { from_s: span.from_s, to_s: span.to_s, left: LEFT, width: size.right() - LEFT };
    let events = events(drill);
    let mut marks = marks(drill, &events, &scale, is_numbered);
    let seen =
        marks.iter().filter(|mark| mark.phase.as_ref().is_none_or(|(long, _)| is_seen(mark.at_s, *long, &scale)));
    let texts: Vec<(f64, f64)> = seen.map(|mark| (mark.at_s, text_width(&mark.label))).collect();
    // Otherwise two that are compared would not have the same time axis any more; and numbers need no room.
    let scale = if is_numbered { scale } else { scale.leaves_room(&texts, size.right()) };
    // Phases that have room for their names have them in a strip of their own, and those that are too short to be seen
    // are in the table.
    let is_mark = |mark: &Mark| match &mark.phase {
        Some((long, name)) => is_seen(mark.at_s, *long, &scale) && !fits(name, mark.at_s, *long, &scale),
        None => true,
    };
    marks.retain(is_mark);
    let placed: Vec<(f64, f64)> = marks.iter().map(|mark| (scale.x(mark.at_s), text_width(&mark.label))).collect();
    let rows = place::rows(&placed);
    let strips = rows.iter().max().map_or(0.0, |most| (*most as f64 + 1.0) * ROW) + 4.0;
    let phases = strips + STRIP;
    let top = phases + if drill.phases.is_empty() { 0.0 } else { STRIP } + 4.0;
    // Without a slow target there are no slow requests.
    let kinds = ClientKind::ALL.into_iter().filter(|kind| drill.requests.iter().any(|request| request.kind == *kind));
    let (groups, curve) = groups(&kinds.collect::<Vec<ClientKind>>(), drawn, &scale, top);
    let bottom = curve + if drill.jobs.is_some() { CURVE } else { 0.0 };

    let height = bottom + 40.0;
    let mut svg = String::with_capacity(64 * 1024);
    let name = escape(&format!("Timeline of the drill {}", drill.title));
    let _ = writeln!(
        svg,
        r#"<svg class="timeline {class}" viewBox="0 0 {width} {height:.1}" width="{width}" height="{height:.1}" role="img" aria-label="{name}">"#
    );
    let heights = Heights { strips, phases, top, bottom };
    bands(&mut svg, drill, &scale, heights);
    axis(&mut svg, &scale, top, bottom, drill.at(TimelineMarkKind::Stop).is_some());
    for group in &groups {
        frame(&mut svg, group, drill, &scale);
    }
    for ((mark, row), (x, _)) in marks.iter().zip(&rows).zip(&placed) {
        let y = strips - 8.0 - *row as f64 * ROW;
        let strong = if mark.strong { " strong" } else { "" };
        let _ = writeln!(
            svg,
            r#"<g><title>{}</title><path class="mark{strong}" d="M{x:.1} {:.1}V{bottom:.1}"/><text class="label{strong}" x="{:.1}" y="{y:.1}">{}</text></g>"#,
            escape(&mark.title),
            y - 9.0,
            x + 4.0,
            escape(&mark.label),
        );
    }
    if let Some(jobs) = &drill.jobs {
        jobs_over_time(&mut svg, jobs, &scale, curve);
    }
    let lines: Vec<f64> = placed.iter().map(|(x, _)| *x).collect();
    names(&mut svg, drill, &scale, heights, &lines, size.right());
    requests(&mut svg, &groups);
    svg.push_str("</svg>\n");
    svg
}

/// A line and its sign as the legend shows them.
pub(super) fn sample(outcome: RequestOutcome) -> String {
    format!(
        r#"<svg viewBox="0 0 30 12" aria-hidden="true"><path class="o-{outcome}" stroke-width="{}" d="M2 6H22"/>{}</svg>"#,
        if outcome.is_ok() { 2 } else { 3 },
        sign(outcome).map_or(String::new(), |(shape, full)| {
            let full = if full { " full" } else { "" };
            format!(r#"<path class="end o-{outcome}{full}" d="M22 6{shape}"/>"#)
        })
    )
}

fn marks(drill: &Drill, events: &[DrawnEvent], scale: &Scale, is_numbered: bool) -> Vec<Mark> {
    let mut marks: Vec<Mark> = events
        .iter()
        .enumerate()
        .map(|(at, event)| Mark {
            at_s: event.at_s,
            label: if is_numbered { (at + 1).to_string() } else { event.label.clone() },
            title: format!("{} {}", moment(event.at_s), event.words),
            strong: event.strong,
            phase: event.phase.clone(),
        })
        .collect();
    if (0.0..scale.to_s).contains(&drill.grace_period_s) {
        let title = format!("grace period over {}", moment(drill.grace_period_s));
        let label = if is_numbered { "G".to_owned() } else { title.clone() };
        marks.push(Mark { at_s: drill.grace_period_s, title, label, strong: false, phase: None });
    }
    marks.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    marks
}

/// What a label has room for; the words are in the table.
fn short(what: TimelineMarkKind) -> &'static str {
    match what {
        TimelineMarkKind::LoadBegins => "load begins",
        TimelineMarkKind::Stop => "stop",
        TimelineMarkKind::NotReady => "not ready",
        TimelineMarkKind::ReadinessRefused => "readiness refused",
        TimelineMarkKind::Signal => "signal to the app",
        TimelineMarkKind::FirstClose => "first Connection: close",
        TimelineMarkKind::LastNewServed => "last new connection served",
        TimelineMarkKind::Refused => "first refused",
        TimelineMarkKind::InFlightDone => "in flight done",
        TimelineMarkKind::LoadEnds => "load ends",
        TimelineMarkKind::Exit => "app exits",
        TimelineMarkKind::Kill => "SIGKILL",
        TimelineMarkKind::Leftovers => "processes left over",
    }
}

/// The width of a text at 11 px, in a wide bold font.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.2 + 8.0
}

/// Whether a phase is wider than the line of an event.
fn is_seen(start_s: f64, duration_s: f64, scale: &Scale) -> bool {
    scale.x(start_s + duration_s) - scale.x(start_s) >= 2.0
}

fn fits(name: &str, start_s: f64, duration_s: f64, scale: &Scale) -> bool {
    scale.x(start_s + duration_s) - scale.x(start_s) >= text_width(name)
}

/// Draws the lag and the phases: their strips above the lanes, and what is behind the lanes.
fn bands(svg: &mut String, drill: &Drill, scale: &Scale, Heights { strips, phases, top, bottom }: Heights) {
    let (x, end) = (scale.x(0.0), scale.x(drill.lb_lag_s));
    if end > x && drill.at(TimelineMarkKind::Stop).is_some() && drill.jobs.is_none() {
        let width = end - x;
        for (y, height) in [(strips, STRIP), (top, bottom - top)] {
            let _ =
                writeln!(svg, r#"<rect class="lag" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#);
        }
        let _ = writeln!(svg, r#"<path class="lag-edge" d="M{end:.1} {strips:.1}V{bottom:.1}"/>"#);
    }
    for (index, span) in drill.phases.iter().enumerate() {
        let (x, end) = (scale.x(span.start_s), scale.x(span.start_s + span.duration_s));
        let (class, width) = (index % 2, end - x);
        let title = escape(&format!("{}: {}, {}", span.phase, moment(span.start_s), duration(span.duration_s)));
        let _ = writeln!(
            svg,
            r#"<g class="phase{class}"><title>{title}</title><rect x="{x:.1}" y="{phases:.1}" width="{width:.1}" height="{STRIP}"/><rect class="behind" x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}"/></g>"#,
            bottom - top
        );
    }
}

/// Writes what the strips say, on top of the lines that cross them, and beside them where there is room.
fn names(svg: &mut String, drill: &Drill, scale: &Scale, heights: Heights, lines: &[f64], right: f64) {
    let lag = format!("load balancer still sends ({})", plain(drill.lb_lag_s));
    let has_room = text_width(&lag) <= right - scale.x(0.0);
    let lag = if has_room { lag } else { format!("still sends ({})", plain(drill.lb_lag_s)) };
    if drill.lb_lag_s > 0.0 && drill.at(TimelineMarkKind::Stop).is_some() && drill.jobs.is_none() {
        // There is nothing else in this strip: the name may be longer than the lag, if it does not leave the drawing.
        let width = text_width(&lag);
        let x = place::beside(scale.x(0.0), scale.x(drill.lb_lag_s), width, lines).min(right - width);
        strip_name(svg, "lag-label", x, heights.strips, &lag);
    }
    for span in drill.phases.iter().filter(|span| fits(&span.phase, span.start_s, span.duration_s, scale)) {
        let (x, end) = (scale.x(span.start_s), scale.x(span.start_s + span.duration_s));
        let x = place::beside(x, end, text_width(&span.phase), lines);
        strip_name(svg, "phase-label", x, heights.phases, &span.phase);
    }
}

fn strip_name(svg: &mut String, class: &str, x: f64, top: f64, name: &str) {
    let (x, y, name) = (x + 4.0, top + 13.0, escape(name));
    let _ = writeln!(svg, r#"<text class="label {class}" x="{x:.1}" y="{y:.1}">{name}</text>"#);
}

fn axis(svg: &mut String, scale: &Scale, top: f64, bottom: f64, has_stop: bool) {
    let ticks = scale.ticks();
    let step = ticks.get(1).zip(ticks.first()).map_or(1.0, |(second, first)| second - first);
    let digits = (-step.log10()).ceil().max(0.0) as usize;
    for tick in &ticks {
        let x = scale.x(*tick);
        let minus = if *tick < -step / 2.0 { "\u{2212}" } else { "" };
        let _ = writeln!(
            svg,
            r#"<path class="grid" d="M{x:.1} {top:.1}V{bottom:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{minus}{:.digits$}</text>"#,
            bottom + 15.0,
            tick.abs()
        );
    }
    let end = scale.left + scale.width;
    let from = if has_stop { "seconds from the stop" } else { "seconds" };
    let _ = writeln!(
        svg,
        r#"<path class="axis" d="M{LEFT} {bottom:.1}H{end:.1}"/><text class="dim" x="{:.1}" y="{:.1}" text-anchor="middle">{from}</text>"#,
        (LEFT + end) / 2.0,
        bottom + 32.0
    );
}

/// The requests of one kind, and where they are.
struct Group<'a> {
    kind: ClientKind,
    top: f64,
    height: f64,
    /// Each with x from, x to and y.
    lines: Vec<(&'a Record, f64, f64, f64)>,
}

/// The groups from this height on, and where the last one ends.
fn groups<'a>(kinds: &[ClientKind], drawn: &[&'a Record], scale: &Scale, top: f64) -> (Vec<Group<'a>>, f64) {
    let packed = kinds.iter().map(|&kind| {
        let mut requests: Vec<&Record> = drawn.iter().copied().filter(|request| request.kind == kind).collect();
        requests.sort_by(|a, b| a.sent_s.total_cmp(&b.sent_s));
        let ends = |request: &Record| {
            let x = scale.x(request.sent_s);
            // What took no time can be seen too.
            (x, scale.x(request.ended_s).max(x + 1.0))
        };
        let lines: Vec<(f64, f64)> = requests.iter().map(|request| ends(request)).collect();
        let (lanes, number) = place::lanes(&lines);
        (kind, requests, lines, lanes, number)
    });
    let packed: Vec<_> = packed.collect();
    let all: usize = packed.iter().map(|(.., number)| number).sum();
    let pitch = (LANES / all as f64).clamp(4.0, 10.0);
    let mut y = top;
    let groups = packed
        .into_iter()
        .map(|(kind, requests, lines, lanes, number)| {
            let used = number as f64 * pitch;
            let height = (used + 8.0).max(GROUP);
            let first = y + (height - used) / 2.0 + pitch / 2.0;
            let lines = requests.into_iter().zip(lines).zip(lanes);
            let lines =
                lines.map(|((request, (x1, x2)), lane)| (request, x1, x2, first + lane as f64 * pitch)).collect();
            let group = Group { kind, top: y, height, lines };
            y += height;
            group
        })
        .collect();
    (groups, y)
}

/// Draws how many jobs were submitted, done and queued, over time: in steps, since between two looks nobody knows.
fn jobs_over_time(svg: &mut String, jobs: &JobCounts, scale: &Scale, top: f64) {
    let (height, bottom) = (CURVE - 16.0, top + CURVE - 4.0);
    let most = jobs.submitted.max(1) as f64;
    let end = scale.left + scale.width;
    let _ = writeln!(
        svg,
        r#"<path class="group" d="M0 {top:.1}H{end:.1}"/><text class="kind" x="2" y="{:.1}">jobs</text><text class="dim" x="2" y="{:.1}">{}</text>"#,
        top + 20.0,
        top + 34.0,
        count(jobs.submitted)
    );
    type Of = fn(&JobsAt) -> Option<usize>;
    let curves: [(&str, Of); 3] =
        [("submitted", |look| Some(look.submitted)), ("queued", |look| look.queued), ("done", |look| Some(look.done))];
    for (name, of) in curves {
        let mut path = String::new();
        for (at_s, number) in jobs.curve.iter().filter_map(|look| Some((look.at_s, of(look)?))) {
            let (x, y) = (Short(scale.x(at_s)), Short(bottom - number as f64 / most * height));
            let _ = if path.is_empty() { write!(path, "M{x} {y}") } else { write!(path, "H{x}V{y}") };
        }
        if !path.is_empty() {
            let _ = writeln!(svg, r#"<path class="jobs j-{name}" data-jobs="{name}" d="{path}"/>"#);
        }
    }
}

fn frame(svg: &mut String, group: &Group<'_>, drill: &Drill, scale: &Scale) {
    let number = drill.requests.iter().filter(|request| request.kind == group.kind).count();
    let middle = group.top + group.height / 2.0;
    let _ = writeln!(
        svg,
        r#"<path class="group" d="M0 {:.1}H{:.1}"/><text class="kind" x="2" y="{:.1}">{}</text><text class="dim" x="2" y="{:.1}">{}</text>"#,
        group.top,
        scale.left + scale.width,
        middle - 2.0,
        group.kind.name(),
        middle + 12.0,
        count(number)
    );
}

/// Draws the requests, those that failed last, so that nothing covers them.
fn requests(svg: &mut String, groups: &[Group<'_>]) {
    for is_ok in [true, false] {
        for group in groups {
            for outcome in RequestOutcome::ALL.into_iter().filter(|outcome| outcome.is_ok() == is_ok) {
                let mine = || group.lines.iter().filter(|(request, ..)| request.outcome == outcome);
                let kind = group.kind.name();
                let mut path = String::new();
                let mut signs = String::new();
                for (_, x1, x2, y) in mine() {
                    let _ = write!(path, "M{} {}h{}", Short(*x1), Short(*y), Short(x2 - x1));
                    if let Some((shape, _)) = sign(outcome) {
                        let _ = write!(signs, "M{} {}{shape}", Short(*x2), Short(*y));
                    }
                }
                if path.is_empty() {
                    continue;
                }
                let bad = if is_ok { "" } else { " bad" };
                let _ = writeln!(
                    svg,
                    r#"<path class="requests o-{outcome}{bad}" data-outcome="{outcome}" data-kind="{kind}" d="{path}"/>"#
                );
                if let Some((_, full)) = sign(outcome) {
                    let full = if full { " full" } else { "" };
                    let _ =
                        writeln!(svg, r#"<path class="end o-{outcome}{full}" data-outcome="{outcome}" d="{signs}"/>"#);
                }
            }
        }
    }
}

/// A number with one decimal, and that only where it says something.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round();
        if tenths % 10.0 == 0.0 { write!(f, "{}", tenths / 10.0) } else { write!(f, "{:.1}", tenths / 10.0) }
    }
}

/// What the pointer shows about the requests that are drawn.
#[derive(Serialize)]
struct Details<'a> {
    targets: &'a [String],
    /// Failures in words, each once.
    words: Vec<&'a str>,
    /// By kind and outcome, as "new refused", in the order of the lines of that path.
    requests: BTreeMap<String, Vec<Detail>>,
}

/// When it was due, was sent and was over, in microseconds; target, status, whether the connection was kept, words.
#[derive(Serialize)]
struct Detail(i64, i64, i64, usize, Option<u16>, u8, Option<usize>);

/// What the pointer shows about the requests that are drawn, as JSON that is not markup.
pub(super) fn details(drill: &Drill, drawn: &[&Record]) -> String {
    let mut sorted = drawn.to_vec();
    // As the lines are: within a kind by when they were sent.
    sorted.sort_by(|a, b| a.sent_s.total_cmp(&b.sent_s));
    let micro = |seconds: f64| (seconds * 1e6).round() as i64;
    let mut details = Details { targets: &drill.targets, words: Vec::new(), requests: BTreeMap::new() };
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for request in sorted {
        let words = (!request.detail.is_empty()).then(|| {
            *known.entry(&request.detail).or_insert_with(|| {
                details.words.push(&request.detail);
                details.words.len() - 1
            })
        });
        let detail = Detail(
            micro(request.intended_s),
            micro(request.sent_s),
            micro(request.ended_s),
            request.target,
            request.status,
            u8::from(request.reused),
            words,
        );
        let key = format!("{} {}", request.kind.name(), request.outcome);
        details.requests.entry(key).or_default().push(detail);
    }
    // Within an element of HTML, nothing but this character can end it.
    serde_json::to_string(&details).unwrap_or_default().replace('<', "\\u003c")
}

/// The shape of the sign at the end of a line, and whether it is filled; a plain success has none.
fn sign(outcome: RequestOutcome) -> Option<(&'static str, bool)> {
    Some(match outcome {
        RequestOutcome::Ok => return None,
        RequestOutcome::OkClose => ("m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0", false),
        RequestOutcome::Status => ("m0-4.5 4.5 4.5-4.5 4.5-4.5-4.5z", false),
        RequestOutcome::Refused => ("m-3.5-3.5 7 7m0-7-7 7", false),
        RequestOutcome::BlackHole => ("m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", true),
        RequestOutcome::Reset => ("m0-4.5 4.5 8h-9z", true),
        RequestOutcome::ResetInAnswer => ("m0 4.5-4.5-8h9z", true),
        RequestOutcome::Truncated => ("m0-5v10", false),
        RequestOutcome::Untold => ("m0-5v4m0 2v4", false),
        RequestOutcome::Timeout => ("m-3.5-3.5h7v7h-7z", true),
        RequestOutcome::Broken => ("m0-4.5v9m-4.5-4.5h9", false),
        RequestOutcome::Unfinished => ("m-3-3.5 4 3.5-4 3.5", false),
    })
}
