//! Named fail points at which tests make Larder crash, fail or pause. Production builds contain none of them.

use super::Result;

/// Activates the points named by `FAILPOINTS` for the lifetime of the process.
pub(crate) fn set_from_environment() {
    if fail::has_failpoints() {
        std::mem::forget(fail::FailScenario::setup());
    }
}

/// `FAILPOINTS='name=panic'` and so on, with the syntax of the `fail` crate.
#[inline]
pub(crate) fn crash_point(_name: &'static str) -> Result<()> {
    fail::fail_point!(_name, |_| Err(super::Error::Internal(format!("crash point {_name}"))));
    Ok(())
}
