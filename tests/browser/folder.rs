//! The list of a folder while files are uploaded on its page.

use fantoccini::Locator;
use larder::domain::actor::Role;

use crate::signed_in;
use crate::support::{Settings, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_uploaded_on_the_page_of_a_folder_appears_in_its_list() {
    let app = TestApp::start().await;
    app.rules_known().await;
    let browser = signed_in(&app, Role::Editor, Settings::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, name).unwrap();
        path
    };
    browser.goto(&format!("{}/buckets/{}?prefix=new%2F", app.base, app.bucket)).await;
    browser.find(".actions[data-live]:not([hidden])").await;
    let show = "document.querySelector('[data-upload-here]').open = true; \
                document.querySelector('input[type=file]').closest('[data-plain]').hidden = false;";
    browser.client.execute(show, Vec::new()).await.unwrap();
    let new_names = async || {
        let mut names = Vec::new();
        for link in browser.client.find_all(Locator::Css("tbody tr.is-new .row-link")).await.unwrap() {
            names.extend(link.text().await.ok());
        }
        names
    };
    browser.choose("#upload-files", &[&file("one.txt")]).await;
    eventually("the list replaces the note that there is no such folder", async || new_names().await == ["one.txt"]).await;
    assert!(browser.text("tbody").await.contains("New"));
    // The row is not touched by the next refresh, and stays selected.
    browser.click("tbody input[name=pair]").await;
    eventually("the selection is counted", async || browser.text("[data-selected]").await == "1 selected").await;
    browser.choose("#upload-files", &[&file("two.txt")]).await;
    eventually("both are listed", async || new_names().await == ["one.txt", "two.txt"]).await;
    assert_eq!(browser.text("[data-selected]").await, "1 selected");
    let chosen = browser.client.find_all(Locator::Css("tbody input[name=pair]:checked")).await.unwrap();
    assert_eq!(chosen.len(), 1);
    browser.click("[data-all]").await;
    eventually("the refreshed rows can be selected", async || browser.text("[data-selected]").await == "2 selected").await;
    assert_eq!(browser.axe_violations().await, [""; 0]);
    // The page of the missing folder itself was a 404.
    let errors: Vec<String> = browser.console_errors().await.into_iter().filter(|error| !error.contains("404")).collect();
    assert_eq!(errors, [""; 0]);
    browser.close().await;
}
