//! Facts about the server (version, memory, uptime), as far as the ACL of the browsing user permits.

use crate::domain::{Context, Result};
use crate::stores::redis::{self, BrowseCommands, Client};

/// The server's answer, or the name of the Redis user that lacks the permission.
pub type Permitted<T> = std::result::Result<T, String>;

pub(super) fn permitted<T>(ctx: &Context, answer: std::result::Result<T, redis::Error>) -> Result<Permitted<T>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(redis::Error::NotPermitted) => Ok(Err(ctx.redis.browse_user().to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The connected clients, in the server's order.
pub async fn clients(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Permitted<Vec<Client>>> {
    permitted(ctx, browse.clients().await)
}

/// Settings of Redis, Valkey, KeyDB and Dragonfly whose values are no secrets.
const VISIBLE: &str = include_str!("visible_settings.txt");

#[derive(Debug)]
pub struct Setting {
    pub name: String,
    pub value: SettingValue,
}

#[derive(Debug, PartialEq, Eq)]
pub enum SettingValue {
    Empty,
    Shown(String),
    /// It is a secret, or Larder does not know the setting.
    Hidden,
}

/// Every setting, sorted by name.
pub async fn settings(ctx: &Context, browse: &BrowseCommands<'_>) -> Result<Permitted<Vec<Setting>>> {
    let settings = permitted(ctx, browse.settings("*").await)?;
    Ok(settings.map(|settings| settings.into_iter().map(|(name, value)| Setting { value: visible(&name, value), name }).collect()))
}

/// Settings of later versions and of modules may be secrets, whatever their names: only known ones are shown.
fn visible(name: &str, value: String) -> SettingValue {
    match value.as_str() {
        "" => SettingValue::Empty,
        "yes" | "no" => SettingValue::Shown(value),
        _ if VISIBLE.split_ascii_whitespace().any(|known| known == name) => SettingValue::Shown(value),
        _ => SettingValue::Hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_known_settings_are_shown() {
        for name in [
            "requirepass",
            "masterauth",
            "masteruser",
            "primaryauth",
            "primaryuser",
            "tls-key-file-pass",
            "tls-client-key-file-pass",
            "hash-seed",
            "search-oss-global-password",
            "a-setting-of-a-later-version",
        ] {
            assert_eq!(visible(name, "12345".into()), SettingValue::Hidden, "{name}");
        }
        assert_eq!(visible("maxmemory", "1".into()), SettingValue::Shown("1".into()));
        assert_eq!(visible("a-setting-of-a-later-version", "yes".into()), SettingValue::Shown("yes".into()));
        assert_eq!(visible("requirepass", String::new()), SettingValue::Empty);
    }
}
