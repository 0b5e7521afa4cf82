//! What stands between the program and a database that panics over a file it was not prepared for.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::trouble::Trouble;

thread_local! {
    /// Whether a panic of this thread is caught and told as trouble with the file.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs code of the engine, and takes a panic in it for what it is: a file that it was not prepared for.
pub(super) fn guarded<T>(engine: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    keep_quiet();
    let former = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(engine));
    GUARDED.set(former);
    outcome.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Trouble::Damaged(words.unwrap_or_else(|| "the database gave up".to_owned())))
    })
}

/// Keeps panics that are told as trouble from being printed as well: to whoever reads it, a backtrace is an error of
/// this program.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                former(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_as_damage() {
        let outcome: Result<(), Trouble> = guarded(|| panic!("page {} is odd", 7));
        assert_eq!(outcome, Err(Trouble::Damaged("page 7 is odd".to_owned())));
        assert_eq!(guarded(|| Ok(8)), Ok(8));
        assert!(!GUARDED.get());
    }
}
