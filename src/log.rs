//! The log: what code says with tracing's macros, and the subscriber that makes lines of it for
//! [`output`](crate::output).
//!
//! - The timeline stays the vocabulary. Each of its events is one tracing event, with its words as the message and its
//!   own keys as `fields`, for JSON. What else there is to know about resolver, connections, TLS, checks and requests
//!   in flight is said where it happens, by `debug!` and `trace!`, each with a `name:` (the line's `event`) and fields
//!   (its other keys).
//! - There is no subscriber before the first line: until then a macro costs one load and one comparison, as later for
//!   levels that are not wanted. It is the only one: without tracing's `std` there are none for single threads.
//! - Nothing blocks: a line goes into a queue, from whichever thread. Details that come while half of the queue waits
//!   for a reader are dropped and counted, so that there is room for the stop itself.
//! - Only graceful's own events are written, whatever a library has to say.
//! - A drill and a probe have no timeline, and what they find is not a line of a log: their [`DetailLog`] has the
//!   details alone, and is there only where details are wanted.

use crate::output::{Complain, Lines, Writer};
use crate::timeline::{Entry, Event, LogLevel, Timeline, text};
use std::fmt::{self, Display as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Level, Metadata, Subscriber, event};

/// What the timeline's events are called; only the subscriber sees it.
const TIMELINE: &str = "timeline";
/// The stop has not begun.
const NEVER: u64 = u64::MAX;
/// How long a command waits at its end for whoever reads its details.
const LAST_DETAILS: Duration = Duration::from_millis(250);

/// The main loop's handle.
pub struct Log {
    subscriber: Option<LineWriter>,
    /// When the stop began, in nanoseconds since graceful's start.
    t0: Arc<AtomicU64>,
}

/// Makes a line of each event.
struct LineWriter {
    lines: Arc<Lines>,
    most: LevelFilter,
    json: bool,
    started_at: SystemTime,
    start: Instant,
    t0: Arc<AtomicU64>,
}

/// The log of a command that supervises nothing: what is said by `debug!` and `trace!`, on standard error.
pub struct DetailLog {
    writer: Writer,
    start: Instant,
    /// As in [`Log`].
    t0: Arc<AtomicU64>,
}

impl Log {
    /// A log; nothing happens before the first line.
    pub fn new(writer: &Writer, most: LogLevel, json: bool, started_at: SystemTime, start: Instant) -> Log {
        let subscriber = LineWriter::new(writer, most, json, started_at, start);
        let t0 = Arc::clone(&subscriber.t0);
        Log { subscriber: Some(subscriber), t0 }
    }

    /// Writes an event of the timeline, which is of a level that is wanted.
    pub fn write(&mut self, timeline: &Timeline, entry: &Entry) {
        // The next run of the app begins without one.
        self.t0.store(timeline.t0().map_or(NEVER, nanos), Ordering::Relaxed);
        if let Some(subscriber) = self.subscriber.take() {
            // There is one main loop in a process.
            _ = tracing::dispatcher::set_global_default(Dispatch::new(subscriber));
        }
        let (at, mut words) = (nanos(entry.at), text::describe(timeline, entry));
        let marked = timeline.marked();
        if let Some(generation) = marked {
            words.insert_str(0, &format!("generation {generation}: "));
        }
        let fields = fmt::from_fn(|f| {
            text::fields(&entry.event).fmt(f)?;
            marked.map_or(Ok(()), |generation| write!(f, ",\"of_generation\":{generation}"))
        });
        // A level is part of what is known of an event when it is compiled.
        match text::level(&entry.event) {
            LogLevel::Error => event!(name: TIMELINE, Level::ERROR, at, %fields, "{words}"),
            LogLevel::Warn => event!(name: TIMELINE, Level::WARN, at, %fields, "{words}"),
            LogLevel::Info => event!(name: TIMELINE, Level::INFO, at, %fields, "{words}"),
            LogLevel::Debug | LogLevel::Trace => event!(name: TIMELINE, Level::DEBUG, at, %fields, "{words}"),
        }
    }
}

