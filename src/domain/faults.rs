//! Named points at which tests let Larder die, fail or stop. Outside tests nothing is compiled for them.

use super::Result;

/// `FAILPOINTS='name=panic'` and the like, as the crate `fail` reads them.
#[inline]
pub(crate) fn crash_point(_name: &'static str) -> Result<()> {
    fail::fail_point!(_name, |_| Err(super::Error::Internal(format!("the crash point {_name}"))));
    Ok(())
}
