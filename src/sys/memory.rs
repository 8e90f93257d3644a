//! Memory for when there is none.
//!
//! A failed allocation aborts a Rust program, and PID 1 takes its container along. It can fail: RLIMIT_AS (`ulimit -v`)
//! counts address space, and a kernel that does not overcommit counts what could be written. So there is a reserve
//! beside the system's allocator: what that refuses comes out of the reserve, which is enough for the main loop to
//! bring a stop to its end and to write the report.
//!
//! The reserve is zeroed memory of the program's own image: it costs no system call and, untouched, no memory. Pieces
//! are as large as a power of two; what is given back is kept for the next one of that size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// In bytes: enough for a report, a list of many processes, what the thread that looks at connections reads into, and
/// the copies that are made as these grow.
const SIZE: usize = 1024 * 1024;

/// What the standard library takes from the system's allocator directly (a thread's list of destructors) comes out of
/// this: it is allocated at the start and given back at the first failure.
static BALLAST: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
const BALLAST_LAYOUT: Layout = Layout::new::<[u64; 2048]>();

/// Lays the ballast aside, where every thread finds it: one heap for all (the C library would map another one for each
/// thread, which fails first of all).
pub fn prepare() {
    #[cfg(target_env = "gnu")]
    // SAFETY: two numbers; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
    // SAFETY: the layout is not empty.
    BALLAST.store(unsafe { System.alloc(BALLAST_LAYOUT) }, Ordering::Release);
}

fn drop_ballast() {
    let ballast = BALLAST.swap(ptr::null_mut(), Ordering::AcqRel);
    if !ballast.is_null() {
        // SAFETY: it came from there with this layout, and nobody else has taken it.
        unsafe { System.dealloc(ballast, BALLAST_LAYOUT) };
    }
}

/// The system's allocator, and the reserve behind it.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

static RESERVE: Reserve = Reserve::new();

/// No piece is smaller: it holds the address of the next one that was given back.
const SMALLEST: usize = 32;
/// From the smallest to all of it.
const SIZES: usize = (SIZE / SMALLEST).ilog2() as usize + 1;

#[repr(align(4096))]
struct Reserve {
    bytes: UnsafeCell<[u8; SIZE]>,
    pieces: UnsafeCell<Pieces>,
    /// Whether somebody looks at the pieces. Whoever holds it waits for nothing.
    locked: AtomicBool,
}

struct Pieces {
    /// Where what was never handed out begins.
    next: usize,
    /// For each size, the piece that was given back last; it holds the address of the one before.
    back: [*mut u8; SIZES],
}

// SAFETY: the pieces are looked at under the lock alone; each piece of the bytes belongs to whoever it was handed out
// to.
unsafe impl Sync for Reserve {}

impl Reserve {
    const fn new() -> Reserve {
        let pieces = Pieces { next: 0, back: [ptr::null_mut(); SIZES] };
        Reserve { bytes: UnsafeCell::new([0; SIZE]), pieces: UnsafeCell::new(pieces), locked: AtomicBool::new(false) }
    }

    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// The size of a piece for this layout, and its number among the sizes; `None` if there is none that large.
    fn size(layout: Layout) -> Option<(usize, usize)> {
        let size = layout.size().max(layout.align()).max(SMALLEST).checked_next_power_of_two()?;
        (size <= SIZE && layout.align() <= 4096).then(|| (size, (size / SMALLEST).ilog2() as usize))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Pieces) -> T) -> T {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::thread::yield_now();
        }
        // SAFETY: the lock is ours, so nobody else has them.
        let result = look(unsafe { &mut *self.pieces.get() });
        self.locked.store(false, Ordering::Release);
        result
    }

    /// A piece of the reserve; null if that is used up. The content is arbitrary.
    fn take(&self, layout: Layout) -> *mut u8 {
        drop_ballast();
        let Some((size, number)) = Reserve::size(layout) else { return ptr::null_mut() };
        self.with(|pieces| {
            let last = pieces.back[number];
            if !last.is_null() {
                // SAFETY: a piece that was given back, and holds the address of the one before.
                pieces.back[number] = unsafe { last.cast::<*mut u8>().read() };
                return last;
            }
            // Aligned to its size, up to the alignment of the base.
            let begin = pieces.next.next_multiple_of(size.min(4096));
            if begin + size > SIZE {
                return ptr::null_mut();
            }
            pieces.next = begin + size;
            self.base().wrapping_add(begin)
        })
    }

    fn owns(&self, piece: *mut u8) -> bool {
        (self.base().addr()..self.base().addr() + SIZE).contains(&piece.addr())
    }

    /// Takes back a piece that was taken for this layout.
    fn give_back(&self, piece: *mut u8, layout: Layout) {
        let Some((_, number)) = Reserve::size(layout) else { return };
        self.with(|pieces| {
            // SAFETY: it is ours again, large enough for an address and aligned for one.
            unsafe { piece.cast::<*mut u8>().write(pieces.back[number]) };
            pieces.back[number] = piece;
        });
    }
}

