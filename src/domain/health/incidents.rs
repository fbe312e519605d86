//! Times in which a service was down, as each console has seen them, and what they come to together.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Service;
use super::error::ErrorClass;
use super::past::KEPT;
use crate::domain::Result;

/// An incident that no console has confirmed for so long ended when one did last.
const FORSAKEN: TimeDelta = TimeDelta::minutes(3);
/// What lies closer together, seen by two or before and after a restart, is one.
const APART: TimeDelta = TimeDelta::minutes(1);
/// Of one service; a page shows fewer.
const READ: i64 = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub id: Uuid,
    pub service: Service,
    pub began_at: DateTime<Utc>,
    /// `None`: it lasts.
    pub ended_at: Option<DateTime<Utc>>,
    /// When it was last confirmed.
    pub seen_at: DateTime<Utc>,
    /// Of the failure that made it one.
    pub class: ErrorClass,
    /// What the first failed check said, and the last.
    pub first: String,
    pub last: String,
    /// Hosts and ports of those who have seen it.
    pub consoles: BTreeSet<String>,
}

impl Incident {
    pub fn lasted(&self, now: DateTime<Utc>) -> TimeDelta {
        // A clock may have been set back meanwhile.
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
    /// `None` for what a newer Larder has written.
    fn incident(self, now: DateTime<Utc>) -> Option<Incident> {
        let forsaken = (now - self.seen_at > FORSAKEN).then_some(self.seen_at);
        Some(Incident {
            id: self.id,
            service: Service::of_slug(&self.service)?,
            class: ErrorClass::of_slug(&self.class)?,
            began_at: self.began_at,
            ended_at: self.ended_at.or(forsaken),
            seen_at: self.seen_at,
            first: self.first_message,
            last: self.last_message,
            consoles: BTreeSet::from([self.instance]),
        })
    }
}

/// The same as often as it is asked for. What a console leaves open, because it dies, ends when it was last seen.
pub(super) async fn write(conn: &mut AsyncPgConnection, instance: &str, changed: &[Incident]) -> Result<()> {
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

/// Of the last thirty days, as each console has seen them.
pub(super) async fn read(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<Incident>> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT found.* FROM unnest($1::text[]) AS one, LATERAL (
             SELECT id, instance, service, class, first_message, last_message, began_at, ended_at, seen_at FROM health_incidents
             WHERE service = one AND began_at < now() + interval '5 minutes' AND seen_at >= $2 ORDER BY began_at DESC LIMIT $3) AS found",
    )
    .bind::<Array<Text>, _>(Service::ALL.map(Service::slug).to_vec())
    .bind::<Timestamptz, _>(now - KEPT)
    .bind::<BigInt, _>(READ)
    .load(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| row.incident(now)).collect())
}

/// What several consoles have seen of one service at one time is one incident. Newest first.
pub(super) fn merged(mut seen: Vec<Incident>) -> Vec<Incident> {
    seen.sort_by_key(|incident| (incident.service, incident.began_at));
    let mut whole: Vec<Incident> = Vec::new();
    for incident in seen {
        match whole.last_mut() {
            Some(before)
                if before.service == incident.service && before.ended_at.is_none_or(|ended| incident.began_at - ended <= APART) =>
            {
                before.ended_at = before.ended_at.zip(incident.ended_at).map(|(one, other)| one.max(other));
                if incident.seen_at > before.seen_at {
                    before.seen_at = incident.seen_at;
                    before.last = incident.last;
                }
                before.consoles.extend(incident.consoles);
            }
            _ => whole.push(incident),
        }
    }
    whole.sort_by_key(|incident| std::cmp::Reverse(incident.began_at));
    whole
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
    fn what_three_consoles_have_seen_is_one_incident() {
        let incidents = merged(vec![
            seen("a", Service::Redis, 100, Some(200)),
            seen("b", Service::Redis, 104, Some(230)),
            seen("a", Service::Redis, 250, Some(300)),
            seen("c", Service::Redis, 900, None),
            seen("a", Service::Redis, 905, Some(950)),
            seen("a", Service::S3, 120, Some(130)),
        ]);
        let shown: Vec<_> = incidents.iter().map(|one| (one.service, one.lasted(one.seen_at).num_seconds(), one.consoles.len())).collect();
        assert_eq!(shown, [(Service::Redis, 9_100, 2), (Service::S3, 10, 1), (Service::Redis, 200, 2)]);
        assert_eq!((incidents[0].ended_at, incidents[2].last.as_str()), (None, "Some(300)"));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_time_negative() {
        assert_eq!(seen("a", Service::S3, 100, Some(50)).lasted(crate::clock::now()), TimeDelta::zero());
    }
}
