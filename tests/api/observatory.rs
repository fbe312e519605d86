//! Scores the response headers by the rules of MDN's HTTP Observatory: 100 points, minus penalties for missing
//! headers, plus bonuses from 90 points on.

use larder::config::Environment;
use larder::domain::actor::Role;
use reqwest::Method;

use crate::support::{Client, PASSWORD, Page, TestApp};

const URL: &str = "https://larder.example.com";

/// Directives of a policy, each with its sources.
fn directives(policy: &str) -> Vec<(&str, Vec<&str>)> {
    let parts = policy.split(';').map(str::split_whitespace);
    parts.filter_map(|mut words| words.next().map(|name| (name, words.collect()))).collect()
}

fn policy(page: &Page) -> i32 {
    let Some(policy) = page.header("content-security-policy") else { return -25 };
    let directives = directives(policy);
    let of = |name: &str| directives.iter().find(|(directive, _)| *directive == name).map(|(_, sources)| sources.as_slice());
    let or_default = |name: &str| of(name).or(of("default-src")).unwrap_or(&["*"]);
    let broad = |sources: &[&str]| {
        let all = ["*", "http:", "https:", "ftp:"];
        sources.iter().any(|source| all.contains(source) || source.starts_with("http://*") || source.starts_with("https://*"))
    };
    let inline = |sources: &[&str]| sources.iter().any(|source| ["'unsafe-inline'", "data:"].contains(source));
    let (scripts, styles) = (or_default("script-src"), or_default("style-src"));
    if broad(scripts) || inline(scripts) || broad(or_default("object-src")) {
        return -20;
    }
    let all = || directives.iter().flat_map(|(_, sources)| sources);
    if all().any(|source| source.starts_with("http:") || source.starts_with("ftp:")) {
        return -20;
    }
    if all().any(|source| *source == "'unsafe-eval'") {
        return -10;
    }
    if broad(styles) || inline(styles) {
        return 0;
    }
    let closed = of("default-src") == Some(&["'none'"]) && matches!(of("form-action"), Some(["'self'" | "'none'"]));
    if closed { 10 } else { 5 }
}

fn cookies(set: &[String]) -> i32 {
    let worth = set.iter().map(|cookie| {
        let name = cookie.split('=').next().unwrap().to_lowercase();
        let flags: Vec<String> = cookie.split(';').skip(1).map(|flag| flag.trim().to_lowercase()).collect();
        let has = |flag: &str| flags.iter().any(|found| found == flag);
        // Larder's only secret cookie has a name that the rules do not recognize.
        let session = name.contains("larder") || name.contains("sess") || name.contains("login");
        match () {
            () if session && !has("secure") => -40,
            () if session && !has("httponly") => -30,
            () if !has("secure") => -20,
            () if has("samesite=lax") || has("samesite=strict") => 5,
            () => 0,
        }
    });
    worth.min().unwrap_or(0)
}

fn frames(page: &Page) -> i32 {
    let policy = page.header("content-security-policy").unwrap_or_default();
    let named = directives(policy).into_iter().any(|(name, sources)| name == "frame-ancestors" && sources == ["'none'"]);
    match page.header("x-frame-options") {
        _ if named => 5,
        Some("DENY" | "SAMEORIGIN") => 0,
        _ => -20,
    }
}

fn resources(page: &Page) -> i32 {
    match page.header("cross-origin-resource-policy") {
        Some("same-origin" | "same-site") => 10,
        Some("cross-origin") | None => 0,
        Some(_) => -5,
    }
}

fn referrer(page: &Page) -> i32 {
    match page.header("referrer-policy") {
        Some("no-referrer" | "same-origin" | "strict-origin" | "strict-origin-when-cross-origin") => 5,
        None => 0,
        Some(_) => -5,
    }
}

fn transport(page: &Page) -> i32 {
    let response = page.header("strict-transport-security").unwrap_or_default();
    let age = response.split(';').find_map(|part| part.trim().strip_prefix("max-age=")?.parse::<u64>().ok());
    match age {
        Some(15_768_000..) => 0,
        Some(_) => -10,
        None => -20,
    }
}

/// Scripts from other hosts need a digest; own scripts with a digest earn a bonus.
fn scripts(page: &Page) -> i32 {
    if !page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return 0;
    }
    let sources = page.attributes("script[src]", "src");
    let foreign = sources.iter().any(|source| !source.starts_with('/') || source.starts_with("//"));
    match page.attributes("script[src]", "integrity").len() {
        _ if foreign => -50,
        digests if digests == sources.len() && digests > 0 => 5,
        _ => 0,
    }
}

fn sniffing(page: &Page) -> i32 {
    if page.header("x-content-type-options") == Some("nosniff") { 0 } else { -5 }
}

