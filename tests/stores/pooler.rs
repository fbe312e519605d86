//! Postgres through PgBouncer in transaction mode.

use std::time::Duration;

use diesel::sql_types::{Integer, Text};
use diesel::{ExpressionMethods, QueryableByName};
use diesel_async::RunQueryDsl;
use larder::config::Secret;
use larder::stores::postgres::{self, Error, Pool};

use crate::support::{Pooler, Set};

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

fn pool(url: String) -> Pool {
    Pool::new(&Secret::new(url), &tokio::runtime::Handle::current())
}

async fn setting(pool: &Pool, name: &str) -> Result<String, Error> {
    pool.run(async |conn| {
        let query = diesel::sql_query("SELECT current_setting($1) AS value").bind::<Text, _>(name);
        Ok(query.get_result::<Value>(conn).await?.value)
    })
    .await
}

/// Many callers at the same time, with prepared statements in and outside of transactions.
async fn use_at_the_same_time(pool: &Pool) {
    let callers = (0..200).map(|number| async move {
        let double = async |conn: &mut diesel_async::AsyncPgConnection| {
            let query = diesel::sql_query("SELECT (2 * $1)::text AS value").bind::<Integer, _>(number);
            Ok::<_, diesel::result::Error>(query.get_result::<Value>(conn).await?.value)
        };
        let outcome = match number % 2 {
            0 => pool.run(async |conn| double(conn).await.map_err(Error::from)).await,
            _ => pool.transaction(async |conn| double(conn).await).await,
        };
        assert_eq!(outcome.unwrap(), (2 * number).to_string());
        use larder::schema::tenants::dsl::{id, tenants};
        let other = uuid::Uuid::now_v7();
        let deleted = pool.run(async |conn| Ok::<_, Error>(diesel::delete(tenants).filter(id.eq(other)).execute(conn).await?)).await;
        assert_eq!(deleted.unwrap(), 0);
    });
    futures_util::future::join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_detected_and_settings_apply_to_each_transaction() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    for (configuration, query) in
        [("", ""), ("", "&pgbouncer=true"), ("ignore_startup_parameters = options", ""), ("server_round_robin = 0", "")]
    {
        let pooler = Pooler::start(&set, configuration).await;
        let options = "&options=-c%20search_path%3Dshop,public%20-c%20statement_timeout%3D300ms";
        let pool = pool(pooler.url(&database, &format!("{query}{options}")));
        use_at_the_same_time(&pool).await;
        assert_eq!(setting(&pool, "search_path").await.unwrap(), "shop, public", "{configuration}{query}");
        assert_eq!(setting(&pool, "lock_timeout").await.unwrap(), "3s");
        let slow = pool.run(async |conn| Ok::<_, Error>(diesel::sql_query("SELECT pg_sleep(2)").execute(conn).await?)).await;
        assert!(matches!(slow, Err(Error::Timeout)), "{slow:?}");
        // An abandoned transaction does not reach another caller.
        let abandoned = pool.transaction(async |conn| {
            diesel::sql_query("UPDATE tenants SET name = 'Changed'").execute(conn).await?;
            std::future::pending::<Result<(), diesel::result::Error>>().await
        });
        assert!(tokio::time::timeout(Duration::from_millis(200), abandoned).await.is_err());
        use_at_the_same_time(&pool).await;
        let name = set.connect(&database).await.query_one("SELECT name FROM tenants", &[]).await.unwrap();
        assert_eq!(name.get::<_, String>(0), "Larder");
        // Nothing of a session remains on the connections of the server.
        let left =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = $1)";
        assert_eq!(set.connect(&database).await.query_one(left, &[&database]).await.unwrap().get::<_, i64>(0), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_before_a_failure_are_kept_as_without_a_pooler() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let pooler = Pooler::start(&set, "").await;
    let pool = pool(pooler.url(&database, ""));
    let failed: Result<(), Error> = pool
        .run(async |conn| {
            diesel::sql_query("UPDATE tenants SET name = 'Changed'").execute(conn).await?;
            Err(Error::Timeout)
        })
        .await;
    assert!(matches!(failed, Err(Error::Timeout)));
    let name = set.connect(&database).await.query_one("SELECT name FROM tenants", &[]).await.unwrap();
    assert_eq!(name.get::<_, String>(0), "Changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_migrate_through_a_pooler_concurrently() {
    let set = Set::shared().await;
    let database = set.empty_database().await;
    let pooler = Pooler::start(&set, "").await;
    let url = Secret::new(pooler.url(&database, ""));
    let (one, two, three) = tokio::join!(postgres::migrate(&url), postgres::migrate(&url), postgres::migrate(&url));
    let ran: usize = [one, two, three].into_iter().map(|outcome| outcome.unwrap().len()).sum();
    assert_eq!(ran, postgres::known_migrations(), "each migration ran once");
    assert_eq!(postgres::applied(&url).await.unwrap(), (ran, 0));
    assert!(postgres::may_migrate(&url).await.unwrap());
    assert_eq!(postgres::revert(&url, 2).await.unwrap().len(), 2);
    assert_eq!(postgres::migrate(&url).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_pooler_itself_is_not_taken_for_a_refusal_of_options() {
    let set = Set::shared().await;
    let pooler = Pooler::start(&set, "").await;
    let error = setting(&pool(pooler.url("no_such_database", "")), "lock_timeout").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(why) if why.contains("no_such_database")), "{error:?}");
}
