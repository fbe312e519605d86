//! Reading events, as far as the role of the reader allows.

use chrono::{Days, NaiveTime};
use diesel::PgTextExpressionMethods;
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::{Event, Filter, Page};
use crate::domain::actor::{Actor, Role};
use crate::domain::names::storable;
use crate::domain::{Context, Error, Result};
use crate::schema::audit::events;

/// Newest first, `limit` events per page.
pub async fn list(ctx: &Context, actor: &Actor, filter: &Filter, limit: i64) -> Result<Page> {
    ctx.db
        .run(async |conn| {
            let mut found: Vec<Event> = matching(actor, filter).limit(limit + 1).load(conn).await?;
            let more = i64::try_from(found.len()).unwrap_or(i64::MAX) > limit;
            if more {
                found.pop();
            }
            let next = if more { found.last().map(|event| event.sequence) } else { None };
            Ok(Page { events: found, next })
        })
        .await
}

/// The newest events that the actor's role may read: admins read all of them, others their own and those about buckets
/// and objects, without the address of anyone else.
pub async fn newest(ctx: &Context, actor: &Actor, limit: i64) -> Result<Vec<Event>> {
    if actor.role == Role::Admin {
        return Ok(list(ctx, actor, &Filter::default(), limit).await?.events);
    }
    let mut found: Vec<Event> = ctx
        .db
        .run(async |conn| {
            let about_objects = diesel::TextExpressionMethods::like(events::resource, "s3://%");
            let query = events::table
                .filter(events::tenant_id.eq(actor.tenant))
                .filter(events::actor_id.eq(actor.id).or(about_objects.nullable()))
                .order(events::sequence.desc())
                .limit(limit)
                .select(Event::as_select());
            Ok::<_, Error>(query.load(conn).await?)
        })
        .await?;
    hide_addresses(actor, &mut found);
    Ok(found)
}

/// Removes the addresses of other people, which only admins may see.
fn hide_addresses(actor: &Actor, events: &mut [Event]) {
    for event in events.iter_mut().filter(|event| actor.role != Role::Admin && event.actor_id != actor.id) {
        (event.address, event.request_id) = (None, None);
    }
}

/// Events of exactly this resource, newest first, as far as the actor's role may read them.
pub async fn of_resource(ctx: &Context, actor: &Actor, resource: &str, limit: i64) -> Result<Vec<Event>> {
    ctx.db
        .run(async |conn| {
            let query = events::table
                .filter(events::tenant_id.eq(actor.tenant))
                .filter(events::resource.eq(storable(resource)))
                .order(events::sequence.desc())
                .limit(limit)
                .select(Event::as_select());
            let mut found: Vec<Event> = query.load(conn).await?;
            hide_addresses(actor, &mut found);
            Ok(found)
        })
        .await
}

pub(super) type EventQuery =
    events::BoxedQuery<'static, diesel::pg::Pg, diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Event, diesel::pg::Pg>>>;

pub(super) fn matching(actor: &Actor, filter: &Filter) -> EventQuery {
    let mut query =
        events::table.filter(events::tenant_id.eq(actor.tenant)).order(events::sequence.desc()).select(Event::as_select()).into_boxed();
    if let Some(who) = &filter.actor {
        query = query.filter(events::actor_label.ilike(format!("%{}%", like_literal(who))));
    }
    if let Some(action) = &filter.action {
        query = if action.contains('.') {
            query.filter(events::action.eq(storable(action)))
        } else {
            query.filter(diesel::TextExpressionMethods::like(events::action, format!("{}.%", like_literal(action))))
        };
    }
    if let Some(resource) = &filter.resource {
        query = query.filter(diesel::TextExpressionMethods::like(events::resource, format!("{}%", like_literal(resource))));
    }
    if let Some(from) = filter.from {
        query = query.filter(events::at.ge(from.and_time(NaiveTime::MIN).and_utc()));
    }
    if let Some(until) = filter.to.and_then(|to| to.checked_add_days(Days::new(1))) {
        query = query.filter(events::at.lt(until.and_time(NaiveTime::MIN).and_utc()));
    }
    if let Some(cursor) = filter.cursor {
        query = query.filter(events::sequence.lt(cursor));
    }
    query
}

/// Escapes `text` for a LIKE pattern.
pub(in crate::domain) fn like_literal(text: &str) -> String {
    text.replace('\0', "").replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
