//! Large uploads in the browser: pause, resume after a reload and after a restart of Larder, rejection of changed files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fantoccini::Locator;
use larder::domain::actor::Role;
use serde_json::json;

use crate::signed_in_at;
use crate::support::{Browser, Settings, TcpSwitch, TestApp, eventually, eventually_within};

const PART: usize = 8 << 20;
/// Parts of a file that is large enough not to finish uploading before the next step on a busy machine.
const MANY_PARTS: usize = 12;

/// A signed-in browser and a directory of files to upload.
struct Uploader {
    browser: Browser,
    directory: tempfile::TempDir,
    /// The upload page.
    page: String,
}

impl Uploader {
    async fn new(app: &TestApp, base: &str) -> Self {
        Self::with(app, base, Settings::default()).await
    }

    async fn with(app: &TestApp, base: &str, settings: Settings) -> Self {
        let browser = signed_in_at(app, base, Role::Editor, settings).await;
        let page = format!("{base}/uploads/new?bucket={}", app.bucket);
        Self { browser, directory: tempfile::tempdir().unwrap(), page }
    }

    fn file(&self, name: &str, length: usize) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, (0..length).map(|at| (at / 253 + at % 251) as u8).collect::<Vec<_>>()).unwrap();
        path
    }

    /// Opens a new upload page and selects a file.
    async fn choose(&self, path: &Path) {
        self.browser.goto(&self.page).await;
        self.browser.find(".actions[data-live]:not([hidden])").await;
        let show = "document.querySelector('input[type=file]').closest('[data-plain]').hidden = false;";
        self.browser.client.execute(show, Vec::new()).await.unwrap();
        self.browser.choose("#upload-files", &[path]).await;
    }

    /// Limits the bytes per second that the browser sends; `None` removes the limit.
    async fn throttle(&self, bytes: Option<u64>) {
        let speed = bytes.map_or(json!(-1), |bytes| json!(bytes));
        self.browser.devtools("Network.enable", json!({})).await;
        let conditions = json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed });
        self.browser.devtools("Network.emulateNetworkConditions", conditions).await;
    }

    async fn shows(&self, selector: &str) -> bool {
        !self.browser.client.find_all(Locator::Css(selector)).await.unwrap().is_empty()
    }

    async fn is_stored(&self) {
        eventually_within(Duration::from_secs(60), "the file is stored", async || {
            assert!(!self.shows(".queue-row.is-failed").await, "{}", self.browser.text(".queue-row").await);
            self.shows(".queue-row.is-stored").await
        })
        .await;
    }
}

/// The number of parts received, also after the file was stored.
async fn parts(app: &TestApp, key: &str) -> i64 {
    let query = "SELECT coalesce(max(parts_done), 0)::bigint FROM files WHERE object_key = $1";
    app.sql().await.query_one(query, &[&key]).await.unwrap().get(0)
}

async fn ready(app: &TestApp, key: &str) -> (usize, String) {
    let query = "SELECT size, encode(sha256, 'hex') FROM files WHERE object_key = $1 AND state = 'ready'";
    let row = app.sql().await.query_one(query, &[&key]).await.unwrap();
    (usize::try_from(row.get::<_, i64>(0)).unwrap(), row.get(1))
}

