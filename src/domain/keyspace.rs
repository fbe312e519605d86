//! Browsing a Redis that other applications use: find, view, expire and delete keys. Never lists all keys at once,
//! and hides Larder's own.

mod change;
mod decode;
mod name;
pub mod namespaces;
mod pattern;
mod sample;
mod scan;
mod search;
mod server;
pub mod slowlog;
mod view;

pub use change::{delete, set_ttl};
pub use decode::{Decoded, decode, decode_element};
pub use name::Name;
pub use pattern::typed;
pub use sample::{Group, LIVES, Sample, Sampling, sample, sample_again};
pub use scan::{LargeKey, LiteralKey, Scan, ScanKind, ScanState, discard, running, show, start, stop};
pub use search::{KINDS, Progress, Row, Search, SearchPage, search};
pub use server::{Permitted, Setting, SettingValue, clients, settings};
pub use view::{Element, Viewed, element, piece, view};

pub use crate::stores::redis::{BYTES, Cost, Described, Elements, Page, Pairs, PendingEntry, StreamGroup, Ttl, literal};
