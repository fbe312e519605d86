//! Large files in the browser: paused, gone on with after a reload and after a restart of Larder, refused when changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fantoccini::Locator;
use larder::domain::actor::Role;
use serde_json::json;

use crate::signed_in_at;
use crate::support::{Browser, Settings, TcpSwitch, TestApp, eventually, eventually_within};

const PART: usize = 8 << 20;
/// Of a file that does not arrive before a busy machine takes its next step.
const MANY: usize = 12;

/// Somebody at a browser, with files to upload.
struct Desk {
    browser: Browser,
    directory: tempfile::TempDir,
    /// The upload page.
    page: String,
}

impl Desk {
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

    /// Opens the upload page anew and chooses a file.
    async fn choose(&self, path: &Path) {
        self.browser.goto(&self.page).await;
        self.browser.find(".actions[data-live]:not([hidden])").await;
        let show = "document.querySelector('input[type=file]').closest('[data-plain]').hidden = false;";
        self.browser.client.execute(show, Vec::new()).await.unwrap();
        self.browser.choose("#upload-files", &[path]).await;
    }

    /// Bytes a second that the browser may send; without, as many as it can.
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

/// How many parts of it have arrived, also where it has been stored meanwhile.
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
async fn a_reload_and_a_restart_cost_no_more_than_a_part() {
    let app = TestApp::start().await;
    let desk = Desk::new(&app, &app.base).await;
    let path = desk.file("big.bin", MANY * PART + 1_000);
    desk.throttle(Some(2 << 20)).await;
    desk.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part has arrived", async || parts(&app, "big.bin").await >= 1).await;
    // The page is left in the middle, as by a reload.
    let before = parts(&app, "big.bin").await;
    desk.choose(&path).await;
    eventually_within(Duration::from_secs(60), "it goes on", async || parts(&app, "big.bin").await > before).await;
    let recorded = "SELECT count(*)::bigint, count(DISTINCT number)::bigint FROM upload_parts";
    let row = app.sql().await.query_one(recorded, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "no part was recorded twice");
    desk.throttle(None).await;
    desk.is_stored().await;
    assert_eq!(ready(&app, "big.bin").await, (MANY * PART + 1_000, digest(&path)));
    let text = desk.browser.text(".queue-row.is-stored").await;
    assert!(text.contains("checksum matches") && text.contains(&digest(&path)[..8]), "{text}");
    // The page asks before it is left in the middle, which a browser that nobody has touched does not let it.
    let errors = desk.browser.unexpected_errors().await;
    assert!(errors.iter().all(|error| error.contains("beforeunload")), "{errors:?}");
    desk.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_upload_goes_on_and_a_changed_file_starts_over() {
    let app = TestApp::start().await;
    let desk = Desk::new(&app, &app.base).await;
    let path = desk.file("film.bin", MANY * PART);
    desk.throttle(Some(2 << 20)).await;
    desk.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part has arrived", async || parts(&app, "film.bin").await >= 1).await;
    desk.browser.click("[data-pause]").await;
    // Bytes of a part that is cut off are not kept, so they are not said to be.
    let shown = async || {
        let row = desk.browser.text(".queue-row").await;
        (1..MANY).find(|parts| {
            let kept = format!("{:.1}\u{202f}MB", (parts * PART) as f64 / 1e6);
            let words =
                [format!("{kept} of 100.7\u{202f}MB"), format!("Paused at {}\u{202f}%", parts * 100 / MANY), format!("{kept} kept until")];
            words.iter().all(|words| row.contains(words))
        })
    };
    eventually("it is paused and says what is kept", async || shown().await.is_some()).await;
    let before = parts(&app, "film.bin").await;
    assert!(i64::try_from(shown().await.unwrap()).unwrap() <= before, "no more is said to be kept than is");
    desk.browser.picture("upload-paused").await;
    desk.browser.click("[data-resume]").await;
    eventually_within(Duration::from_secs(60), "it goes on", async || {
        desk.shows(".queue-row:not(.is-paused)").await && parts(&app, "film.bin").await > before
    })
    .await;

    // The same name, other bytes: said, and not mixed.
    let path = desk.file("film.bin", 2 * PART);
    desk.throttle(None).await;
    desk.choose(&path).await;
    eventually("it is refused", async || desk.browser.text(".queue-row").await.contains("another file")).await;
    desk.browser.click("[data-anew]").await;
    desk.is_stored().await;
    assert_eq!(ready(&app, "film.bin").await, (2 * PART, digest(&path)));
    desk.browser.close().await;
}

/// The browser goes through one address, behind which one Larder ends and another takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlives_the_larder_that_it_began_at() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let switch = TcpSwitch::start(&app.base).await;
    let desk = Desk::new(&app, &switch.base).await;
    let path = desk.file("long.bin", MANY * PART);
    desk.throttle(Some(2 << 20)).await;
    desk.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part has arrived", async || parts(&other, "long.bin").await >= 1).await;
    switch.switch_to(&other.base);
    app.stop().await;
    desk.throttle(None).await;
    desk.is_stored().await;
    assert_eq!(ready(&other, "long.bin").await, (MANY * PART, digest(&path)));
    desk.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_connection_goes_on_as_soon_as_it_is_back() {
    let app = TestApp::start().await;
    let switch = TcpSwitch::start(&app.base).await;
    let desk = Desk::new(&app, &switch.base).await;
    let path = desk.file("far.bin", MANY * PART);
    desk.throttle(Some(2 << 20)).await;
    desk.choose(&path).await;
    eventually_within(Duration::from_secs(60), "a part has arrived", async || parts(&app, "far.bin").await >= 1).await;
    // Left to itself it would wait for minutes.
    let patient = "const plain = window.setTimeout;
                   window.setTimeout = (run, wait) => plain(run, wait >= 900 ? wait * 200 : wait);";
    desk.browser.client.execute(patient, Vec::new()).await.unwrap();
    let waits = async || desk.browser.text(".queue-row").await.contains("Waiting for the connection");
    for (round, again) in ["document.querySelector('[data-now]').click()", "window.dispatchEvent(new Event('online'))"].iter().enumerate() {
        let before = parts(&app, "far.bin").await;
        switch.switch_to("http://127.0.0.1:1");
        switch.close_connections();
        eventually("it waits", waits).await;
        eventually("it can be hurried", async || desk.shows("[data-now]:not([hidden])").await).await;
        desk.browser.picture(&format!("upload-waits-{round}")).await;
        switch.switch_to(&app.base);
        // Of two parts that travel, one may hear of its broken connection later than the other.
        eventually_within(Duration::from_secs(30), "it goes on", async || {
            desk.browser.client.execute(again, Vec::new()).await.unwrap();
            parts(&app, "far.bin").await > before
        })
        .await;
    }
    desk.throttle(None).await;
    desk.is_stored().await;
    assert_eq!(ready(&app, "far.bin").await, (MANY * PART, digest(&path)));
    desk.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_row_fits_a_phone() {
    let app = TestApp::start().await;
    let desk = Desk::with(&app, &app.base, Settings { width: 390, ..Settings::default() }).await;
    let fits = async |name: &str| {
        desk.browser.picture(name).await;
        let overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(desk.browser.client.execute(overflow, Vec::new()).await.unwrap(), 0, "{name}");
        assert_eq!(desk.browser.axe_violations().await, Vec::<String>::new(), "{name}");
    };
    desk.choose(&desk.file("framework-agreement-2026-v7-final.pdf", 2 * PART)).await;
    desk.is_stored().await;
    fits("upload-stored-390").await;
    desk.throttle(Some(2 << 20)).await;
    desk.choose(&desk.file("film.bin", MANY * PART)).await;
    eventually_within(Duration::from_secs(60), "a part has arrived", async || parts(&app, "film.bin").await >= 1).await;
    desk.browser.click("[data-pause]").await;
    eventually("it is paused", async || desk.browser.text(".queue-row").await.contains("kept until")).await;
    fits("upload-paused-390").await;
    for (page, name) in
        [("/uploads".to_owned(), "uploads-waiting-390"), (format!("/buckets/{}/unfinished", app.bucket), "unfinished-waiting-390")]
    {
        app.sql().await.execute("UPDATE files SET heartbeat_at = now() - interval '2 minutes'", &[]).await.unwrap();
        desk.browser.goto(&format!("{}{page}", app.base)).await;
        assert!(desk.browser.text("tbody tr").await.contains("Waiting to be resumed"));
        fits(name).await;
        // The badge does not touch the words after it.
        let between = "const badge = document.querySelector('.badge').getBoundingClientRect();
                       const words = document.querySelector('.badge + .where').getBoundingClientRect();
                       return words.left - badge.right >= 4 || words.top - badge.bottom >= 0;";
        assert_eq!(desk.browser.client.execute(between, Vec::new()).await.unwrap(), true, "{name}");
    }
    desk.browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_files_do_not_fill_the_document() {
    let app = TestApp::start().await;
    let desk = Desk::new(&app, &app.base).await;
    let first = desk.file("first.txt", 10);
    desk.choose(&first).await;
    desk.is_stored().await;
    let add = "const chosen = new DataTransfer();
               for (let at = 0; at < 5000; at += 1) chosen.items.add(new File([`file ${at}`], `file-${String(at).padStart(4, '0')}.txt`));
               const input = document.querySelector('#upload-files');
               input.files = chosen.files;
               input.dispatchEvent(new Event('change'));";
    desk.browser.client.execute(add, Vec::new()).await.unwrap();
    let rows = async || desk.browser.client.find_all(Locator::Css(".queue-row")).await.unwrap().len();
    eventually("the list is shown", async || desk.browser.text("[data-count]").await == "5,001 files").await;
    assert!((5..80).contains(&rows().await), "{}", rows().await);
    eventually_within(Duration::from_secs(60), "some are stored", async || desk.browser.text("[data-sums]").await.contains("0 stored"))
        .await;
    std::fs::write("target/tmp/pictures/upload-many.png", desk.browser.client.screenshot().await.unwrap()).unwrap();
    desk.browser.client.execute("window.scrollTo(0, document.body.scrollHeight)", Vec::new()).await.unwrap();
    eventually("the last row is there", async || desk.browser.text("[data-list]").await.contains("file-4999.txt")).await;
    assert!(rows().await < 80, "{}", rows().await);
    desk.browser.click("[data-pause-all]").await;
    eventually("all pause", async || desk.browser.text("[data-sums]").await.contains("paused")).await;
    desk.browser.client.execute("window.scrollTo(0, 0)", Vec::new()).await.unwrap();
    desk.browser.click("[data-cancel-all]").await;
    eventually("all are cancelled", async || desk.browser.text("[data-sums]").await.contains("cancelled")).await;
    assert_eq!(desk.browser.unexpected_errors().await, Vec::<String>::new());
    desk.browser.close().await;
}
