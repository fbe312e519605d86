//! Named points at which tests let Larder die, fail or stop. Outside tests nothing is compiled for them.

use super::Result;

/// Sets the points that `FAILPOINTS` names, for as long as the process lives.
pub(crate) fn set_from_environment() {
    if fail::has_failpoints() {
        std::mem::forget(fail::FailScenario::setup());
    }
}

/// `FAILPOINTS='name=panic'` and the like, as the crate `fail` reads them.
#[inline]
pub(crate) fn crash_point(_name: &'static str) -> Result<()> {
    fail::fail_point!(_name, |_| Err(super::Error::Internal(format!("the crash point {_name}"))));
    Ok(())
}
