//! Messages on the next page, in a cookie.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time::Duration};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;

pub fn flash_name(config: &Config) -> String {
    config.cookie_name("larder-flash")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashTone {
    Ok,
    Warn,
    Bad,
}

impl FlashTone {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    pub fn icon(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "error",
        }
    }
}

/// A message on the next page about the action just taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    pub tone: FlashTone,
    pub text: String,
}

impl Flash {
    pub fn done(text: impl Into<String>) -> Self {
        Self { tone: FlashTone::Ok, text: text.into() }
    }

    pub fn warn(text: impl Into<String>) -> Self {
        Self { tone: FlashTone::Warn, text: text.into() }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self { tone: FlashTone::Bad, text: text.into() }
    }

    pub fn of(req: &HttpRequest, config: &Config) -> Option<Self> {
        let cookie = req.cookie(&flash_name(config))?;
        let (tone, text) = cookie.value().split_once('.')?;
        let tone = [FlashTone::Ok, FlashTone::Warn, FlashTone::Bad].into_iter().find(|known| known.as_str() == tone)?;
        Some(Self { tone, text: String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()? })
    }

    pub fn cookie(&self, name: String, https: bool) -> Cookie<'static> {
        // Browsers limit a cookie to about 4 KB.
        let text: String = self.text.chars().take(600).collect();
        let value = format!("{}.{}", self.tone.as_str(), URL_SAFE_NO_PAD.encode(text));
        Cookie::build(name, value).path("/").http_only(true).secure(https).same_site(SameSite::Lax).max_age(Duration::minutes(1)).finish()
    }

    pub fn is_waiting(req: &HttpRequest, config: &Config) -> bool {
        req.cookie(&flash_name(config)).is_some()
    }

    pub fn removal(config: &Config) -> Cookie<'static> {
        let mut cookie = Cookie::build(flash_name(config), "").path("/").secure(config.is_https()).finish();
        cookie.make_removal();
        cookie
    }
}
