//! How values look on a page. What these return is markup, with every piece of data in it escaped here.

use askama::filters::Safe;
use askama::{Result, Values};
use chrono::{DateTime, Utc};

use super::{assets, filetype, icons, names};
use crate::clock;

/// Narrow and not broken: between a figure and its unit.
pub const THIN: char = '\u{202f}';

/// A whole number of any type.
pub trait Number {
    fn number(&self) -> u64;
}

macro_rules! numbers {
    ($($kind:ty)*) => {$(
        impl Number for $kind {
            fn number(&self) -> u64 {
                u64::try_from(*self).unwrap_or_default()
            }
        }
    )*};
}
numbers!(u64 i64 usize i32 u32);

impl<T: Number> Number for &T {
    fn number(&self) -> u64 {
        (**self).number()
    }
}

/// A point in time.
pub trait Moment {
    fn at(&self) -> DateTime<Utc>;
}

impl Moment for DateTime<Utc> {
    fn at(&self) -> DateTime<Utc> {
        *self
    }
}

impl<T: Moment> Moment for &T {
    fn at(&self) -> DateTime<Utc> {
        (**self).at()
    }
}

/// A time to answer.
pub trait Milliseconds {
    fn milliseconds(&self) -> f64;
}

impl Milliseconds for f64 {
    fn milliseconds(&self) -> f64 {
        *self
    }
}

impl<T: Milliseconds> Milliseconds for &T {
    fn milliseconds(&self) -> f64 {
        (**self).milliseconds()
    }
}

/// Text for HTML bodies and quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

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

/// A figure and its decimal unit: files are measured in KB, MB, GB.
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
    format!("{figure}{THIN}{unit}")
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

/// The time for what happened today, the day for what is older.
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

/// How long something lasts: two units at most.
pub fn duration_text(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds % 86_400 / 3600, seconds % 3600 / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}{THIN}s", seconds.max(0)),
        (0, 0, minutes) => format!("{minutes}{THIN}min"),
        (0, hours, minutes) => format!("{hours}{THIN}h {minutes}{THIN}min"),
        (days, hours, _) => format!("{days}{THIN}d {hours}{THIN}h"),
    }
}

fn time(at: DateTime<Utc>, text: &str) -> Safe<String> {
    let (iso, whole) = (at.format("%Y-%m-%dT%H:%M:%SZ"), at.format("%-d %B %Y, %H:%M:%S UTC"));
    Safe(format!("<time datetime=\"{iso}\" title=\"{whole}\">{}</time>", escape(text)))
}

/// An icon of the set, hidden from those who hear the page: a word or a label stands beside it.
#[askama::filter_fn]
pub fn icon(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(icons::svg(&name.to_string())))
}

/// The address of a static file.
#[askama::filter_fn]
pub fn asset(name: impl std::fmt::Display, _: &dyn Values) -> Result<String> {
    Ok(assets::url(&name.to_string()))
}

/// `6.8 MB`, the exact bytes in the title.
#[askama::filter_fn]
pub fn size(bytes: impl Number, _: &dyn Values) -> Result<Safe<String>> {
    let bytes = bytes.number();
    Ok(Safe(format!("<span title=\"{} bytes\">{}</span>", count_text(bytes), size_text(bytes))))
}

/// `6.8 MB` alone, for attributes and sentences.
#[askama::filter_fn]
pub fn plain_size(bytes: impl Number, _: &dyn Values) -> Result<String> {
    Ok(size_text(bytes.number()))
}

/// The figure of a size, without its unit.
#[askama::filter_fn]
pub fn size_figure(bytes: impl Number, _: &dyn Values) -> Result<String> {
    Ok(size_parts(bytes.number()).0)
}

/// The unit of a size, without its figure.
#[askama::filter_fn]
pub fn size_unit(bytes: impl Number, _: &dyn Values) -> Result<&'static str> {
    Ok(size_parts(bytes.number()).1)
}

/// Milliseconds: `1.8 ms`.
#[askama::filter_fn]
pub fn latency(ms: impl Milliseconds, _: &dyn Values) -> Result<String> {
    let ms = ms.milliseconds();
    Ok(if ms < 10.0 { format!("{ms:.1}{THIN}ms") } else { format!("{ms:.0}{THIN}ms") })
}

/// The first so many characters.
#[askama::filter_fn]
pub fn head(text: impl std::fmt::Display, _: &dyn Values, length: usize) -> Result<String> {
    Ok(text.to_string().chars().take(length).collect())
}

/// `14:06`.
#[askama::filter_fn]
pub fn clock_minute(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &at.at().format("%H:%M").to_string()))
}

/// `14:06:11`.
#[askama::filter_fn]
pub fn clock_second(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &at.at().format("%H:%M:%S").to_string()))
}

/// `6,814,720`.
#[askama::filter_fn]
pub fn count(number: impl Number, _: &dyn Values) -> Result<String> {
    Ok(count_text(number.number()))
}

/// `3 minutes ago`.
#[askama::filter_fn]
pub fn ago(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &ago_text(at.at(), clock::now())))
}

/// `18 Nov 2026`.
#[askama::filter_fn]
pub fn date(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &at.at().format("%-d %b %Y").to_string()))
}

/// `18 Nov 2026, 09:42`.
#[askama::filter_fn]
pub fn moment(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &at.at().format("%-d %b %Y, %H:%M").to_string()))
}

/// `14:32` for today, `18 Nov` before.
#[askama::filter_fn]
pub fn clock_time(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &clock_text(at.at(), clock::now())))
}

/// A name as it is: what cannot be seen is shown as a chip.
#[askama::filter_fn]
pub fn shown(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(names::html(&name.to_string())))
}

/// As `shown`, giving up its middle where there is no room.
#[askama::filter_fn]
pub fn short(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(names::short_html(&name.to_string())))
}

/// A name for attributes: what cannot be seen as its escape.
#[askama::filter_fn]
pub fn spelt(name: impl std::fmt::Display, _: &dyn Values) -> Result<String> {
    Ok(names::text(&name.to_string()))
}

/// The icon of a file by its name.
#[askama::filter_fn]
pub fn file_icon(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(icons::svg(filetype::of(&name.to_string()).icon)))
}

/// The word for a file's type by its name.
#[askama::filter_fn]
pub fn file_word(name: impl std::fmt::Display, _: &dyn Values) -> Result<&'static str> {
    Ok(filetype::of(&name.to_string()).word)
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
            assert_eq!(size_text(bytes).replace(THIN, " "), text);
        }
    }

    #[test]
    fn counts_have_thousands_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_204_331, "1,204,331")] {
            assert_eq!(count_text(number), text);
        }
    }

    #[test]
    fn times_are_said_as_people_say_them() {
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
            assert_eq!(duration_text(seconds).replace(THIN, " "), text);
        }
    }
}
