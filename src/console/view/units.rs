//! Numbers, sizes and times as plain text.

use chrono::{DateTime, Utc};

/// Narrow no-break space, used between a number and its unit.
pub const THIN_SPACE: char = '\u{202f}';

/// With thousands separators.
pub fn count_text(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its decimal unit, used for files: KB, MB, GB.
pub fn size_parts(bytes: u64) -> (String, &'static str) {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return (bytes.to_string(), "B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let figure = if unit == 0 && value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    (figure, UNITS[unit])
}

pub fn size_text(bytes: u64) -> String {
    let (figure, unit) = size_parts(bytes);
    format!("{figure}{THIN_SPACE}{unit}")
}

/// A number and its binary unit, used for memory: KiB, MiB, GiB.
pub fn memory_parts(bytes: u64) -> (String, &'static str) {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return (bytes.to_string(), "B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let figure = match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    (figure, UNITS[unit])
}

pub fn memory_text(bytes: u64) -> String {
    let (figure, unit) = memory_parts(bytes);
    format!("{figure}{THIN_SPACE}{unit}")
}

fn plural(number: i64, unit: &str) -> String {
    if number == 1 { format!("1 {unit} ago") } else { format!("{number} {unit}s ago") }
}

pub fn ago_text(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = now.signed_duration_since(at);
    let days = now.date_naive().signed_duration_since(at.date_naive()).num_days();
    match passed.num_seconds() {
        ..0 => at.format("%-d %b %Y, %H:%M").to_string(),
        0..10 => "just now".to_owned(),
        10..60 => plural(passed.num_seconds(), "second"),
        60..3600 => plural(passed.num_minutes(), "minute"),
        _ if days == 0 || passed.num_hours() < 6 => plural(passed.num_hours(), "hour"),
        _ if days == 1 => "yesterday".to_owned(),
        _ if days < 7 => plural(days, "day"),
        _ => at.format("%-d %b %Y").to_string(),
    }
}

/// The time if `at` is today, else the date.
pub fn clock_text(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let shape = if at.date_naive() == now.date_naive() {
        "%H:%M"
    } else if at.format("%Y").to_string() == now.format("%Y").to_string() {
        "%-d %b"
    } else {
        "%-d %b %Y"
    };
    at.format(shape).to_string()
}

/// A latency: "3.4 ms", "127 ms".
pub fn latency_text(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1}{THIN_SPACE}ms") } else { format!("{ms:.0}{THIN_SPACE}ms") }
}

/// A duration in at most two units: "3 h 1 min".
pub fn duration_text(seconds: i64) -> String {
    // Negative after the clock was set back.
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds % 86_400 / 3600, seconds % 3600 / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}{THIN_SPACE}s"),
        (0, 0, minutes) => format!("{minutes}{THIN_SPACE}min"),
        (0, hours, minutes) => format!("{hours}{THIN_SPACE}h {minutes}{THIN_SPACE}min"),
        (days, hours, _) => format!("{days}{THIN_SPACE}d {hours}{THIN_SPACE}h"),
    }
}

/// A duration in words: `26 minutes`.
pub fn duration_words(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..60 => (seconds.max(0), "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn sizes_are_decimal_and_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (18_700, "18.7 KB"),
            (311_000, "311 KB"),
            (999_960, "1.0 MB"),
            (6_814_720, "6.8 MB"),
            (1_400_000_000, "1.4 GB"),
        ] {
            assert_eq!(size_text(bytes).replace(THIN_SPACE, " "), text);
        }
    }

    #[test]
    fn memory_is_binary_with_three_digits() {
        for (bytes, text) in [
            (412, "412 B"),
            (1024, "1.00 KiB"),
            (18_842, "18.4 KiB"),
            (1_048_570, "1.00 MiB"),
            (1_728_724_337, "1.61 GiB"),
            (327_155_712, "312 MiB"),
        ] {
            assert_eq!(memory_text(bytes).replace(THIN_SPACE, " "), text);
        }
    }

    #[test]
    fn counts_have_thousands_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_204_331, "1,204,331")] {
            assert_eq!(count_text(number), text);
        }
    }

    #[test]
    fn recent_times_are_relative() {
        let now = at("2026-11-20T14:32:00Z");
        for (then, text) in [
            ("2026-11-20T14:31:58Z", "just now"),
            ("2026-11-20T14:31:00Z", "1 minute ago"),
            ("2026-11-20T12:00:00Z", "2 hours ago"),
            ("2026-11-19T09:00:00Z", "yesterday"),
            ("2026-11-18T09:42:00Z", "2 days ago"),
            ("2026-11-03T09:42:00Z", "3 Nov 2026"),
            ("2026-11-20T15:00:00Z", "20 Nov 2026, 15:00"),
        ] {
            assert_eq!(ago_text(at(then), now), text);
        }
        assert_eq!(clock_text(at("2026-11-18T09:42:00Z"), now), "18 Nov");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [(5, "5 s"), (26 * 60, "26 min"), (3 * 3600 + 60, "3 h 1 min"), (6 * 86_400 + 4 * 3600 + 59, "6 d 4 h")] {
            assert_eq!(duration_text(seconds).replace(THIN_SPACE, " "), text);
        }
    }
}
