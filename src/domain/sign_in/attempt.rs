//! Attempts in Postgres: pending while the password is compared, then wrong or deleted.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel::prelude::{ExpressionMethods, Insertable, QueryDsl};
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{TRIES, TRIES_FROM_ANYWHERE, TRIES_FROM_NETWORK, WINDOW};
use crate::clock;
use crate::domain::address::{network, subject};
use crate::domain::email;
use crate::domain::secrets::{hex, sha256};
use crate::domain::{Context, Error, Result};
use crate::schema::sign_in_failures;
use crate::stores::postgres::text_enum;

text_enum! {
    enum AttemptState {
        /// The password was not compared yet.
        Pending = "pending",
        Wrong = "wrong",
    }
}

/// An attempt whose process crashed is not counted after this time.
const PENDING: TimeDelta = TimeDelta::seconds(60);

#[derive(Insertable)]
#[diesel(table_name = sign_in_failures)]
struct NewRow<'a> {
    id: Uuid,
    tenant_id: Uuid,
    email_hash: &'a [u8],
    address: &'a str,
    network: &'a str,
    state: AttemptState,
}

#[derive(diesel::QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    wrong_of_address: i64,
    #[diesel(sql_type = BigInt)]
    pending_of_address: i64,
    #[diesel(sql_type = BigInt)]
    of_network: i64,
    #[diesel(sql_type = BigInt)]
    of_account: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    oldest_of_address: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    oldest_of_network: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    oldest_of_account: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    is_known_address: bool,
}

#[derive(diesel::QueryableByName)]
struct KnownAddress {
    #[diesel(sql_type = Bool)]
    is_known_address: bool,
}

pub(super) struct Attempt {
    pub id: Uuid,
    pub email: String,
    /// As it was typed, folded.
    pub typed: String,
    /// Under which the account may be stored.
    pub forms: Vec<String>,
    pub email_hash: Vec<u8>,
    /// The addresses of one holder.
    pub address: String,
    pub network: String,
}

/// What is blocked after too many wrong passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Address,
    Network,
    Account,
}

pub(super) enum Entry {
    /// The attempt is recorded as pending.
    Entered,
    Refused {
        scope: Scope,
        wait: Duration,
    },
    /// So many attempts of this address are pending that some of them must end first.
    Full,
}

impl Attempt {
    pub fn new(email: &str, address: Option<IpAddr>) -> Self {
        // Truncated, because no e-mail address is longer.
        let email: String = email.trim().chars().filter(|c| *c != '\0').take(254).collect();
        let (typed, forms) = (email::fold(&email), email::forms(&email));
        let email = forms[0].clone();
        let email_hash = sha256(email.as_bytes());
        let unknown = || "unknown".to_owned();
        let (address, network) = (address.map_or_else(unknown, subject), address.map_or_else(unknown, network));
        Self { id: Uuid::now_v7(), email, typed, forms, email_hash, address, network }
    }

    /// The Redis keys of the markers that make this attempt wait, widest scope last.
    pub fn markers(&self) -> [(Scope, String); 3] {
        let name = |kind: &str, bytes: &[u8]| format!("larder:sign-in-wait:{kind}:{}", hex(&bytes[..16]));
        [
            (Scope::Address, name("address", &sha256(self.address.as_bytes()))),
            (Scope::Network, name("network", &sha256(self.network.as_bytes()))),
            (Scope::Account, name("account", &self.email_hash)),
        ]
    }

