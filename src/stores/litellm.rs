//! LiteLLM's proxy: completions and embeddings by OpenAI's interface, for models that it knows by alias.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::{Answer, Call, Http, Key};
use crate::config::Secret;

pub use super::http::Error;

const CONNECT: Duration = Duration::from_secs(2);
/// A frozen server must become a 503 within 5 s.
const READ: Duration = Duration::from_secs(4);
/// Models take their time, and LiteLLM tries again where they fail.
const EMBED: Duration = Duration::from_secs(60);
const COMPLETE: Duration = Duration::from_secs(120);
const EXAMINE: Duration = Duration::from_secs(30);

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
    /// Which model answered, by LiteLLM's word: it may be the one that was fallen back to.
    pub model: String,
    /// The model reached its limit before its end, so the text is cut.
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

/// Models by their providers' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    pub answering: Vec<String>,
    pub failing: Vec<String>,
}

#[derive(Deserialize)]
struct Readiness {
    status: String,
    litellm_version: Option<String>,
}

impl LiteLlm {
    /// Opens nothing. Fails where the address or the key cannot be used at all.
    pub fn new(url: &str, key: Option<&Secret>) -> Result<Self, Error> {
        Ok(Self { http: Http::new(url, key.map(Key::Bearer), CONNECT)?, has_key: key.is_some(), limit: None })
    }

    /// The same proxy, whose answers may take so long instead of 4 s, 60 s for embeddings and 120 s for completions.
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    fn at_most(&self, usual: Duration) -> Duration {
        self.limit.unwrap_or(usual)
    }

    /// Whether the proxy itself can be asked, whatever becomes of its models. The version, where it tells one here.
    pub async fn ready(&self) -> Result<Option<String>, Error> {
        let told: Readiness = self.read(&["health", "readiness"]).await?;
        match told.status.as_str() {
            "healthy" | "connected" => Ok(told.litellm_version),
            _ => Err(Error::NotReady("it says that it is not healthy".into())),
        }
    }

    /// `None` where the proxy does not tell. Unlike `ready` it needs the key.
    pub async fn version(&self) -> Result<Option<String>, Error> {
        match self.read::<Readiness>(&["health", "readiness", "details"]).await {
            Ok(details) => Ok(details.litellm_version),
            // Older ones tell everybody.
            Err(Error::NotFound(_)) => self.ready().await,
            Err(error) => Err(error),
        }
    }

    /// The aliases that our key may use.
    pub async fn models(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Models {
            data: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let models: Models = self.read(&["v1", "models"]).await?;
        Ok(models.data.into_iter().map(|model| model.id).collect())
    }

    /// `Protocol` where the model answers with something else than text.
    pub async fn complete(&self, model: &str, messages: &[Message]) -> Result<Completion, Error> {
        #[derive(Deserialize)]
        struct Completed {
            model: String,
            choices: Vec<Choice>,
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Choice {
            message: Said,
            finish_reason: Option<String>,
        }
        #[derive(Deserialize)]
        struct Said {
            content: Option<String>,
        }
        let body = json!({"model": model, "messages": messages});
        let call = Call::post(&["v1", "chat", "completions"], &body, self.at_most(COMPLETE));
        let completed: Completed = self.ask(call).await?;
        let choice = completed.choices.into_iter().next().ok_or(Error::Protocol("it gives no choice of an answer"))?;
        let text = choice.message.content.ok_or(Error::Protocol("the model gives no text"))?;
        let cut = choice.finish_reason.as_deref() == Some("length");
        Ok(Completion { text, model: completed.model, cut, usage: completed.usage })
    }

    /// A vector for each input, in their order, all of one size. A hundred inputs at once fit into an answer.
    pub async fn embed(&self, model: &str, inputs: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        #[derive(Deserialize)]
        struct Embedded {
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
        let embedded: Embedded = self.ask(Call::post(&["v1", "embeddings"], &body, self.at_most(EMBED))).await?;
        let mut data = embedded.data;
        data.sort_by_key(|one| one.index);
        if data.len() != inputs.len() || data.iter().enumerate().any(|(at, one)| one.index != at) {
            return Err(Error::Protocol("it does not give one vector for each input"));
        }
        let vectors: Vec<Vec<f32>> = data.into_iter().map(|one| one.embedding).collect();
        let size = vectors[0].len();
        if size == 0 || vectors.iter().any(|vector| vector.len() != size || vector.iter().any(|number| !number.is_finite())) {
            return Err(Error::Protocol("its vectors are not of one size, or hold what is not a number"));
        }
        Ok(vectors)
    }

    /// Has the proxy call every model that it knows, which takes time and may cost money.
    pub async fn examine(&self) -> Result<Examined, Error> {
        #[derive(Deserialize)]
        struct Told {
            healthy_endpoints: Vec<Endpoint>,
            unhealthy_endpoints: Vec<Endpoint>,
        }
        #[derive(Deserialize)]
        struct Endpoint {
            #[serde(default)]
            model: String,
        }
        let told: Told = self.ask(Call::get(&["health"], self.at_most(EXAMINE))).await?;
        let names = |endpoints: Vec<Endpoint>| endpoints.into_iter().map(|endpoint| endpoint.model).collect();
        Ok(Examined { answering: names(told.healthy_endpoints), failing: names(told.unhealthy_endpoints) })
    }

    async fn read<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Error> {
        self.ask(Call::get(path, self.at_most(READ))).await
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Error> {
        let answer = self.http.send(call).await?;
        if answer.is_success() { answer.json() } else { Err(error(&answer, self.has_key)) }
    }
}

/// LiteLLM's own refusals and those of the models' providers arrive with the same statuses: words and types tell them apart.
fn error(answer: &Answer, has_key: bool) -> Error {
    let said = answer.said().unwrap_or_default();
    let kind = answer.error_type().unwrap_or_default();
    let lowered = said.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lowered.contains(part));
    let words = || answer.words().unwrap_or_default();
    match answer.status() {
        // What a key that it does not know becomes where LiteLLM has no database to look it up in.
        400 if kind == "no_db_connection" => Error::Auth,
        400 | 404 if has(&["invalid model name", "litellm.notfounderror"]) => Error::NoSuchModel,
        429 => answer.error(),
        408 | 504 => Error::Timeout,
        _ if has(&["litellm.badrequesterror", "litellm.contextwindowexceedederror"]) => Error::Refused(words()),
        _ if said.starts_with("litellm.") => Error::Upstream(words()),
        // Without a database, asking without a key makes it fail before it can say why.
        500 if !has_key && said.is_empty() => Error::Auth,
        500 if kind == "auth_error" || has(&["authentication error", "api key"]) => Error::Auth,
        _ => answer.error(),
    }
}
