//! Values are computed once, cached for all replicas, and removed when they are no longer valid.

mod outages;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use larder::domain::actor::{Actor, Role};
use larder::domain::cache::{self, Cleared, Key, Namespace, NamespaceStats};
use larder::domain::{Context, Error, overview};
use tokio::sync::Semaphore;

use crate::support::{TestApp, eventually};

static NUMBERS: Namespace<u64> = Namespace::new("t-numbers", Duration::from_secs(600)).waiting(Duration::from_secs(60));

/// A computation that counts its runs and ends when it is released.
#[derive(Clone)]
struct Work {
    started: Arc<AtomicU64>,
    gate: Arc<Semaphore>,
}

impl Work {
    fn new() -> Self {
        Self { started: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    /// One that ends immediately.
    fn free() -> Self {
        let work = Self::new();
        work.release();
        work
    }

    fn release(&self) {
        self.gate.add_permits(10_000);
    }

    fn started(&self) -> u64 {
        self.started.load(Ordering::SeqCst)
    }

    /// The number of the run, starting at 1.
    async fn run(self) -> Result<u64, Error> {
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        self.gate.acquire().await.unwrap().forget();
        Ok(number)
    }

    async fn get(&self, ctx: &Context, namespace: &'static Namespace<u64>, key: &Key) -> Result<u64, Error> {
        let work = self.clone();
        cache::get_or_compute(ctx, namespace, key, || work.run()).await
    }
}

fn stats(ctx: &Context, namespace: &str) -> NamespaceStats {
    ctx.cache.stats().into_iter().find(|(name, _)| *name == namespace).map(|(_, stats)| stats).unwrap_or_default()
}

fn name(app: &TestApp, namespace: &str, key: &Key) -> String {
    format!("{}cache:{namespace}:{}", app.ctx.config.redis.prefix, key.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_callers_on_three_replicas_cause_one_computation() {
    let app = TestApp::start().await;
    let replicas = [app.replica().await, app.replica().await];
    let contexts = [&app.ctx, &replicas[0].ctx, &replicas[1].ctx];
    for ctx in contexts {
        eventually("the replica is connected", async || cache::set(ctx, &NUMBERS, &Key::only(), &0).await).await;
    }
    let (work, key) = (Work::new(), Key::of(&[&"cold"]));
    let callers = join_all((0..500).map(|at| work.get(contexts[at % 3], &NUMBERS, &key)));
    let (answers, ()) = tokio::join!(callers, async {
        eventually("one has started", async || work.started() > 0).await;
        work.release();
    });
    assert_eq!(work.started(), 1, "{:?}", contexts.map(|ctx| stats(ctx, "t-numbers").errors()));
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))));
    let all = contexts.map(|ctx| stats(ctx, "t-numbers"));
    assert_eq!(all.iter().map(NamespaceStats::computations).sum::<u64>(), 1);
    assert_eq!(all.iter().map(|all| all.hits() + all.misses() + all.errors()).sum::<u64>(), 500);
    assert!(matches!(work.get(contexts[2], &NUMBERS, &key).await, Ok(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reaches_all_waiting_callers_and_is_not_cached() {
    let app = TestApp::start().await;
    let (work, key) = (Work::new(), Key::only());
    let fails = |work: Work| async move {
        work.run().await?;
        Err(Error::Conflict("no".into()))
    };
    let callers = join_all((0..200).map(|_| {
        let work = work.clone();
        cache::get_or_compute(&app.ctx, &NUMBERS, &key, move || fails(work))
    }));
    let (answers, ()) = tokio::join!(callers, async {
        eventually("one has started", async || work.started() > 0).await;
        work.release();
    });
    assert!(answers.iter().all(|answer: &Result<u64, Error>| matches!(answer, Err(Error::Conflict(_)))));
    assert_eq!((work.started(), stats(&app.ctx, "t-numbers").failures()), (1, 1));
    let panics = || async { panic!("a value that cannot be") };
    assert!(matches!(cache::get_or_compute(&app.ctx, &NUMBERS, &key, panics).await, Err(Error::Internal(_))));
    assert!(matches!(work.get(&app.ctx, &NUMBERS, &key).await, Ok(2)), "the next caller computes again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_caller_does_not_affect_the_others() {
    let app = TestApp::start().await;
    let (work, key) = (Work::new(), Key::only());
    let (first, ctx) = (work.clone(), app.ctx.clone());
    let gone = tokio::spawn(async move { first.get(&ctx, &NUMBERS, &Key::only()).await });
    eventually("it has started", async || work.started() == 1).await;
    gone.abort();
    let (second, ()) = tokio::join!(work.get(&app.ctx, &NUMBERS, &key), async { work.release() });
    assert!(matches!(second, Ok(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_computed_before_an_invalidation_is_not_cached() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (work, key) = (Work::new(), Key::of(&[&"row", &7]));
    let old = work.get(&app.ctx, &NUMBERS, &key);
    let (old, fresh) = tokio::join!(old, async {
        eventually("the old one has started", async || work.started() == 1).await;
        // On the other replica, like a mutation there after its commit.
        cache::invalidate(&replica.ctx, &NUMBERS, &key).await;
        let fresh = Work { started: work.started.clone(), ..Work::free() }.get(&replica.ctx, &NUMBERS, &key).await;
        work.release();
        fresh
    });
    assert_eq!((old.unwrap(), fresh.unwrap()), (1, 2));
    for ctx in [&app.ctx, &replica.ctx] {
        assert_eq!(cache::get(ctx, &NUMBERS, &key).await.unwrap().value, 2);
    }

    // In the same process, later callers do not get the old value either; the same applies after clearing.
    for clear in [false, true] {
        let (work, key) = (Work::new(), Key::of(&[&"own", &clear]));
        let (old, fresh) = tokio::join!(work.get(&app.ctx, &NUMBERS, &key), async {
            eventually("the old one has started", async || work.started() == 1).await;
            if clear {
                cache::clear(&app.ctx, &NUMBERS.spec, |_| true).await.unwrap();
                // Its lock remains: callers wait for it and then compute the value themselves.
                work.release();
            } else {
                cache::invalidate(&app.ctx, &NUMBERS, &key).await;
            }
            let fresh = Work { started: work.started.clone(), ..Work::free() }.get(&app.ctx, &NUMBERS, &key).await;
            work.release();
            fresh
        });
        assert_eq!((old.unwrap(), fresh.unwrap()), (1, 2), "cleared: {clear}");
        assert_eq!(cache::get(&app.ctx, &NUMBERS, &key).await.unwrap().value, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_value_is_served_while_a_new_one_is_computed() {
    static OLD: Namespace<u64> = Namespace::new("t-old", Duration::ZERO).stale(Duration::from_secs(600));
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (work, key) = (Work::free(), Key::only());
    assert!(matches!(work.get(&app.ctx, &OLD, &key).await, Ok(1)));
    let slow = Work { started: work.started.clone(), ..Work::new() };
    let answers = join_all((0..100).map(|at| slow.get(if at % 2 == 0 { &app.ctx } else { &replica.ctx }, &OLD, &key))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))), "no caller waits");
    eventually("a new value is computed", async || slow.started() == 2).await;
    slow.release();
    eventually("the new value is served", async || cache::get(&replica.ctx, &OLD, &key).await.is_some_and(|found| found.value >= 2)).await;
    assert!(stats(&app.ctx, "t-old").stale() >= 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_refresh_keeps_the_old_value() {
    static OLD: Namespace<u64> = Namespace::new("t-old-fails", Duration::ZERO).stale(Duration::from_secs(600));
    let app = TestApp::start().await;
    let key = Key::only();
    assert!(cache::set(&app.ctx, &OLD, &key, &7).await);
    let fails = || async { Err(Error::Conflict("no".into())) };
    for _ in 0..50 {
        assert!(matches!(cache::get_or_compute(&app.ctx, &OLD, &key, fails).await, Ok(7)));
    }
    eventually("a refresh was attempted", async || stats(&app.ctx, "t-old-fails").failures() > 0).await;
    assert!(stats(&app.ctx, "t-old-fails").failures() <= 5, "it pauses between attempts");
    assert_eq!(cache::get(&app.ctx, &OLD, &key).await.unwrap().value, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_affects_one_namespace_and_can_be_stopped() {
    static A: Namespace<u64> = Namespace::new("t-a", Duration::from_secs(600));
    static AB: Namespace<u64> = Namespace::new("t-ab", Duration::from_secs(600));
    let app = TestApp::with_own_servers().await;
    let keys: Vec<Key> = (0..1200).map(|at| Key::of(&[&"*", &at])).collect();
    for key in &keys {
        assert!(cache::set(&app.ctx, &A, key, &1).await);
    }
    for key in &keys[..5] {
        assert!(cache::set(&app.ctx, &AB, key, &2).await);
    }
    let count = async |spec| cache::count(&app.ctx, spec, |_| true).await.unwrap().values;
    assert_eq!((count(&A.spec).await, count(&AB.spec).await), (1200, 5));
    let mut steps: Vec<Cleared> = Vec::new();
    let stopped = cache::clear(&app.ctx, &A.spec, |step| {
        steps.push(step);
        false
    });
    let stopped = stopped.await.unwrap();
    assert!(steps.len() == 1 && steps[0] == stopped && !stopped.is_complete && stopped.examined == 500, "{steps:?}");
    assert!(stopped.values > 0 && stopped.values < 1200, "{stopped:?}");
    assert_eq!(count(&A.spec).await, 1200 - stopped.values);
    let cleared = cache::clear(&app.ctx, &A.spec, |_| true).await.unwrap();
    assert!(cleared.is_complete && cleared.values == 1200 - stopped.values, "{cleared:?}");
    assert_eq!((count(&A.spec).await, count(&AB.spec).await), (0, 5));
    assert!(
        cache::get_many(&app.ctx, &AB, &keys[..6]).await.unwrap().iter().take(5).all(|found| found.as_ref().is_some_and(|f| f.value == 2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ttls_stay_within_their_jitter() {
    static LIVES: Namespace<u64> = Namespace::new("t-lives", Duration::from_secs(100)).jitter(20).stale(Duration::from_secs(50));
    let app = TestApp::start().await;
    let mut lives = Vec::new();
    for at in 0..200 {
        let key = Key::of(&[&at]);
        assert!(cache::set(&app.ctx, &LIVES, &key, &1).await);
        let left = app.ctx.redis.required().ttl(&format!("cache:t-lives:{}", key.as_str())).await.unwrap().unwrap();
        assert!(left > Duration::from_secs(125) && left <= Duration::from_secs(170), "{left:?}");
        lives.push(left);
    }
    let spread = *lives.iter().max().unwrap() - *lives.iter().min().unwrap();
    assert!(spread > Duration::from_secs(20), "{spread:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_another_version_is_recomputed() {
    let app = TestApp::start().await;
    let key = Key::only();
    for foreign in ["\"text\"", "not JSON", r#"{"at":1,"fresh_until":99999999999999,"value":"text"}"#] {
        app.redis(&["SET", &name(&app, "t-numbers", &key), foreign]).await;
        assert!(cache::get(&app.ctx, &NUMBERS, &key).await.is_none());
        assert!(matches!(Work::free().get(&app.ctx, &NUMBERS, &key).await, Ok(1)));
        assert_eq!(cache::get(&app.ctx, &NUMBERS, &key).await.unwrap().value, 1);
    }
    app.redis(&["DEL", &name(&app, "t-numbers", &key)]).await;
    app.redis(&["RPUSH", &name(&app, "t-numbers", &key), "a list"]).await;
    assert!(matches!(Work::free().get(&app.ctx, &NUMBERS, &key).await, Ok(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lookups_of_all_replicas_are_summed() {
    static SUMS: Namespace<u64> = Namespace::new("t-sums", Duration::from_secs(600));
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let work = Work::free();
    for ctx in [&app.ctx, &replica.ctx] {
        for at in 0..30 {
            work.get(ctx, &SUMS, &Key::of(&[&(at % 10)])).await.unwrap();
        }
    }
    // Twice at the same time: nothing is counted twice.
    let _ = tokio::join!(cache::flush(&app.ctx), cache::flush(&app.ctx), cache::flush(&replica.ctx));
    let totals = cache::last_hour(&app.ctx).await.unwrap();
    let sums = totals["t-sums"];
    assert_eq!((sums.hits(), sums.misses(), sums.errors(), sums.computations()), (50, 10, 0, 10));
    assert!((sums.hit_ratio().unwrap() - 50.0 / 60.0).abs() < 1e-9);
    assert!(sums.lookups().count == 60 && sums.lookups().p95.is_some() && sums.computing().count == 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_lookups_are_counted_and_uploads_update_todays_totals_immediately() {
    let app = TestApp::start().await;
    let editor = app.sign_in(Role::Editor).await;
    for done in 0..3_i64 {
        let shown = overview::overview(&app.ctx, &Actor::system("Tests")).await.unwrap();
        assert_eq!((shown.uploads_today, shown.bytes_today), (done, done * 4));
        editor.upload(&app.bucket, &format!("{done}.txt"), "four").await.expect_status(303);
    }
    assert!(stats(&app.ctx, "sessions").hits() > 0 && stats(&app.ctx, "sessions").misses() > 0);
}
