//! Signatures of values that Larder stores in Redis. Write access to Redis must not decide who is signed in or what a
//! store supports, so a copy is accepted only with an HMAC-SHA-256 whose key is stored in Postgres.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::prelude::{ExpressionMethods, Insertable, QueryDsl};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Error, Result};
use crate::schema::signing_keys;
use crate::stores::redis::Commands;

const KEY_NAME: &str = "redis-copies";

/// Signs and verifies. Has no key until [`load`] has read it; until then nothing is signed or accepted.
#[derive(Clone, Default)]
pub struct Signer(Arc<OnceLock<hmac::Key>>);

#[derive(Insertable)]
#[diesel(table_name = signing_keys)]
struct NewKey<'a> {
    name: &'a str,
    secret: &'a [u8],
}

/// Reads the key from Postgres, where the first process creates it. Does nothing if it is already loaded.
pub async fn load(ctx: &Context) -> Result<()> {
    if ctx.signer.0.get().is_some() {
        return Ok(());
    }
    let mut random = [0_u8; 32];
    rand::fill(&mut random).map_err(|_| Error::Internal("the system's source of randomness failed".into()))?;
    let secret: Vec<u8> = ctx
        .db
        .run(async |conn| {
            let row = NewKey { name: KEY_NAME, secret: &random };
            diesel::insert_into(signing_keys::table).values(row).on_conflict_do_nothing().execute(conn).await?;
            let key = signing_keys::table.filter(signing_keys::name.eq(KEY_NAME)).select(signing_keys::secret);
            Ok::<_, Error>(key.first(conn).await?)
        })
        .await?;
    let _ = ctx.signer.0.set(hmac::Key::new(hmac::HMAC_SHA256, &secret));
    Ok(())
}

impl Signer {
    /// Prepends the signature to `text`, for the Redis key `name` only. `None`: the key is not loaded yet.
    pub fn sign(&self, name: &str, text: &str) -> Option<String> {
        let tag = hmac::sign(self.0.get()?, &message(name, text));
        Some(format!("{}.{text}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// The text of a signed value. `None`: not signed by Larder, or not for this name.
    pub fn verify<'a>(&self, name: &str, signed: &'a str) -> Option<&'a str> {
        let (tag, text) = signed.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(self.0.get()?, &message(name, text), &tag).ok()?;
        Some(text)
    }
}

/// Stores a signed value under a Redis key.
pub(super) async fn set_json<T: Serialize>(ctx: &Context, redis: &Commands<'_>, key: &str, value: &T, ttl: Duration) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| Error::Internal(format!("a value has no JSON: {error}")))?;
    let unsigned = || Error::Internal("the signing key has not been read yet".into());
    Ok(redis.set(key, &ctx.signer.sign(key, &text).ok_or_else(unsigned)?, Some(ttl)).await?)
}

/// A value that [`set_json`] stored. `None`: no value, or one that Larder did not sign.
pub(super) async fn get_json<T: DeserializeOwned>(ctx: &Context, redis: &Commands<'_>, key: &str) -> Result<Option<T>> {
    let Some(signed) = redis.get(key).await? else { return Ok(None) };
    Ok(ctx.signer.verify(key, &signed).and_then(|text| serde_json::from_str(text).ok()))
}

/// Unambiguous for every pair of name and text, because the length of the name comes first.
fn message(name: &str, text: &str) -> Vec<u8> {
    [&(name.len() as u64).to_be_bytes(), name.as_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secret: &[u8]) -> Signer {
        Signer(Arc::new(OnceLock::from(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }

    #[test]
    fn only_our_own_value_of_the_same_name_is_believed() {
        let ours = signer(b"one");
        let signed = ours.sign("a", "text.with.dots").unwrap();
        assert_eq!(ours.verify("a", &signed), Some("text.with.dots"));
        for (name, value) in [("b", signed.as_str()), ("", signed.as_str()), ("a", &signed[1..]), ("a", ""), ("a", "."), ("a", "text")] {
            assert_eq!(ours.verify(name, value), None, "{name} {value}");
        }
        assert_eq!(ours.verify("a", &format!("{signed}x")), None);
        assert_eq!(ours.verify("at", &ours.sign("a", "text").unwrap().replace("text", "ext")), None);
        assert_eq!(signer(b"two").verify("a", &signed), None);
        assert_eq!((Signer::default().sign("a", "b"), Signer::default().verify("a", &signed)), (None, None));
    }
}