// SAFETY: what comes from the system's allocator goes back to it, with the same layout; what comes from the reserve is
// a piece of its own, aligned and as large as was asked for, until it is given back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the system allocator's condition.
        let found = unsafe { System.alloc(layout) };
        if found.is_null() { RESERVE.take(layout) } else { found }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let mut found = unsafe { System.alloc_zeroed(layout) };
        if found.is_null() {
            found = RESERVE.take(layout);
            if !found.is_null() {
                // SAFETY: a piece of that size, and ours.
                unsafe { ptr::write_bytes(found, 0, layout.size()) };
            }
        }
        found
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if RESERVE.owns(piece) {
            RESERVE.give_back(piece, layout);
        } else {
            // SAFETY: it came from there, with this layout.
            unsafe { System.dealloc(piece, layout) };
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let owned = RESERVE.owns(piece);
        if !owned {
            // SAFETY: it came from there, with this layout.
            let found = unsafe { System.realloc(piece, layout, size) };
            if !found.is_null() {
                return found;
            }
        }
        // SAFETY: the caller promises that the new size does not overflow when rounded up to the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: two pieces that do not overlap, each at least as large as what is copied; the old one is given up.
        unsafe {
            let found = if owned { self.alloc(wanted) } else { RESERVE.take(wanted) };
            if !found.is_null() {
                ptr::copy_nonoverlapping(piece, found, layout.size().min(size));
                self.dealloc(piece, layout);
            }
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_apart_aligned_and_handed_out_again_when_they_came_back() {
        // Static, as the real one: it is too large for a stack.
        static OTHER: Reserve = Reserve::new();
        let layout = |size, align| Layout::from_size_align(size, align).expect("a layout");
        let at = |piece: *mut u8| piece.addr() - OTHER.base().addr();
        let (first, second) = (OTHER.take(layout(3, 1)), OTHER.take(layout(33, 64)));
        assert_eq!((at(first), at(second)), (0, 64));
        assert!(OTHER.owns(first) && OTHER.owns(second) && !OTHER.owns(ptr::null_mut()));
        assert!(OTHER.take(layout(SIZE, 1)).is_null() && OTHER.take(layout(1, 8192)).is_null());
        OTHER.give_back(first, layout(3, 1));
        OTHER.give_back(second, layout(33, 64));
        assert_eq!(at(OTHER.take(layout(64, 1))), 64);
        assert_eq!(at(OTHER.take(layout(1, 1))), 0);
        assert_eq!(at(OTHER.take(layout(1, 1))), 128, "nothing that is out is handed out again");
    }

    #[test]
    fn what_grows_keeps_its_content() {
        let layout = Layout::from_size_align(8, 1).expect("a layout");
        let piece = RESERVE.take(layout);
        // SAFETY: a piece of 8 bytes, grown and given back with the layouts that it has.
        unsafe {
            ptr::copy_nonoverlapping(b"reserved".as_ptr(), piece, 8);
            let grown = ALLOCATOR.realloc(piece, layout, 4000);
            assert_eq!(std::slice::from_raw_parts(grown, 8), b"reserved");
            ALLOCATOR.dealloc(grown, Layout::from_size_align(4000, 1).expect("a layout"));
        }
    }
}
