//! The bytes of a download. A reader that takes no bytes for two seconds holds no buffer and no connection to the
//! store: the download resumes where it stopped, from the same version of the object, when the reader continues.
//!
//! A download whose reader is slow is ended when a user who holds less waits for a slot or a connection. Otherwise it
//! may take as long as it needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::domain::actor::Actor;
use crate::domain::fair_pool::{FairPool, Grant, Person};
use crate::domain::slots::Slot;
use crate::domain::transfer_rate::TransferRate;
use crate::domain::{Context, Error, Result};
use crate::stores::s3;

/// The maximum time without bytes from the store within a body.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// The buffer of the connection of a reader that takes no bytes. At most twice this is used.
const SLICE: usize = 64 << 10;
/// How long a reader may take no bytes before its connection to the store is closed.
const PARK_AFTER: Duration = Duration::from_secs(2);
const PARK_INTERVAL: Duration = Duration::from_secs(1);

/// Connections to the store that downloads hold at the same time. Each has up to a megabyte in its buffers.
const MAX_CONNECTIONS: u32 = 64;
/// The longest wait of a request for one of them.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait of a download that resumes.
const RESUME_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a waiting request looks for a slow reader.
const END_INTERVAL: Duration = Duration::from_millis(100);

type OpenList = Arc<Mutex<Vec<Weak<Mutex<Open>>>>>;

/// The active downloads whose readers may be slow, and the connections to the store that they share.
#[derive(Clone)]
pub struct OpenBodies {
    open: OpenList,
    connections: FairPool,
}

impl Default for OpenBodies {
    fn default() -> Self {
        Self { open: OpenList::default(), connections: FairPool::new(MAX_CONNECTIONS, true) }
    }
}

/// A connection to the store. The grant is released after the connection is closed.
pub(super) struct Connection {
    pub body: s3::Body,
    pub _grant: Grant,
}

/// The resources of a download that can be released while its reader takes no bytes.
struct Open {
    person: Person,
    /// Counts this download while it is in progress.
    slot: Option<Slot>,
    /// Ended because its reader was slow.
    is_ended: bool,
    /// Taken while it is read, and `None` once it is closed.
    connection: Option<Connection>,
    is_reading: bool,
    /// Read from the store, but not returned yet.
    rest: Bytes,
    /// When the last bytes were returned, and how many.
    used: Instant,
    returned: usize,
    rate: TransferRate,
}

/// What a request waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Slot,
    Connection,
}

/// The source of the bytes of a response.
pub(super) struct Source {
    pub ctx: Context,
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
    pub etag: Option<String>,
    pub person: Person,
    /// The position of the next byte in the object, and of the last byte of this response.
    pub next: u64,
    pub left: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenBodies {
    fn add(&self, open: &Arc<Mutex<Open>>) {
        let mut all = lock(&self.open);
        if all.len() == all.capacity() {
            all.retain(|open| open.strong_count() > 0);
        }
        all.push(Arc::downgrade(open));
    }

    /// Waits for a connection to the store, shared fairly. Busy if none is free in time.
    pub(super) async fn grant(&self, person: Person) -> Result<Grant> {
        self.grant_within(person, CONNECTION_TIMEOUT).await
    }

    async fn grant_within(&self, person: Person, timeout: Duration) -> Result<Grant> {
        let busy = || Error::Busy {
            why: "Too many downloads are in progress. Try again in a few seconds.".into(),
            retry_after: Duration::from_secs(5),
        };
        let granted = self.connections.take(person, 1, timeout);
        tokio::pin!(granted);
        loop {
            match tokio::time::timeout(END_INTERVAL, &mut granted).await {
                Ok(granted) => return granted.ok_or_else(busy),
                Err(_) => drop(self.end_slow(person, Resource::Connection)),
            }
        }
    }

    /// Ends the slowest download of the user who holds most, if `waiting` holds less. Returns whether there was one.
    fn end_slow(&self, waiting: Person, resource: Resource) -> bool {
        let all: Vec<Arc<Mutex<Open>>> = lock(&self.open).iter().filter_map(Weak::upgrade).collect();
        let mut held: HashMap<Person, usize> = HashMap::new();
        let mut slow = Vec::new();
        for open in &all {
            let open_now = lock(open);
            if open_now.holds(resource) {
                *held.entry(open_now.person).or_default() += 1;
                if open_now.is_slow() {
                    slow.push((open_now.person, open_now.used, open));
                }
            }
        }
        let of = |person: &Person| held.get(person).copied().unwrap_or(0);
        let eligible = slow.into_iter().filter(|(person, ..)| of(person) > of(&waiting));
        let Some((_, _, victim)) = eligible.max_by_key(|(person, used, _)| (of(person), used.elapsed())) else { return false };
        let released = {
            let mut victim = lock(victim);
            victim.is_ended = true;
            (victim.slot.take(), victim.connection.take(), std::mem::take(&mut victim.rest))
        };
        log::info!(target: "larder::downloads", "a slow download was ended, because another user was waiting");
        drop(released);
        true
    }

    /// The number of downloads that currently hold a connection to the store.
    pub fn held(&self) -> usize {
        lock(&self.open).iter().filter_map(Weak::upgrade).filter(|open| lock(open).holds(Resource::Connection)).count()
    }

    /// Closes the connections of readers that take no bytes.
    fn park(&self) {
        let mut parked = Vec::new();
        lock(&self.open).retain(|open| {
            let Some(open) = open.upgrade() else { return false };
            let mut open = lock(&open);
            if open.connection.is_some() && open.used.elapsed() > PARK_AFTER {
                parked.push((open.connection.take(), std::mem::take(&mut open.rest)));
            }
            true
        });
        // After the lock is released, because closing a connection takes longer than checking it.
        drop(parked);
    }
}

impl Open {
    fn holds(&self, resource: Resource) -> bool {
        match resource {
            Resource::Slot => self.slot.is_some(),
            Resource::Connection => self.is_reading || self.connection.is_some(),
        }
    }

