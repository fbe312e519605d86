//! Checks a Redis URL, and adds the password to it.

/// `redis://` or `rediss://` with host and database number, or a unix socket.
pub(super) fn check(url: &str) -> Result<(), String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("is not a URL".into()) };
    match scheme {
        "redis" | "rediss" => {}
        "unix" | "redis+unix" => return Ok(()),
        other => return Err(format!("begins with {other}://; Larder supports redis://, rediss:// and unix://")),
    }
    let authority_and_path = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = authority_and_path.split_once('/').unwrap_or((authority_and_path, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("has no host".into());
    }
    if !path.is_empty() && path.parse::<u32>().is_err() {
        return Err(format!("ends in /{path}, which is not a database number"));
    }
    Ok(())
}

pub(crate) fn has_password(url: &str) -> bool {
    if url.starts_with("unix") || url.starts_with("redis+unix") {
        return url.contains("pass=");
    }
    url.split("://").nth(1).and_then(|rest| rest.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':') && !user.ends_with(':'))
}

pub(super) fn with_password(url: &str, password: Option<&str>) -> String {
    let Some(password) = password else { return url.to_owned() };
    if has_password(url) {
        return url.to_owned();
    }
    let encoded = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
    match url.split_once("://") {
        Some((scheme @ ("redis" | "rediss"), rest)) => {
            let (user, host) = rest.split_once('@').unwrap_or(("", rest));
            format!("{scheme}://{}:{encoded}@{host}", user.trim_end_matches(':'))
        }
        Some((scheme, rest)) => format!("{scheme}://{rest}{}pass={encoded}", if rest.contains('?') { '&' } else { '?' }),
        None => url.to_owned(),
    }
}
