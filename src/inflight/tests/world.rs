//! Clients and an app that speak HTTP/1, shown to the tracker as Linux would show them.
//!
//! A slot is one client address; its lives follow one another, so that ports are used again. What a life does is worked
//! out beforehand into a list of dated events; a sample is the sum of the events up to its time. What the tracker may
//! say is worked out from the requests alone ([`allowed`]): it knows nothing of turns or of what was seen before,
//! except whether a sample fell between two bytes. Times are microseconds.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::ops::AddAssign;

const QUIET_US: u64 = 2_000_000;
const PAUSE_US: u64 = QUIET_US / 4;

#[derive(Clone, Debug)]
struct World {
    /// Ticks a second, and how far the first tick is.
    hz: u64,
    phase: u64,
    handler: Handler,
    slots: Vec<Vec<Life>>,
    /// The first sample, and from each to the next.
    samples: Vec<u64>,
}

/// One connection.
#[derive(Clone, Debug)]
struct Life {
    /// After the one before it is gone.
    after: u64,
    accepted_after: u64,
    talks: Vec<Talk>,
    end: End,
}

#[derive(Clone, Debug)]
enum Talk {
    Request {
        /// After the answer before it.
        after: u64,
        /// Of the request: from one to the next, and how many bytes.
        asked: Vec<(u64, u64)>,
        read_after: u64,
        /// From the whole request to the answer's first byte.
        thinks: u64,
        answered: Vec<(u64, u64)>,
        acknowledged_after: u64,
    },
    /// The server speaks unasked.
    Push { after: u64, bytes: u64 },
}

#[derive(Clone, Copy, Debug)]
enum End {
    StaysOpen,
    /// The client's FIN comes this long after the last answer, and the app closes this long after that.
    ClientCloses(u64, u64),
    /// The client's FIN comes with the last request.
    HalfCloses(u64),
    AppCloses(u64),
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Accept,
    Receive(u64),
    Fin,
    Read,
    Send(u64),
    Acknowledge,
    Close,
    Gone,
}

/// One request, by the times of its bytes.
#[derive(Clone, Debug)]
struct Request {
    asked: Vec<u64>,
    answered: Vec<u64>,
    /// The last byte that was sent before it.
    spoke_before: Option<u64>,
}

/// A life, worked out.
#[derive(Clone, Debug)]
struct Course {
    opened: u64,
    gone: u64,
    inode: u32,
    events: Vec<(u64, Event)>,
    requests: Vec<Request>,
}

/// Writes down one life.
struct Author {
    course: Course,
    accepted: u64,
    now: u64,
    last_sent: Option<u64>,
}

impl Author {
    fn write(opened: u64, inode: u32, life: &Life) -> Course {
        let accepted = opened + life.accepted_after;
        let course = Course { opened, gone: u64::MAX, inode, events: Vec::new(), requests: Vec::new() };
        let mut author = Author { course, accepted, now: opened, last_sent: None };
        author.at(accepted, Event::Accept);
        for (number, talk) in life.talks.iter().enumerate() {
            let with_fin = matches!(life.end, End::HalfCloses(_)) && number + 1 == life.talks.len();
            author.talk(talk, with_fin);
        }
        author.end(life);
        author.course.events.sort_by_key(|(at, _)| *at);
        author.course
    }

    fn at(&mut self, at: u64, event: Event) {
        self.course.events.push((at, event));
    }

    fn talk(&mut self, talk: &Talk, with_fin: bool) {
        match talk {
            Talk::Request { after, asked, read_after, thinks, answered, acknowledged_after } => {
                self.now += after;
                let mut request = Request { asked: Vec::new(), answered: Vec::new(), spoke_before: self.last_sent };
                let mut read = 0;
                for (number, (gap, bytes)) in asked.iter().enumerate() {
                    self.now += if number == 0 { 0 } else { *gap };
                    // A client that asks again has got the answer.
                    self.at(self.now, Event::Acknowledge);
                    self.at(self.now, Event::Receive(*bytes));
                    request.asked.push(self.now);
                    read = self.now.max(self.accepted) + read_after;
                    self.at(read, Event::Read);
                }
                if with_fin {
                    self.at(self.now, Event::Fin);
                    self.at(read, Event::Read);
                }
                self.now = read + thinks;
                for (number, (gap, bytes)) in answered.iter().enumerate() {
                    self.now += if number == 0 { 0 } else { *gap };
                    self.send(*bytes, *acknowledged_after);
                    request.answered.push(self.now);
                }
                self.course.requests.push(request);
            }
            Talk::Push { after, bytes } => {
                self.now = self.now.max(self.accepted) + after;
                self.send(*bytes, 0);
            }
        }
    }

