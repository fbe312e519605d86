//! Content negotiation between a page and JSON, by the quality values of `Accept` (RFC 9110, section 12.5.1).

use actix_web::http::header::{ACCEPT, HeaderMap};

use super::header_list::joined;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    Page,
    Json,
}

/// Every JSON type that Larder sends.
const JSON: [(&str, &str); 3] = [("application", "json"), ("application", "problem+json"), ("application", "health+json")];
const HTML: (&str, &str) = ("text", "html");

/// The representation with the higher quality; JSON if both have the same, because browsers always prefer HTML. `default` for
/// clients that state no preference: without `Accept`, or with `*/*` only.
pub fn preferred(headers: &HeaderMap, default: Representation) -> Representation {
    let text = joined(headers, ACCEPT.as_str());
    let ranges: Vec<MediaRange> = text.split(',').filter_map(MediaRange::parse).collect();
    if !ranges.iter().any(|range| range.specificity(HTML).max(json_specificity(range)).is_some_and(|found| found > 0)) {
        return default;
    }
    let html = quality(&ranges, HTML);
    let json = JSON.iter().map(|media| quality(&ranges, *media)).fold(0.0, f32::max);
    if html > json { Representation::Page } else { Representation::Json }
}

/// Whether the client prefers JSON to a page.
pub fn prefers_json(headers: &HeaderMap) -> bool {
    preferred(headers, Representation::Page) == Representation::Json
}

struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f32,
}

impl<'a> MediaRange<'a> {
    /// A quality that is not a number counts as 1, like a missing one.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .and_then(|(_, value)| value.trim().parse::<f32>().ok())
            .filter(|quality| quality.is_finite());
        Some(Self { kind, subtype, quality: quality.unwrap_or(1.0).clamp(0.0, 1.0) })
    }

    /// 2: names this type; 1: `type/*`; 0: `*/*`; `None`: does not match.
    fn specificity(&self, (kind, subtype): (&str, &str)) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, own_subtype) if own.eq_ignore_ascii_case(kind) && own_subtype.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

fn json_specificity(range: &MediaRange<'_>) -> Option<u8> {
    JSON.iter().filter_map(|media| range.specificity(*media)).max()
}

/// The quality of the most specific range that matches; 0 if none does.
fn quality(ranges: &[MediaRange<'_>], media: (&str, &str)) -> f32 {
    let matching = ranges.iter().filter_map(|range| Some((range.specificity(media)?, range.quality)));
    matching.max_by_key(|(specificity, _)| *specificity).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn of(accept: &[&str], default: Representation) -> Representation {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        preferred(&headers, default)
    }

    #[test]
    fn browsers_receive_the_page() {
        for accept in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
            "text/html, image/gif, image/jpeg, */*; q=.2",
            "text/*, */*;q=0.1",
            "text/html;q=0.5, application/json;q=0.4",
            "text/html, */*;q=0",
        ] {
            for default in [Representation::Page, Representation::Json] {
                assert_eq!(of(&[accept], default), Representation::Page, "{accept}");
            }
        }
    }

    #[test]
    fn programs_receive_json() {
        for accept in [
            "application/json",
            "application/problem+json",
            "application/health+json",
            "application/*",
            "application/json, text/plain, */*",
            "text/html,*/*",
            "*/*, text/html",
            "text/html, application/json",
            "text/html;q=0.9, application/json",
            "text/html;q=0, */*",
            "text/html;q=0.5, application/json;q=high",
        ] {
            for default in [Representation::Page, Representation::Json] {
                assert_eq!(of(&[accept], default), Representation::Json, "{accept}");
            }
        }
        assert_eq!(of(&["text/html;q=0.4", "application/json"], Representation::Page), Representation::Json);
    }

    #[test]
    fn clients_without_a_preference_receive_the_default() {
        for default in [Representation::Page, Representation::Json] {
            for accept in ["*/*", "", "image/png", "text/event-stream", "*/*;q=0.5, text/plain"] {
                assert_eq!(of(&[accept], default), default, "{accept}");
            }
            assert_eq!(of(&[], default), default);
        }
    }
}
