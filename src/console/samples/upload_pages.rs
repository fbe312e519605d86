//! The pages of uploads and of unfinished multipart uploads.

use askama::Template;
use uuid::Uuid;

use super::data::{HOSTILE, bucket, files, layout, open_uploads};
use crate::console::pages::{batch, unfinished, uploads};
use crate::domain::actor::Role;
use crate::domain::uploads::multipart_list::{OpenMarker, Unfinished};
use crate::domain::uploads::{Batch, File, Page};

pub(super) fn unfinished() -> Vec<(&'static str, String)> {
    let layout = || layout("Unfinished uploads", Some(Role::Editor));
    let page = |uploads, next, incomplete, first| {
        let found = Unfinished { uploads, next, incomplete };
        unfinished::IndexPage::of(layout(), bucket(), found, first).render().unwrap()
    };
    let marker = OpenMarker { key: Some(HOSTILE.into()), upload_id: Some(HOSTILE.into()) };
    let row = unfinished::Row { open: open_uploads().remove(0) };
    vec![
        ("unfinished", page(open_uploads(), Some(marker), Some("The list may be incomplete."), true)),
        ("unfinished-empty", page(Vec::new(), None, None, true)),
        ("unfinished-last", page(Vec::new(), None, None, false)),
        ("unfinished-confirm", unfinished::ConfirmPage { layout: layout(), bucket: bucket(), row }.render().unwrap()),
    ]
}

pub(super) fn all() -> Vec<(&'static str, String)> {
    let page = |files: Vec<File>| Page { pending: files.clone(), finished: files, next: Some("1".into()), today_files: 1, today_bytes: 5 };
    let editor = || layout("Uploads", Some(Role::Editor));
    let new = |bucket| uploads::NewPage {
        layout: editor(),
        buckets: vec!["sme-files".into()],
        bucket,
        prefix: HOSTILE.into(),
        overwrite: true,
        max_size: 5_000_000_000_000,
        keep_days: 7,
    };
    vec![
        ("uploads", uploads::index_page(editor(), uploads::IndexQuery::default(), page(files())).render().unwrap()),
        (
            "uploads-empty",
            uploads::index_page(editor(), uploads::IndexQuery::default(), Page { next: None, ..page(Vec::new()) }).render().unwrap(),
        ),
        ("uploads-new", new(Some(bucket())).render().unwrap()),
        ("uploads-new-none", new(None).render().unwrap()),
        (
            "batch",
            batch::ShowPage::of(editor(), Uuid::nil(), 500, Batch { files: files(), total: 1_500, stored: 1_499, failed: 1 })
                .render()
                .unwrap(),
        ),
    ]
}
