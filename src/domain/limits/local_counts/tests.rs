use super::*;

const POLICY: Policy = Policy { name: "t", limit: 10, window: Duration::from_secs(60) };

fn counts(count: u64) -> Counts {
    let mut counts = Counts::default();
    for _ in 0..count {
        counts.add(now(), 60_000);
    }
    counts
}

fn take(local: &LocalCounts, others: Option<Vec<(String, Counts)>>) -> Decision {
    let reservation = local.reserve(&POLICY, "x");
    local.decide(&POLICY, "x", &reservation, others)
}

#[test]
fn the_own_count_decides_without_redis() {
    let local = LocalCounts::default();
    for remaining in (0..10).rev() {
        let Standing { allowed, remaining: left, next, .. } = take(&local, None).standing;
        assert!(allowed && left == remaining && next > Duration::from_secs(50), "{next:?}");
    }
    for others in [None, Some(Vec::new()), Some(vec![(local.replica().to_owned(), Counts::default())])] {
        assert!(!take(&local, others).standing.allowed);
    }
    assert_eq!(local.own(&POLICY, "x").total(), 10, "rejected requests are not counted");
}

#[test]
fn the_counts_of_other_replicas_are_added_once_each() {
    let local = LocalCounts::default();
    let others = || Some(vec![("a".to_owned(), counts(4)), ("a".to_owned(), counts(3)), ("b".to_owned(), counts(2))]);
    assert_eq!(take(&local, others()).standing.remaining, 3);
    assert_eq!(take(&local, Some(Vec::new())).standing.remaining, 2, "a deleted count is kept");
    let own = Some(vec![(local.replica().to_owned(), counts(10))]);
    assert_eq!(take(&local, own).standing.remaining, 1, "the own count is not read from Redis");
    let decision = take(&local, Some(vec![("b".to_owned(), counts(9))]));
    assert!(!decision.standing.allowed && decision.is_outdated && decision.start.is_none());
}

#[test]
fn simultaneous_requests_do_not_count_against_earlier_ones() {
    let local = LocalCounts::default();
    let reserved: Vec<Reservation> = (0..12).map(|_| local.reserve(&POLICY, "x")).collect();
    let others = || Some(vec![("a".to_owned(), counts(5))]);
    let allowed = reserved.iter().filter(|reservation| local.decide(&POLICY, "x", reservation, others()).standing.allowed).count();
    assert_eq!(allowed, 5);
}

#[test]
fn the_last_quarter_is_not_counted_locally() {
    let local = LocalCounts::default();
    assert!(local.count_locally(&POLICY, "x").is_none(), "other replicas were not asked");
    take(&local, Some(Vec::new()));
    let counted = std::iter::from_fn(|| local.count_locally(&POLICY, "x")).count();
    assert_eq!((counted, local.own(&POLICY, "x").total()), (6, 7));
    assert!(local.schedule(&POLICY, "x") && !local.schedule(&POLICY, "x"));
    local.unschedule(&POLICY, "x");
    assert!(local.schedule(&POLICY, "x"));
}

#[test]
fn the_number_of_subjects_is_limited_and_users_are_kept() {
    let local = LocalCounts::default();
    let user = format!("{USER}1");
    local.reserve(&POLICY, &user);
    for at in 0..2 * MAX_SUBJECTS {
        local.reserve(&POLICY, &at.to_string());
    }
    assert!(local.lock().len() <= MAX_SUBJECTS);
    assert_eq!(local.own(&POLICY, &user).total(), 1);
}
