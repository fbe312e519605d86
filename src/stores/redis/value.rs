//! One page of a key's value, for every type, limited to what a page can show.

use redis::{FromRedisValue, Value};

use super::Error;
use super::browse::BrowseCommands;
use super::keyspace::{Ttl, length_command};
use crate::utf8::without_split_character;

/// Elements per page.
pub const ELEMENTS: u64 = 100;
/// Bytes of a string per page.
pub const BYTES: u64 = 64 << 10;
/// Pages of larger elements contain fewer of them, at least one.
const PAGE_BYTES: u64 = 4 << 20;
/// Larger elements (on average) are not read, since each would have to be transferred whole.
pub const LARGEST: u64 = 16 << 20;
const FALLBACK_COUNT: u64 = 10;

/// Fields and their values.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub elements: Elements,
    /// Bytes of a string, elements of anything else.
    pub total: u64,
    /// Start of the next page; `None`: this is the last page.
    pub next: Option<String>,
    /// Of hash fields, in their order; `None` for other types and servers without TTLs of fields.
    pub field_ttls: Option<Vec<Ttl>>,
}

impl Page {
    pub fn new(elements: Elements, total: u64, next: Option<String>) -> Self {
        Self { elements, total, next, field_ttls: None }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    Bytes(Vec<u8>),
    Hash(Pairs),
    /// In list order.
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    /// With scores as formatted by the server, lowest first.
    SortedSet(Vec<(Vec<u8>, String)>),
    /// IDs and fields, oldest first.
    Stream(Vec<(String, Pairs)>),
    /// The elements have about this many bytes each.
    TooLarge(u64),
    /// A JSON document.
    Document(String),
    /// The type in words, and what the server reports about the value.
    Facts(&'static str, Vec<(String, String)>),
    /// Another module's type.
    Unknown,
}

/// A read position: an offset, a cursor or an ID.
struct PageReader<'a, 'b> {
    browse: &'a BrowseCommands<'b>,
    key: &'a [u8],
    from: &'a str,
    total: u64,
    count: u64,
}

impl BrowseCommands<'_> {
    /// `from` is empty or the `next` of an earlier page; `bytes` is the server's size estimate of the whole value.
    /// Fails if `from` is invalid.
    pub async fn value(&self, key: &[u8], kind: &str, bytes: Option<u64>, from: &str) -> Result<Page, Error> {
        let total = self.lengths(&[(key.to_vec(), kind.to_owned())]).await?.into_iter().next().flatten().unwrap_or(0);
        // If the element size is unknown, read only a few.
        let each = bytes.map_or(PAGE_BYTES / FALLBACK_COUNT, |bytes| bytes / total.max(1));
        if length_command(kind).is_some() && kind != "string" && each > LARGEST {
            return Ok(Page::new(Elements::TooLarge(each), total, None));
        }
        let count = (PAGE_BYTES / each.max(1)).clamp(1, ELEMENTS);
        let reader = PageReader { browse: self, key, from, total, count };
        match kind {
            "string" => reader.string().await,
            "hash" => {
                let mut page = reader.by_cursor("HSCAN", 2, |pairs| Elements::Hash(pairs_of(pairs))).await?;
                if let Elements::Hash(pairs) = &page.elements {
                    let fields: Vec<&[u8]> = pairs.iter().map(|(field, _)| field.as_slice()).collect();
                    page.field_ttls = self.field_ttls(key, &fields).await?;
                }
                Ok(page)
            }
            "set" => reader.by_cursor("SSCAN", 1, Elements::Set).await,
            "list" => reader.list().await,
            "zset" => reader.sorted_set().await,
            "stream" => reader.stream().await,
            _ => Ok(Page::new(self.module_value(key, kind, bytes).await?, total, None)),
        }
    }

    /// A byte range of a string; shorter at the end.
    pub async fn bytes(&self, key: &[u8], from: u64, count: u64) -> Result<Vec<u8>, Error> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(from).arg(from.saturating_add(count).saturating_sub(1));
        self.run(command).await
    }
}

impl BrowseCommands<'_> {
    /// Length of one hash field in bytes; 0 if it does not exist.
    pub async fn field_length(&self, key: &[u8], field: &[u8]) -> Result<u64, Error> {
        let mut command = redis::cmd("HSTRLEN");
        command.arg(key).arg(field);
        self.run(command).await
    }

    /// One complete hash field.
    pub async fn field(&self, key: &[u8], field: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut command = redis::cmd("HGET");
        command.arg(key).arg(field);
        self.run(command).await
    }

    /// One complete list element.
    pub async fn at_index(&self, key: &[u8], index: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut command = redis::cmd("LINDEX");
        command.arg(key).arg(index);
        self.run(command).await
    }
}