    fn send(&mut self, bytes: u64, acknowledged_after: u64) {
        self.at(self.now, Event::Send(bytes));
        self.at(self.now + acknowledged_after, Event::Acknowledge);
        self.last_sent = Some(self.now);
    }

    fn end(&mut self, life: &Life) {
        self.now = self.now.max(self.accepted);
        let closes = match life.end {
            End::StaysOpen => return,
            End::ClientCloses(after, app_after) => {
                self.now += after;
                self.at(self.now, Event::Fin);
                self.at(self.now + app_after, Event::Read);
                app_after
            }
            End::HalfCloses(app_after) | End::AppCloses(app_after) => app_after,
        };
        self.now += closes;
        self.at(self.now, Event::Close);
        // A while in FIN_WAIT or LAST_ACK.
        self.at(self.now + 30_000, Event::Acknowledge);
        self.course.gone = self.now + 60_000;
        self.at(self.course.gone, Event::Gone);
    }
}

/// A connection at one moment.
#[derive(Clone, Debug, Default)]
struct Socket {
    accepted: bool,
    fin: bool,
    closed: bool,
    gone: bool,
    received: u64,
    sent: u64,
    unread: u64,
    unsent: u64,
    received_at: u64,
    sent_at: u64,
    /// When something was acknowledged last, with data or without.
    acknowledged_at: u64,
    segments_in: u32,
    segments_out: u32,
    /// Acknowledgements that were sent alone, and when the next one will be.
    acks_out: u32,
    ack_due: Option<u64>,
}

/// As long as Linux delays an acknowledgement.
const DELAYED_US: u64 = 40_000;

impl Socket {
    /// What came is acknowledged with the next bytes that go out, and alone if none do; the first is at once.
    fn receive(&mut self, at: u64, bytes: u64) {
        self.received += bytes;
        self.unread += bytes;
        self.received_at = at;
        self.segments_in += 1;
        if self.segments_in == 1 {
            self.acks_out += 1;
        } else {
            self.ack_due = self.ack_due.or(Some(at + DELAYED_US));
        }
    }

    fn acknowledge_alone(&mut self, now: u64) {
        if self.ack_due.take_if(|due| *due <= now).is_some() {
            self.acks_out += 1;
        }
    }
}

impl Course {
    fn socket(&self, now: u64) -> Socket {
        let opened = self.opened;
        let mut socket = Socket { received_at: opened, sent_at: opened, acknowledged_at: opened, ..Socket::default() };
        for (at, event) in self.events.iter().take_while(|(at, _)| *at <= now) {
            socket.acknowledge_alone(*at);
            match event {
                Event::Accept => socket.accepted = true,
                Event::Receive(bytes) => socket.receive(*at, *bytes),
                Event::Fin => {
                    socket.fin = true;
                    socket.received += 1;
                    socket.unread += 1;
                }
                Event::Read => socket.unread = 0,
                Event::Send(bytes) => {
                    socket.sent += bytes;
                    socket.unsent += bytes;
                    socket.sent_at = *at;
                    socket.segments_out += 1;
                    socket.ack_due = None;
                }
                Event::Acknowledge if socket.unsent > 0 => (socket.unsent, socket.acknowledged_at) = (0, *at),
                Event::Acknowledge => {}
                Event::Close => {
                    socket.closed = true;
                    socket.unsent += 1;
                }
                Event::Gone => socket.gone = true,
            }
        }
        socket.acknowledge_alone(now);
        socket
    }
}

/// The world, worked out.
struct History {
    tick: u64,
    hz: u64,
    phase: u64,
    handler: Handler,
    slots: Vec<Vec<Course>>,
    samples: Vec<u64>,
}

impl History {
    fn of(world: &World) -> History {
        let mut inode = 0;
        let mut last = 0;
        let slots = world.slots.iter().map(|lives| {
            let mut opened = 0;
            let mut courses = Vec::new();
            for life in lives {
                inode += 1;
                let course = Author::write(opened + life.after, inode, life);
                last = last.max(course.events.last().map_or(0, |(at, _)| *at));
                opened = course.gone;
                courses.push(course);
                if opened == u64::MAX {
                    break;
                }
            }
            courses
        });
        let slots = slots.collect();
        let mut samples: Vec<u64> = world
            .samples
            .iter()
            .scan(0, |at, gap| {
                *at += gap;
                Some(*at)
            })
            .collect();
        // And when all has long been said.
        samples.push(last.max(samples.last().copied().unwrap_or(0)) + 1);
        samples.push(samples[samples.len() - 1] + QUIET_US + 20_000);
        History { tick: 1_000_000 / world.hz, hz: world.hz, phase: world.phase, handler: world.handler, slots, samples }
    }

