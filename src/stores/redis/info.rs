//! The output of `INFO`: `field:value` lines in sections.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Info(BTreeMap<String, String>);

/// `slave` is the name in INFO, `replica` that in HELLO of some servers.
pub(super) fn is_replica_role(role: &str) -> bool {
    role == "slave" || role == "replica"
}

impl Info {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(|line| line.split_once(':')).map(|(field, value)| (field.to_owned(), value.trim_end().to_owned())).collect())
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// `None` if the field is missing or not a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }

    pub fn signed(&self, field: &str) -> Option<i64> {
        self.text(field)?.parse().ok()
    }

    pub fn fraction(&self, field: &str) -> Option<f64> {
        self.text(field)?.trim_end_matches('%').parse().ok().filter(|value: &f64| value.is_finite())
    }

    pub fn is(&self, field: &str, value: &str) -> bool {
        self.text(field) == Some(value)
    }

    /// The name and version of the server program. Compatible servers report the Redis version that they are compatible with
    /// in `redis_version`, and their own version in a field of their own.
    pub fn program(&self) -> (&'static str, Option<&str>) {
        const COMPATIBLE: [(&str, &str); 6] = [
            ("valkey_version", "Valkey"),
            ("dragonfly_version", "Dragonfly"),
            ("redict_version", "Redict"),
            ("garnet_version", "Garnet"),
            ("kvrocks_version", "Kvrocks"),
            ("keydb_version", "KeyDB"),
        ];
        let own = COMPATIBLE.iter().find_map(|(field, name)| Some((*name, self.text(field)?)));
        let (name, version) = match own {
            Some((name, version)) => (name, Some(version)),
            // KeyDB reports its own version, but its name only here.
            None if self.text("executable").is_some_and(|path| path.ends_with("keydb-server")) => ("KeyDB", self.text("redis_version")),
            None => ("Redis", self.text("redis_version")),
        };
        // Dragonfly reports `df-v1.30.0`.
        (name, version.map(|version| version.trim_start_matches("df-").trim_start_matches('v')))
    }

    pub fn is_replica(&self) -> bool {
        self.text("role").is_some_and(is_replica_role)
    }

    /// One item of a value that is a list itself: `db0:keys=1,expires=0,avg_ttl=0`.
    pub fn part(&self, field: &str, part: &str) -> Option<&str> {
        parts(self.text(field)?).find(|(name, _)| *name == part).map(|(_, value)| value)
    }

    /// Fields that start with `start`, without that prefix.
    pub fn with_prefix<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.range(start.to_owned()..).map_while(move |(field, value)| Some((field.strip_prefix(start)?, value.as_str())))
    }
}

/// `a=1,b=2`.
pub fn parts(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(',').filter_map(|part| part.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_with_its_own_version() {
        for (info, program) in [
            ("redis_version:8.0.3\r\nexecutable:/usr/bin/redis-server\r\n", ("Redis", Some("8.0.3"))),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n", ("Valkey", Some("8.1.1"))),
            ("redis_version:7.4.0\r\ndragonfly_version:df-v1.30.0\r\n", ("Dragonfly", Some("1.30.0"))),
            ("redis_version:6.3.4\r\nexecutable:/usr/local/bin/keydb-server\r\n", ("KeyDB", Some("6.3.4"))),
            ("", ("Redis", None)),
        ] {
            assert_eq!(Info::parse(info).program(), program);
        }
    }

    #[test]
    fn fields_are_parsed_and_headings_skipped() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\nmem:\r\n\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=20\r\ncmdstat_get:calls=2\r\ncmdstat_set:calls=1\r\n",
        );
        assert_eq!(info.text("redis_version"), Some("7.0.15"));
        assert_eq!((info.text("mem"), info.number("mem")), (Some(""), None));
        assert_eq!(info.part("db0", "expires"), Some("1"));
        assert_eq!(info.with_prefix("cmdstat_").collect::<Vec<_>>(), [("get", "calls=2"), ("set", "calls=1")]);
        assert_eq!(info.text("absent"), None);
    }
}
