//! The objects that a form names, each with the ETag that was shown.

use super::Chosen;
use crate::console::http::error::{Error, Result};
use crate::console::http::query;
use crate::console::view::units;
use crate::domain::names::ObjectKey;
use crate::domain::objects::ObjectToDelete;

/// The most objects that one page of the browser can select.
const MAX_OBJECTS: usize = 1000;
/// Stores use ETags of 32 to 40 characters.
const MAX_ETAG_LENGTH: usize = 128;

/// The fields of the form: alternating `k` and `etag`, or checkboxes with both.
#[derive(Debug, Default)]
pub(super) struct DeletionForm {
    pub chosen: Vec<Chosen>,
    pub confirmed: bool,
    pub typed: String,
}

impl DeletionForm {
    pub fn read(fields: Vec<(String, String)>) -> Result<Self> {
        let mut form = Self::default();
        let mut waiting: Option<ObjectKey> = None;
        let only = fields.iter().any(|(name, _)| name == "only");
        for (name, value) in fields {
            match name.as_str() {
                "confirm" => form.confirmed = value == "1",
                "name" => form.typed = value,
                // The button of one row: checkboxes are ignored.
                "only" => form.chosen.push(Self::pair(&value)?),
                "pair" if !only => form.chosen.push(Self::pair(&value)?),
                "k" if !only && waiting.is_none() => waiting = Some(query::key_of_field(&value)?),
                "etag" if !only => match waiting.take() {
                    Some(key) => form.chosen.push(Chosen { target: ObjectToDelete { key, etag: etag(&value)? }, size: None }),
                    None => return Err(missing_etag()),
                },
                "k" if !only => return Err(missing_etag()),
                _ => {}
            }
        }
        if waiting.is_some() {
            return Err(missing_etag());
        }
        if form.chosen.len() > MAX_OBJECTS {
            return Err(Error::TooLarge(format!("At most {} objects can be deleted at a time.", units::count_text(MAX_OBJECTS as u64))));
        }
        Ok(form)
    }

    fn pair(value: &str) -> Result<Chosen> {
        let mut parts = value.splitn(3, ':');
        match (parts.next(), parts.next()) {
            (Some(key), Some(seen)) if !seen.is_empty() => {
                let size = parts.next().and_then(|size| size.parse().ok());
                Ok(Chosen { target: ObjectToDelete { key: query::key_of_field(key)?, etag: etag(seen)? }, size })
            }
            _ => Err(missing_etag()),
        }
    }
}

/// The ETag is sent in a header, so it must be a valid header value.
fn etag(seen: &str) -> Result<String> {
    let etag = seen.trim_matches('"');
    let plausible = !etag.is_empty() && etag.len() <= MAX_ETAG_LENGTH && etag.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if plausible { Ok(etag.to_owned()) } else { Err(missing_etag()) }
}

fn missing_etag() -> Error {
    Error::BadRequest("Every object to delete must come with the ETag that was shown.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::view::paths;

    fn form(fields: &[(&str, &str)]) -> Result<DeletionForm> {
        DeletionForm::read(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn chosen(form: &DeletionForm) -> Vec<(&str, &str)> {
        form.chosen.iter().map(|one| (one.target.key.as_str(), one.target.etag.as_str())).collect()
    }

    #[test]
    fn keys_and_etags_alternate_or_come_in_pairs() {
        let (a, b) = (paths::field("a"), paths::field("b\n"));
        let fields = [("k", a.as_str()), ("etag", "\"1\""), ("k", &b), ("etag", "2-3"), ("confirm", "1")];
        let read = form(&fields).unwrap();
        assert_eq!(chosen(&read), [("a", "1"), ("b\n", "2-3")]);
        assert!(read.confirmed);
        let pair = format!("{b}:2-3:512");
        let read = form(&[("pair", &pair)]).unwrap();
        assert_eq!((chosen(&read), read.chosen[0].size), (vec![("b\n", "2-3")], Some(512)));
    }

    #[test]
    fn the_button_of_a_row_deletes_only_that_row() {
        let (a, b) = (format!("{}:1:1", paths::field("a")), format!("{}:2:1", paths::field("b")));
        assert_eq!(chosen(&form(&[("pair", &a), ("only", &b)]).unwrap()), [("b", "2")]);
    }

    #[test]
    fn an_object_without_its_etag_is_a_bad_request() {
        let a = paths::field("a");
        let fields: [&[(&str, &str)]; 4] = [&[("k", &a)], &[("k", &a), ("k", &a), ("etag", "1")], &[("etag", "1")], &[("pair", &a)]];
        for fields in fields {
            assert!(matches!(form(fields), Err(Error::BadRequest(_))), "{fields:?}");
        }
    }

    #[test]
    fn an_invalid_etag_is_a_bad_request() {
        let key = paths::field("a");
        assert!(form(&[("k", &key), ("etag", &"e".repeat(128))]).is_ok());
        for etag in ["e".repeat(129), "a\nb".to_owned(), "a\0".to_owned(), "é".to_owned(), "\"\"".to_owned()] {
            let pair = format!("{key}:{etag}:1");
            assert!(matches!(form(&[("k", &key), ("etag", &etag)]), Err(Error::BadRequest(_))), "{etag:?}");
            assert!(matches!(form(&[("pair", &pair)]), Err(Error::BadRequest(_))), "{etag:?}");
        }
    }
}
