//! What pages are made of: layout, formatting, charts, icons and URLs. Imports neither `http` nor any page.

pub mod assets;
pub mod badge;
pub mod breadcrumbs;
pub mod charts;
pub mod cursor_history;
pub mod escape;
pub mod events;
pub mod filetype;
pub mod filters;
pub mod flash;
pub mod fragment;
pub mod icons;
pub mod layout;
pub mod name_markup;
pub mod paths;
pub mod ranges;
pub mod service_status;
pub mod shell;
pub mod theme;
pub mod units;
pub mod upload_row;
