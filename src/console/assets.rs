//! Static files: embedded in the binary, written at start to a private directory whose name in URLs is the
//! digest of them all, so that browsers may keep them for a year and modules may import each other by name.

use std::sync::LazyLock;

use aws_lc_rs::digest;

/// Every file of `static/`.
pub const FILES: &[(&str, &[u8])] = &[
    ("app.css", include_bytes!("../../static/app.css")),
    ("app.js", include_bytes!("../../static/app.js")),
    ("icon.svg", include_bytes!("../../static/icon.svg")),
    ("upload.js", include_bytes!("../../static/upload.js")),
];

/// Twelve hexadecimal digits of the SHA-256 of all files.
pub static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, content) in FILES {
        context.update(name.as_bytes());
        context.update(content);
    }
    context.finish().as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// The address of a static file, as pages link it.
pub fn url(name: &str) -> String {
    format!("/static/{}/{name}", *FINGERPRINT)
}
