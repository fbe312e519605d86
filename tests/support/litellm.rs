//! A real LiteLLM proxy with the shipped configuration, plus models that need no provider.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::json;
use serde_yaml_ng::Value;

use super::cleanup::{self, Cleanup};
use super::{HttpStub, Reply};

/// Its imports take most of a minute on a busy machine.
const START: Duration = Duration::from_secs(180);

pub struct LiteLlmServer {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    /// Receives the requests to the provider of `broken-*` and `embedding-real`.
    pub provider: HttpStub,
    _process: Child,
    _cleanup: Cleanup,
}

impl LiteLlmServer {
    pub const KEY: &str = "sk-of-the-tests-4c1b9e7750d2";
    /// The response of `chat-mock`.
    pub const SAYS: &str = "As the test wants it.";

    /// The shared instance of this test binary.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<LiteLlmServer> = OnceLock::new();
        tokio::task::spawn_blocking(|| SHARED.get_or_init(Self::start)).await.unwrap()
    }

    fn start() -> Self {
        let provider = HttpStub::new(|asked| provide(&asked.json()));
        let directory = cleanup::directory("litellm");
        let config = directory.join("config.yaml");
        std::fs::write(&config, serde_yaml_ng::to_string(&configuration(&provider.base)).unwrap()).unwrap();
        let log = directory.join("log");
        let output = std::fs::File::create(&log).unwrap();
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/litellm/bin");
        let process = Command::new(bin.join("python"))
            .arg(bin.join("litellm"))
            .arg("--config")
            .arg(&config)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &directory)
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_MASTER_KEY", Self::KEY)
            .envs([("OPENAI_API_KEY", "none"), ("ANTHROPIC_API_KEY", "none")])
            .current_dir(&directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        let mut process = process.expect("LiteLLM is there; `.ci/install test` installs it");
        // Created before waiting, so that aborted tests leave nothing behind.
        let cleanup = Cleanup::start(Some(process.id()), [directory]);
        let deadline = Instant::now() + START;
        loop {
            let mut said = String::new();
            std::fs::File::open(&log).unwrap().read_to_string(&mut said).unwrap();
            if let Some((_, rest)) = said.split_once("Uvicorn running on ") {
                let base = rest.split_whitespace().next().unwrap().to_owned();
                return Self { base, provider, _process: process, _cleanup: cleanup };
            }
            assert!(process.try_wait().unwrap().is_none(), "LiteLLM ended: {said}");
            assert!(Instant::now() < deadline, "LiteLLM does not start within {START:?}: {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn configuration(provider: &str) -> Value {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/litellm/config.yaml");
    let mut config: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(shipped).unwrap()).unwrap();
    let models = config["model_list"].as_sequence_mut().unwrap();
    let mut add = |name: &str, parameters: serde_json::Value| {
        models.push(serde_yaml_ng::to_value(json!({"model_name": name, "litellm_params": parameters})).unwrap());
    };
    add("chat-mock", json!({"model": "openai/mock", "api_key": "none", "mock_response": LiteLlmServer::SAYS}));
    add("embedding-mock", json!({"model": "openai/mock-embedding", "api_key": "none", "mock_response": "[0.1, 0.2]"}));
    let real = |model: &str| json!({"model": format!("openai/{model}"), "api_key": "none", "api_base": format!("{provider}/v1"), "max_retries": 0});
    add("embedding-real", real("embedder"));
    for status in [400, 401, 404, 429, 500, 503] {
        add(&format!("broken-{status}"), real(&status.to_string()));
    }
    // A failed model would otherwise be put on cooldown and be rejected for another reason.
    config["router_settings"]["disable_cooldowns"] = true.into();
    config["router_settings"]["num_retries"] = 0.into();
    config
}

/// Responds like OpenAI: vectors for the model `embedder`; models named after a status are rejected with it.
fn provide(asked: &serde_json::Value) -> Reply {
    if let Some(status) = asked["model"].as_str().and_then(|model| model.parse().ok()) {
        return Reply::Json(status, json!({"error": {"message": "The provider is unwell.", "type": "x", "code": null, "param": null}}));
    }
    let inputs = asked["input"].as_array().unwrap();
    let vector = |at: usize| json!({"object": "embedding", "index": at, "embedding": [at as f64, -1.25, 0.1]});
    // Providers may return them in any order.
    let data: Vec<_> = (0..inputs.len()).rev().map(vector).collect();
    Reply::Json(200, json!({"object": "list", "model": "embedder", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}))
}
