//! Session extractors. The role a handler requires is the type of its first argument, so the check cannot be forgotten.

use std::ops::Deref;
use std::pin::Pin;

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::Payload;
use actix_web::http::header::LOCATION;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};

use super::error::{Error, Result};
use super::route::{Access, Route};
use crate::config::Config;
use crate::console::http::{limit, request};
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Frame, Layout, Person, Section};
use crate::domain::actor::{Actor, ActorKind, Role};
use crate::domain::health::{Service, State};
use crate::domain::sessions::{self, Session};
use crate::domain::{Context, limits};

/// The longest wait for the session on a public page.
const SESSION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// The name of the session cookie.
pub fn cookie_name(config: &Config) -> String {
    config.cookie_name("larder")
}

pub fn cookie(config: &Config, token: String, lifetime: std::time::Duration) -> Cookie<'static> {
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    build(config, token).max_age(Duration::seconds(seconds)).finish()
}

pub fn removal(config: &Config) -> Cookie<'static> {
    let mut cookie = build(config, String::new()).finish();
    cookie.make_removal();
    cookie
}

fn build(config: &Config, value: String) -> actix_web::cookie::CookieBuilder<'static> {
    Cookie::build(cookie_name(config), value).path("/").http_only(true).same_site(SameSite::Lax).secure(config.is_https())
}

/// The session token of this request, if any.
pub fn token(req: &HttpRequest, config: &Config) -> Option<String> {
    req.cookie(&cookie_name(config)).map(|cookie| cookie.value().to_owned()).filter(|token| !token.is_empty())
}

/// A signed-in user, with the frame of the page.
pub struct SignedIn {
    pub session: Session,
    pub actor: Actor,
    frame: Frame,
}

impl SignedIn {
    pub fn layout(&self, title: impl Into<String>, section: Section) -> Layout {
        Layout::new(title, section, Some(Person::of(&self.session)), self.frame.clone())
    }

    /// 303 with a flash message for the next page.
    pub fn redirect(&self, path: &str, flash: Flash) -> HttpResponse {
        HttpResponse::SeeOther().insert_header((LOCATION, path)).cookie(self.frame.flash_cookie(&flash)).finish()
    }
}

/// 303 without a flash message.
pub fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, path)).finish()
}

/// A visitor of a public page, signed in or not.
pub struct Visitor {
    pub session: Option<Session>,
    /// Anonymous without a session.
    pub actor: Actor,
    pub token: Option<String>,
    pub frame: Frame,
}

impl Visitor {
    pub fn layout(&self, title: impl Into<String>, section: Section) -> Layout {
        Layout::new(title, section, self.session.as_ref().map(Person::of), self.frame.clone())
    }

    pub fn is_signed_in(&self) -> bool {
        self.session.is_some()
    }
}

fn context(req: &HttpRequest) -> Result<web::Data<Context>> {
    req.app_data::<web::Data<Context>>().cloned().ok_or_else(|| Error::Internal("the application has no context".to_owned()))
}

fn actor_of(session: &Session, req: &HttpRequest, config: &Config) -> Actor {
    Actor {
        tenant: session.tenant,
        kind: ActorKind::User,
        id: Some(session.user),
        label: session.name.clone(),
        role: session.role,
        address: request::client_address(req, &config.trusted_proxies),
        request_id: request::id(req),
    }
}

/// The session of a token. An error if the rate limit is exceeded. The state of the limit is attached to the request.
async fn session_of(ctx: &Context, req: &HttpRequest, token: Option<&str>) -> Result<Option<Session>> {
    let route = Route::of(req).copied().unwrap_or(Route::new("GET", "", Access::Public));
    let address = request::client_address(req, &ctx.config.trusted_proxies);
    let in_outage = || ctx.health.state(Service::Postgres) == State::Down;
    if route.counted && !(route.without_postgres && in_outage()) {
        let (session, standing) = if route.tolerates_stale_session {
            limits::enter_lightly(ctx, token, address).await
        } else {
            limits::enter(ctx, token, address).await
        };
        if let Some(standing) = standing {
            req.extensions_mut().insert(standing);
            limit::check(&standing)?;
        }
        return Ok(session?);
    }
    let Some(token) = token else { return Ok(None) };
    if route.without_postgres
        && let Some(session) = sessions::cached(ctx, token)
    {
        return Ok(Some(session));
    }
    let (session, standing) = limits::find_uncounted(ctx, token, address).await;
    if let Some(standing) = standing
        && !route.without_postgres
    {
        limit::check(&standing)?;
    }
    Ok(session?)
}

async fn signed_in(req: HttpRequest, needed: Role) -> Result<SignedIn> {
    let ctx = context(&req)?;
    let token = token(&req, &ctx.config);
    let Some(session) = session_of(&ctx, &req, token.as_deref()).await? else {
        // After signing in, a user who submitted a form returns to the overview, not to the URL of the submission.
        let next = if req.method().is_safe() { req.uri().path_and_query().map_or("/", |path| path.as_str()) } else { "/" };
        return Err(Error::SignIn { next: next.to_owned() });
    };
    if session.role < needed {
        let role = session.role.as_str();
        return Err(Error::Forbidden(format!(
            "This requires the role {}, but your role is {role}. An admin can change your role.",
            needed.as_str()
        )));
    }
    let actor = actor_of(&session, &req, &ctx.config);
    let frame = Frame::of(&req, &ctx.config, &ctx.health);
    Ok(SignedIn { session, actor, frame })
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub struct $name(SignedIn);

        impl Deref for $name {
            type Target = SignedIn;

            fn deref(&self) -> &SignedIn {
                &self.0
            }
        }

        impl FromRequest for $name {
            type Error = Error;
            type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

            fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
                let req = req.clone();
                Box::pin(async move { Ok(Self(signed_in(req, Role::$name).await?)) })
            }
        }
    )*};
}

roles! {
    /// Can browse and download.
    Viewer
    /// Can also upload and delete objects.
    Editor
    /// Can also manage buckets, users and the audit log.
    Admin
}

impl FromRequest for Visitor {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let ctx = context(&req)?;
            let token = token(&req, &ctx.config);
            // These pages open even if the session lookup fails; the visitor then counts as signed out.
            let session = match tokio::time::timeout(SESSION_TIMEOUT, session_of(&ctx, &req, token.as_deref())).await {
                Ok(Err(error @ Error::TooManyRequests { .. })) => return Err(error),
                result => result.ok().and_then(Result::ok).flatten(),
            };
            let address = request::client_address(&req, &ctx.config.trusted_proxies);
            let actor = match &session {
                Some(session) => actor_of(session, &req, &ctx.config),
                None => Actor::anonymous("visitor", address, &request::id(&req)),
            };
            Ok(Self { session, actor, token, frame: Frame::of(&req, &ctx.config, &ctx.health) })
        })
    }
}