    fn tick(&self, at: u64) -> u64 {
        (at + self.phase) / self.tick
    }

    /// As Linux shows it (tcp_get_info, inet_diag_msg_attrs_fill).
    fn row(&self, slot: usize, course: &Course, now: u64) -> Option<Connection> {
        let socket = course.socket(now);
        if now < course.opened || socket.gone {
            return None;
        }
        let ago = |at: u64| ((self.tick(now) - self.tick(at)) * 1000 / self.hz) as u32;
        Some(Connection {
            local: app(PORT),
            remote: client(40_000 + slot as u16),
            state: match (socket.closed, socket.fin) {
                (true, _) => State::Closing,
                (false, true) => State::CloseWait,
                (false, false) => State::Established,
            },
            inode: if socket.accepted && !socket.closed { course.inode } else { 0 },
            unread: socket.unread as u32,
            unsent: socket.unsent as u32,
            counters: Some(Counters {
                received: socket.received,
                sent: socket.sent,
                last_received_ms: ago(socket.received_at),
                last_sent_ms: ago(socket.sent_at),
                last_ack_ms: ago(socket.acknowledged_at),
                segments_in: socket.segments_in + 1,
                data_segments_in: socket.segments_in,
                segments_out: socket.segments_out + socket.acks_out,
                data_segments_out: socket.segments_out,
                segment: 32_768,
            }),
        })
    }

    /// Whether a sample was taken at or after the first of these times, and before the other.
    fn sampled_between(&self, a: u64, b: u64) -> bool {
        self.samples.iter().any(|sample| (a.min(b)..a.max(b)).contains(sample))
    }

    /// Whether it cannot be told which of the two spoke last.
    fn tied(&self, came: u64, went: u64) -> bool {
        self.tick(came) == self.tick(went) && !self.sampled_between(came, went)
    }

    /// What the tracker may say of the connection at this sample.
    fn allowed(&self, course: &Course, now: u64) -> Allowed {
        let socket = course.socket(now);
        if socket.closed {
            return if socket.unsent > 1 { Allowed::BUSY } else { Allowed::GONE };
        }
        if !socket.accepted {
            return Allowed::UNACCEPTED;
        }
        if socket.unread > u64::from(socket.fin) || socket.unsent > 0 {
            return Allowed::BUSY;
        }
        let silent = now - socket.received_at.max(socket.sent_at);
        // Nobody sees time finer than a tick, nor a connection before its first sample.
        let least = |limit: u64| silent + self.tick >= limit;
        let most = |limit: u64| silent >= limit + self.tick;
        let is_present = self.handler == Handler::Present;
        match course.requests.iter().find(|request| request.is_in_flight(now)) {
            Some(request) if request.answered[0] > now => {
                let tied = request.spoke_before.is_some_and(|went| self.tied(socket.received_at, went));
                let waited = now - self.samples[0] + self.tick;
                let is_old = socket.received_at <= self.samples[0] + self.tick && waited >= 2 * QUIET_US;
                // The app spoke first, and one segment has come: that looks like an answer.
                let greeted = tied && socket.segments_in == 1 && least(PAUSE_US);
                let idle =
                    greeted || is_present && (is_old || request.spoke_before.is_some() && least(QUIET_US) && tied);
                Allowed { busy: true, unknown: tied, idle, tied, ..Allowed::NONE }
            }
            Some(request) => {
                let paused = self.has_paused(request, now) || least(PAUSE_US);
                Allowed { unknown: true, idle: paused, streaming: true, ..Allowed::NONE }
            }
            None => {
                let tied = socket.received > 0 && socket.sent > 0 && self.tied(socket.received_at, socket.sent_at);
                let idle_only = is_present && most(QUIET_US) || socket.sent == 0;
                Allowed { unknown: !idle_only, idle: true, tied, ..Allowed::NONE }
            }
        }
    }

    /// The answer has been silent for long enough to be taken for over, or was taken for one that nobody had asked for.
    fn has_paused(&self, request: &Request, now: u64) -> bool {
        let asked = request.asked[request.asked.len() - 1];
        let sent: Vec<u64> = request.answered.iter().copied().filter(|at| *at <= now).collect();
        let tied = request.spoke_before.is_some_and(|went| self.tied(asked, went));
        let forgotten = tied && sent[0] - asked + self.tick >= PAUSE_US;
        forgotten || sent.windows(2).any(|pair| pair[1] - pair[0] + self.tick >= PAUSE_US)
    }
}

