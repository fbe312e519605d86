//! The macro that defines a table of routes. All other paths and methods are rejected in one way.

use actix_web::{HttpRequest, web};

use super::error;

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
                        .default_service($crate::console::http::routes::refuse($crate::console::http::routes::allowed!($($method)+)))
                        .wrap(actix_web::middleware::from_fn(|req, next| $crate::console::http::finish::finish(ROWS, req, next))),
                );
            })+
        }
    };
}

/// 405 for every method, with the `Allow` header set to `allow`.
pub fn refuse(allow: &'static str) -> actix_web::Route {
    web::to(move |req: HttpRequest| error::method_not_allowed(req, allow))
}

pub(crate) use {allowed, method, routes, row};

#[cfg(test)]
mod tests {
    #[test]
    fn get_also_handles_head() {
        assert_eq!(allowed!(GET POST), "GET, HEAD, POST");
    }
}
