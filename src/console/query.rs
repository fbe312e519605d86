//! What a request brings, read only when a handler asks for it: so the role is checked before a parameter
//! is judged or the first byte of a body is read.

use std::future::{Ready, ready};
use std::pin::Pin;

use actix_web::dev::{Payload, UrlEncoded};
use actix_web::error::UrlencodedError;
use actix_web::{FromRequest, HttpRequest};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::error::{Error, Result};
use crate::domain::names::{BucketName, ObjectKey};

/// A thousand keys of 1,024 bytes in base64url, with their ETags, fit.
const FORM_LIMIT: usize = 4 << 20;

/// No page of ours has half as many.
const MOST_PARAMETERS: usize = 32;

/// The raw query string.
pub struct Query(String);

impl FromRequest for Query {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(req.query_string().to_owned())))
    }
}

impl Query {
    /// Decoded strictly: bytes that are not UTF-8, a broken escape or a parameter given twice is a bad request.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let pairs = pairs(&self.0)?;
        let clean = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        actix_web::web::Query::<T>::from_query(&clean)
            .map(actix_web::web::Query::into_inner)
            .map_err(|fault| Error::BadRequest(format!("The address of this page has a parameter that cannot be: {fault}.")))
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    // Each is compared with all before it.
    if query.split('&').count() > MOST_PARAMETERS {
        return Err(Error::BadRequest(format!("The address of this page has more than {MOST_PARAMETERS} parameters.")));
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if pairs.iter().any(|(seen, _)| *seen == name) {
            return Err(Error::BadRequest("The address of this page names a parameter twice.".to_owned()));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// A plus sign is a space: browsers send the fields of a form so. Links of ours never contain one.
fn decode(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let escapes_whole = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)));
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) if escapes_whole => Ok(text.into_owned()),
        _ => Err(Error::BadRequest("The address of this page is not valid UTF-8 in percent-encoding.".to_owned())),
    }
}

type Read<T> = Pin<Box<dyn Future<Output = std::result::Result<T, UrlencodedError>>>>;

/// The body of a form, not read yet.
pub struct Form<T>(Read<T>);

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self(Box::pin(UrlEncoded::new(req, payload).limit(FORM_LIMIT)))))
    }
}

impl<T> Form<T> {
    pub async fn read(self) -> Result<T> {
        self.0.await.map_err(|fault| match fault {
            UrlencodedError::Overflow { .. } => Error::TooLarge("This form is larger than 4 MB. Choose fewer things at once.".to_owned()),
            UrlencodedError::Payload(_) => Error::BadRequest("The form did not arrive whole. Send it again.".to_owned()),
            _ => Error::BadRequest("The form has a field that is missing or cannot be read.".to_owned()),
        })
    }
}

/// The bucket in the path; a name that no bucket can have is not found.
pub struct Bucket(pub BucketName);

impl FromRequest for Bucket {
    type Error = Error;
    type Future = Ready<std::result::Result<Self, Error>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let name = req.match_info().get("bucket").and_then(BucketName::parse);
        ready(name.map(Self).ok_or_else(|| Error::NotFound("No bucket can have this name.".to_owned())))
    }
}

/// The key of a link.
pub fn key(text: String) -> Result<ObjectKey> {
    ObjectKey::parse(text).ok_or_else(|| Error::BadRequest("An object's key has 1 to 1,024 bytes.".to_owned()))
}

/// The key of a form field, in base64url.
pub fn key_of_field(field: &str) -> Result<ObjectKey> {
    key(super::paths::from_field(field)
        .ok_or_else(|| Error::BadRequest("The form names an object in a way that cannot be read.".to_owned()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Sample {
        prefix: String,
        #[serde(default)]
        limit: Option<i32>,
    }

    fn read(query: &str) -> Result<Sample> {
        Query(query.to_owned()).read()
    }

    #[test]
    fn a_query_is_decoded_as_it_was_encoded() {
        assert_eq!(read("prefix=a%2Fb%2B%26+c&limit=5").unwrap(), Sample { prefix: "a/b+& c".into(), limit: Some(5) });
        assert_eq!(read("prefix=a=b").unwrap(), Sample { prefix: "a=b".into(), limit: None });
    }

    #[test]
    fn a_broken_query_is_a_bad_request() {
        for bad in ["prefix=%FF", "prefix=a&prefix=b", "prefix=%2", "prefix=%zz", "prefix=a&limit=x", "prefix=a&pre%66ix=b", ""] {
            assert!(matches!(read(bad), Err(Error::BadRequest(_))), "{bad}");
        }
    }

    #[test]
    fn a_query_of_very_many_parameters_is_a_bad_request() {
        let many = |count: usize| (1..count).fold("prefix=a".to_owned(), |query, at| format!("{query}&p{at}="));
        assert!(read(&many(32)).is_ok());
        assert!(matches!(read(&many(33)), Err(Error::BadRequest(_))));
    }
}