impl DetailLog {
    /// Begins it; `None` if no details are wanted, which then cost what they cost without a log. To be called once in a
    /// process.
    pub fn start(most: LogLevel, json: bool) -> Option<DetailLog> {
        if !matches!(most, LogLevel::Debug | LogLevel::Trace) {
            return None;
        }
        let (started_at, start) = (SystemTime::now(), Instant::now());
        let writer = Writer::new(complain(json, started_at, start));
        let subscriber = LineWriter::new(&writer, most, json, started_at, start);
        let t0 = Arc::clone(&subscriber.t0);
        tracing::dispatcher::set_global_default(Dispatch::new(subscriber)).ok()?;
        Some(DetailLog { writer, start, t0 })
    }

    /// Says when the stop begins, or that none has begun yet: lines of JSON tell how long after it they are.
    pub fn stop_begins(&self, at: Option<Instant>) {
        let t0 = at.map_or(NEVER, |at| nanos(at.saturating_duration_since(self.start)));
        self.t0.store(t0, Ordering::Relaxed);
    }
}

impl Drop for DetailLog {
    fn drop(&mut self) {
        self.writer.finish(Duration::ZERO, LAST_DETAILS);
    }
}

/// What makes a line of a complaint of the [`Writer`]'s own.
pub fn complain(json: bool, started_at: SystemTime, start: Instant) -> Complain {
    Box::new(move |what| match json {
        false => text::line(LogLevel::Warn, what),
        true => {
            let event = Event::Trouble { what: what.to_owned() };
            text::json_line(started_at + start.elapsed(), LogLevel::Warn, what, None, &text::fields(&event))
        }
    })
}

impl LineWriter {
    fn new(writer: &Writer, most: LogLevel, json: bool, started_at: SystemTime, start: Instant) -> LineWriter {
        let most = match most {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        };
        LineWriter {
            lines: Arc::clone(writer.lines()),
            most,
            json,
            started_at,
            start,
            t0: Arc::new(AtomicU64::new(NEVER)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target.split_once("::").map_or(target, |(name, _)| name) == env!("CARGO_CRATE_NAME")
}

fn level(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

impl Subscriber for LineWriter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.most && is_ours(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let of_timeline = metadata.name() == TIMELINE;
        if !of_timeline && !self.lines.has_room() {
            return self.lines.lose_line();
        }
        let mut said = Said { json: self.json, ..Said::default() };
        if self.json && !of_timeline {
            said.json_value("event", metadata.name());
        }
        event.record(&mut said);
        let at = said.at.map_or_else(|| self.start.elapsed(), Duration::from_nanos);
        self.lines.line(match self.json {
            false => text::line(level(metadata), &said.words),
            true => {
                let t0 = Some(self.t0.load(Ordering::Relaxed)).filter(|t0| *t0 != NEVER).map(Duration::from_nanos);
                let since_stop = t0.map(|t0| at.saturating_sub(t0));
                text::json_line(self.started_at + at, level(metadata), &said.words, since_stop, &said.fields)
            }
        });
    }

    // There are no spans: a line must be understood by itself.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What an event says.
#[derive(Default)]
struct Said {
    json: bool,
    words: String,
    /// In nanoseconds since graceful's start; `None` means now.
    at: Option<u64>,
    /// As JSON, without braces.
    fields: String,
}

impl Said {
    fn json_value<T: serde::Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.json {
            let comma = if self.fields.is_empty() { "" } else { "," };
            // Neither can fail: names are plain words, and no value is a map.
            let value = serde_json::to_string(value).unwrap_or_default();
            _ = write!(self.fields, "{comma}\"{name}\":{value}");
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Cannot fail: a String takes everything.
            "message" => _ = write!(self.words, "{value:?}"),
            "fields" if self.json => _ = write!(self.fields, "{value:?}"),
            "fields" => {}
            name => self.json_value(name, &format_args!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.json_value(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "at" => self.at = Some(value),
            name => self.json_value(name, &value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.json_value(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.json_value(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.json_value(field.name(), &value);
    }
}
