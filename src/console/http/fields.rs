//! Deserialization of form fields and query parameters with errors that name the field.

use std::fmt;
use std::num::{IntErrorKind, ParseIntError};

use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

/// Errors are sentences; `what` is the noun in them: "field" or "parameter".
pub fn read<T: DeserializeOwned>(what: &str, pairs: Vec<(String, String)>) -> Result<T, String> {
    let pairs = pairs.into_iter().map(|(name, text)| (name.clone(), Field { name, text }));
    T::deserialize(MapDeserializer::<_, FieldError>::new(pairs)).map_err(|error| match error {
        FieldError::Missing(name) => format!("The {what} {name} is missing."),
        FieldError::Twice(name) => format!("The {what} {name} is given twice."),
        FieldError::Wrong { name, must } => format!("The {what} {name} must be {must}."),
        FieldError::Other => format!("A {what} is invalid."),
    })
}

#[derive(Debug)]
enum FieldError {
    Missing(&'static str),
    Twice(&'static str),
    Wrong { name: String, must: &'static str },
    Other,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::Twice(name)
    }
}

struct Field {
    name: String,
    text: String,
}

impl Field {
    fn wrong(self, error: &ParseIntError, signed: bool) -> FieldError {
        let must = match error.kind() {
            IntErrorKind::PosOverflow => "a smaller number",
            IntErrorKind::NegOverflow => "a larger number",
            _ if signed => "a whole number",
            _ => "a whole number, 0 or more",
        };
        FieldError::Wrong { name: self.name, must }
    }
}

impl IntoDeserializer<'_, FieldError> for Field {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident $number:ty)+) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            match self.text.parse::<$number>() {
                Ok(number) => visitor.$visit(number),
                Err(error) => Err(self.wrong(&error, <$number>::MIN != 0)),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Field {
    type Error = FieldError;

    numbers! {
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_string(self.text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Sample {
        name: String,
        length: u64,
        #[serde(default)]
        number: Option<i32>,
    }

    fn sample(fields: &[(&str, &str)]) -> Result<Sample, String> {
        read("field", fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn present_fields_are_read() {
        let found = sample(&[("name", "a"), ("more", "x"), ("length", "18446744073709551615"), ("number", "-3")]).unwrap();
        assert_eq!(found, Sample { name: "a".into(), length: u64::MAX, number: Some(-3) });
        let pairs: Vec<(String, String)> = read("field", vec![("k".into(), "1".into()), ("k".into(), "2".into())]).unwrap();
        assert_eq!(pairs.len(), 2);
    }

    #[test]
    fn an_error_names_the_field() {
        for (fields, why) in [
            (&[("name", "a")][..], "The field length is missing."),
            (&[("name", "a"), ("length", "abc")], "The field length must be a whole number, 0 or more."),
            (&[("name", "a"), ("length", "-1")], "The field length must be a whole number, 0 or more."),
            (&[("name", "a"), ("length", "18446744073709551616")], "The field length must be a smaller number."),
            (&[("name", "a"), ("length", "1"), ("number", "")], "The field number must be a whole number."),
            (&[("name", "a"), ("name", "b"), ("length", "1")], "The field name is given twice."),
        ] {
            assert_eq!(sample(fields), Err(why.to_owned()));
        }
    }
}
