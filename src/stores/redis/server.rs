//! Server information beyond `INFO`: slow commands, clients, configuration.

use redis::Value;

use super::Error;
use super::browse::{BrowseCommands, answer};

/// One command that took longer than `slowlog-log-slower-than`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCommand {
    pub id: u64,
    /// Unix time in seconds.
    pub at: i64,
    pub microseconds: u64,
    /// The command and its arguments. The server omits arguments after the 31st and truncates each to 128 bytes.
    pub arguments: Vec<Vec<u8>>,
    pub address: String,
    pub client: String,
}

/// One line of `CLIENT LIST`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub id: u64,
    pub name: String,
    pub address: String,
    /// In seconds.
    pub age: u64,
    pub idle: u64,
    /// `b`: blocked in a blocking command.
    pub flags: String,
    pub database: u32,
    pub command: String,
    pub user: String,
    /// In bytes; `None` before Redis 6.2.
    pub memory: Option<u64>,
}

impl BrowseCommands<'_> {
    /// Number of entries in the slow log.
    pub async fn slow_count(&self) -> Result<u64, Error> {
        let mut command = redis::cmd("SLOWLOG");
        command.arg("LEN");
        self.run(command).await
    }

    /// Newest first.
    pub async fn slow(&self, count: usize) -> Result<Vec<SlowCommand>, Error> {
        let mut command = redis::cmd("SLOWLOG");
        command.arg("GET").arg(count);
        let entries: Vec<Vec<Value>> = self.run(command).await?;
        Ok(entries.into_iter().filter_map(slow).collect())
    }

    pub async fn clients(&self) -> Result<Vec<Client>, Error> {
        let mut command = redis::cmd("CLIENT");
        command.arg("LIST");
        let text: Vec<u8> = self.run(command).await?;
        Ok(String::from_utf8_lossy(&text).lines().map(client).collect())
    }

    /// Names and values of all settings that match.
    pub async fn settings(&self, pattern: &str) -> Result<Vec<(String, String)>, Error> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(pattern);
        let flat: Vec<Vec<u8>> = self.run(command).await?;
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let mut pairs: Vec<(String, String)> = flat.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
        pairs.sort();
        Ok(pairs)
    }

    /// A random sample; a key may occur more than once.
    pub async fn random_keys(&self, count: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut pipeline = redis::pipe();
        for _ in 0..count {
            pipeline.cmd("RANDOMKEY");
        }
        let answers = self.run_all(pipeline).await?;
        let keys: Result<Vec<Option<Vec<u8>>>, Error> = answers.into_iter().map(answer).collect();
        Ok(keys?.into_iter().flatten().collect())
    }
}

fn slow(entry: Vec<Value>) -> Option<SlowCommand> {
    let mut entry = entry.into_iter();
    Some(SlowCommand {
        id: answer(entry.next()?).ok()?,
        at: answer(entry.next()?).ok()?,
        microseconds: answer(entry.next()?).ok()?,
        arguments: answer(entry.next()?).ok()?,
        // Redis 4 and later.
        address: entry.next().and_then(|value| answer(value).ok()).unwrap_or_default(),
        client: entry.next().and_then(|value| answer(value).ok()).unwrap_or_default(),
    })
}

fn client(line: &str) -> Client {
    let mut client = Client::default();
    for (field, value) in line.split(' ').filter_map(|part| part.split_once('=')) {
        let number = || value.parse().unwrap_or_default();
        match field {
            "id" => client.id = number(),
            "name" => client.name = value.to_owned(),
            "addr" => client.address = value.to_owned(),
            "age" => client.age = number(),
            "idle" => client.idle = number(),
            "flags" => client.flags = value.to_owned(),
            "db" => client.database = value.parse().unwrap_or_default(),
            "cmd" => client.command = value.to_owned(),
            "user" => client.user = value.to_owned(),
            "tot-mem" => client.memory = value.parse().ok(),
            _ => {}
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_list_line_is_parsed() {
        let client =
            client("id=7 addr=10.0.0.1:51 laddr=:6379 fd=8 name=web-1 age=60 idle=2 flags=b db=3 cmd=blpop user=app tot-mem=22298 resp=2");
        assert_eq!((client.id, client.name.as_str(), client.age, client.database, client.memory), (7, "web-1", 60, 3, Some(22_298)));
        assert_eq!((client.flags.as_str(), client.command.as_str(), client.user.as_str()), ("b", "blpop", "app"));
    }
}
