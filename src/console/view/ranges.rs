//! The time ranges of charts, with their labels and URLs.

use chrono::TimeDelta;

use crate::clock;
use crate::domain::redis_metrics::Range;

const NAMES: [(Range, &str, &str); 3] =
    [(Range::Hour, "hour", "1 hour"), (Range::Day, "day", "24 hours"), (Range::Month, "month", "30 days")];

/// The range in a URL; the last hour by default.
pub fn parse(name: &str) -> Range {
    NAMES.iter().find(|(_, known, _)| *known == name).map_or_else(Range::default, |(range, ..)| *range)
}

/// The name of a range in URLs.
pub fn name(range: Range) -> &'static str {
    NAMES.iter().find(|(known, ..)| *known == range).map_or("", |(_, name, _)| name)
}

/// Label, URL, and whether the range is selected.
pub fn links(base: &str, shown: Range) -> [(&'static str, String, bool); 3] {
    NAMES.map(|(range, name, label)| {
        let url = if range == Range::default() { base.to_owned() } else { format!("{base}?range={name}") };
        (label, url, range == shown)
    })
}

/// Five labels from the oldest interval to now.
pub fn axis_labels(range: Range) -> Vec<String> {
    let (seconds, count) = range.steps();
    let shape = if range == Range::Month { "%-d %b" } else { "%H:%M" };
    let now = clock::now();
    (0..5).map(|at| (now - TimeDelta::seconds(seconds * count * (4 - at) / 4)).format(shape).to_string()).collect()
}
