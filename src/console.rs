//! The HTML console, and the table of all its routes.

pub mod http;
pub mod pages;
#[cfg(test)]
mod samples;
pub mod view;

pub use http::route::{Access, Route};
pub(crate) use http::routes::routes;
use pages::{
    audit, batch, bucket, buckets, cache, deletions, download, health, object, overview, receive, resumable, sessions, settings, setup,
    theme, unfinished, uploads, users,
};

routes! {
    "/" { GET Viewer(stale_session) overview::index; }
    "/setup" { GET Public setup::new; POST Public(read_only) setup::create; }
    "/session" { GET Public sessions::new; POST Public(read_only) sessions::create; }
    "/session/end" { POST Public(read_only) sessions::end; }
    "/theme" { POST Public(read_only) theme::update; }
    "/buckets" { GET Viewer buckets::index; POST Admin buckets::create; }
    "/counts" { POST Viewer(read_only) buckets::count; }
    "/buckets/{bucket}" { GET Viewer bucket::show; }
    "/buckets/{bucket}/settings" { GET Viewer settings::show; }
    "/buckets/{bucket}/abilities" { POST Editor settings::probe; }
    "/buckets/{bucket}/unfinished" { GET Viewer unfinished::index; }
    "/buckets/{bucket}/unfinished/deletion" { POST Editor unfinished::delete; }
    "/buckets/{bucket}/deletion" { POST Admin settings::delete; }
    "/buckets/{bucket}/folders" { POST Editor bucket::folders::create; }
    "/buckets/{bucket}/object" { GET Viewer object::show; }
    "/buckets/{bucket}/download" { GET Viewer download::show; }
    "/buckets/{bucket}/preview" { GET Viewer download::preview; }
    "/buckets/{bucket}/links" { POST Editor object::links::create; }
    "/buckets/{bucket}/deletions" { GET Editor deletions::show; POST Editor deletions::create; }
    "/buckets/{bucket}/uploads" { POST Editor(uncounted) receive::create; }
    "/buckets/{bucket}/uploads/resumable" { POST Editor(uncounted) resumable::create; }
    "/buckets/{bucket}/uploads/{id}" { GET Editor(uncounted) resumable::show; }
    "/buckets/{bucket}/uploads/{id}/parts" { POST Editor(uncounted) resumable::receive; }
    "/buckets/{bucket}/uploads/{id}/completion" { POST Editor(uncounted) resumable::complete; }
    "/buckets/{bucket}/uploads/{id}/deletion" { POST Editor(uncounted) resumable::delete; }
    "/uploads" { GET Viewer uploads::index; }
    "/uploads/new" { GET Editor uploads::new; }
    "/uploads/{batch}" { GET Viewer batch::show; }
    "/cache" { GET Viewer cache::metrics::show; }
    "/cache/namespaces" { GET Viewer cache::namespaces::index; }
    "/cache/namespaces/samples" { POST Viewer cache::namespaces::sample; }
    "/cache/namespaces/clearings" { POST Admin cache::namespaces::clear; }
    "/cache/slowlog" { GET Admin cache::slowlog::show; }
    "/cache/clients" { GET Admin cache::clients::index; }
    "/cache/settings" { GET Admin cache::settings::show; }
    "/cache/keys" { GET Admin cache::keys::index; }
    "/cache/keys/deletions" { POST Admin cache::scans::delete; }
    "/cache/key" { GET Admin cache::key::show; }
    "/cache/key/download" { GET Admin cache::download::show; }
    "/cache/key/expiry" { POST Admin cache::key_expiry::create; }
    "/cache/key/expiry/removal" { POST Admin cache::key_expiry::delete; }
    "/cache/key/deletion" { POST Admin cache::key_deletion::delete; }
    "/cache/biggest" { GET Admin cache::scans::index; POST Admin cache::scans::create; }
    "/cache/scans/{id}" { GET Admin cache::scans::show; }
    "/cache/scans/{id}/stop" { POST Admin cache::scans::stop; }
    "/health" { GET Public(uncounted, without_postgres) health::show; }
    "/health/events" { GET Viewer(uncounted, without_postgres) health::events; }
    "/health/checks" { POST Viewer(uncounted, read_only, without_postgres) health::check; }
    "/health/models" { POST Admin(without_postgres) health::service::call_models; }
    "/health/services/{name}/events" { GET Viewer(uncounted, without_postgres) health::service::events; }
    "/health/services/{name}" { GET Viewer(without_postgres) health::service::show; }
    "/audit" { GET Admin audit::index; }
    "/users" { GET Admin users::index; POST Admin users::create; }
    "/users/{id}/role" { POST Admin users::set_role; }
    "/users/{id}/status" { POST Admin users::set_status; }
    "/users/{id}/password" { POST Admin users::set_password; }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fixed_word_follows_buckets_directly() {
        for route in ROUTES.iter().filter(|route| route.pattern.starts_with("/buckets/")) {
            assert!(route.pattern.starts_with("/buckets/{bucket}"), "{}", route.pattern);
        }
    }

    #[test]
    fn every_route_is_listed_once() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(!ROUTES[..at].iter().any(|other| (other.method, other.pattern) == (route.method, route.pattern)), "{route:?}");
        }
    }

    #[test]
    fn only_uploads_and_health_checks_are_not_counted() {
        for route in ROUTES {
            let is_upload = route.pattern.starts_with("/buckets/{bucket}/uploads");
            let is_check = matches!(route.pattern, "/health" | "/health/checks") || route.pattern.ends_with("/events");
            assert_eq!(route.counted, !is_upload && !is_check, "{route:?}");
        }
    }

    #[test]
    fn all_health_pages_open_without_postgres() {
        for route in ROUTES {
            assert_eq!(route.without_postgres, route.pattern.starts_with("/health"), "{route:?}");
        }
    }
}
