//! The audit log as CSV.

use bytes::Bytes;
use diesel::prelude::QueryDsl;
use diesel_async::RunQueryDsl;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::json;

use super::{Action, Event, Filter, Outcome, matching, record};
use crate::domain::actor::Actor;
use crate::domain::{Context, Error, Result};

/// Maximum number of rows in one file.
const LIMIT: i64 = 1_000_000;
/// Rows that are held in memory at a time.
const PAGE: i64 = 1_000;

#[derive(diesel::QueryableByName)]
struct Newest {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    sequence: i64,
}

/// The events that match a filter as CSV (RFC 4180), newest first, at most a million.
pub type CsvStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Streams all matching events that exist now, a page at a time. Cells that a spreadsheet could interpret as a formula are
/// prefixed with an apostrophe. The export itself is audited before its first byte. The stream ends with an
/// error if Postgres stops answering. Busy while another export of the same person runs.
pub async fn csv(ctx: &Context, actor: &Actor, filter: &Filter) -> Result<CsvStream> {
    let slot = ctx.exports.take_for(actor, 1)?;
    let newest: i64 = ctx
        .db
        .run(async |conn| {
            let newest: Newest =
                diesel::sql_query("SELECT coalesce(max(sequence), 0) AS sequence FROM audit.events").get_result(conn).await?;
            record(conn, actor, Action::AuditExport, "audit", Outcome::Ok, json!({ "newest": newest.sequence })).await?;
            Ok::<_, Error>(newest.sequence)
        })
        .await?;
    let mut head = writer();
    head.write_record(["sequence", "time", "actor", "actor_kind", "action", "resource", "outcome", "address", "request_id", "detail"])
        .map_err(write_error)?;
    let head = finished(head)?;
    let cursor = filter.cursor.unwrap_or(i64::MAX).min(newest + 1);
    let state = Some((ctx.clone(), actor.clone(), Filter { cursor: Some(cursor), ..filter.clone() }, LIMIT, slot));
    let pages = futures_util::stream::unfold(state, |state| async {
        let (ctx, actor, mut filter, left, slot) = state?;
        match page(&ctx, &actor, &filter, left.min(PAGE)).await {
            Ok((_, 0, _)) => None,
            Ok((chunk, rows, last)) => {
                filter.cursor = last;
                let next = (rows == PAGE && left > rows).then_some((ctx, actor, filter, left - rows, slot));
                Some((Ok(chunk), next))
            }
            Err(error) => Some((Err(std::io::Error::other(error.to_string())), None)),
        }
    });
    Ok(futures_util::stream::once(async { Ok(head) }).chain(pages).boxed())
}

/// The rows of one page, their number, and the sequence number of the last.
async fn page(ctx: &Context, actor: &Actor, filter: &Filter, limit: i64) -> Result<(Bytes, i64, Option<i64>)> {
    let found: Vec<Event> = ctx.db.run(async |conn| Ok::<_, Error>(matching(actor, filter).limit(limit).load(conn).await?)).await?;
    let mut writer = writer();
    for event in &found {
        let cells = [
            event.sequence.to_string(),
            event.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            escape_formula(&event.actor_label),
            escape_formula(&event.actor_kind),
            escape_formula(&event.action),
            escape_formula(&event.resource),
            escape_formula(&event.outcome),
            escape_formula(event.address.as_deref().unwrap_or_default()),
            escape_formula(event.request_id.as_deref().unwrap_or_default()),
            escape_formula(&event.detail.to_string()),
        ];
        writer.write_record(&cells).map_err(write_error)?;
    }
    let rows = i64::try_from(found.len()).unwrap_or(i64::MAX);
    Ok((finished(writer)?, rows, found.last().map(|event| event.sequence)))
}

fn writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

fn finished(writer: csv::Writer<Vec<u8>>) -> Result<Bytes> {
    writer.into_inner().map(Bytes::from).map_err(|error| Error::Internal(format!("the export could not be written: {error}")))
}

fn write_error(error: csv::Error) -> Error {
    Error::Internal(format!("the export could not be written: {error}"))
}

/// Spreadsheets evaluate cells that start with `= + - @`, tab or carriage return (OWASP, CSV injection).
fn escape_formula(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cell_cannot_become_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(super::escape_formula(cell).starts_with('\''));
        }
        assert_eq!(super::escape_formula("s3://a/=b"), "s3://a/=b");
    }
}
