//! Memory for when there is none.
//!
//! A failed allocation aborts a Rust program, and PID 1 takes its container along. It can fail: RLIMIT_AS (`ulimit -v`)
//! counts address space, and a kernel that does not overcommit counts what could be written. So a reserve lies beside
//! the system's allocator: what that refuses comes out of the reserve, which is enough for the main loop to bring a stop
//! to its end and to write the report.
//!
//! The reserve is zeroed memory of the program's own image: it costs no system call and, untouched, no memory. It is
//! handed out from its beginning to its end, and begins anew when all of it was given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A report, a list of many processes, what the thread that looks at connections reads into, and the copies that growing
/// makes of them.
const SIZE: usize = 1024 * 1024;

/// The system's allocator, and the reserve behind it.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

static RESERVE: Reserve = Reserve { bytes: UnsafeCell::new([0; SIZE]), taken: AtomicU64::new(0) };

#[repr(align(4096))]
struct Reserve {
    bytes: UnsafeCell<[u8; SIZE]>,
    /// How many pieces are out (upper half), and where the next one begins (lower half): one number, so that both
    /// change at once.
    taken: AtomicU64,
}

// SAFETY: each piece of the bytes belongs to whom it was handed out to, by an atomic exchange.
unsafe impl Sync for Reserve {}

impl Reserve {
    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// A piece of it; null if it is used up. What is in it is arbitrary.
    fn take(&self, layout: Layout) -> *mut u8 {
        let fitted = |taken: u64| {
            let (pieces, next) = (taken >> 32, (taken as u32) as usize);
            // The base is aligned more than anything that is asked for here.
            let begin = next.checked_next_multiple_of(layout.align())?;
            let end = begin.checked_add(layout.size()).filter(|end| *end <= SIZE && layout.align() <= 4096)?;
            Some((begin, (pieces + 1) << 32 | end as u64))
        };
        let mut taken = self.taken.load(Ordering::Acquire);
        while let Some((begin, after)) = fitted(taken) {
            match self.taken.compare_exchange_weak(taken, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.base().wrapping_add(begin),
                Err(now) => taken = now,
            }
        }
        ptr::null_mut()
    }

    fn owns(&self, piece: *mut u8) -> bool {
        (self.base().addr()..self.base().addr() + SIZE).contains(&piece.addr())
    }

    fn give_back(&self) {
        let less = |taken: u64| {
            let pieces = (taken >> 32).saturating_sub(1);
            Some(if pieces == 0 { 0 } else { pieces << 32 | u64::from(taken as u32) })
        };
        _ = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

// SAFETY: what comes from the system's allocator goes back to it, with the same layout; what comes from the reserve is a
// piece of its own, aligned and as large as was asked for, until it is given back.
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
            RESERVE.give_back();
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
    fn pieces_are_apart_aligned_and_come_back_when_all_are_given_back() {
        // Static, as the real one: it is too large for a stack.
        static OTHER: Reserve = Reserve { bytes: UnsafeCell::new([0; SIZE]), taken: AtomicU64::new(0) };
        let reserve = &OTHER;
        let layout = |size, align| Layout::from_size_align(size, align).expect("a layout");
        let first = reserve.take(layout(3, 1));
        let second = reserve.take(layout(64, 64));
        assert_eq!((first.addr() - reserve.base().addr(), second.addr() - reserve.base().addr()), (0, 64));
        assert!(reserve.owns(first) && reserve.owns(second) && !reserve.owns(ptr::null_mut()));
        assert!(reserve.take(layout(SIZE, 1)).is_null() && reserve.take(layout(1, 8192)).is_null());
        reserve.give_back();
        assert_eq!(reserve.take(layout(1, 1)).addr(), second.addr() + 64, "nothing that is out is handed out again");
        reserve.give_back();
        reserve.give_back();
        assert_eq!(reserve.take(layout(SIZE, 1)), reserve.base());
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
