//! The macro that defines a table of routes. All other paths and methods are rejected in one way.

use actix_web::{HttpMessage, HttpRequest, web};

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
    /// Counted by the limit of pages per minute.
    pub counted: bool,
    /// A form that a read-only console accepts, because it changes no data in the stores.
    pub allowed_when_read_only: bool,
    /// Opens while Postgres is down, with a session that this process or Redis knows.
    pub without_postgres: bool,
    /// May notice up to a second late that a session was ended at another instance.
    pub tolerates_stale_session: bool,
}

impl Route {
    /// A route that is counted and has no exceptions.
    pub const fn new(method: &'static str, pattern: &'static str, role: Access) -> Self {
        Self {
            method,
            pattern,
            role,
            counted: true,
            allowed_when_read_only: false,
            without_postgres: false,
            tolerates_stale_session: false,
        }
    }

    /// Has limits of its own.
    pub const fn uncounted(self) -> Self {
        Self { counted: false, ..self }
    }

    pub const fn read_only(self) -> Self {
        Self { allowed_when_read_only: true, ..self }
    }

    pub const fn without_postgres(self) -> Self {
        Self { without_postgres: true, ..self }
    }

    pub const fn stale_session(self) -> Self {
        Self { tolerates_stale_session: true, ..self }
    }

    /// The row of this request. `None` for paths that are not in a table.
    pub fn of(req: &HttpRequest) -> Option<&'static Self> {
        req.extensions().get::<&'static Self>().copied()
    }
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
        concat!($crate::console::http::routes::allowed!($first), ", ", $crate::console::http::routes::allowed!($($rest)+))
    };
}

macro_rules! row {
    ($pattern:literal $method:ident $role:ident $($flag:ident)*) => {
        $crate::console::Route::new(stringify!($method), $pattern, $crate::console::Access::$role)$(.$flag())*
    };
}

/// Builds the table and the actix configuration from the same rows, so that they cannot differ. The columns of a row: method, role,
/// exceptions from the defaults of [`Route`], handler.
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
