//! The macro that defines a table of routes. All other paths and methods are rejected in one way.

use actix_web::{HttpRequest, web};

use super::error;

/// The role that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Public,
    Viewer,
    Editor,
    Admin,
}

/// One row of the table. `GET` also handles `HEAD`.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: &'static str,
    pub pattern: &'static str,
    pub role: Access,
}

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
        concat!($crate::console::routes::allowed!($first), ", ", $crate::console::routes::allowed!($($rest)+))
    };
}

/// Builds the table and the actix configuration from the same rows, so that they cannot differ.
macro_rules! routes {
    ($($pattern:literal { $($method:ident $role:ident $handler:path;)+ })+) => {
        pub const ROUTES: &[$crate::console::Route] = &[$($($crate::console::Route {
            method: stringify!($method),
            pattern: $pattern,
            role: $crate::console::Access::$role,
        },)+)+];

        pub fn configure(cfg: &mut actix_web::web::ServiceConfig) {
            $(cfg.service(
                actix_web::web::resource($pattern)
                    $(.route($crate::console::routes::method!($method).to($handler)))+
                    .default_service($crate::console::routes::refuse($crate::console::routes::allowed!($($method)+)))
                    .wrap(actix_web::middleware::from_fn($crate::console::finish)),
            );)+
        }
    };
}

/// 405 for every method, with the `Allow` header set to `allow`.
pub fn refuse(allow: &'static str) -> actix_web::Route {
    web::to(move |req: HttpRequest| error::method_not_allowed(req, allow))
}

pub(crate) use {allowed, method, routes};

#[cfg(test)]
mod tests {
    #[test]
    fn get_also_handles_head() {
        assert_eq!(allowed!(GET POST), "GET, HEAD, POST");
    }
}
