//! `/cache/key/download`: the bytes of a string, or of one element of a hash or a list.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::key::name;
use crate::console::http::error::{Error, Result};
use crate::console::http::query::Query;
use crate::console::http::session::Admin;
use crate::console::view::paths;
use crate::domain::Context;
use crate::domain::keyspace::{self, Element, Name};
use crate::domain::objects::disposition;

/// Bytes that a download reads from Redis per command.
const CHUNK: u64 = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(default)]
struct DownloadQuery {
    k: Option<String>,
    field: Option<String>,
    index: Option<u64>,
}

/// The raw bytes: a string in chunks, or one element of a hash or a list.
pub async fn show(_admin: Admin, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: DownloadQuery = query.read()?;
    let name = name(query.k.as_deref())?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header((CONTENT_DISPOSITION, disposition(&file_name(&name))))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"));
    let element = match (query.field, query.index) {
        (None, None) => {
            let first = keyspace::piece(&ctx, &name, 0, CHUNK).await?;
            return Ok(answer.streaming(pieces(ctx.into_inner(), name, first)));
        }
        (Some(field), _) => Element::Field(
            paths::bytes_from_field(&field).ok_or_else(|| Error::BadRequest("The address contains an invalid field.".to_owned()))?,
        ),
        (None, Some(index)) => Element::Index(index),
    };
    Ok(answer.body(keyspace::element(&ctx, &name, &element).await?))
}

/// A shortened key name: file systems reject names of 8 KiB, and proxies reject headers that contain one twice.
fn file_name(name: &Name) -> String {
    let start: String = name.to_string().replace(['/', '\\'], "_").chars().take(100).collect();
    format!("{start}.bin")
}

/// Each chunk is read when the previous one has been sent. An error closes the connection, so that the client does not
/// mistake a part for the whole value.
fn pieces(
    ctx: std::sync::Arc<Context>,
    name: Name,
    first: Vec<u8>,
) -> impl futures_util::Stream<Item = std::result::Result<web::Bytes, Error>> {
    futures_util::stream::try_unfold((Some(first), 0_u64), move |(piece, offset)| {
        let (ctx, name) = (ctx.clone(), name.clone());
        async move {
            let piece = match piece {
                Some(piece) => piece,
                None => keyspace::piece(&ctx, &name, offset, CHUNK).await?,
            };
            let read = piece.len() as u64;
            Ok((read > 0).then(|| (web::Bytes::from(piece), (None, offset + read))))
        }
    })
}
