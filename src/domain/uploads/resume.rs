//! Uploads that survive a dropped connection, a closed page and a restart of Larder: parts are recorded as they
//! come, and any replica goes on from the last one.
//!
//! Parts may arrive in any order within a small window; each is recorded in its turn, because the SHA-256 of the
//! whole goes on from part to part.

mod complete;
mod open;
mod part;
mod row;

use chrono::{DateTime, Utc};

pub use complete::{abort, complete};
pub use open::{Wanted, open, state};
pub use part::{PartUpload, begin_part};

use super::File;
use crate::domain::secrets::hex;

/// An upload of which parts may be missing still.
#[derive(Clone, Debug)]
pub struct Resumable {
    pub file: File,
    /// Bytes of the whole.
    pub length: u64,
    /// Bytes of each part but the last.
    pub part_size: u64,
    /// In their order, without a gap.
    pub parts: Vec<StoredPart>,
    /// When it is given up, unless another part comes.
    pub kept_until: DateTime<Utc>,
}

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// From 1.
    pub number: i32,
    pub size: u64,
    pub sha256: Vec<u8>,
}

impl StoredPart {
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// How many parts `length` bytes make.
fn count(length: u64, part_size: u64) -> u64 {
    length.div_ceil(part_size.max(1))
}

/// Bytes of part `number`; `None` where there is no such part.
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
