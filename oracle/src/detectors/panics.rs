//! What a panic does: inside a learned model it costs one judgement; anywhere else it ends the process, as it should.
//!
//! A program that runs the oracle calls [`end_process_on_panic`] once. The text of a panic inside a model is not printed: it may hold
//! what was measured. Must not: hide a panic outside of a model.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

static INSTALL: Once = Once::new();

/// Set while a model's own code runs on this thread; unset also when that code panics past it.
struct Containment;

impl Drop for Containment {
    fn drop(&mut self) {
        CONTAINED.set(false);
    }
}

/// Runs a model's own code; a panic in it is the caller's to catch.
pub(super) fn contained<T>(run: impl FnOnce() -> T) -> T {
    CONTAINED.set(true);
    let _containment = Containment;
    run()
}

/// From now on a panic outside of a model prints its message and aborts the process, so that a supervisor starts it anew: an oracle that
/// has lost one of its loops must not go on as if nothing had happened.
pub fn end_process_on_panic() {
    INSTALL.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                print(info);
                std::process::abort();
            }
        }));
    });
}
