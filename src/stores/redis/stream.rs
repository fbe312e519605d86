//! Consumer groups of a stream, and their pending entries.

use std::time::Duration;

use redis::Value;

use super::Error;
use super::browse::{BrowseCommands, answer};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamGroup {
    pub name: Vec<u8>,
    pub consumers: u64,
    /// Entries that were delivered but not acknowledged.
    pub pending: u64,
    pub last_delivered: String,
    /// Entries that were not delivered yet; `None` before Redis 7.0, and if the server cannot determine it.
    pub lag: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEntry {
    pub group: Vec<u8>,
    pub id: String,
    pub consumer: Vec<u8>,
    /// Since the last delivery.
    pub idle: Duration,
    pub deliveries: u64,
}

impl BrowseCommands<'_> {
    /// At most `limit`, in the server's order.
    pub async fn stream_groups(&self, key: &[u8], limit: usize) -> Result<Vec<StreamGroup>, Error> {
        let mut command = redis::cmd("XINFO");
        command.arg("GROUPS").arg(key);
        let groups: Vec<Vec<Value>> = self.run(command).await?;
        Ok(groups.into_iter().take(limit).map(group).collect())
    }

    /// The oldest pending entries of each group, at most `count` per group.
    pub async fn pending_entries(&self, key: &[u8], groups: &[StreamGroup], count: usize) -> Result<Vec<PendingEntry>, Error> {
        let groups: Vec<&StreamGroup> = groups.iter().filter(|group| group.pending > 0).collect();
        let mut pipeline = redis::pipe();
        for group in &groups {
            pipeline.cmd("XPENDING").arg(key).arg(&group.name).arg("-").arg("+").arg(count);
        }
        let mut entries = Vec::new();
        for (group, value) in groups.into_iter().zip(self.run_all(pipeline).await?) {
            let rows: Vec<(String, Vec<u8>, u64, u64)> = answer(value)?;
            entries.extend(rows.into_iter().map(|(id, consumer, idle, deliveries)| PendingEntry {
                group: group.name.clone(),
                id,
                consumer,
                idle: Duration::from_millis(idle),
                deliveries,
            }));
        }
        Ok(entries)
    }
}

/// Names and values alternate; later versions add fields.
fn group(fields: Vec<Value>) -> StreamGroup {
    let mut group = StreamGroup::default();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let name: String = answer(name).unwrap_or_default();
        match name.as_str() {
            "name" => group.name = answer(value).unwrap_or_default(),
            "consumers" => group.consumers = answer(value).unwrap_or_default(),
            "pending" => group.pending = answer(value).unwrap_or_default(),
            "last-delivered-id" => group.last_delivered = answer(value).unwrap_or_default(),
            "lag" => group.lag = answer(value).unwrap_or_default(),
            _ => {}
        }
    }
    group
}
