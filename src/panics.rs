//! What a panic that was caught has to say: its message, and where it happened.
//!
//! The place is known to the panic hook alone, and what the hook would print could block for ever. So it prints nothing
//! and leaves the text to the thread that panics, which is the one that catches it and knows whom to tell.

use std::any::Any;
use std::cell::Cell;

thread_local! {
    static LAST: Cell<Option<String>> = const { Cell::new(None) };
}

/// From now on nothing is printed about a panic, and [`text`] knows where it was.
pub fn remember() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or(NO_MESSAGE);
        let text = match panic.location() {
            Some(place) => format!("panic at {place}: {message}"),
            None => format!("panic: {message}"),
        };
        // Where this thread is ending already, there is nobody to tell.
        _ = LAST.try_with(|last| last.set(Some(text)));
    }));
}

/// What this thread's last panic said and where it was, as `panic at src/x.rs:1:2: message`. `caught` is what it was
/// caught with, which tells no place and is used where [`remember`] was not called.
pub fn text(caught: &(dyn Any + Send)) -> String {
    let message = || {
        let text = caught.downcast_ref::<&str>().copied();
        text.or_else(|| caught.downcast_ref::<String>().map(String::as_str)).unwrap_or(NO_MESSAGE)
    };
    let last = LAST.try_with(Cell::take).ok().flatten();
    last.unwrap_or_else(|| format!("panic: {}", message()))
}

const NO_MESSAGE: &str = "without a message";

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    /// Tests share a hook, which is not for one of them to set.
    #[test]
    fn without_the_hook_there_is_the_message() {
        let text = |work: fn()| text(&*catch_unwind(work).unwrap_err());
        assert_eq!(text(|| panic!("on purpose")), "panic: on purpose");
        assert_eq!(text(|| panic!("{}", "on purpose".to_owned())), "panic: on purpose");
        assert_eq!(text(|| std::panic::panic_any(7)), "panic: without a message");
    }
}
