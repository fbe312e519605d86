//! What is exchanged when a connection is opened: its name and options for the server, and the server's mode and role.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use super::Error;
use super::info::is_replica_role;

/// The name shown by `CLIENT LIST`, and whether reads leave a key's last access time unchanged.
#[derive(Clone, Copy)]
pub(super) struct ConnectionOptions {
    pub name: &'static str,
    pub no_touch: bool,
}

/// Fails for a server that Larder does not support.
pub(super) async fn exchange(connection: &mut MultiplexedConnection, options: ConnectionOptions) -> Result<(), Error> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors().cmd("CLIENT").arg("SETNAME").arg(options.name);
    if options.no_touch {
        // Redis 7.2 and later: reading a key does not protect it from eviction.
        pipeline.cmd("CLIENT").arg("NO-TOUCH").arg("ON");
    }
    pipeline.cmd("HELLO");
    // Best effort: older servers lack these commands, and the ACL may forbid them.
    let answers: Result<Vec<Value>, RedisError> = pipeline.query_async(connection).await;
    let hello = answers.ok().and_then(|mut answers| answers.pop()).unwrap_or(Value::Nil);
    match property(hello, "mode").as_deref() {
        Some("cluster") => Err(Error::ClusterMode),
        Some("sentinel") => Err(Error::Sentinel),
        _ => Ok(()),
    }
}

/// Whether the server is a replica, from its response to HELLO. `None`: the server does not report it.
pub(super) fn is_replica(hello: Value) -> Option<bool> {
    property(hello, "role").map(|role| is_replica_role(&role))
}

/// `None` also for an error response: HELLO without arguments requires Redis 6.2.
fn property(hello: Value, name: &str) -> Option<String> {
    let mut properties: HashMap<String, Value> = redis::from_redis_value(hello).ok()?;
    redis::from_redis_value(properties.remove(name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_read_with_both_protocols() {
        let text = |text: &str| Value::BulkString(text.into());
        let list = |role: &str| vec![text("proto"), Value::Int(2), text("modules"), Value::Array(Vec::new()), text("role"), text(role)];
        assert_eq!(is_replica(Value::Array(list("replica"))), Some(true));
        assert_eq!(is_replica(Value::Array(list("master"))), Some(false));
        assert_eq!(is_replica(Value::Map(vec![(text("role"), text("replica")), (text("proto"), Value::Int(3))])), Some(true));
        assert_eq!(is_replica(Value::Nil), None);
    }
}
