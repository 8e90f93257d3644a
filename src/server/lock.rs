//! A mutex that a panic does not spoil.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Locks it. A thread that has panicked leaves nothing half changed that could mislead anybody: the next try sets it
/// right.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, without waiting for it.
pub(super) fn free<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
