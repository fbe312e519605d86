use std::sync::LazyLock;

use super::*;

const STALE: Duration = Duration::from_secs(15);

fn good() -> Outcome {
    Ok((Duration::from_micros(1234), "1".into()))
}

fn bad() -> Outcome {
    Err(CheckError::new(ErrorClass::Connect, "no"))
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn moment(second: u64) -> Moment {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Moment { at: at(second as i64), monotonic: *START + Duration::from_secs(second) }
}

fn after(outcomes: &[bool]) -> (Record, Vec<Incident>) {
    let mut record = Record::default();
    let mut incidents = Vec::new();
    for (second, outcome) in (0..).zip(outcomes) {
        let recorded = record.enter(Service::Redis, if *outcome { good() } else { bad() }, moment(second));
        incidents.extend(recorded.incident);
    }
    (record, incidents)
}

fn state_after(outcomes: &[bool]) -> State {
    after(outcomes).0.snapshot(Service::Redis, moment(outcomes.len() as u64), STALE).state
}

#[test]
fn one_failure_warns_three_are_down_and_two_successes_recover() {
    assert_eq!(state_after(&[]), State::Unknown);
    assert_eq!(state_after(&[true]), State::Up);
    assert_eq!(state_after(&[false]), State::Down, "the first counts at once");
    assert_eq!(state_after(&[true, false]), State::Failing);
    assert_eq!(state_after(&[true, false, false]), State::Failing);
    assert_eq!(state_after(&[true, false, true]), State::Up);
    assert_eq!(state_after(&[true, false, false, false]), State::Down);
    assert_eq!(state_after(&[true, false, false, false, true]), State::Down);
    assert_eq!(state_after(&[true, false, false, false, true, true]), State::Up);
}

#[test]
fn an_incident_lasts_from_the_first_failure_to_the_first_good_answer() {
    let (record, incidents) = after(&[true, false, false, false, false, true, true]);
    assert_eq!(incidents.len(), 2, "opened and ended");
    assert_eq!((incidents[0].began_at, incidents[0].ended_at), (at(1), None));
    assert_eq!((incidents[1].id, incidents[1].began_at, incidents[1].ended_at), (incidents[0].id, at(1), Some(at(5))));
    assert!(record.open_incident().is_none());
    assert!(after(&[true, false, false, true]).1.is_empty(), "what did not count as down is none");
    let since = after(&[true, false, false, false]).0.snapshot(Service::Redis, moment(4), STALE);
    assert_eq!((since.since, since.failures), (Some(at(1)), 3));
}

#[test]
fn a_flapping_service_is_unstable_and_keeps_the_worse_state() {
    let shown = |outcomes: &[bool]| {
        let snapshot = after(outcomes).0.snapshot(Service::Redis, moment(outcomes.len() as u64), STALE);
        (snapshot.unstable, snapshot.state)
    };
    assert_eq!(shown(&[true, false, true, false]), (false, State::Failing));
    assert_eq!(shown(&[true, false, true, false, true]), (true, State::Up));
    assert_eq!(shown(&[false, true, false, true, false]), (true, State::Down));
    let mut calm = vec![true, false, true, false, true];
    calm.extend([true; 20]);
    assert_eq!(shown(&calm), (false, State::Up));
}

#[test]
fn a_service_without_recent_checks_is_stale() {
    let record = after(&[true]).0;
    let later = record.snapshot(Service::Redis, moment(60), STALE);
    assert_eq!((later.state, later.healthy, later.latency_ms), (State::Stale, false, None));
    assert_eq!(later.last_good.map(|(_, ms)| ms), Some(1.23));
}

#[test]
fn inspection_problems_degrade_only_services_that_are_up() {
    let mut record = after(&[true]).0;
    record.inspect(Err(CheckError::new(ErrorClass::Auth, "Writes are denied.")));
    let shown = record.snapshot(Service::S3, moment(1), STALE);
    assert_eq!((shown.state, shown.healthy), (State::Degraded, true));
    assert_eq!(shown.problem.unwrap().class, ErrorClass::Auth);
    record.enter(Service::S3, bad(), moment(2));
    let failing = record.snapshot(Service::S3, moment(2), STALE);
    assert_eq!((failing.state, failing.problem), (State::Failing, None));
}

#[test]
fn setting_the_clock_changes_neither_staleness_nor_uptime() {
    for hours in [-3, 3] {
        let mut record = after(&[true]).0;
        let jumped = |second: u64| Moment { at: moment(second).at + TimeDelta::hours(hours), ..moment(second) };
        assert_eq!(record.snapshot(Service::Redis, jumped(4), STALE).state, State::Up);
        assert!(record.enter(Service::Redis, good(), jumped(4)).before.is_none(), "the time between belongs to no process");
        assert!(record.enter(Service::Redis, good(), jumped(8)).before.is_some());
        assert_eq!(record.snapshot(Service::Redis, jumped(30), STALE).state, State::Stale);
    }
}
