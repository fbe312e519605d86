//! Qdrant 1.10 and later through its REST API: collections, points and search.

mod collection;
mod point;

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::http::{Http, Key, Request, Response};
use crate::config::Secret;

pub use super::http::Error;
pub use collection::{Collection, Distance, Status, Vectors};
pub use point::{Hit, Point, PointId};

const CONNECT: Duration = Duration::from_secs(2);
/// A frozen server must result in a 503 within 5 s.
const READ: Duration = Duration::from_secs(4);
/// Writes wait until the change is searchable.
const WRITE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Qdrant {
    http: Http,
    limit: Option<Duration>,
}

/// The envelope of every response except the health checks.
#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

impl Qdrant {
    /// Opens no connection. Fails if the address or the key is unusable.
    pub fn new(url: &str, key: Option<&Secret>) -> Result<Self, Error> {
        Ok(Self { http: Http::new(url, key.map(|key| Key::Header("api-key", key)), CONNECT)?, limit: None })
    }

    /// The same server with this timeout instead of 4 s for reads and 30 s for writes.
    pub fn with_timeout(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    fn read(&self) -> Duration {
        self.limit.unwrap_or(READ)
    }

    fn write(&self) -> Duration {
        self.limit.unwrap_or(WRITE)
    }

    /// Whether all shards are ready. `NotReady` if some are not.
    pub async fn ready(&self) -> Result<(), Error> {
        let response = self.http.send(Request::get(&["readyz"], self.read())).await?;
        // This endpoint returns plain text, also for errors.
        match (response.status(), response.text()) {
            (200, Some(text)) if text.contains("shards are ready") => Ok(()),
            (200, _) => Err(Error::Protocol("the response does not say that the shards are ready")),
            (503, Some(text)) if text.contains("not ready") => Err(Error::NotReady("some shards are not ready".into())),
            _ => Err(error(&response)),
        }
    }

    pub async fn version(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Root {
            version: String,
        }
        Ok(self.http.send(Request::get(&[], self.read())).await?.json::<Root>()?.version)
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
        let response: Collections = self.send(Request::get(&["collections"], self.read())).await?;
        let mut names: Vec<String> = response.collections.into_iter().map(|collection| collection.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub async fn collection(&self, name: &str) -> Result<Collection, Error> {
        let response: collection::Response = self.send(Request::get(&["collections", name], self.read())).await?;
        response.try_into()
    }

    pub async fn collection_exists(&self, name: &str) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct ExistsResponse {
            exists: bool,
        }
        Ok(self.send::<ExistsResponse>(Request::get(&["collections", name, "exists"], self.read())).await?.exists)
    }

    /// For vectors with `size` dimensions. `Conflict` if the collection exists.
    pub async fn create_collection(&self, name: &str, size: u64, distance: Distance) -> Result<(), Error> {
        let body = json!({"vectors": {"size": size, "distance": distance}});
        self.send::<bool>(Request::put(&["collections", name], &body, self.write())).await.map(drop)
    }

    /// Including its points. `false` if it did not exist.
    pub async fn delete_collection(&self, name: &str) -> Result<bool, Error> {
        match self.send(Request::delete(&["collections", name], self.write())).await {
            Err(Error::NotFound(_)) => Ok(false),
            response => response,
        }
    }

    /// Adds points and replaces existing ones completely. They are searchable when this returns.
    pub async fn upsert(&self, collection: &str, points: &[Point]) -> Result<(), Error> {
        if points.is_empty() {
            return Ok(());
        }
        for point in points {
            require_finite(&point.vector)?;
        }
        let path = ["collections", collection, "points"];
        self.write_and_wait(Request::put(&path, &json!({"points": points}), self.write())).await
    }

    /// Unknown IDs are ignored.
    pub async fn delete_points(&self, collection: &str, ids: &[PointId]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let path = ["collections", collection, "points", "delete"];
        self.write_and_wait(Request::post(&path, &json!({"points": ids}), self.write())).await
    }

    /// The points nearest to `vector`, best first, with their payloads. `filter` uses Qdrant's filter syntax.
    pub async fn search(&self, collection: &str, vector: &[f32], filter: Option<&Value>, limit: usize) -> Result<Vec<Hit>, Error> {
        #[derive(Deserialize)]
        struct SearchResponse {
            points: Vec<Hit>,
        }
        require_finite(vector)?;
        let mut query = Map::new();
        query.insert("query".into(), json!(vector));
        if let Some(filter) = filter {
            query.insert("filter".into(), filter.clone());
        }
        query.insert("limit".into(), json!(limit));
        query.insert("with_payload".into(), json!(true));
        let path = ["collections", collection, "points", "query"];
        Ok(self.send::<SearchResponse>(Request::post(&path, &query, self.read())).await?.points)
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        let response = self.http.send(request).await?;
        if !response.is_success() {
            return Err(error(&response));
        }
        Ok(response.json::<Envelope<T>>()?.result)
    }

    async fn write_and_wait(&self, request: Request<'_>) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Update {
            status: String,
        }
        match self.send::<Update>(request.query("wait", "true")).await?.status.as_str() {
            "completed" => Ok(()),
            _ => Err(Error::NotReady("the write was accepted but not applied yet".into())),
        }
    }
}

/// JSON cannot represent NaN and infinity; they would arrive as null.
fn require_finite(vector: &[f32]) -> Result<(), Error> {
    if vector.iter().all(|number| number.is_finite()) {
        Ok(())
    } else {
        Err(Error::Refused("a vector contains a value that is not a number".into()))
    }
}

fn error(response: &Response) -> Error {
    match response.error() {
        // Older versions report this with status 400.
        Error::Refused(message) if message.contains("already exists") => Error::Conflict(message),
        error => error,
    }
}
