//! What Qdrant tells of a collection.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;

/// How near two vectors are to each other.
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
    /// All is well.
    Green,
    /// It answers, and optimises what it holds.
    Yellow,
    /// Something failed that it cannot mend itself.
    Red,
    /// It answers, and will optimise after the next change.
    Grey,
}

/// Counts are approximate, as Qdrant says itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    pub status: Status,
    /// What the optimiser met, where it failed.
    pub optimizer_error: Option<String>,
    pub points: Option<u64>,
    /// Of all vectors those in an index; small collections have none.
    pub indexed_vectors: Option<u64>,
    pub segments: u64,
    pub vectors: Vec<Vectors>,
}

/// One kind of dense vectors that each point may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Empty for the one kind that needs no name.
    pub name: String,
    pub size: u64,
    pub distance: Distance,
}

#[derive(Deserialize)]
pub(super) struct Told {
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
struct Measures {
    size: u64,
    distance: Distance,
}

impl TryFrom<Told> for Collection {
    type Error = Error;

    fn try_from(told: Told) -> Result<Self, Error> {
        Ok(Self {
            status: told.status,
            optimizer_error: told.optimizer_status.get("error").and_then(Value::as_str).map(str::to_owned),
            points: told.points_count,
            indexed_vectors: told.indexed_vectors_count,
            segments: told.segments_count,
            vectors: vectors(told.config.params.vectors.unwrap_or_default())?,
        })
    }
}

/// One kind without a name, or a map of names; sparse vectors stand elsewhere.
fn vectors(told: Value) -> Result<Vec<Vectors>, Error> {
    let named = match told {
        Value::Null => return Ok(Vec::new()),
        Value::Object(one) if one.get("size").is_some_and(Value::is_u64) => vec![(String::new(), Value::Object(one))],
        Value::Object(many) => many.into_iter().collect(),
        _ => return Err(Error::Protocol("it tells of no vectors as it should")),
    };
    let read = |(name, told)| match serde_json::from_value(told) {
        Ok(Measures { size, distance }) => Ok(Vectors { name, size, distance }),
        Err(_) => Err(Error::Protocol("it tells of no vectors as it should")),
    };
    named.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vectors_have_a_name_or_need_none() {
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