impl PageReader<'_, '_> {
    async fn execute<T: FromRedisValue + Send + 'static>(&self, command: &str, arguments: &[&str]) -> Result<T, Error> {
        let mut command = redis::cmd(command);
        command.arg(self.key).arg(arguments);
        self.browse.run(command).await
    }

    fn offset(&self) -> Result<u64, Error> {
        if self.from.is_empty() {
            return Ok(0);
        }
        self.from.parse().map_err(|_| Error::Other("invalid position in the value".into()))
    }

    fn next_offset(&self, offset: u64, read: usize) -> Option<String> {
        let next = offset.saturating_add(read as u64);
        (read > 0 && next < self.total).then(|| next.to_string())
    }

    fn page(&self, elements: Elements, next: Option<String>) -> Page {
        Page::new(elements, self.total, next)
    }

    async fn string(&self) -> Result<Page, Error> {
        let offset = self.offset()?;
        let mut bytes = self.browse.bytes(self.key, offset, BYTES).await?;
        if self.next_offset(offset, bytes.len()).is_some() {
            let whole = without_split_character(&bytes).len();
            // An empty page would have itself as the next one.
            if whole > 0 {
                bytes.truncate(whole);
            }
        }
        let next = self.next_offset(offset, bytes.len());
        Ok(self.page(Elements::Bytes(bytes), next))
    }

    /// `width`: strings per element.
    async fn by_cursor(&self, command: &str, width: usize, elements: impl Fn(Vec<Vec<u8>>) -> Elements) -> Result<Page, Error> {
        let position = ScanPosition::parse(self.from)?;
        let count = self.count.to_string();
        let (cursor, found): (u64, Vec<Vec<u8>>) = self.execute(command, &[&position.cursor.to_string(), "COUNT", &count]).await?;
        let (found, next) = position.page(found, cursor, usize::try_from(self.count).unwrap_or(1), width);
        Ok(self.page(elements(found), next))
    }

    async fn list(&self) -> Result<Page, Error> {
        let offset = self.offset()?;
        let last = offset.saturating_add(self.count - 1);
        let found: Vec<Vec<u8>> = self.execute("LRANGE", &[&offset.to_string(), &last.to_string()]).await?;
        let next = self.next_offset(offset, found.len());
        Ok(self.page(Elements::List(found), next))
    }

    async fn sorted_set(&self) -> Result<Page, Error> {
        let offset = self.offset()?;
        let last = offset.saturating_add(self.count - 1);
        let found: Vec<Vec<u8>> = self.execute("ZRANGE", &[&offset.to_string(), &last.to_string(), "WITHSCORES"]).await?;
        let members: Vec<(Vec<u8>, String)> =
            pairs_of(found).into_iter().map(|(member, score)| (member, String::from_utf8_lossy(&score).into_owned())).collect();
        let next = self.next_offset(offset, members.len());
        Ok(self.page(Elements::SortedSet(members), next))
    }

    async fn stream(&self) -> Result<Page, Error> {
        let from = if self.from.is_empty() { "-".to_owned() } else { format!("({}", self.from) };
        let found: Vec<(String, Value)> = self.execute("XRANGE", &[&from, "+", "COUNT", &self.count.to_string()]).await?;
        let next = found.last().map(|(id, _)| id.clone()).filter(|_| found.len() as u64 == self.count);
        let entries = found.into_iter().map(|(id, fields)| {
            let fields: Vec<Vec<u8>> = redis::from_redis_value(fields).unwrap_or_default();
            (id, pairs_of(fields))
        });
        Ok(self.page(Elements::Stream(entries.collect()), next))
    }
}

/// A position in a hash or a set: a cursor, and the elements of its response that earlier pages contain. Redis returns
/// listpacks and intsets whole, whatever COUNT says.
#[derive(Debug, Default, PartialEq, Eq)]
struct ScanPosition {
    cursor: u64,
    skip: usize,
}

impl ScanPosition {
    /// `<cursor>` or `<cursor>.<skip>`.
    fn parse(from: &str) -> Result<Self, Error> {
        if from.is_empty() {
            return Ok(Self::default());
        }
        let (cursor, skip) = from.split_once('.').unwrap_or((from, "0"));
        match (cursor.parse(), skip.parse()) {
            (Ok(cursor), Ok(skip)) => Ok(Self { cursor, skip }),
            _ => Err(Error::Other("invalid position in the value".into())),
        }
    }

    /// The elements of one page and the position of the next page. A response of up to twice `count` elements is one page.
    fn page(&self, mut found: Vec<Vec<u8>>, next: u64, count: usize, width: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let total = found.len() / width;
        found.drain(..self.skip.min(total) * width);
        let is_split = total > 2 * count;
        let end = self.skip.saturating_add(count);
        if is_split && end < total {
            found.truncate(count * width);
            return (found, Some(format!("{}.{end}", self.cursor)));
        }
        (found, (next != 0).then(|| next.to_string()))
    }
}

fn pairs_of(flat: Vec<Vec<u8>>) -> Pairs {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_larger_than_a_page_is_split_without_losing_elements() {
        let response = |elements: usize| -> Vec<Vec<u8>> { (0..elements * 2).map(|at| at.to_string().into_bytes()).collect() };
        for total in [0, 1, 199, 200, 201, 300, 1_000, 3_007] {
            let (mut read, mut from, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let (found, next) = ScanPosition::parse(&from).unwrap().page(response(total), 0, 100, 2);
                assert!(found.len() <= 400, "at most 200 elements");
                read.extend(found);
                pages += 1;
                let Some(next) = next else { break };
                from = next;
            }
            assert!(read == response(total) && pages <= total / 100 + 1, "{total}");
        }
        let position = ScanPosition::parse("18446744073709551615.7").unwrap();
        assert_eq!(position, ScanPosition { cursor: u64::MAX, skip: 7 });
        assert_eq!(position.page(Vec::new(), 3, 100, 1), (Vec::new(), Some("3".into())), "the collection shrank meanwhile");
        for bad in ["x", "1.", ".1", "1.x", "-1"] {
            assert!(ScanPosition::parse(bad).is_err(), "{bad}");
        }
    }
}
