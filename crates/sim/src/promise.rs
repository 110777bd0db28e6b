//! A state machine that panics, or an oracle that does, has broken a promise.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a part of a simulation. The words of its panic, if it panics; what it was about stays as the panic left it.
pub(crate) fn broken_promise(part: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(part)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default())
}
