//! LiteLLM proxy: completions and embeddings through the OpenAI API, for models that it knows by alias.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::{Http, Key, Request, Response};
use crate::config::Secret;

pub use super::http::Error;

const CONNECT: Duration = Duration::from_secs(2);
/// A frozen server must result in a 503 within 5 s.
const READ: Duration = Duration::from_secs(4);
/// Models are slow, and LiteLLM retries failed calls.
const EMBED: Duration = Duration::from_secs(60);
const COMPLETE: Duration = Duration::from_secs(120);
const CHECK_MODELS: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct LiteLlm {
    http: Http,
    has_key: bool,
    limit: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// The model that answered, as reported by LiteLLM; it may be a fallback.
    pub model: String,
    /// The model reached its output limit, so the text is truncated.
    pub cut: bool,
    pub usage: Option<Usage>,
}

/// In tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Usage {
    #[serde(rename = "prompt_tokens")]
    pub prompt: u64,
    #[serde(rename = "completion_tokens")]
    pub completion: u64,
    #[serde(rename = "total_tokens")]
    pub total: u64,
}

/// Model names as the providers use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelCheck {
    pub healthy: Vec<String>,
    pub unhealthy: Vec<String>,
}

#[derive(Deserialize)]
struct Readiness {
    status: String,
    litellm_version: Option<String>,
}

impl LiteLlm {
    /// Opens no connection. Fails if the address or the key is unusable.
    pub fn new(url: &str, key: Option<&Secret>) -> Result<Self, Error> {
        Ok(Self { http: Http::new(url, key.map(Key::Bearer), CONNECT)?, has_key: key.is_some(), limit: None })
    }

    /// The same proxy with this timeout instead of 4 s, 60 s for embeddings and 120 s for completions.
    pub fn with_timeout(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    fn timeout(&self, usual: Duration) -> Duration {
        self.limit.unwrap_or(usual)
    }

    /// Whether the proxy itself is ready, regardless of its models. Returns the version if it is reported here.
    pub async fn ready(&self) -> Result<Option<String>, Error> {
        let response: Readiness = self.read(&["health", "readiness"]).await?;
        match response.status.as_str() {
            "healthy" | "connected" => Ok(response.litellm_version),
            _ => Err(Error::NotReady("it reports that it is unhealthy".into())),
        }
    }

    /// `None` if the proxy does not report it. Unlike `ready`, this needs the key.
    pub async fn version(&self) -> Result<Option<String>, Error> {
        match self.read::<Readiness>(&["health", "readiness", "details"]).await {
            Ok(details) => Ok(details.litellm_version),
            // Older versions report it without a key.
            Err(Error::NotFound(_)) => self.ready().await,
            Err(error) => Err(error),
        }
    }

    /// The aliases that this key may use.
    pub async fn models(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Models {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let models: Models = self.read(&["v1", "models"]).await?;
        Ok(models.data.into_iter().map(|model| model.id).collect())
    }

    /// `Protocol` if the model returns something other than text.
    pub async fn complete(&self, model: &str, messages: &[Message]) -> Result<Completion, Error> {
        #[derive(Deserialize)]
        struct CompletionResponse {
            model: String,
            choices: Vec<Choice>,
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Choice {
            message: ResponseMessage,
            finish_reason: Option<String>,
        }
        #[derive(Deserialize)]
        struct ResponseMessage {
            content: Option<String>,
        }
        let body = json!({"model": model, "messages": messages});
        let request = Request::post(&["v1", "chat", "completions"], &body, self.timeout(COMPLETE));
        let response: CompletionResponse = self.send(request).await?;
        let choice = response.choices.into_iter().next().ok_or(Error::Protocol("the response contains no choice"))?;
        let text = choice.message.content.ok_or(Error::Protocol("the model returned no text"))?;
        let cut = choice.finish_reason.as_deref() == Some("length");
        Ok(Completion { text, model: response.model, cut, usage: response.usage })
    }

    /// One vector per input, in input order, all of the same size. 100 inputs fit into one response.
    pub async fn embed(&self, model: &str, inputs: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        #[derive(Deserialize)]
        struct EmbeddingsResponse {
            data: Vec<Embedding>,
        }
        #[derive(Deserialize)]
        struct Embedding {
            index: usize,
            embedding: Vec<f32>,
        }
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let body = json!({"model": model, "input": inputs});
        let response: EmbeddingsResponse = self.send(Request::post(&["v1", "embeddings"], &body, self.timeout(EMBED))).await?;
        let mut data = response.data;
        data.sort_by_key(|one| one.index);
        if data.len() != inputs.len() || data.iter().enumerate().any(|(at, one)| one.index != at) {
            return Err(Error::Protocol("the response does not contain one vector per input"));
        }
        let vectors: Vec<Vec<f32>> = data.into_iter().map(|one| one.embedding).collect();
        let size = vectors[0].len();
        if size == 0 || vectors.iter().any(|vector| vector.len() != size || vector.iter().any(|number| !number.is_finite())) {
            return Err(Error::Protocol("the vectors differ in size or contain a value that is not a number"));
        }
        Ok(vectors)
    }

    /// Makes the proxy request every configured model. This takes time and may cost money.
    pub async fn check_models(&self) -> Result<ModelCheck, Error> {
        #[derive(Deserialize)]
        struct HealthResponse {
            healthy_endpoints: Vec<Endpoint>,
            unhealthy_endpoints: Vec<Endpoint>,
        }
        #[derive(Deserialize)]
        struct Endpoint {
            #[serde(default)]
            model: String,
        }
        let response: HealthResponse = self.send(Request::get(&["health"], self.timeout(CHECK_MODELS))).await?;
        let names = |endpoints: Vec<Endpoint>| endpoints.into_iter().map(|endpoint| endpoint.model).collect();
        Ok(ModelCheck { healthy: names(response.healthy_endpoints), unhealthy: names(response.unhealthy_endpoints) })
    }

    async fn read<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Error> {
        self.send(Request::get(path, self.timeout(READ))).await
    }

    async fn send<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        let response = self.http.send(request).await?;
        if response.is_success() { response.json() } else { Err(error(&response, self.has_key)) }
    }
}

/// Errors of LiteLLM and of model providers share status codes and are distinguished by message and type.
fn error(response: &Response, has_key: bool) -> Error {
    let raw_message = response.raw_message().unwrap_or_default();
    let kind = response.error_type().unwrap_or_default();
    let lower_case = raw_message.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower_case.contains(part));
    let message = || response.message().unwrap_or_default();
    match response.status() {
        // The result of an unknown key if LiteLLM has no database.
        400 if kind == "no_db_connection" => Error::Auth,
        400 | 404 if has(&["invalid model name", "litellm.notfounderror"]) => Error::NoSuchModel,
        429 => response.error(),
        408 | 504 => Error::Timeout,
        _ if has(&["litellm.badrequesterror", "litellm.contextwindowexceedederror"]) => Error::Refused(message()),
        _ if raw_message.starts_with("litellm.") => Error::Upstream(message()),
        // Without a database, a request without a key fails before LiteLLM can report why.
        500 if !has_key && raw_message.is_empty() => Error::Auth,
        500 if kind == "auth_error" || has(&["authentication error", "api key"]) => Error::Auth,
        _ => response.error(),
    }
}
