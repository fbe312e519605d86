//! Receives files: their destination, each file of a form, and all files of a form.

pub(super) mod intake;
pub(super) mod receiver;
pub(super) mod target;
pub(super) mod upload;
