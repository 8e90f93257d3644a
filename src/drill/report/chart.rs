//! The timeline of one drill in SVG.
//!
//! From the top: labels of the moments, the lag of the load balancer, the phases, a group of lanes for each kind of
//! client, the axis. A request is a line from when it was sent to when its outcome was certain; what is not a plain
//! success has a sign of its own at its end, so that nothing is told by colour alone.

use super::place::{self, Scale};
use super::text::{count, duration, escape, moment, plain};
use crate::drill::evidence::{Drill, Span, What};
use crate::drill::record::{Kind, Outcome, Record};
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 8.0;
/// One row of labels.
const ROW: f64 = 15.0;
/// The strips of the lag and of the phases.
const STRIP: f64 = 18.0;
/// The least that a group takes: its name and its number.
const GROUP: f64 = 38.0;
/// All lanes together take this at most, if they can.
const LANES: f64 = 560.0;

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
}

/// The drawing, with these requests of the drill in it.
pub(super) fn svg(drill: &Drill, drawn: &[&Record]) -> String {
    let scale = scale(drill);
    let mut marks = marks(drill, &scale);
    let named = drill.phases.iter().map(|span| (span.start_s, text_width(&phase_label(span))));
    let texts = marks.iter().map(|mark| (mark.at_s, text_width(&mark.label))).chain(named);
    let texts: Vec<(f64, f64)> = texts.collect();
    let scale = scale.leaves_room(&texts, RIGHT);
    // Phases that are too narrow for their names have them among the labels.
    for span in drill.phases.iter().filter(|span| !fits(span.phase.as_str(), span.start_s, span.duration_s, &scale)) {
        marks.push(Mark {
            at_s: span.start_s,
            label: phase_label(span),
            title: format!("{}: {}", moment(span.start_s), phase_label(span)),
            strong: false,
        });
    }
    marks.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let placed: Vec<(f64, f64)> = marks.iter().map(|mark| (scale.x(mark.at_s), text_width(&mark.label))).collect();
    let rows = place::rows(&placed);
    let strips = rows.iter().max().map_or(0.0, |most| (*most as f64 + 1.0) * ROW) + 4.0;
    let phases = strips + STRIP;
    let top = phases + if drill.phases.is_empty() { 0.0 } else { STRIP } + 4.0;
    let (groups, bottom) = groups(drawn, &scale, top);

    let height = bottom + 40.0;
    let mut svg = String::with_capacity(64 * 1024);
    let name = escape(&format!("Timeline of the drill {}", drill.title));
    let _ = writeln!(
        svg,
        r#"<svg class="timeline" viewBox="0 0 {WIDTH} {height:.1}" width="{WIDTH}" height="{height:.1}" role="img" aria-label="{name}">"#
    );
    let heights = Heights { strips, phases, top, bottom };
    bands(&mut svg, drill, &scale, heights);
    axis(&mut svg, &scale, top, bottom);
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
    let lines: Vec<f64> = placed.iter().map(|(x, _)| *x).collect();
    names(&mut svg, drill, &scale, heights, &lines);
    requests(&mut svg, drill, &groups);
    svg.push_str("</svg>\n");
    svg
}

/// A line and its sign as the legend shows them.
pub(super) fn sample(outcome: Outcome) -> String {
    format!(
        r#"<svg viewBox="0 0 30 12" aria-hidden="true"><path class="o-{outcome}" stroke-width="{}" d="M2 6H22"/>{}</svg>"#,
        if outcome.is_ok() { 2 } else { 3 },
        end(outcome, 22.0, 6.0)
    )
}

/// As much of time as there is something to see of.
fn scale(drill: &Drill) -> Scale {
    let moments = drill.timeline.iter().map(|moment| moment.at_s);
    let phases = drill.phases.iter().flat_map(|span| [span.start_s, span.start_s + span.duration_s]);
    let requests = drill.requests.iter().flat_map(|request| [request.sent_s, request.ended_s]);
    let all = moments.chain(phases).chain(requests).chain([0.0, drill.lb_lag_s]).filter(|seconds| seconds.is_finite());
    let (from_s, to_s) = all.fold((0.0, 0.0), |(from, to): (f64, f64), seconds| (from.min(seconds), to.max(seconds)));
    // A drill in which nothing takes any time is drawn too.
    let to_s = to_s.max(from_s + 0.001);
    let air = (to_s - from_s) * 0.01;
    Scale { from_s: from_s - air, to_s: to_s + air, left: LEFT, width: RIGHT - LEFT }
}

fn phase_label(span: &Span) -> String {
    format!("{} ({})", span.phase, duration(span.duration_s))
}

fn marks(drill: &Drill, scale: &Scale) -> Vec<Mark> {
    let mut marks: Vec<Mark> = drill
        .timeline
        .iter()
        .map(|moment_of| Mark {
            at_s: moment_of.at_s,
            label: format!("{} {}", short(moment_of.what), moment(moment_of.at_s)),
            title: format!("{} {}", moment(moment_of.at_s), moment_of.words),
            strong: matches!(moment_of.what, What::Stop | What::Signal | What::Refused | What::Exit | What::Kill),
        })
        .collect();
    if (0.0..scale.to_s).contains(&drill.grace_period_s) {
        let label = format!("grace period over {}", moment(drill.grace_period_s));
        marks.push(Mark { at_s: drill.grace_period_s, title: label.clone(), label, strong: false });
    }
    marks
}

