//! Points: a vector, and what is remembered with it.

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

/// A point that was found.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hit {
    pub id: PointId,
    /// Better is higher or lower, by the collection's distance; hits come best first.
    pub score: f32,
    #[serde(default, deserialize_with = "or_nothing")]
    pub payload: Map<String, Value>,
}

fn or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