impl Request {
    /// Something of it has come, and its answer is not complete.
    fn is_in_flight(&self, now: u64) -> bool {
        self.asked[0] <= now && self.answered[self.answered.len() - 1] > now
    }
}

#[derive(Clone, Copy, Debug)]
struct Allowed {
    gone: bool,
    unaccepted: bool,
    busy: bool,
    unknown: bool,
    idle: bool,
    /// For the tally alone.
    tied: bool,
    streaming: bool,
}

impl Allowed {
    const NONE: Allowed = Allowed {
        gone: false,
        unaccepted: false,
        busy: false,
        unknown: false,
        idle: false,
        tied: false,
        streaming: false,
    };
    const GONE: Allowed = Allowed { gone: true, ..Allowed::NONE };
    const UNACCEPTED: Allowed = Allowed { unaccepted: true, ..Allowed::NONE };
    const BUSY: Allowed = Allowed { busy: true, ..Allowed::NONE };

    fn includes(&self, counts: Counts) -> bool {
        match (counts.unaccepted, counts.busy, counts.unknown, counts.idle) {
            (0, 0, 0, 0) => self.gone,
            (1, 0, 0, 0) => self.unaccepted,
            (0, 1, 0, 0) => self.busy,
            (0, 0, 1, 0) => self.unknown,
            (0, 0, 0, 1) => self.idle,
            _ => false,
        }
    }
}

/// How often each situation came up.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn add(&mut self, allowed: Allowed, counts: Counts, half_closed: bool) {
        let mut note = |what, yes: bool| self.0.entry(what).or_default().add_assign(usize::from(yes));
        let in_flight = allowed.busy || allowed.streaming;
        note("gone", allowed.gone);
        note("unaccepted", counts.unaccepted > 0);
        note("busy", counts.busy > 0);
        note("idle", counts.idle > 0);
        note("unanswered, in one tick with the answer before", in_flight && allowed.tied);
        note("answered within a tick", !in_flight && allowed.tied && counts.unknown > 0);
        note("an answer that goes on", allowed.streaming && counts.unknown > 0);
        note("a half-closed request", in_flight && half_closed);
        note("unclear, then idle", allowed.tied && counts.idle > 0);
    }
}

/// One client, shown to a tracker of its own.
struct Client<'a> {
    courses: &'a [Course],
    slot: usize,
    tracker: Tracker,
    row: Option<(&'a Course, Connection)>,
    /// This life may be taken for the one before it.
    blurred: bool,
}

impl<'a> Client<'a> {
    fn sample(&mut self, history: &History, now: u64, tally: &mut Tally) -> Result<Counts, TestCaseError> {
        let before = self.row;
        self.row = self.courses.iter().find_map(|course| Some((course, history.row(self.slot, course, now)?)));
        self.blurred = match (before, self.row) {
            (Some((before, _)), Some((course, _))) if before.inode == course.inode => self.blurred,
            (Some((_, before)), Some((_, row))) => cannot_be_told_apart(&before, &row),
            _ => false,
        };
        let rows = self.row.iter().map(|(_, row)| *row).collect();
        let counts = self.tracker.sample(Duration::from_micros(now), &snapshot(rows));
        let allowed = self.row.map_or(Allowed::GONE, |(course, _)| history.allowed(course, now));
        let right = self.blurred || allowed.includes(counts);
        prop_assert!(right, "{counts:?} at {now} of client {}, but {allowed:?} of {:?}", self.slot, self.row);
        tally.add(allowed, counts, self.row.is_some_and(|(_, row)| row.state == State::CloseWait));
        Ok(counts)
    }

    fn has_news(&self, before: Option<u64>, now: u64) -> bool {
        self.row.is_some_and(|(course, _)| before.is_none_or(|before| course.has_news(before, now)))
    }
}

/// Only a socket that was accepted in both lives has a name. Without one, only a count that goes back tells that these
/// are two; and one of the bytes may be a FIN.
fn cannot_be_told_apart(before: &Connection, now: &Connection) -> bool {
    let received = |row: &Connection| row.counters.map_or(0, |counters| counters.received);
    (before.inode == 0 || now.inode == 0) && received(before).abs_diff(received(now)) <= 1
}