/// What a label has room for; the words are in the table.
fn short(what: What) -> &'static str {
    match what {
        What::LoadBegins => "load begins",
        What::Stop => "stop",
        What::NotReady => "not ready",
        What::ReadinessRefused => "readiness refused",
        What::Signal => "signal to the app",
        What::FirstClose => "first Connection: close",
        What::LastNewServed => "last new connection served",
        What::Refused => "first refused",
        What::InFlightDone => "in flight done",
        What::LoadEnds => "load ends",
        What::Exit => "app exits",
        What::Kill => "SIGKILL",
        What::Leftovers => "processes left over",
    }
}

/// At 11 px, in a wide font, bold.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.2 + 8.0
}

fn fits(name: &str, start_s: f64, duration_s: f64, scale: &Scale) -> bool {
    scale.x(start_s + duration_s) - scale.x(start_s) >= text_width(name)
}

/// The lag and the phases: their strips above the lanes, and what is behind the lanes.
fn bands(svg: &mut String, drill: &Drill, scale: &Scale, Heights { strips, phases, top, bottom }: Heights) {
    let (x, end) = (scale.x(0.0), scale.x(drill.lb_lag_s));
    if end > x {
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

/// What the strips say, on top of the lines that cross them, and beside them where there is room.
fn names(svg: &mut String, drill: &Drill, scale: &Scale, heights: Heights, lines: &[f64]) {
    let lag = format!("load balancer still sends ({})", plain(drill.lb_lag_s));
    if drill.lb_lag_s > 0.0 {
        // In this strip is nothing else: the name may be longer than the lag, if it does not leave the drawing.
        let width = text_width(&lag);
        let x = place::beside(scale.x(0.0), scale.x(drill.lb_lag_s), width, lines).min(RIGHT - width);
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

fn axis(svg: &mut String, scale: &Scale, top: f64, bottom: f64) {
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
    let _ = writeln!(
        svg,
        r#"<path class="axis" d="M{LEFT} {bottom:.1}H{end:.1}"/><text class="dim" x="{:.1}" y="{:.1}" text-anchor="middle">seconds from the stop</text>"#,
        (LEFT + end) / 2.0,
        bottom + 32.0
    );
}

/// The requests of one kind, and where they are.
struct Group<'a> {
    kind: Kind,
    top: f64,
    height: f64,
    /// With x from, x to and y.
    lines: Vec<(&'a Record, f64, f64, f64)>,
}

/// The groups from this height on, and where the last one ends.
fn groups<'a>(drawn: &[&'a Record], scale: &Scale, top: f64) -> (Vec<Group<'a>>, f64) {
    let packed = Kind::ALL.map(|kind| {
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

/// What failed last, so that nothing lies on it.
fn requests(svg: &mut String, drill: &Drill, groups: &[Group<'_>]) {
    for ok in [true, false] {
        for group in groups {
            for (request, x1, x2, y) in group.lines.iter().filter(|(request, ..)| request.outcome.is_ok() == ok) {
                let (outcome, kind) = (request.outcome, group.kind.name());
                let _ = writeln!(
                    svg,
                    r#"<line class="o-{outcome}{}" data-outcome="{outcome}" data-kind="{kind}" x1="{x1:.1}" y1="{y:.1}" x2="{x2:.1}" y2="{y:.1}"><title>{}</title></line>{}"#,
                    if ok { "" } else { " bad" },
                    escape(&words(request, drill)),
                    end(outcome, *x2, *y)
                );
            }
        }
    }
}

fn words(request: &Record, drill: &Drill) -> String {
    let target = drill.targets.get(request.target).map_or("", String::as_str);
    let mut words = format!("{}: {}\n{target}", request.kind.name(), request.outcome.words());
    if let Some(status) = request.status {
        let _ = write!(words, "\nstatus {status}");
    }
    let (sent, ended) = (moment(request.sent_s), moment(request.ended_s));
    let _ = write!(words, "\nsent {sent}, over {ended}, took {}", duration(request.latency_s()));
    if request.sent_s - request.intended_s >= 0.001 {
        let _ = write!(words, " from {}, when it was due", moment(request.intended_s));
    }
    words.push_str(if request.reused { "\nkept connection" } else { "\nnew connection" });
    if !request.detail.is_empty() {
        let _ = write!(words, "\n{}", request.detail);
    }
    words
}

/// The sign at the end of a line; a plain success has none.
fn end(outcome: Outcome, x: f64, y: f64) -> String {
    let (shape, full) = match outcome {
        Outcome::Ok => return String::new(),
        Outcome::OkClose => ("m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0", false),
        Outcome::Status => ("m0-4.5 4.5 4.5-4.5 4.5-4.5-4.5z", false),
        Outcome::Refused => ("m-3.5-3.5 7 7m0-7-7 7", false),
        Outcome::BlackHole => ("m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", true),
        Outcome::Reset => ("m0-4.5 4.5 8h-9z", true),
        Outcome::ResetInAnswer => ("m0 4.5-4.5-8h9z", true),
        Outcome::Truncated => ("m0-5v10", false),
        Outcome::Timeout => ("m-3.5-3.5h7v7h-7z", true),
        Outcome::Broken => ("m0-4.5v9m-4.5-4.5h9", false),
        Outcome::Unfinished => ("m-3-3.5 4 3.5-4 3.5", false),
    };
    let full = if full { " full" } else { "" };
    format!(r#"<path class="end o-{outcome}{full}" data-outcome="{outcome}" d="M{x:.1} {y:.1}{shape}"/>"#)
}
