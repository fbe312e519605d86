//! Error responses: an HTML page for browsers, a problem document for API clients.

mod conversions;
mod messages;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, LOCATION, REFRESH, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use messages::Message;

use crate::clock;
use crate::console::http::accept::{self, Representation};
use crate::console::http::request;
use crate::console::view::theme::Theme;
use crate::console::view::{filters, paths};
use crate::domain;
use crate::domain::health::Service;

pub type Result<T> = std::result::Result<T, Error>;

/// Each message is shown to the user; causes are only logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request has no session; `next` is the page to open after signing in.
    #[error("not signed in")]
    SignIn { next: String },
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("method not allowed, only {allow}")]
    MethodNotAllowed { allow: &'static str },
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Unprocessable(String),
    #[error("{why}")]
    TooManyRequests { why: String, retry_after: Duration },
    #[error("{why}")]
    Busy { why: String, retry_after: Duration },
    #[error("{} is not available: {cause}", service.name())]
    Unavailable { service: Service, reason: Option<&'static str>, cause: String },
    #[error("{} cannot process requests: {cause}", service.name())]
    NotUsable { service: Service, why: String, cause: String },
    #[error("the object store has no space left")]
    NoSpace,
    #[error("{0}")]
    Internal(String),
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    theme: Theme,
    message: Message,
    code: u16,
    at: DateTime<Utc>,
    reference: &'a str,
    /// Whether a retry may succeed.
    retry: bool,
    unavailable: bool,
    icon: &'static str,
}

impl Error {
    /// The error that API clients receive in place of the page of a rejected form.
    pub(super) fn from_refused_page(page: &HttpResponse, why: String) -> Self {
        let wait = page.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        match page.status() {
            StatusCode::CONFLICT => Self::Conflict(why),
            StatusCode::TOO_MANY_REQUESTS => Self::TooManyRequests { why, retry_after: Duration::from_secs(wait.unwrap_or(1)) },
            _ => Self::Unprocessable(why),
        }
    }

    /// Logs errors of Larder and of the stores, one line each.
    pub fn log(&self, reference: &str) {
        if self.status_code().is_server_error() {
            log::error!("[{reference}] {self}");
        }
    }

    /// The page, with `reference` in its footer. `since`: when the failed service stopped responding.
    /// `may_retry`: the request is safe to repeat, so the page reloads automatically.
    pub fn page(&self, reference: &str, theme: Theme, since: Option<DateTime<Utc>>, may_retry: bool) -> HttpResponse {
        let status = self.status_code();
        let mut answer = self.start();
        if may_retry && matches!(self, Self::Unavailable { .. } | Self::NotUsable { .. }) {
            answer.insert_header((REFRESH, "5"));
        }
        if let Self::SignIn { next } = self {
            return answer.insert_header((LOCATION, paths::sign_in(next))).finish();
        }
        let message = self.message(since, may_retry);
        let page = ErrorPage {
            title: &message.headline.clone(),
            theme,
            message,
            code: status.as_u16(),
            at: clock::now(),
            reference,
            retry: may_retry && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS),
            unavailable: matches!(self, Self::Unavailable { .. } | Self::NotUsable { .. }),
            icon: if status.is_server_error() { "down" } else { "error" },
        };
        match page.render() {
            Ok(html) => answer.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html),
            Err(error) => {
                log::error!("[{reference}] rendering the error page failed: {error}");
                answer.finish()
            }
        }
    }

    fn start(&self) -> HttpResponseBuilder {
        let mut answer = HttpResponse::build(self.status_code());
        match self {
            Self::Unavailable { .. } | Self::NotUsable { .. } => {
                answer.insert_header((RETRY_AFTER, "5"));
            }
            Self::NoSpace => {
                answer.insert_header((RETRY_AFTER, "60"));
            }
            Self::TooManyRequests { retry_after, .. } | Self::Busy { retry_after, .. } => {
                answer.insert_header((RETRY_AFTER, retry_after.as_secs().max(1).to_string()));
            }
            Self::MethodNotAllowed { allow } => {
                answer.insert_header((ALLOW, *allow));
            }
            _ => {}
        }
        answer
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignIn { .. } => StatusCode::SEE_OTHER,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unavailable { .. } | Self::NotUsable { .. } | Self::NoSpace => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Used only outside the routes of `console`, whose middleware renders and logs errors with the request available.
    fn error_response(&self) -> HttpResponse {
        self.page(&request::current_id(), Theme::System, None, false)
    }
}

