//! Qdrant over its REST interface, from 1.10 on: collections, points and search.

mod collection;
mod point;

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::http::{Answer, Call, Http, Key};
use crate::config::Secret;

pub use super::http::Error;
pub use collection::{Collection, Distance, Status, Vectors};
pub use point::{Hit, Point, PointId};

const CONNECT: Duration = Duration::from_secs(2);
/// A frozen server must become a 503 within 5 s.
const READ: Duration = Duration::from_secs(4);
/// Writes wait until they can be searched.
const WRITE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Qdrant {
    http: Http,
    limit: Option<Duration>,
}

/// What every answer but the probes' is wrapped in.
#[derive(Deserialize)]
struct Wrapped<T> {
    result: T,
}

impl Qdrant {
    /// Opens nothing. Fails where the address or the key cannot be used at all.
    pub fn new(url: &str, key: Option<&Secret>) -> Result<Self, Error> {
        Ok(Self { http: Http::new(url, key.map(|key| Key::Header("api-key", key)), CONNECT)?, limit: None })
    }

    /// The same server, whose answers may take so long instead of 4 s to read and 30 s to write.
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    fn read(&self) -> Duration {
        self.limit.unwrap_or(READ)
    }

    fn write(&self) -> Duration {
        self.limit.unwrap_or(WRITE)
    }

    /// Whether all shards can be asked. `NotReady` where some cannot yet.
    pub async fn ready(&self) -> Result<(), Error> {
        let answer = self.http.send(Call::get(&["readyz"], self.read())).await?;
        // It speaks plain words here, in refusals as well.
        match (answer.status(), answer.text()) {
            (200, Some(text)) if text.contains("shards are ready") => Ok(()),
            (200, _) => Err(Error::Protocol("it does not say that its shards are ready")),
            (503, Some(text)) if text.contains("not ready") => Err(Error::NotReady("some shards are not ready".into())),
            _ => Err(error(&answer)),
        }
    }

    pub async fn version(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Root {
            version: String,
        }
        Ok(self.http.send(Call::get(&[], self.read())).await?.json::<Root>()?.version)
    }

    /// The names of all collections, sorted.
    pub async fn collections(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Collections {
            collections: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let found: Collections = self.ask(Call::get(&["collections"], self.read())).await?;
        let mut names: Vec<String> = found.collections.into_iter().map(|collection| collection.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub async fn collection(&self, name: &str) -> Result<Collection, Error> {
        let told: collection::Told = self.ask(Call::get(&["collections", name], self.read())).await?;
        told.try_into()
    }

    pub async fn collection_exists(&self, name: &str) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Existence {
            exists: bool,
        }
        Ok(self.ask::<Existence>(Call::get(&["collections", name, "exists"], self.read())).await?.exists)
    }

    /// For vectors of `size` numbers. `Conflict` where there is one of this name.
    pub async fn create_collection(&self, name: &str, size: u64, distance: Distance) -> Result<(), Error> {
        let body = json!({"vectors": {"size": size, "distance": distance}});
        self.ask::<bool>(Call::put(&["collections", name], &body, self.write())).await.map(drop)
    }

    /// With all its points. `false` where there was none of this name.
    pub async fn delete_collection(&self, name: &str) -> Result<bool, Error> {
        match self.ask(Call::delete(&["collections", name], self.write())).await {
            Err(Error::NotFound(_)) => Ok(false),
            answer => answer,
        }
    }

    /// Adds points, and replaces those of the same ids whole. They can be searched when this returns.
    pub async fn upsert(&self, collection: &str, points: &[Point]) -> Result<(), Error> {
        if points.is_empty() {
            return Ok(());
        }
        for point in points {
            only_numbers(&point.vector)?;
        }
        let path = ["collections", collection, "points"];
        self.change(Call::put(&path, &json!({"points": points}), self.write())).await
    }

    /// Ids that are not there are passed over.
    pub async fn delete_points(&self, collection: &str, ids: &[PointId]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let path = ["collections", collection, "points", "delete"];
        self.change(Call::post(&path, &json!({"points": ids}), self.write())).await
    }

    /// The points nearest to `vector`, best first, with their payloads. `filter` is a filter of Qdrant's own language.
    pub async fn search(&self, collection: &str, vector: &[f32], filter: Option<&Value>, limit: usize) -> Result<Vec<Hit>, Error> {
        #[derive(Deserialize)]
        struct Found {
            points: Vec<Hit>,
        }
        only_numbers(vector)?;
        let mut query = Map::new();
        query.insert("query".into(), json!(vector));
        if let Some(filter) = filter {
            query.insert("filter".into(), filter.clone());
        }
        query.insert("limit".into(), json!(limit));
        query.insert("with_payload".into(), json!(true));
        let path = ["collections", collection, "points", "query"];
        Ok(self.ask::<Found>(Call::post(&path, &query, self.read())).await?.points)
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Error> {
        let answer = self.http.send(call).await?;
        if !answer.is_success() {
            return Err(error(&answer));
        }
        Ok(answer.json::<Wrapped<T>>()?.result)
    }

    async fn change(&self, call: Call<'_>) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Update {
            status: String,
        }
        match self.ask::<Update>(call.query("wait", "true")).await?.status.as_str() {
            "completed" => Ok(()),
            _ => Err(Error::NotReady("it has taken the change, but not applied it yet".into())),
        }
    }
}

/// JSON has no word for the others: they would arrive as null.
fn only_numbers(vector: &[f32]) -> Result<(), Error> {
    if vector.iter().all(|number| number.is_finite()) { Ok(()) } else { Err(Error::Refused("a vector holds what is not a number".into())) }
}

fn error(answer: &Answer) -> Error {
    match answer.error() {
        // Older ones say so with status 400.
        Error::Refused(words) if words.contains("already exists") => Error::Conflict(words),
        error => error,
    }
}