fn digest(path: &Path) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(std::fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_loses_at_most_the_current_parts() {
    let app = TestApp::start().await;
    let uploader = Uploader::new(&app, &app.base).await;
    let path = uploader.file("big.bin", MANY_PARTS * PART + 1_000);
    uploader.throttle(Some(2 << 20)).await;
    uploader.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part was received", async || parts(&app, "big.bin").await >= 1).await;
    // Leave the page during the upload, as a reload does.
    let before = parts(&app, "big.bin").await;
    uploader.choose(&path).await;
    eventually_within(Duration::from_secs(60), "the upload resumes", async || parts(&app, "big.bin").await > before).await;
    let recorded = "SELECT count(*)::bigint, count(DISTINCT number)::bigint FROM upload_parts";
    let row = app.sql().await.query_one(recorded, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "no part was recorded twice");
    uploader.throttle(None).await;
    uploader.is_stored().await;
    assert_eq!(ready(&app, "big.bin").await, (MANY_PARTS * PART + 1_000, digest(&path)));
    let text = uploader.browser.text(".queue-row.is-stored").await;
    assert!(text.contains("checksum matches") && text.contains(&digest(&path)[..8]), "{text}");
    // The page asks before it is left during an upload, which browsers block without user interaction.
    let errors = uploader.browser.unexpected_errors().await;
    assert!(errors.iter().all(|error| error.contains("beforeunload")), "{errors:?}");
    uploader.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_upload_resumes_and_a_changed_file_starts_over() {
    let app = TestApp::start().await;
    let uploader = Uploader::new(&app, &app.base).await;
    let path = uploader.file("film.bin", MANY_PARTS * PART);
    uploader.throttle(Some(2 << 20)).await;
    uploader.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part was received", async || parts(&app, "film.bin").await >= 1).await;
    uploader.browser.click("[data-pause]").await;
    // Bytes of an incomplete part are discarded, so they must not be shown as kept.
    let shown = async || {
        let row = uploader.browser.text(".queue-row").await;
        (1..MANY_PARTS).find(|parts| {
            let kept = format!("{:.1}\u{202f}MB", (parts * PART) as f64 / 1e6);
            let words = [
                format!("{kept} of 100.7\u{202f}MB"),
                format!("Paused at {}\u{202f}%", parts * 100 / MANY_PARTS),
                format!("{kept} kept until"),
            ];
            words.iter().all(|words| row.contains(words))
        })
    };
    eventually("the upload is paused and shows what is kept", async || shown().await.is_some()).await;
    let before = parts(&app, "film.bin").await;
    assert!(i64::try_from(shown().await.unwrap()).unwrap() <= before, "no more is shown as kept than was received");
    uploader.browser.picture("upload-paused").await;
    uploader.browser.click("[data-resume]").await;
    eventually_within(Duration::from_secs(60), "the upload resumes", async || {
        uploader.shows(".queue-row:not(.is-paused)").await && parts(&app, "film.bin").await > before
    })
    .await;

    // The same name with different content is rejected, not mixed.
    let path = uploader.file("film.bin", 2 * PART);
    uploader.throttle(None).await;
    uploader.choose(&path).await;
    eventually("the changed file is rejected", async || uploader.browser.text(".queue-row").await.contains("different file")).await;
    uploader.browser.click("[data-restart]").await;
    uploader.is_stored().await;
    assert_eq!(ready(&app, "film.bin").await, (2 * PART, digest(&path)));
    uploader.browser.close().await;
}

/// The browser uses one address, behind which one Larder instance is replaced by another.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_the_instance_that_started_it() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let switch = TcpSwitch::start(&app.base).await;
    let uploader = Uploader::new(&app, &switch.base).await;
    let path = uploader.file("long.bin", MANY_PARTS * PART);
    uploader.throttle(Some(2 << 20)).await;
    uploader.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part was received", async || parts(&other, "long.bin").await >= 1).await;
    switch.switch_to(&other.base);
    app.stop().await;
    uploader.throttle(None).await;
    uploader.is_stored().await;
    assert_eq!(ready(&other, "long.bin").await, (MANY_PARTS * PART, digest(&path)));
    uploader.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waiting_for_the_connection_resumes_immediately() {
    let app = TestApp::start().await;
    let switch = TcpSwitch::start(&app.base).await;
    let uploader = Uploader::new(&app, &switch.base).await;
    let path = uploader.file("far.bin", MANY_PARTS * PART);
    uploader.throttle(Some(2 << 20)).await;
    uploader.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part was received", async || parts(&app, "far.bin").await >= 1).await;
    // Without a trigger it would wait for minutes.
    let slow_timers = "const plain = window.setTimeout;
                   window.setTimeout = (run, wait) => plain(run, wait >= 900 ? wait * 200 : wait);";
    uploader.browser.client.execute(slow_timers, Vec::new()).await.unwrap();
    let waits = async || uploader.browser.text(".queue-row").await.contains("Waiting for the connection");
    for (round, again) in ["document.querySelector('[data-now]').click()", "window.dispatchEvent(new Event('online'))"].iter().enumerate() {
        let before = parts(&app, "far.bin").await;
        switch.switch_to("http://127.0.0.1:1");
        switch.close_connections();
        eventually("the upload waits", waits).await;
        eventually("an immediate retry is offered", async || uploader.shows("[data-now]:not([hidden])").await).await;
        uploader.browser.picture(&format!("upload-waits-{round}")).await;
        switch.switch_to(&app.base);
        // Of two parts in transit, one may notice the broken connection later than the other.
        eventually_within(Duration::from_secs(30), "the upload resumes", async || {
            uploader.browser.client.execute(again, Vec::new()).await.unwrap();
            parts(&app, "far.bin").await > before
        })
        .await;
    }
    uploader.throttle(None).await;
    uploader.is_stored().await;
    assert_eq!(ready(&app, "far.bin").await, (MANY_PARTS * PART, digest(&path)));
    uploader.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_rows_fit_on_a_phone() {
    let app = TestApp::start().await;
    let uploader = Uploader::with(&app, &app.base, Settings { width: 390, ..Settings::default() }).await;
    let fits = async |name: &str| {
        uploader.browser.picture(name).await;
        let overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(uploader.browser.client.execute(overflow, Vec::new()).await.unwrap(), 0, "{name}");
        assert_eq!(uploader.browser.axe_violations().await, Vec::<String>::new(), "{name}");
    };
    uploader.choose(&uploader.file("framework-agreement-2026-v7-final.pdf", 2 * PART)).await;
    uploader.is_stored().await;
    fits("upload-stored-390").await;
    uploader.throttle(Some(2 << 20)).await;
    uploader.choose(&uploader.file("film.bin", MANY_PARTS * PART)).await;
    eventually_within(Duration::from_secs(60), "a part was received", async || parts(&app, "film.bin").await >= 1).await;
    uploader.browser.click("[data-pause]").await;
    eventually("the upload is paused", async || uploader.browser.text(".queue-row").await.contains("kept until")).await;
    fits("upload-paused-390").await;
    for (page, name) in
        [("/uploads".to_owned(), "uploads-waiting-390"), (format!("/buckets/{}/unfinished", app.bucket), "unfinished-waiting-390")]
    {
        app.sql().await.execute("UPDATE files SET heartbeat_at = now() - interval '2 minutes'", &[]).await.unwrap();
        uploader.browser.goto(&format!("{}{page}", app.base)).await;
        assert!(uploader.browser.text("tbody tr").await.contains("Waiting to be resumed"));
        fits(name).await;
        // The badge does not touch the text after it.
        let between = "const badge = document.querySelector('.badge').getBoundingClientRect();
                       const words = document.querySelector('.badge + .where').getBoundingClientRect();
                       return words.left - badge.right >= 4 || words.top - badge.bottom >= 0;";
        assert_eq!(uploader.browser.client.execute(between, Vec::new()).await.unwrap(), true, "{name}");
    }
    uploader.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_5000_files_renders_only_visible_rows() {
    let app = TestApp::start().await;
    let uploader = Uploader::new(&app, &app.base).await;
    let first = uploader.file("first.txt", 10);
    uploader.choose(&first).await;
    uploader.is_stored().await;
    let add = "const chosen = new DataTransfer();
               for (let at = 0; at < 5000; at += 1) chosen.items.add(new File([`file ${at}`], `file-${String(at).padStart(4, '0')}.txt`));
               const input = document.querySelector('#upload-files');
               input.files = chosen.files;
               input.dispatchEvent(new Event('change'));";
    uploader.browser.client.execute(add, Vec::new()).await.unwrap();
    let rows = async || uploader.browser.client.find_all(Locator::Css(".queue-row")).await.unwrap().len();
    eventually("the list is shown", async || uploader.browser.text("[data-count]").await == "5,001 files").await;
    assert!((5..80).contains(&rows().await), "{}", rows().await);
    eventually_within(Duration::from_secs(60), "some files are stored", async || {
        uploader.browser.text("[data-sums]").await.contains("0 stored")
    })
    .await;
    std::fs::write("target/tmp/pictures/upload-many.png", uploader.browser.client.screenshot().await.unwrap()).unwrap();
    uploader.browser.client.execute("window.scrollTo(0, document.body.scrollHeight)", Vec::new()).await.unwrap();
    eventually("the last row is shown", async || uploader.browser.text("[data-list]").await.contains("file-4999.txt")).await;
    assert!(rows().await < 80, "{}", rows().await);
    uploader.browser.click("[data-pause-all]").await;
    eventually("all uploads are paused", async || uploader.browser.text("[data-sums]").await.contains("paused")).await;
    uploader.browser.client.execute("window.scrollTo(0, 0)", Vec::new()).await.unwrap();
    uploader.browser.click("[data-cancel-all]").await;
    eventually("all uploads are cancelled", async || uploader.browser.text("[data-sums]").await.contains("cancelled")).await;
    assert_eq!(uploader.browser.unexpected_errors().await, Vec::<String>::new());
    uploader.browser.close().await;
}