    /// Whether the server waits for the reader, and has done so for long.
    fn is_slow(&self) -> bool {
        !self.is_reading && !self.is_ended && self.rate.is_slow_after(self.used.elapsed())
    }
}

/// A slot for a download. If all slots are taken, a slow download of a user who holds more is ended for it.
pub(super) fn take_slot(ctx: &Context, actor: &Actor) -> Result<Slot> {
    let take = || ctx.downloads.take_for(actor, ctx.config.download_limit_per_person);
    match take() {
        Err(_) if ctx.downloads.is_full() && ctx.open_bodies.end_slow(actor.id, Resource::Slot) => take(),
        taken => taken,
    }
}

/// Runs as long as the process.
pub async fn park_slow_downloads(ctx: Context) {
    loop {
        tokio::time::sleep(PARK_INTERVAL).await;
        ctx.open_bodies.park();
    }
}

impl Source {
    /// Ends with an error if the store stops sending, sends too little, or has another version of the object. A
    /// truncated file is never taken for a complete one.
    pub fn stream(self, slot: Option<Slot>, connection: Connection) -> BoxStream<'static, std::io::Result<Bytes>> {
        let open = Arc::new(Mutex::new(Open {
            person: self.person,
            slot,
            is_ended: false,
            connection: Some(connection),
            is_reading: false,
            rest: Bytes::new(),
            used: Instant::now(),
            returned: 0,
            rate: TransferRate::default(),
        }));
        self.ctx.open_bodies.add(&open);
        futures_util::stream::unfold(Some((self, open)), |state| async {
            let (mut source, open) = state?;
            if source.left == 0 {
                return None;
            }
            match source.read(&open).await {
                Ok(chunk) => Some((Ok(chunk), Some((source, open)))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Never empty.
    async fn read(&mut self, open: &Mutex<Open>) -> std::io::Result<Bytes> {
        let (connection, mut rest) = {
            let mut open = lock(open);
            if open.is_ended {
                return Err(failed(std::io::ErrorKind::TimedOut, "the reader was too slow while others waited"));
            }
            let (returned, waited) = (open.returned, open.used.elapsed());
            open.rate.add(returned, waited);
            open.is_reading = true;
            (open.connection.take(), std::mem::take(&mut open.rest))
        };
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.reopen().await?,
        };
        while rest.is_empty() {
            rest = match tokio::time::timeout(STORE_TIMEOUT, connection.body.next()).await {
                Err(_) => return Err(failed(std::io::ErrorKind::TimedOut, "the store sent nothing for 30 s")),
                Ok(Some(chunk)) => chunk.map_err(|error| failed(std::io::ErrorKind::BrokenPipe, &error.to_string()))?,
                Ok(None) => {
                    return Err(failed(std::io::ErrorKind::UnexpectedEof, &format!("the store ended {} bytes early", self.left)));
                }
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(SLICE);
        let chunk = rest.split_to(rest.len().min(most));
        self.next += chunk.len() as u64;
        self.left -= chunk.len() as u64;
        self.ctx.transfer_counters.count_downloaded(chunk.len());
        let mut open = lock(open);
        (open.connection, open.rest, open.returned) = (Some(connection), rest, chunk.len());
        (open.is_reading, open.used) = (false, Instant::now());
        Ok(chunk)
    }

    async fn reopen(&self) -> std::io::Result<Connection> {
        let Some(etag) = &self.etag else {
            return Err(failed(std::io::ErrorKind::TimedOut, "the reader was too slow, and the object has no ETag to resume by"));
        };
        let conditions = s3::Conditions {
            range: Some(format!("bytes={}-{}", self.next, self.next + self.left - 1)),
            if_match: Some(format!("\"{etag}\"")),
            ..s3::Conditions::default()
        };
        let waited = self.ctx.open_bodies.grant_within(self.person, RESUME_TIMEOUT).await;
        let grant = waited.map_err(|error| failed(std::io::ErrorKind::TimedOut, &error.to_string()))?;
        let opened = self.ctx.s3.get(&self.bucket, &self.key, self.version.as_deref(), &conditions).await;
        let opened = opened.map_err(|error| failed(std::io::ErrorKind::BrokenPipe, &error.to_string()))?;
        // Not every store supports If-Match here.
        if opened.etag.as_ref() != Some(etag) || opened.length != self.left {
            return Err(failed(std::io::ErrorKind::BrokenPipe, "the object was replaced while it was being read"));
        }
        Ok(Connection { body: opened.body, _grant: grant })
    }
}

fn failed(kind: std::io::ErrorKind, why: &str) -> std::io::Error {
    std::io::Error::new(kind, why.to_owned())
}
