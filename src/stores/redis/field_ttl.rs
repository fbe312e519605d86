//! TTLs of single hash fields, which Redis 7.4 and Valkey 9.0 support.

use redis::Value;

use super::Error;
use super::browse::{BrowseCommands, answer};
use super::keyspace::Ttl;

impl BrowseCommands<'_> {
    /// In the order of `fields`; `None`: the server does not support TTLs of fields, or the ACL does not allow reading them.
    pub(super) async fn field_ttls(&self, key: &[u8], fields: &[&[u8]]) -> Result<Option<Vec<Ttl>>, Error> {
        if fields.is_empty() || !self.knows("HPTTL").await? {
            return Ok(None);
        }
        let mut command = redis::cmd("HPTTL");
        command.arg(key).arg("FIELDS").arg(fields.len()).arg(fields);
        match self.run::<Vec<i64>>(command).await {
            Ok(ttls) => Ok(Some(ttls.into_iter().map(Ttl::of).collect())),
            Err(Error::NotPermitted | Error::Other(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the server has a command. Trying it would count as an error in the server's statistics.
    async fn knows(&self, name: &str) -> Result<bool, Error> {
        let mut command = redis::cmd("COMMAND");
        command.arg("INFO").arg(name);
        match self.run::<Vec<Value>>(command).await {
            Ok(found) => Ok(found.into_iter().next().is_some_and(|found| answer::<Vec<Value>>(found).is_ok_and(|found| !found.is_empty()))),
            Err(Error::NotPermitted | Error::Other(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
