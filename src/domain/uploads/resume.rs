//! Resumable uploads, which survive dropped connections, closed pages and restarts of Larder: parts are recorded as
//! they arrive, and any replica can continue after the last one.
//!
//! Parts may arrive in any order within a small window, but are recorded in sequence, because the SHA-256 of the
//! whole file is computed from part to part.

mod complete;
mod open;
mod part;
mod row;

use chrono::{DateTime, Utc};

pub use complete::{abort, complete};
pub use open::{ResumeRequest, open, state};
pub use part::{PartUpload, start_part};

use super::File;
use crate::domain::secrets::hex;

/// A pending upload, possibly with missing parts.
#[derive(Clone, Debug)]
pub struct Resumable {
    pub file: File,
    /// Size of the file in bytes.
    pub length: u64,
    /// Size of each part except the last, in bytes.
    pub part_size: u64,
    /// In order, without gaps.
    pub parts: Vec<StoredPart>,
    /// When it is cancelled, unless another part arrives.
    pub kept_until: DateTime<Utc>,
}

/// A part in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Starting at 1.
    pub number: i32,
    pub size: u64,
    pub sha256: Vec<u8>,
}

impl StoredPart {
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// Number of parts for `length` bytes.
fn count(length: u64, part_size: u64) -> u64 {
    length.div_ceil(part_size.max(1))
}

/// Size of part `number` in bytes; `None` if there is no such part.
fn size_of(number: i32, length: u64, part_size: u64) -> Option<u64> {
    let before = u64::try_from(number).ok()?.checked_sub(1)?.checked_mul(part_size)?;
    length.checked_sub(before).filter(|left| *left > 0).map(|left| left.min(part_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_exactly() {
        for (length, part_size) in [(1, 8), (8, 8), (9, 8), (16, 8), (17, 8)] {
            let parts = count(length, part_size);
            let sizes: Vec<u64> = (1..).map_while(|number| size_of(number, length, part_size)).collect();
            assert_eq!(sizes.len() as u64, parts, "{length}");
            assert_eq!(sizes.iter().sum::<u64>(), length);
        }
        assert_eq!(size_of(0, 10, 8), None);
        assert_eq!(size_of(-1, 10, 8), None);
        assert_eq!(size_of(i32::MAX, u64::MAX, u64::MAX), None);
    }
}