fn sharing(page: &Page) -> i32 {
    let open = page.header("access-control-allow-origin").is_some_and(|origin| origin != "null");
    if open && page.header("access-control-allow-credentials") == Some("true") { -50 } else { 0 }
}

/// Redirecting http:// to https:// is up to the proxy: neither penalty nor bonus.
fn score(page: &Page, set: &[String]) -> i32 {
    let worth = [
        policy(page),
        cookies(set),
        frames(page),
        resources(page),
        referrer(page),
        transport(page),
        scripts(page),
        sniffing(page),
        sharing(page),
    ];
    let base = 100 + worth.iter().filter(|worth| **worth < 0).sum::<i32>();
    let extra = worth.iter().filter(|worth| **worth > 0).sum::<i32>();
    if base >= 90 { base + extra } else { base }
}

fn set_by(page: &Page) -> Vec<String> {
    page.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_scores_130_points() {
    let app = TestApp::start_with(|config| {
        config.environment = Environment::Production;
        config.public_url = Some(URL.into());
    })
    .await;
    let email = app.new_user(Role::Admin).await;
    let visitor = app.visitor();
    let sign_in_page = visitor.get("/session").await.expect_status(200);
    assert!(score(&sign_in_page, &set_by(&sign_in_page)) >= 130, "{:?}", sign_in_page.headers);

    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs([("email", email.as_str()), ("password", PASSWORD)]).finish();
    let request =
        visitor.request(Method::POST, "/session").header("origin", URL).header("content-type", "application/x-www-form-urlencoded");
    let welcome = visitor.send(request.body(form)).await.expect_status(303);
    let set = set_by(&welcome);
    assert_eq!(cookies(&set), 5, "{set:?}");
    // A cookie jar does not send a Secure cookie to an address without TLS.
    let cookie = set[0].split(';').next().unwrap();
    let stranger = Client::new(&app.base);
    let ask = async |path: &str| stranger.send(stranger.request(Method::GET, path).header("cookie", cookie)).await;
    for path in ["/", "/buckets", "/uploads", "/cache", "/audit", "/users", "/health"] {
        let page = ask(path).await.expect_status(200);
        assert!(score(&page, &set) >= 135, "{path}: {:?}", page.headers);
    }
    for asset in sign_in_page.attributes("link[rel=stylesheet]", "href").iter().chain(&sign_in_page.attributes("script", "src")) {
        let file = ask(asset).await.expect_status(200);
        assert!(score(&file, &set) >= 130, "{asset}: {:?}", file.headers);
    }
    for (path, status) in [("/no/such/page", 404), ("/buckets/no-such-bucket", 404), ("/session/end", 405), ("/audit?cursor=%ff", 400)] {
        let error = ask(path).await.expect_status(status);
        assert!(score(&error, &set) >= 130, "{path}: {:?}", error.headers);
    }
    for path in ["/livez", "/health/redis", "/metrics"] {
        let response = stranger.get(path).await;
        assert!(score(&response, &[]) >= 130, "{path}: {:?}", response.headers);
    }
    assert!(score(&welcome, &set) >= 130);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_headers_are_penalized() {
    let app = TestApp::start().await;
    let page = app.visitor().get("/session").await.expect_status(200);
    assert_eq!((transport(&page), score(&page, &[])), (-20, 80), "without https there is no bonus");
    let bare = |name: &str| {
        let mut page = page.clone();
        page.headers.insert("strict-transport-security", "max-age=63072000".parse().unwrap());
        page.headers.remove(name);
        score(&page, &[])
    };
    assert_eq!(bare("x-request-id"), 130);
    assert_eq!(bare("content-security-policy"), 75);
    assert_eq!(bare("cross-origin-resource-policy"), 120);
    assert_eq!(bare("x-content-type-options"), 125);
    let with = |policy: &str| {
        let mut page = page.clone();
        page.headers.insert("content-security-policy", policy.parse().unwrap());
        self::policy(&page)
    };
    assert_eq!(with("default-src 'none'; form-action 'self'"), 10);
    assert_eq!(with("default-src 'self'"), 5);
    assert_eq!(with("default-src 'self'; style-src 'unsafe-inline'"), 0);
    assert_eq!(with("default-src 'self' 'unsafe-eval'"), -10);
    assert_eq!(with("script-src 'self' 'unsafe-inline'; object-src 'none'"), -20);
    assert_eq!(with("script-src 'self'"), -20);
    assert_eq!(cookies(&["__Host-larder=x; Secure".into()]), -30);
    assert_eq!(cookies(&["__Host-larder=x; HttpOnly; SameSite=Lax".into()]), -40);
}
