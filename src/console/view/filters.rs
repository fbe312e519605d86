//! Template filters that format values. They return markup in which all data is escaped.

use askama::filters::Safe;
use askama::{Result, Values};
use chrono::{DateTime, Utc};

use super::escape::escape;
use super::units::{ago_text, clock_text, count_text, latency_text, memory_text, size_parts, size_text};
use crate::clock;
use crate::console::view::{assets, filetype, icons, name_markup};

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

fn time(at: DateTime<Utc>, text: &str) -> Safe<String> {
    let (iso, whole) = (at.format("%Y-%m-%dT%H:%M:%SZ"), at.format("%-d %B %Y, %H:%M:%S UTC"));
    Safe(format!("<time datetime=\"{iso}\" title=\"{whole}\">{}</time>", escape(text)))
}

/// An icon, hidden from screen readers: a word or a label is always next to it.
#[askama::filter_fn]
pub fn icon(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(icons::svg(&name.to_string())))
}

/// The hidden definition of an icon that `icon_ref` shows.
#[askama::filter_fn]
pub fn icon_symbol(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(icons::symbol(&name.to_string())))
}

/// A reference to an icon whose `icon_symbol` is on the page.
#[askama::filter_fn]
pub fn icon_ref(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(icons::reference(&name.to_string())))
}

/// The URL of a static file.
#[askama::filter_fn]
pub fn asset(name: impl std::fmt::Display, _: &dyn Values) -> Result<String> {
    Ok(assets::url(&name.to_string()))
}

/// `6.8 MB`, with the exact number of bytes in the title.
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

/// The number of a size, without its unit.
#[askama::filter_fn]
pub fn size_value(bytes: impl Number, _: &dyn Values) -> Result<String> {
    Ok(size_parts(bytes.number()).0)
}

/// The unit of a size, without its number.
#[askama::filter_fn]
pub fn size_unit(bytes: impl Number, _: &dyn Values) -> Result<&'static str> {
    Ok(size_parts(bytes.number()).1)
}

/// Milliseconds: `1.8 ms`.
#[askama::filter_fn]
pub fn latency(ms: impl Milliseconds, _: &dyn Values) -> Result<String> {
    Ok(latency_text(ms.milliseconds()))
}

/// The first `length` characters.
#[askama::filter_fn]
pub fn first_chars(text: impl std::fmt::Display, _: &dyn Values, length: usize) -> Result<String> {
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

/// `18 Nov 2026, 09:42:07`.
#[askama::filter_fn]
pub fn moment_second(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &at.at().format("%-d %b %Y, %H:%M:%S").to_string()))
}

/// `14:32` for today, `18 Nov` before.
#[askama::filter_fn]
pub fn clock_time(at: impl Moment, _: &dyn Values) -> Result<Safe<String>> {
    Ok(time(at.at(), &clock_text(at.at(), clock::now())))
}

/// A name in which invisible characters are shown as chips.
#[askama::filter_fn]
pub fn display_name(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(name_markup::html(&name.to_string())))
}

/// Like `display_name`, with the middle truncated where space is short.
#[askama::filter_fn]
pub fn truncated_name(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(name_markup::truncated_html(&name.to_string())))
}

/// A name for attributes, with invisible characters escaped.
#[askama::filter_fn]
pub fn escaped_name(name: impl std::fmt::Display, _: &dyn Values) -> Result<String> {
    Ok(name_markup::plain(&name.to_string()))
}

/// Bytes as text, with invalid UTF-8 shown as chips.
#[askama::filter_fn]
pub fn display_bytes(bytes: impl AsRef<[u8]>, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(name_markup::bytes_html(bytes.as_ref())))
}

/// Like `display_bytes`, with the middle truncated where space is short.
#[askama::filter_fn]
pub fn truncated_bytes(bytes: impl AsRef<[u8]>, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(name_markup::bytes_truncated_html(bytes.as_ref())))
}

/// Memory, in binary units: `1.6 GiB`.
#[askama::filter_fn]
pub fn memory(bytes: impl Number, _: &dyn Values) -> Result<String> {
    Ok(memory_text(bytes.number()))
}

/// The icon of a file by its name.
#[askama::filter_fn]
pub fn file_icon(name: impl std::fmt::Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(icons::svg(filetype::of(&name.to_string()).icon)))
}

/// The label of a file's type, by its name.
#[askama::filter_fn]
pub fn file_type(name: impl std::fmt::Display, _: &dyn Values) -> Result<&'static str> {
    Ok(filetype::of(&name.to_string()).label)
}
