//! The health pages, with services in every state.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use chrono::TimeDelta;
use uuid::Uuid;

use super::data::{HOSTILE, layout, noon};
use crate::console::pages::health::{Card, Live, LiveFragment, ProcessStats, ShowPage, service};
use crate::console::view::fragment::Fragment;
use crate::domain::actor::Role;
use crate::domain::health::{
    CheckError, Day, Detail, ErrorClass, HistoryStep, Hour, Incident, LatencyStep, Names, PoolUsage, RedisDetail, Seconds, ServerState,
    Service, Snapshot, State, Uptime, Writes,
};
use crate::domain::redis_metrics::Range;
use crate::meter::{Bound, Load};

fn failure() -> CheckError {
    CheckError::new(ErrorClass::Timeout, HOSTILE)
}

fn hostile() -> Names {
    Names { count: 3, first: vec![HOSTILE.to_owned()] }
}

fn detail(of: Service) -> Detail {
    match of {
        Service::Postgres => Detail::Postgres(ServerState {
            writes: Writes::Accepted,
            connections: 31,
            connection_limit: 100,
            oldest_transaction: Some(90.0),
            size: 61_200_000_000,
        }),
        Service::Redis => {
            Detail::Redis(RedisDetail { memory: Some(85), limit: Some(100), clients: Some(3), evicts: true, ..RedisDetail::default() })
        }
        Service::S3 => Detail::S3 {
            round_trip: Some(Duration::from_millis(12)),
            keeps_objects: false,
            bucket_is_missing: false,
            bucket: HOSTILE.to_owned(),
        },
        Service::Qdrant => Detail::Qdrant { collections: 4, inspected: 4, points: 1_204_118, red: hostile() },
        Service::LiteLlm => Detail::LiteLlm { models: hostile(), missing: hostile() },
    }
}

fn snapshot(service: Service, state: State) -> Snapshot {
    let steps =
        vec![LatencyStep::Unknown, LatencyStep::Latency(1.0), LatencyStep::Latency(2.0), LatencyStep::Failed, LatencyStep::Latency(1.5)];
    Snapshot {
        service,
        state,
        unstable: service == Service::Qdrant,
        healthy: state == State::Up,
        latency_ms: Some(1.84),
        since: Some(noon()),
        checked_at: Some(noon()),
        next_at: Some(noon()),
        failures: 312,
        last_failure: Some((noon(), failure())),
        last_good: Some((noon(), 27.3)),
        problem: Some(failure()),
        version: Some(HOSTILE.into()),
        detail: Some(Arc::new(detail(service))),
        hour: Arc::new(Hour { steps, p50: Some(1.6), p95: None }),
        pool: Some(PoolUsage { in_use: 4, idle: 3, waiting: 1, limit: 20 }),
    }
}

pub fn snapshots() -> Vec<Snapshot> {
    use State::{Degraded, Down, Failing, NotConfigured, Stale};
    let states = [Degraded, Failing, Down, NotConfigured, Stale];
    Service::ALL.into_iter().zip(states).map(|(service, state)| snapshot(service, state)).collect()
}

fn uptime() -> Uptime {
    let seconds =
        [Seconds::default(), Seconds { up: 86_400.0, down: 0.0 }, Seconds { up: 86_395.0, down: 5.0 }, Seconds { up: 1.0, down: 900.0 }];
    let day = |(at, seconds): (i64, &Seconds)| Day { date: (noon() - TimeDelta::days(29 - at)).date_naive(), seconds: *seconds };
    Uptime { day: seconds[1], month: seconds[3], days: (0..).zip(seconds.iter().cycle()).take(30).map(day).collect() }
}

fn incidents() -> Vec<Incident> {
    let incident = |service, ended_at| Incident {
        id: Uuid::nil(),
        service,
        began_at: noon(),
        ended_at,
        seen_at: noon(),
        class: ErrorClass::Connect,
        first: HOSTILE.into(),
        last: format!("{HOSTILE}."),
        consoles: ["a:1", HOSTILE].map(str::to_owned).into(),
    };
    vec![incident(Service::S3, None), incident(Service::Redis, Some(noon() + TimeDelta::minutes(9)))]
}

fn card(snapshot: Snapshot) -> Card {
    Card::of(snapshot, uptime(), &incidents())
}

fn process() -> ProcessStats {
    ProcessStats {
        uptime: "6 d".into(),
        started_at: noon(),
        memory: Some(29_780_000),
        connections: 41,
        uploads: 3,
        load: Load { per_second: 18.2, page_p95: Some(Bound::AtMost(7.5)), requests: 412_806, errors: 3 },
        consoles: Some(2),
        migrations: Some((9, 9)),
        warnings: vec![HOSTILE.into()],
    }
}

pub fn pages() -> Vec<(&'static str, String)> {
    let whole = |snapshots: Vec<Snapshot>, signed_in: bool| {
        let live = Live::from_cards(snapshots.into_iter().map(card).collect(), incidents(), process(), signed_in, 4);
        let live = Fragment::of(&LiveFragment { live }).unwrap();
        ShowPage { layout: layout("Health", signed_in.then_some(Role::Admin)), signed_in, live }.render().unwrap()
    };
    let one = |state, known: bool| {
        let step = HistoryStep { mean: Some(1.5), most: Some(9.0), seconds: Seconds { up: 55.0, down: 5.0 } };
        let history = service::History::of(&[None, Some(step), Some(HistoryStep::default()), Some(step)], Range::Day);
        let live = service::LiveFragment {
            card: card(snapshot(Service::S3, state)),
            range: Range::Day,
            history: known.then(|| std::sync::Arc::new(history)),
            known: 213,
            incidents: incidents().into_iter().map(crate::console::pages::health::IncidentRow::of).collect(),
            may_call_models: true,
            down: 1,
        };
        let events = "/health/services/s3/events?range=day".to_owned();
        service::ShowPage { layout: layout(HOSTILE, Some(Role::Viewer)), events, live: Fragment::of(&live).unwrap() }.render().unwrap()
    };
    vec![
        ("health", whole(snapshots(), true)),
        ("health-out", whole(snapshots(), false)),
        ("health-up", whole(Service::ALL.map(|service| snapshot(service, State::Up)).into(), true)),
        ("health-service", one(State::Up, true)),
        ("health-service-down", one(State::Down, false)),
    ]
}
