//! The macro that defines a table of routes. All other paths and methods are rejected in one way.

use std::sync::Arc;

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};

use super::error;
use super::route::Route;

macro_rules! method {
    (GET) => {
        actix_web::web::route().guard(actix_web::guard::Any(actix_web::guard::Get()).or(actix_web::guard::Head()))
    };
    (POST) => {
        actix_web::web::post()
    };
}

macro_rules! allowed {
    (GET) => {
        "GET, HEAD"
    };
    (POST) => {
        "POST"
    };
    ($first:ident $($rest:ident)+) => {
        concat!($crate::console::http::routes::allowed!($first), ", ", $crate::console::http::routes::allowed!($($rest)+))
    };
}

macro_rules! row {
    ($pattern:literal $method:ident $role:ident $($flag:ident)*) => {
        $crate::console::Route::new(stringify!($method), $pattern, $crate::console::Access::$role)$(.$flag())*
    };
}

/// Builds the table and the actix configuration from the same rows, so that they cannot differ. The columns of a row: method, role,
/// exceptions from the defaults of [`super::route::Route`], handler.
macro_rules! routes {
    ($($pattern:literal { $($method:ident $role:ident $(($($flag:ident),+))? $handler:path;)+ })+) => {
        pub const ROUTES: &[$crate::console::Route] =
            &[$($($crate::console::http::routes::row!($pattern $method $role $($($flag)+)?),)+)+];

        pub fn configure(cfg: &mut actix_web::web::ServiceConfig) {
            $({
                const ROWS: &[$crate::console::Route] =
                    &[$($crate::console::http::routes::row!($pattern $method $role $($($flag)+)?),)+];
                cfg.service(
                    actix_web::web::resource($pattern)
                        $(.route($crate::console::http::routes::method!($method).to($handler)))+
                        .default_service($crate::console::http::routes::other_methods(concat!(
                            $crate::console::http::routes::allowed!($($method)+),
                            ", OPTIONS"
                        )))
                        .wrap(actix_web::middleware::from_fn(|req, next| $crate::console::http::finish::finish(ROWS, req, next))),
                );
            })+
        }
    };
}

/// 204 for `OPTIONS`, 405 for all other methods, with the `Allow` header set to `allow`.
pub fn other_methods(allow: &'static str) -> actix_web::Route {
    web::to(move |req: HttpRequest| async move {
        if req.method() == Method::OPTIONS {
            return HttpResponse::NoContent().insert_header((ALLOW, allow)).finish();
        }
        error::method_not_allowed(req, allow).await
    })
}

/// The patterns of route tables.
#[derive(Clone)]
pub struct KnownPaths(Arc<[ResourceDef]>);

impl KnownPaths {
    pub fn of(tables: &[&[Route]]) -> Self {
        Self(tables.concat().iter().map(|route| ResourceDef::new(route.pattern)).collect())
    }
}

/// For all other paths: 308 to the path without its trailing slash if that one is known, else 404. All known paths start with a
/// fixed name, so the target is never another host.
pub fn unknown_path(known: KnownPaths) -> actix_web::Route {
    web::to(move |req: HttpRequest| {
        let known = known.clone();
        async move {
            match without_trailing_slash(req.uri().path(), &known.0) {
                Some(path) => {
                    let query = req.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
                    HttpResponse::PermanentRedirect().insert_header((LOCATION, format!("{path}{query}"))).finish()
                }
                None => error::not_found(req).await,
            }
        }
    })
}

/// The path without its trailing slash, if it is then a known one.
fn without_trailing_slash<'a>(path: &'a str, known: &[ResourceDef]) -> Option<&'a str> {
    let path = path.strip_suffix('/').filter(|path| !path.ends_with('/'))?;
    known.iter().any(|pattern| pattern.is_match(path)).then_some(path)
}

pub(crate) use {allowed, method, routes, row};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_is_removed_only_from_known_paths() {
        let known = ["/", "/health", "/buckets/{bucket}", "/buckets/{bucket}/object"].map(ResourceDef::new);
        for (path, expected) in [
            ("/health/", Some("/health")),
            ("/buckets/a%2Fb/", Some("/buckets/a%2Fb")),
            ("/buckets/x/object/", Some("/buckets/x/object")),
            ("/health", None),
            ("/", None),
            ("//", None),
            ("//evil.example/", None),
            ("/\\evil.example/", None),
            ("//health/", None),
            ("/health//", None),
            ("/buckets//", None),
            ("/nothing/", None),
        ] {
            assert_eq!(without_trailing_slash(path, &known), expected, "{path}");
        }
    }

    #[test]
    fn get_also_handles_head() {
        assert_eq!(allowed!(GET POST), "GET, HEAD, POST");
    }
}
