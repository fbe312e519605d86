//! Who acts: the subject of every audit event, and the role that determines what it may do.

use std::net::IpAddr;

use uuid::Uuid;

use crate::stores::postgres::text_enum;

/// The tenant of a first installation; a migration creates its row.
pub const FIRST_TENANT: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

/// A user's role. Each role includes the permissions of the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Views and downloads.
    Viewer,
    /// Uploads and deletes objects.
    Editor,
    /// Manages buckets, users and the audit log.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

text_enum! {
    pub enum UserStatus {
        Active = "active",
        Disabled = "disabled",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    User,
    System,
    Anonymous,
}

impl ActorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Actor {
    pub tenant: Uuid,
    pub kind: ActorKind,
    pub id: Option<Uuid>,
    /// The user's display name.
    pub label: String,
    pub role: Role,
    pub address: Option<IpAddr>,
    pub request_id: String,
}

impl Actor {
    /// Larder itself: cleanup jobs and the command line.
    pub fn system(label: &str) -> Self {
        Self {
            tenant: FIRST_TENANT,
            kind: ActorKind::System,
            id: None,
            label: label.to_owned(),
            role: Role::Admin,
            address: None,
            request_id: String::new(),
        }
    }

    /// A visitor who is not signed in.
    pub fn anonymous(label: &str, address: Option<IpAddr>, request_id: &str) -> Self {
        Self {
            tenant: FIRST_TENANT,
            kind: ActorKind::Anonymous,
            id: None,
            label: label.to_owned(),
            role: Role::Viewer,
            address,
            request_id: request_id.to_owned(),
        }
    }
}
