//! Periods in which a service was down, as seen by each console, and merged over all consoles.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Service;
use super::error::ErrorClass;
use super::past::RETENTION;
use crate::domain::Result;

/// An incident that no console has confirmed for this long ended at its last confirmation.
const UNCONFIRMED: TimeDelta = TimeDelta::minutes(3);
/// Incidents closer together than this, seen by several consoles or around a restart, are merged.
const MERGE_WITHIN: TimeDelta = TimeDelta::minutes(1);
/// Per service; a page shows fewer.
const LIMIT: i64 = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub id: Uuid,
    pub service: Service,
    pub began_at: DateTime<Utc>,
    /// `None`: it is ongoing.
    pub ended_at: Option<DateTime<Utc>>,
    /// When it was last confirmed.
    pub seen_at: DateTime<Utc>,
    /// Of the failure that caused the incident.
    pub class: ErrorClass,
    /// The error of the first failed check, and of the last.
    pub first: String,
    pub last: String,
    /// Hosts and ports of the consoles that saw it.
    pub consoles: BTreeSet<String>,
}

impl Incident {
    pub fn duration(&self, now: DateTime<Utc>) -> TimeDelta {
        // The clock may have been set back in the meantime.
        (self.ended_at.unwrap_or(now) - self.began_at).max(TimeDelta::zero())
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    instance: String,
    #[diesel(sql_type = Text)]
    service: String,
    #[diesel(sql_type = Text)]
    class: String,
    #[diesel(sql_type = Text)]
    first_message: String,
    #[diesel(sql_type = Text)]
    last_message: String,
    #[diesel(sql_type = Timestamptz)]
    began_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    seen_at: DateTime<Utc>,
}

impl Row {
    /// `None` for rows of a newer version.
    fn incident(self, now: DateTime<Utc>) -> Option<Incident> {
        let last_confirmed = (now - self.seen_at > UNCONFIRMED).then_some(self.seen_at);
        Some(Incident {
            id: self.id,
            service: Service::of_slug(&self.service)?,
            class: ErrorClass::of_slug(&self.class)?,
            began_at: self.began_at,
            ended_at: self.ended_at.or(last_confirmed),
            seen_at: self.seen_at,
            first: self.first_message,
            last: self.last_message,
            consoles: BTreeSet::from([self.instance]),
        })
    }
}

/// Idempotent. An incident left open by a crashed console ends when it was last seen.
pub(super) async fn write(conn: &mut AsyncPgConnection, instance: &str, changed: &[Incident]) -> QueryResult<()> {
    for incident in changed {
        diesel::sql_query(
            "INSERT INTO health_incidents (id, instance, service, class, first_message, last_message, began_at, ended_at, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (id) DO UPDATE SET last_message = excluded.last_message, ended_at = excluded.ended_at, seen_at = excluded.seen_at",
        )
        .bind::<SqlUuid, _>(incident.id)
        .bind::<Text, _>(instance)
        .bind::<Text, _>(incident.service.slug())
        .bind::<Text, _>(incident.class.slug())
        .bind::<Text, _>(&incident.first)
        .bind::<Text, _>(&incident.last)
        .bind::<Timestamptz, _>(incident.began_at)
        .bind::<Nullable<Timestamptz>, _>(incident.ended_at)
        .bind::<Timestamptz, _>(incident.seen_at)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Incidents of the last thirty days, as seen by each console.
pub(super) async fn read(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<Incident>> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT found.* FROM unnest($1::text[]) AS one, LATERAL (
             SELECT id, instance, service, class, first_message, last_message, began_at, ended_at, seen_at FROM health_incidents
             WHERE service = one AND began_at < now() + interval '5 minutes' AND seen_at >= $2 ORDER BY began_at DESC LIMIT $3) AS found",
    )
    .bind::<Array<Text>, _>(Service::ALL.map(Service::slug).to_vec())
    .bind::<Timestamptz, _>(now - RETENTION)
    .bind::<BigInt, _>(LIMIT)
    .load(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| row.incident(now)).collect())
}

/// Merges what several consoles saw of the same service at the same time. Newest first.
pub(super) fn merged(mut seen: Vec<Incident>) -> Vec<Incident> {
    seen.sort_by_key(|incident| (incident.service, incident.began_at));
    let mut merged_incidents: Vec<Incident> = Vec::new();
    for incident in seen {
        match merged_incidents.last_mut() {
            Some(before)
                if before.service == incident.service && before.ended_at.is_none_or(|ended| incident.began_at - ended <= MERGE_WITHIN) =>
            {
                before.ended_at = before.ended_at.zip(incident.ended_at).map(|(one, other)| one.max(other));
                if incident.seen_at > before.seen_at {
                    before.seen_at = incident.seen_at;
                    before.last = incident.last;
                }
                before.consoles.extend(incident.consoles);
            }
            _ => merged_incidents.push(incident),
        }
    }
    merged_incidents.sort_by_key(|incident| std::cmp::Reverse(incident.began_at));
    merged_incidents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(by: &str, service: Service, began: i64, ended: Option<i64>) -> Incident {
        let at = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        Incident {
            id: Uuid::now_v7(),
            service,
            began_at: at(began),
            ended_at: ended.map(at),
            seen_at: at(ended.unwrap_or(10_000)),
            class: ErrorClass::Timeout,
            first: "one".into(),
            last: format!("{ended:?}"),
            consoles: BTreeSet::from([by.to_owned()]),
        }
    }

    #[test]
    fn incidents_seen_by_several_consoles_are_merged() {
        let incidents = merged(vec![
            seen("a", Service::Redis, 100, Some(200)),
            seen("b", Service::Redis, 104, Some(230)),
            seen("a", Service::Redis, 250, Some(300)),
            seen("c", Service::Redis, 900, None),
            seen("a", Service::Redis, 905, Some(950)),
            seen("a", Service::S3, 120, Some(130)),
        ]);
        let shown: Vec<_> =
            incidents.iter().map(|one| (one.service, one.duration(one.seen_at).num_seconds(), one.consoles.len())).collect();
        assert_eq!(shown, [(Service::Redis, 9_100, 2), (Service::S3, 10, 1), (Service::Redis, 200, 2)]);
        assert_eq!((incidents[0].ended_at, incidents[2].last.as_str()), (None, "Some(300)"));
    }

    #[test]
    fn durations_are_not_negative_after_the_clock_was_set_back() {
        assert_eq!(seen("a", Service::S3, 100, Some(50)).duration(crate::clock::now()), TimeDelta::zero());
    }
}