/// Shows the world to one tracker as a whole, and each client to one of its own.
fn watch(world: &World, tally: &mut Tally) -> Result<(), TestCaseError> {
    let history = History::of(world);
    let tracker = || {
        let mut tracker = Tracker::new(QUIET);
        tracker.handler(world.handler);
        tracker
    };
    let mut whole = tracker();
    let client = |(slot, courses)| Client { courses, slot, tracker: tracker(), row: None, blurred: false };
    let mut clients: Vec<Client> = history.slots.iter().map(Vec::as_slice).enumerate().map(client).collect();
    let (mut before, mut news_at) = (None, 0);
    for &now in &history.samples {
        let mut sum = Counts::default();
        for client in &mut clients {
            let counts = client.sample(&history, now, tally)?;
            sum.unaccepted += counts.unaccepted;
            sum.busy += counts.busy;
            sum.unknown += counts.unknown;
            sum.idle += counts.idle;
        }
        let rows: Vec<Connection> = clients.iter().filter_map(|client| Some(client.row?.1)).collect();
        let listeners = vec![Listener { local: app(PORT), inode: 1, backlog: sum.unaccepted as u32 }];
        let counts = whole.sample(Duration::from_micros(now), &Snapshot { listeners, ..snapshot(rows) });
        prop_assert_eq!(counts, sum, "together they are what each is alone");
        if before.is_none() || clients.iter().any(|client| client.has_news(before, now)) {
            news_at = now;
        }
        let quiet_since = whole.quiet_since().map_or(0, |at| at.as_micros() as u64);
        let right = quiet_since == news_at || clients.iter().any(|client| client.blurred);
        prop_assert!(right, "quiet since {quiet_since} at {now}, but {news_at}");
        (before, news_at) = (Some(now), quiet_since);
    }
    // The last sample came after a quiet window in which nobody said anything.
    let last = whole.last().unwrap_or_default();
    prop_assert!(last.busy == 0 && (last.unknown == 0 || world.handler != Handler::Present), "{last:?}");
    prop_assert_eq!(whole.quiet().is_reached(), last.unaccepted + last.unknown == 0);
    Ok(())
}

impl Course {
    fn has_news(&self, before: u64, now: u64) -> bool {
        let received =
            |(at, event): &(u64, Event)| (before + 1..=now).contains(at) && matches!(event, Event::Receive(_));
        self.opened > before || self.events.iter().any(received)
    }
}

/// From nothing at all to well beyond the quiet window.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 3 => 0..4000u64, 3 => 0..60_000u64, 3 => 0..800_000u64, 1 => 0..4_000_000u64]
}

fn short() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..20_000u64]
}

/// More than a single one, which a closing connection hides in its FIN, and more than HTTP/2's frames have.
fn bytes() -> impl Strategy<Value = u64> {
    40..5000u64
}

/// More than a reply may have.
fn pushed() -> impl Strategy<Value = u64> {
    1000..5000u64
}

fn talk() -> impl Strategy<Value = Talk> {
    let pieces = || vec((time(), bytes()), 1..5);
    let request = (time(), pieces(), short(), time(), pieces(), short()).prop_map(
        |(after, asked, read_after, thinks, answered, acknowledged_after)| Talk::Request {
            after,
            asked,
            read_after,
            thinks,
            answered,
            acknowledged_after,
        },
    );
    prop_oneof![9 => request, 1 => (time(), pushed()).prop_map(|(after, bytes)| Talk::Push { after, bytes })]
}

fn life() -> impl Strategy<Value = Life> {
    let end = prop_oneof![
        Just(End::StaysOpen),
        (time(), time()).prop_map(|(after, app)| End::ClientCloses(after, app)),
        time().prop_map(End::HalfCloses),
        time().prop_map(End::AppCloses),
    ];
    (time(), prop_oneof![3 => Just(0), 1 => time()], vec(talk(), 0..5), end)
        .prop_map(|(after, accepted_after, talks, end)| Life { after, accepted_after, talks, end })
}

fn world() -> impl Strategy<Value = World> {
    let gap = prop_oneof![6 => Just(100_000u64), 3 => 1..150_000u64, 1 => 0..3_000_000u64];
    let hz = prop_oneof![Just(100u64), Just(250), Just(1000)];
    let handler = prop_oneof![1 => Just(Handler::Missing), 1 => Just(Handler::Unproven), 2 => Just(Handler::Present)];
    (hz, 0..10_000u64, handler, vec(vec(life(), 1..4), 1..6), time(), vec(gap, 0..80)).prop_map(
        |(hz, phase, handler, slots, first, gaps)| World {
            hz,
            phase,
            handler,
            slots,
            samples: std::iter::once(first).chain(gaps).collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_idle_unless_nobody_could_know(world in world()) {
        watch(&world, &mut Tally::default())?;
    }
}

#[test]
fn the_worlds_are_of_every_kind() {
    let mut tally = Tally::default();
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let world = world().new_tree(&mut runner).unwrap().current();
        watch(&world, &mut tally).unwrap();
    }
    assert!(tally.0.values().all(|count| *count >= 20), "{tally:?}");
}
