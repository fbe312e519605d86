//! Percentiles by the nearest-rank definition: the smallest value that at least this percentage of all values do not
//! exceed. There is no interpolation, so a percentile is always one of the values.

/// The rank from 1 of the percentile among `count` values; `None` without values.
fn nearest_rank(count: u64, percent: u64) -> Option<u64> {
    (count > 0).then(|| count.saturating_mul(percent).div_ceil(100).clamp(1, count))
}

/// Of values in ascending order; `None` without values.
pub fn of_sorted<T: Copy>(values: &[T], percent: u64) -> Option<T> {
    let rank = nearest_rank(values.len() as u64, percent)?;
    values.get(usize::try_from(rank).ok()? - 1).copied()
}

/// The index of the histogram bucket that contains the percentile; `None` without values.
pub fn bucket_of(counts: &[u64], percent: u64) -> Option<usize> {
    let rank = nearest_rank(counts.iter().sum(), percent)?;
    let mut passed = 0;
    counts.iter().position(|count| {
        passed += count;
        passed >= rank
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_use_nearest_rank() {
        assert_eq!(of_sorted::<u8>(&[], 50), None);
        assert_eq!(of_sorted(&[7], 0), Some(7));
        assert_eq!(of_sorted(&[1, 2, 3, 4], 50), Some(2));
        assert_eq!(of_sorted(&[1, 2, 3, 4], 51), Some(3));
        assert_eq!(of_sorted(&[1, 2, 3, 4], 95), Some(4));
        assert_eq!(of_sorted(&[1, 2, 3, 4], 100), Some(4));
    }

    #[test]
    fn a_histogram_has_the_percentiles_of_its_values() {
        assert_eq!(bucket_of(&[], 50), None);
        assert_eq!(bucket_of(&[0, 0], 50), None);
        assert_eq!(bucket_of(&[0, 2, 0, 2], 0), Some(1));
        assert_eq!(bucket_of(&[0, 2, 0, 2], 50), Some(1));
        assert_eq!(bucket_of(&[0, 2, 0, 2], 51), Some(3));
        assert_eq!(bucket_of(&[95, 5], 95), Some(0));
        assert_eq!(bucket_of(&[94, 6], 95), Some(1));
    }
}
