//! The audit log as CSV.

use diesel::prelude::QueryDsl;
use diesel_async::RunQueryDsl;
use serde_json::json;

use super::{Event, Filter, Outcome, matching, record};
use crate::domain::actor::Actor;
use crate::domain::{Context, Error, Result};

/// Maximum number of rows in one file.
const LIMIT: i64 = 100_000;

/// All matching events as CSV (RFC 4180), newest first. Cells that a spreadsheet could interpret as a formula are
/// prefixed with an apostrophe. At most 100,000 rows. The export itself is audited.
pub async fn csv(ctx: &Context, actor: &Actor, filter: &Filter) -> Result<String> {
    let found: Vec<Event> = ctx
        .db
        .within(async {
            let mut conn = ctx.db.get().await?;
            let found: Vec<Event> = matching(actor, filter).limit(LIMIT).load(&mut conn).await?;
            let detail = json!({ "rows": found.len() });
            record(&mut conn, actor, "audit.export", "audit", Outcome::Ok, detail).await?;
            Ok::<_, Error>(found)
        })
        .await?;
    let write_error = |error: csv::Error| Error::Internal(format!("the export could not be written: {error}"));
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer
        .write_record(["sequence", "time", "actor", "actor_kind", "action", "resource", "outcome", "address", "request_id", "detail"])
        .map_err(write_error)?;
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
    let bytes = writer.into_inner().map_err(|error| Error::Internal(format!("the export could not be written: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
