//! Chromium, controlled through a chromedriver owned by this test binary.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine;
use fantoccini::error::CmdError;
use fantoccini::{ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::cleanup::{self, Cleanup};

/// How the browser displays pages.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub script: bool,
    pub dark: bool,
    pub width: u32,
    pub height: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { script: true, dark: false, width: 1280, height: 900 }
    }
}

pub struct Browser {
    pub client: fantoccini::Client,
    driver: &'static Driver,
    session: String,
}

struct Driver {
    url: String,
    directory: PathBuf,
    _cleanup: Cleanup,
}

/// Chromedriver's death signal depends on the thread that starts it, so that thread is kept alive.
fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let (told, hear) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // It uses one port of both IPv4 and IPv6, and exits if another process has taken one of them.
            let (mut child, lines, port) = (0..5).find_map(|_| listening()).expect("chromedriver says its port");
            told.send((port, child.id())).unwrap();
            lines.for_each(drop);
            child.wait()
        });
        let (port, pid) = hear.recv().unwrap();
        let directory = cleanup::directory("browser");
        let cleanup = Cleanup::start(Some(pid), [directory.clone()]);
        Driver { url: format!("http://127.0.0.1:{port}"), directory, _cleanup: cleanup }
    })
}

/// A chromedriver, its output, and its port; `None` if it exits without one.
fn listening() -> Option<(Child, impl Iterator<Item = String>, u16)> {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--", "chromedriver", "--port=0"])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver starts; `make test` installs it");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    match lines.find_map(|line| line.strip_suffix('.')?.rsplit_once("successfully on port ")?.1.parse().ok()) {
        Some(port) => Some((child, lines, port)),
        None => child.wait().ok().and(None),
    }
}

impl Browser {
    pub async fn open(settings: Settings) -> Self {
        let driver = tokio::task::spawn_blocking(driver).await.unwrap();
        let profile = driver.directory.join(uuid::Uuid::now_v7().simple().to_string());
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            "--lang=en",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        arguments.push(format!("--window-size={},{}", settings.width, settings.height));
        let javascript = if settings.script { 1 } else { 2 };
        let capabilities = json!({
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": {
                    "profile.managed_default_content_settings.javascript": javascript,
                    "download.default_directory": driver.directory.join("downloads"),
                    "download.prompt_for_download": false,
                },
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client =
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&driver.url).await.expect("Chromium starts");
        let session = client.session_id().await.unwrap().unwrap();
        let browser = Self { client, driver, session };
        // The window size includes the frame; this sets the viewport, and allows small sizes.
        let metrics = json!({"width": settings.width, "height": settings.height, "deviceScaleFactor": 1, "mobile": false});
        browser.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        browser.set_dark(settings.dark).await;
        browser
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Sets the result of `prefers-color-scheme`.
    pub async fn set_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// The matching element, once it exists.
    pub async fn find(&self, selector: &str) -> fantoccini::elements::Element {
        let found = self.client.wait().for_element(Locator::Css(selector)).await;
        match found {
            Ok(element) => element,
            Err(error) => panic!("{selector} is not on {}: {error}", self.client.current_url().await.unwrap()),
        }
    }

    pub async fn click(&self, selector: &str) {
        self.until_it_holds_still(selector, async |element| element.click().await).await;
    }

    /// Replaces the content of a field.
    pub async fn fill(&self, selector: &str, text: &str) {
        self.until_it_holds_still(selector, async |field| {
            field.clear().await?;
            field.send_keys(text).await
        })
        .await;
    }

    /// A page change may occur between finding an element and using it; Chromium reports it in several ways.
    async fn until_it_holds_still<T>(&self, selector: &str, act: impl AsyncFn(fantoccini::elements::Element) -> Result<T, CmdError>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match act(self.find(selector).await).await {
                Ok(done) => return done,
                Err(error) => assert!(Instant::now() < deadline, "{selector}: {error}"),
            }
        }
    }

    /// Selects files in `<input type=file>`.
    pub async fn choose(&self, selector: &str, files: &[&Path]) {
        let paths: Vec<String> = files.iter().map(|file| file.canonicalize().unwrap().display().to_string()).collect();
        self.find(selector).await.send_keys(&paths.join("\n")).await.unwrap();
    }

    pub async fn text(&self, selector: &str) -> String {
        self.until_it_holds_still(selector, async |element| element.text().await).await
    }

    /// The download directory.
    pub fn downloads(&self) -> PathBuf {
        self.driver.directory.join("downloads")
    }

    /// Saves a screenshot of the whole page as `target/tmp/pictures/<name>.png`.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let answer = self.devtools("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true})).await;
        let png = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{name}.png"));
        std::fs::write(&path, png).unwrap();
        path
    }

    /// Console errors since the last call, including violations of the Content-Security-Policy.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({"type": "browser"})).await;
        let severe = entries.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Console errors except those about pages that the test expected to be rejected.
    pub async fn unexpected_errors(&self) -> Vec<String> {
        self.console_errors().await.into_iter().filter(|line| !line.contains("the server responded with a status of 4")).collect()
    }

    /// Violations found by the axe engine: rule and elements.
    pub async fn axe_violations(&self) -> Vec<String> {
        let versions = std::fs::read_dir(".cache/axe").expect("`make test` fetches axe into .cache/axe");
        let engine = versions.flatten().map(|entry| entry.path().join("axe.min.js")).find(|path| path.is_file()).unwrap();
        self.client.execute(&std::fs::read_to_string(engine).unwrap(), Vec::new()).await.unwrap();
        let run = "const done = arguments[0]; axe.run(document).then(r => done(r.violations), e => done([{id: String(e), nodes: []}]));";
        let violations = self.client.execute_async(run, Vec::new()).await.unwrap();
        let violations = violations.as_array().unwrap().iter().map(|violation| {
            let nodes = violation["nodes"].as_array().unwrap().iter().map(|node| node["html"].as_str().unwrap_or_default());
            format!("{}: {}", violation["id"].as_str().unwrap_or_default(), nodes.collect::<Vec<_>>().join(" | "))
        });
        violations.collect()
    }

    /// A Chrome DevTools Protocol command.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let url = format!("{}/session/{}/{command}", self.driver.url, self.session);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.post(url).header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
        let text = response.text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["value"]["error"].is_null(), "{command}: {text}");
        answer["value"].clone()
    }

    pub async fn close(self) {
        self.client.close().await.unwrap();
    }
}