/// The response to a failed request: JSON for API clients, a page for browsers. Errors are logged here and nowhere else.
pub fn answer(error: &Error, req: &HttpRequest) -> HttpResponse {
    let reference = request::current_id();
    // A client that does not prefer HTML must not mistake the sign-in page for the response.
    let default = if matches!(error, Error::SignIn { .. }) { Representation::Json } else { Representation::Page };
    if accept::preferred(req.headers(), default) == Representation::Json {
        return problem(error, &reference, Map::new());
    }
    error.log(&reference);
    let since = match error {
        Error::Unavailable { service, .. } => {
            let context = req.app_data::<web::Data<domain::Context>>();
            context
                .map(|ctx| ctx.health.one(*service))
                .filter(|found| found.state == domain::health::State::Down)
                .and_then(|found| found.since)
        }
        _ => None,
    };
    error.page(&reference, Theme::of(req), since, req.method().is_safe())
}

/// What an error response needs from the request, kept in case a panicking handler drops the request.
pub struct ErrorFormat {
    json: bool,
    theme: Theme,
    may_retry: bool,
}

impl ErrorFormat {
    /// Whether the client prefers JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn of(req: &HttpRequest) -> Self {
        Self { json: accept::prefers_json(req.headers()), theme: Theme::of(req), may_retry: req.method().is_safe() }
    }

    /// Like [`answer`].
    pub fn answer(&self, error: &Error) -> HttpResponse {
        let reference = request::current_id();
        if self.json {
            return problem(error, &reference, Map::new());
        }
        error.log(&reference);
        error.page(&reference, self.theme, None, self.may_retry)
    }
}

/// Logs the error and returns a problem document (RFC 9457). `members` are added to the standard members and override
/// those of the same name.
pub fn problem(error: &Error, reference: &str, members: Map<String, Value>) -> HttpResponse {
    error.log(reference);
    let status = match error {
        Error::SignIn { .. } => StatusCode::UNAUTHORIZED,
        error => error.status_code(),
    };
    let message = error.message(None, false);
    let mut body = Map::from_iter([
        ("type".to_owned(), json!("about:blank")),
        ("title".to_owned(), json!(message.status)),
        ("status".to_owned(), json!(status.as_u16())),
        ("detail".to_owned(), json!(message.sentence)),
        ("request_id".to_owned(), json!(reference)),
    ]);
    body.extend(members);
    let mut answer = error.start();
    answer.status(status).insert_header((CONTENT_TYPE, "application/problem+json"));
    answer.body(Value::Object(body).to_string())
}

/// The response for unknown paths.
pub async fn not_found(req: HttpRequest) -> HttpResponse {
    answer(&Error::NotFound("This page does not exist. Check the address; the page may have been deleted.".to_owned()), &req)
}

/// The response for a known path with an unsupported method.
pub async fn method_not_allowed(req: HttpRequest, allow: &'static str) -> HttpResponse {
    answer(&Error::MethodNotAllowed { allow }, &req)
}

/// Makes actix's own extractors return console errors instead of plain text.
pub fn configure_errors(cfg: &mut web::ServiceConfig) {
    fn bad(what: &str) -> actix_web::Error {
        Error::BadRequest(format!("{what} of this request is invalid.")).into()
    }
    cfg.app_data(web::FormConfig::default().error_handler(|_, _| bad("The form")))
        .app_data(web::QueryConfig::default().error_handler(|_, _| bad("The query string")))
        .app_data(web::JsonConfig::default().error_handler(|_, _| bad("The body")))
        .app_data(
            web::PathConfig::default()
                .error_handler(|_, _| Error::NotFound("This page does not exist. Check the address.".to_owned()).into()),
        );
}

/// Why a page with a form was refused. API clients receive it in a problem document instead of the page.
pub struct RefusalReason(pub String);
