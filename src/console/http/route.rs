//! One row of a route table.

use actix_web::{HttpMessage, HttpRequest};

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
