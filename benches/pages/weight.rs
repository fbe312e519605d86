//! What a browser without a cache loads for each page: the page, styles, scripts and their imports, icons and images,
//! compressed as transferred, including response heads.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::binary::Larder;
use crate::client::{Connection, request};
use crate::memory;
use crate::report::{Figure, Target};
use crate::stage::{self, BUCKET, Stage};

/// The headers that Chromium sends when a URL is typed.
const PAGE: [(&str, &str); 5] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

pub async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let larder = stage.larder().await?;
    let mut figures = Vec::new();
    for path in ["/session", "/health"] {
        figures.push(weigh(&larder, path, "").await?);
    }
    let paths = [
        "/",
        "/buckets",
        &format!("/buckets/{BUCKET}?prefix=2026%2F&limit=100"),
        &format!("/buckets/{BUCKET}/settings"),
        &format!("/buckets/{BUCKET}/unfinished"),
        &object(&larder).await?,
        "/uploads",
        "/uploads/new",
        "/cache",
        "/cache?range=month",
        "/cache/namespaces",
        "/cache/keys",
        "/cache/keys?match=cache:*",
        "/cache/biggest",
        "/cache/slowlog",
        "/cache/clients",
        "/cache/settings",
        "/health",
        "/health/services/postgres",
        "/health/services/postgres?range=day",
        "/health/services/postgres?range=month",
        "/users",
        "/audit",
    ];
    for path in paths {
        figures.push(weigh(&larder, path, &larder.cookie).await?);
    }
    figures.extend(memory::after(larder.pid())?);
    Ok(figures)
}

/// The path of some file's page.
async fn object(larder: &Larder) -> Result<String> {
    let mut connection = Connection::open(stage::address(larder)?).await?;
    let path = format!("/buckets/{BUCKET}?prefix=2026%2F&limit=100");
    let page = connection.ask(&request(&path, &[("cookie", &larder.cookie)])).await?.text();
    let begin = page.find(&format!("/buckets/{BUCKET}/object?")).context("the listing contains no file")?;
    Ok(page[begin..].split('"').next().unwrap_or_default().replace("&amp;", "&").replace("&#38;", "&"))
}

async fn weigh(larder: &Larder, path: &str, cookie: &str) -> Result<Figure> {
    let mut connection = Connection::open(stage::address(larder)?).await?;
    // Resources referenced by the page.
    let plain = connection.ask(&request(path, &[PAGE[0], ("cookie", cookie)])).await?;
    ensure!(plain.status == 200, "{path}: {}", plain.status);
    let (html, unpacked) = (plain.text(), plain.body.len());
    let (mut heads, page) = connection.ask(&request(path, &[&PAGE[..], &[("cookie", cookie)]].concat())).await?.weight();
    let (mut styles, mut scripts) = (0, 0);
    let mut wanted: Vec<String> = html.split('"').filter(|word| word.starts_with("/static/")).map(str::to_owned).collect();
    let mut known = BTreeSet::new();
    while let Some(address) = wanted.pop() {
        if !known.insert(address.clone()) {
            continue;
        }
        let text = connection.ask(&request(&address, &[])).await?.text();
        let answer = connection.ask(&request(&address, &[PAGE[1], ("sec-fetch-site", "same-origin")])).await?;
        ensure!(answer.status == 200, "{address}: {}", answer.status);
        let (head, body) = answer.weight();
        heads += head;
        *(if address.ends_with(".js") { &mut scripts } else { &mut styles }) += body;
        let directory = address.rsplit_once('/').map_or("", |(directory, _)| directory);
        // Imports of scripts, and images of styles.
        let named = text.split('"').filter(|word| word.starts_with("./") || (word.ends_with(".svg") && !word.contains('/')));
        wanted.extend(named.map(|name| format!("{directory}/{}", name.trim_start_matches("./"))));
    }
    let short: String = path.chars().take(34).collect();
    let who = if cookie.is_empty() { ", signed out" } else { "" };
    let kb = |bytes: usize| bytes as f64 / 1000.0;
    let parts = format!("page {:.1} ({:.1} unpacked), styles {:.1}, scripts {:.1}", kb(page), kb(unpacked), kb(styles), kb(scripts));
    let note = format!("{parts}; heads {:.1}", kb(heads));
    Ok(Figure::new(format!("{short}{who}: KB"), kb(page + styles + scripts + heads), Target::AtMost(50.0)).note(note))
}
