//! Layer 2: the actions of Larder, one module per noun. No actix and no HTML.

pub mod abilities;
pub mod actor;
mod address;
pub mod audit;
pub mod buckets;
pub mod cache;
pub mod deny;
mod email;
pub mod fair_pool;
pub(crate) mod faults;
pub(crate) mod files;
pub mod health;
pub mod keyspace;
pub mod limits;
pub mod names;
pub mod objects;
pub mod overview;
pub(crate) mod password;
pub mod periodic;
pub mod preview;
pub mod problem;
pub mod reconcile;
pub mod redis_metrics;
mod s3_sentences;
pub mod secrets;
pub mod sessions;
pub mod setup;
pub mod sign_in;
pub mod signing;
pub mod slots;
pub mod transfer_counters;
mod transfer_rate;
pub mod uploads;
pub mod users;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::stores::{postgres, redis, s3};

/// What every action needs: the stores, the configuration, and a tracker for tasks that outlive their request.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub db: postgres::Pool,
    pub redis: redis::Redis,
    pub signer: signing::Signer,
    pub sign_ins: sign_in::Admission,
    pub downloads: slots::Slots,
    pub exports: slots::Slots,
    pub previews: slots::Slots,
    pub scans: slots::Slots,
    pub lookups: slots::Slots,
    pub sampling: keyspace::Sampling,
    pub open_bodies: objects::OpenBodies,
    pub read_log: objects::ReadLog,
    pub cache: cache::Cache,
    pub last_counts: buckets::LastCounts,
    pub s3: s3::Store,
    pub health: health::Board,
    pub session_cache: sessions::SessionCache,
    pub rate_counts: limits::LocalCounts,
    pub upload_memory: uploads::MemoryLimit,
    pub transfer_counters: transfer_counters::TransferCounters,
    /// Tasks that a dropped connection must not cancel; awaited at shutdown.
    pub tasks: TaskTracker,
    /// The runtime on which such tasks and their connections run.
    pub runtime: tokio::runtime::Handle,
}

/// Why an action failed. The message is a sentence for the user.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    NotFound(String),
    /// Invalid input: `field` names the input that the sentence belongs to.
    #[error("{why}")]
    Refused { field: &'static str, why: String },
    #[error("{0}")]
    Conflict(String),
    /// The upload in progress was cancelled elsewhere.
    #[error("{0}")]
    Cancelled(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    TooLarge(String),
    /// A limit is reached; a retry may succeed after `retry_after`.
    #[error("{why}")]
    Busy { why: String, retry_after: Duration },
    /// One person asks for something more often than is allowed.
    #[error("{why}")]
    TooMany { why: String, retry_after: Duration },
    /// A bug or an unexpected condition, for the log.
    #[error("{0}")]
    Internal(String),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    S3(#[from] s3::Error),
    #[error(transparent)]
    Redis(#[from] redis::Error),
}

/// The namespaces of all modules, for [`cache::Cache::new`].
pub fn cache_namespaces() -> Vec<cache::Spec> {
    vec![abilities::CACHE.spec, buckets::CACHE.spec, uploads::today::CACHE.spec, buckets::totals::CACHE.spec, sessions::COPIES]
}

impl Context {
    /// Runs a task that no request waits for, on a runtime that outlives all requests; awaited at shutdown.
    pub(crate) fn in_background<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn_on(work, &self.runtime)
    }

    /// Runs `work` to completion, even if the caller goes away: a dropped connection must not separate a change from
    /// its audit event.
    pub(crate) async fn run_to_completion<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let ended = self.in_background(work).await;
        ended.unwrap_or_else(|error| Err(Error::Internal(format!("a task was aborted: {error}"))))
    }
}

impl Context {
    /// Retries in the background what could not be recorded now: every second for ten minutes, so that it is recorded
    /// late rather than never. `what` appears in the log.
    pub(crate) fn retry_in_background<W: Future<Output = Result<()>> + Send>(&self, what: String, work: impl Fn() -> W + Send + 'static) {
        log::error!("{what}: done, but not recorded yet");
        self.in_background(async move {
            for _ in 0..600 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if work().await.is_ok() {
                    return;
                }
            }
            log::error!("{what}: could not be recorded at all");
        });
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        postgres::Error::from(error).into()
    }
}

impl Error {
    pub fn refused(field: &'static str, why: impl Into<String>) -> Self {
        Self::Refused { field, why: why.into() }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_of_cache_namespaces_are_unique() {
        let namespaces = super::cache_namespaces();
        let names: HashSet<&str> = namespaces.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), namespaces.len());
    }
}
