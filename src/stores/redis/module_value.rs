//! Values of module types and vector sets: JSON documents as text, others by what their `INFO` command returns.

use redis::Value;

use super::Error;
use super::browse::{BrowseCommands, answer};
use super::value::Elements;

/// Longer documents are not read, since the server sends them whole.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Facts per value.
const MAX_FACTS: usize = 100;

/// The type as the server names it, its name in words, and the command that describes a value.
const MODULE_TYPES: [(&str, &str, &str); 9] = [
    ("ReJSON-RL", "JSON document", "JSON.GET"),
    ("TSDB-TYPE", "time series", "TS.INFO"),
    ("MBbloom--", "Bloom filter", "BF.INFO"),
    ("MBbloomCF", "cuckoo filter", "CF.INFO"),
    ("CMSk-TYPE", "count-min sketch", "CMS.INFO"),
    ("TopK-TYPE", "top-k", "TOPK.INFO"),
    ("TDIS-TYPE", "t-digest", "TDIGEST.INFO"),
    ("vectorset", "vector set", "VINFO"),
    ("bloomfltr", "Bloom filter", "BF.INFO"),
];

impl BrowseCommands<'_> {
    /// [`Elements::Unknown`] for other types, and if the server or the ACL does not allow the command.
    pub(super) async fn module_value(&self, key: &[u8], kind: &str, bytes: Option<u64>) -> Result<Elements, Error> {
        let Some((_, name, command)) = MODULE_TYPES.iter().find(|(known, ..)| *known == kind) else {
            return Ok(Elements::Unknown);
        };
        let is_document = *command == "JSON.GET";
        match bytes {
            Some(bytes) if is_document && bytes > MAX_DOCUMENT => return Ok(Elements::TooLarge(bytes)),
            // The size is not permitted for this user.
            None if is_document => return Ok(Elements::Unknown),
            _ => {}
        }
        let mut request = redis::cmd(command);
        request.arg(key);
        match self.run::<Value>(request).await {
            Ok(value) if is_document => Ok(answer(value).map_or(Elements::Unknown, Elements::Document)),
            Ok(value) => Ok(Elements::Facts(name, facts(value))),
            Err(Error::NotPermitted | Error::Other(_)) => Ok(Elements::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// Names and values alternate.
fn facts(value: Value) -> Vec<(String, String)> {
    let Value::Array(fields) = value else { return vec![("value".to_owned(), text(&value))] };
    let pairs = fields.chunks_exact(2).take(MAX_FACTS);
    pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Nil => "none".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Double(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Okay => "OK".to_owned(),
        Value::Array(items) => items.iter().take(MAX_FACTS).map(text).collect::<Vec<_>>().join(", "),
        _ => "not shown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_any_response() {
        let name = |text: &str| Value::SimpleString(text.into());
        let response = Value::Array(vec![
            name("totalSamples"),
            Value::Int(3),
            name("labels"),
            Value::Array(vec![Value::Array(vec![Value::BulkString(b"sensor".to_vec()), Value::BulkString(b"1".to_vec())])]),
            name("sourceKey"),
            Value::Nil,
            name("without a value"),
        ]);
        let facts = facts(response);
        let expected = [("totalSamples", "3"), ("labels", "sensor, 1"), ("sourceKey", "none")];
        assert_eq!(facts, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
