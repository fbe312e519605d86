//! The description of a collection.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;

/// How the similarity of two vectors is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distance {
    Cosine,
    Dot,
    Euclid,
    Manhattan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Fully operational.
    Green,
    /// Operational; optimization is running.
    Yellow,
    /// An operation failed that Qdrant could not recover from.
    Red,
    /// Operational; optimization continues after the next change.
    Grey,
}

/// Counts are approximate, according to Qdrant's documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    pub status: Status,
    /// The optimizer's error, if it failed.
    pub optimizer_error: Option<String>,
    pub points: Option<u64>,
    /// Number of vectors in an index; small collections have none.
    pub indexed_vectors: Option<u64>,
    pub segments: u64,
    pub vectors: Vec<Vectors>,
}

/// A named vector configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Empty for the default vector.
    pub name: String,
    pub size: u64,
    pub distance: Distance,
}

#[derive(Deserialize)]
pub(super) struct Response {
    status: Status,
    optimizer_status: Value,
    points_count: Option<u64>,
    indexed_vectors_count: Option<u64>,
    segments_count: u64,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    vectors: Option<Value>,
}

#[derive(Deserialize)]
struct VectorParams {
    size: u64,
    distance: Distance,
}

impl TryFrom<Response> for Collection {
    type Error = Error;

    fn try_from(response: Response) -> Result<Self, Error> {
        Ok(Self {
            status: response.status,
            optimizer_error: response.optimizer_status.get("error").and_then(Value::as_str).map(str::to_owned),
            points: response.points_count,
            indexed_vectors: response.indexed_vectors_count,
            segments: response.segments_count,
            vectors: vectors(response.config.params.vectors.unwrap_or_default())?,
        })
    }
}

/// Either one unnamed configuration or a map of names; sparse vectors are described elsewhere.
fn vectors(response: Value) -> Result<Vec<Vectors>, Error> {
    let named = match response {
        Value::Null => return Ok(Vec::new()),
        Value::Object(one) if one.get("size").is_some_and(Value::is_u64) => vec![(String::new(), Value::Object(one))],
        Value::Object(many) => many.into_iter().collect(),
        _ => return Err(Error::Protocol("the description of the vectors is invalid")),
    };
    let read = |(name, response)| match serde_json::from_value(response) {
        Ok(VectorParams { size, distance }) => Ok(Vectors { name, size, distance }),
        Err(_) => Err(Error::Protocol("the description of the vectors is invalid")),
    };
    named.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vectors_are_named_or_unnamed() {
        let one = |name: &str, size| Vectors { name: name.into(), size, distance: Distance::Dot };
        assert_eq!(vectors(json!({"size": 4, "distance": "Dot", "on_disk": true})).unwrap(), [one("", 4)]);
        let both = json!({"size": {"size": 1, "distance": "Dot"}, "text": {"size": 2, "distance": "Dot"}});
        assert_eq!(vectors(both).unwrap(), [one("size", 1), one("text", 2)]);
        assert_eq!(vectors(json!({})).unwrap(), []);
        assert_eq!(vectors(Value::Null).unwrap(), []);
        for bad in [json!([4]), json!({"size": 4}), json!({"text": {"size": 2, "distance": "Taxi"}})] {
            assert!(matches!(vectors(bad.clone()), Err(Error::Protocol(_))), "{bad}");
        }
    }
}
