//! The keys of a Redis that other programs fill: found, looked at, given another end, deleted. Never all at once, and
//! never those that Larder itself keeps.

mod change;
mod name;
pub mod namespaces;
mod sample;
mod search;
pub mod slowlog;
mod view;
mod walk;

pub use change::{delete, set_ttl};
pub use name::Name;
pub use sample::{Group, LIVES, Sample, sample, sample_again};
pub use search::{KINDS, Progress, Row, Search, SearchPage, search, typed};
pub use view::{Element, Viewed, element, piece, view};
pub use walk::{Big, Kind, State, Walk, begin, running, show, stop, use_up};
