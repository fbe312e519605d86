//! The times that charts show, in words and addresses.

use chrono::TimeDelta;

use crate::clock;
use crate::domain::redis_metrics::Range;

const NAMES: [(Range, &str, &str); 3] =
    [(Range::Hour, "hour", "Last hour"), (Range::Day, "day", "24 hours"), (Range::Month, "month", "30 days")];

/// The last hour, where the address names no other.
pub fn parse(name: &str) -> Range {
    NAMES.iter().find(|(_, known, _)| *known == name).map_or_else(Range::default, |(range, ..)| *range)
}

/// As addresses name it.
pub fn name(range: Range) -> &'static str {
    NAMES.iter().find(|(known, ..)| *known == range).map_or("", |(_, name, _)| name)
}

/// Word, address, and whether it is the one that is shown.
pub fn links(base: &str, shown: Range) -> [(&'static str, String, bool); 3] {
    NAMES.map(|(range, name, words)| {
        let url = if range == Range::default() { base.to_owned() } else { format!("{base}?range={name}") };
        (words, url, range == shown)
    })
}

/// Five labels from the oldest step to now.
pub fn axis_labels(range: Range) -> Vec<String> {
    let (seconds, count) = range.steps();
    let shape = if range == Range::Month { "%-d %b" } else { "%H:%M" };
    let now = clock::now();
    (0..5).map(|at| (now - TimeDelta::seconds(seconds * count * (4 - at) / 4)).format(shape).to_string()).collect()
}
