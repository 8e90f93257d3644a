//! The open connections, and which of them gives way when there are too many.

use super::limits::ServerLimits;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::task::{AbortHandle, spawn_local};
use tracing::trace;

/// Holds the connections. They belong to it, and not to the tasks that drive them, so that one which gives way is
/// closed and its memory freed at once, not when its task has its turn. They end when this is dropped.
pub(super) struct Pool {
    limits: ServerLimits,
    /// The oldest first.
    members: Members,
}

type Members = Rc<RefCell<VecDeque<Rc<Member>>>>;

/// What a connection knows about its place in the pool.
pub(super) struct Slot {
    members: Members,
    limits: ServerLimits,
    member: Rc<Member>,
}

/// An answer's body, which counts until the kernel has all of it.
pub(super) struct Unsent {
    text: String,
    count: Arc<AtomicUsize>,
}

struct Member {
    connection: RefCell<Option<Connection>>,
    task: OnceCell<AbortHandle>,
    talking: Cell<bool>,
    /// Atomic because the owner of bytes must be Send.
    unsent: Arc<AtomicUsize>,
}

type Connection = Pin<Box<dyn Future<Output = ()>>>;

impl Pool {
    pub(super) fn new(limits: ServerLimits) -> Pool {
        Pool { limits, members: Members::default() }
    }

    /// Takes a connection in; if there are too many, the oldest gives way.
    pub(super) fn admit<C: Future<Output = ()> + 'static>(&self, connection: impl FnOnce(Slot) -> C) {
        while self.members.borrow().len() >= self.limits.open && evict(&self.members, |_| true) {}
        let member = Rc::new(Member {
            connection: RefCell::new(None),
            task: OnceCell::new(),
            talking: Cell::new(false),
            unsent: Arc::default(),
        });
        let seat = Slot { members: self.members.clone(), limits: self.limits, member: member.clone() };
        *member.connection.borrow_mut() = Some(Box::pin(connection(seat)));
        self.members.borrow_mut().push_back(member.clone());
        let leave = LeaveGuard { members: self.members.clone(), member: member.clone() };
        let task = spawn_local(async move {
            let leave = leave;
            poll_fn(|cx| leave.member.poll(cx)).await;
        });
        _ = member.task.set(task.abort_handle());
    }

    /// A quarter of the connections give way, and at least one: descriptors or memory are short.
    pub(super) fn shrink(&self) {
        let count = self.members.borrow().len() / 4 + 1;
        for _ in 0..count {
            evict(&self.members, |_| true);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        while evict(&self.members, |_| true) {}
    }
}

impl Slot {
    /// Something came in: from now on the connection has buffers. If too many have, the oldest of them gives way.
    pub(super) fn talks(&self) {
        let talking = || self.members.borrow().iter().filter(|member| member.talking.get()).count();
        while talking() >= self.limits.talking && evict(&self.members, |member| member.talking.get()) {}
        self.member.talking.set(true);
    }

    /// An answer for this connection. If too much is waiting to be sent, the oldest connections that wait give way.
    pub(super) fn send(&self, text: String) -> Unsent {
        let unsent = || self.members.borrow().iter().map(|member| member.unsent()).sum::<usize>();
        while unsent() + text.len() > self.limits.unsent && evict(&self.members, |member| member.unsent() > 0) {}
        self.member.unsent.fetch_add(text.len(), Ordering::Relaxed);
        Unsent { text, count: self.member.unsent.clone() }
    }
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.count.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

impl Member {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.connection.borrow_mut().as_mut() {
            Some(connection) => connection.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }
}

/// In a connection's task: however that ends, by a panic too, the connection leaves the pool.
struct LeaveGuard {
    members: Members,
    member: Rc<Member>,
}

impl Drop for LeaveGuard {
    fn drop(&mut self) {
        self.members.borrow_mut().retain(|member| !Rc::ptr_eq(member, &self.member));
        // A connection holds its seat, and the seat its member: broken up here, because otherwise neither would ever be
        // freed.
        let connection = self.member.connection.try_borrow_mut().ok().and_then(|mut connection| connection.take());
        drop(connection);
    }
}

/// Closes the oldest connection of this kind, other than the one that is just being polled; says whether there was one.
fn evict(members: &Members, kind: impl Fn(&Member) -> bool) -> bool {
    let found = {
        let mut members = members.borrow_mut();
        let idle = |member: &Rc<Member>| member.connection.try_borrow_mut().is_ok();
        let index = members.iter().position(|member| idle(member) && kind(member));
        index.and_then(|index| members.remove(index))
    };
    let Some(member) = found else { return false };
    trace!(name: "probe_gives_way", "the oldest connection to the probe server gives way to a new one");
    // Not while the borrow lasts: whatever a connection does in its drop may look at the members.
    let connection = member.connection.borrow_mut().take();
    drop(connection);
    if let Some(task) = member.task.get() {
        task.abort();
    }
    true
}