    /// Records the attempt as pending, so that simultaneous attempts are all counted, or returns how long it must
    /// wait.
    pub async fn enter(&self, ctx: &Context, tenant: Uuid) -> Result<Entry> {
        ctx.db
            .transaction(async |conn| {
                // Attempts on one account, then those of one network, count one after the other. The order prevents deadlocks.
                for name in [hex(&self.email_hash[..16]), self.network.clone()] {
                    let lock = diesel::sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))");
                    lock.bind::<Text, _>(format!("sign-in:{name}")).execute(conn).await?;
                }
                let counts = self.counts(conn).await?;
                let refused = |scope| {
                    let oldest = match scope {
                        Scope::Address => counts.oldest_of_address,
                        Scope::Network => counts.oldest_of_network,
                        Scope::Account => counts.oldest_of_account,
                    };
                    let oldest = oldest.unwrap_or_else(clock::now);
                    let wait = (oldest + window() - clock::now()).to_std().unwrap_or_default().max(Duration::from_secs(1));
                    Ok(Entry::Refused { scope, wait })
                };
                if counts.wrong_of_address >= TRIES {
                    return refused(Scope::Address);
                }
                if counts.of_network >= TRIES_FROM_NETWORK && !counts.is_known_address {
                    return refused(Scope::Network);
                }
                if counts.of_account >= TRIES_FROM_ANYWHERE && !counts.is_known_address {
                    return refused(Scope::Account);
                }
                if counts.wrong_of_address + counts.pending_of_address >= TRIES {
                    return Ok(Entry::Full);
                }
                let row = NewRow {
                    id: self.id,
                    tenant_id: tenant,
                    email_hash: &self.email_hash,
                    address: &self.address,
                    network: &self.network,
                    state: AttemptState::Pending,
                };
                diesel::insert_into(sign_in_failures::table).values(row).execute(conn).await?;
                Ok(Entry::Entered)
            })
            .await
            .map_err(Error::from)
    }

    async fn counts(&self, conn: &mut AsyncPgConnection) -> QueryResult<Counts> {
        diesel::sql_query(
            "SELECT count(*) FILTER (WHERE address = $1 AND state = 'wrong') AS wrong_of_address,
                    count(*) FILTER (WHERE address = $1 AND state = 'pending') AS pending_of_address,
                    count(*) FILTER (WHERE network = $2) AS of_network,
                    count(*) FILTER (WHERE email_hash = $3) AS of_account,
                    min(created_at) FILTER (WHERE address = $1) AS oldest_of_address,
                    min(created_at) FILTER (WHERE network = $2) AS oldest_of_network,
                    min(created_at) FILTER (WHERE email_hash = $3) AS oldest_of_account,
                    EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
                            WHERE fold_email(u.email) = ANY($4) AND s.address = $1) AS is_known_address
             FROM sign_in_failures
             WHERE (address = $1 OR network = $2 OR email_hash = $3)
               AND created_at > CASE state WHEN 'pending' THEN $6 ELSE $5 END",
        )
        .bind::<Text, _>(&self.address)
        .bind::<Text, _>(&self.network)
        .bind::<Bytea, _>(&self.email_hash)
        .bind::<Array<Text>, _>(&self.forms)
        .bind::<Timestamptz, _>(clock::now() - window())
        .bind::<Timestamptz, _>(clock::now() - PENDING)
        .get_result(conn)
        .await
    }

    /// Whether this account was ever signed in to from this address.
    pub async fn is_known_address(&self, ctx: &Context) -> Result<bool> {
        ctx.db
            .run(async |conn| {
                let found: KnownAddress = diesel::sql_query(
                    "SELECT EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
                            WHERE fold_email(u.email) = ANY($1) AND s.address = $2) AS is_known_address",
                )
                .bind::<Array<Text>, _>(&self.forms)
                .bind::<Text, _>(&self.address)
                .get_result(conn)
                .await?;
                Ok(found.is_known_address)
            })
            .await
    }

    /// The password was correct, so the wrong passwords for this account from this address are deleted too.
    pub async fn succeeded(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        let own = sign_in_failures::table
            .filter(sign_in_failures::email_hash.eq(&self.email_hash))
            .filter(sign_in_failures::address.eq(&self.address))
            .filter(sign_in_failures::state.eq(AttemptState::Wrong));
        diesel::delete(own).execute(conn).await?;
        diesel::delete(sign_in_failures::table.find(self.id)).execute(conn).await?;
        Ok(())
    }

    pub async fn failed(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::update(sign_in_failures::table.find(self.id)).set(sign_in_failures::state.eq(AttemptState::Wrong)).execute(conn).await?;
        let old = clock::now() - TimeDelta::days(1);
        diesel::delete(sign_in_failures::table.filter(sign_in_failures::created_at.lt(old))).execute(conn).await?;
        Ok(())
    }
}

/// The password was never compared, so the attempt is not counted.
pub(super) async fn withdraw(ctx: &Context, id: Uuid) -> Result<()> {
    ctx.db
        .run(async |conn| {
            diesel::delete(sign_in_failures::table.find(id)).execute(conn).await?;
            Ok(())
        })
        .await
}

fn window() -> TimeDelta {
    TimeDelta::from_std(WINDOW).unwrap_or(TimeDelta::minutes(15))
}
