//! Points: a vector and its payload.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PointId {
    Number(u64),
    Uuid(Uuid),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    pub id: PointId,
    pub vector: Vec<f32>,
    pub payload: Map<String, Value>,
}

/// A search result.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hit {
    pub id: PointId,
    /// Depending on the distance, higher or lower is better; hits are sorted best first.
    pub score: f32,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub payload: Map<String, Value>,
}

fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
