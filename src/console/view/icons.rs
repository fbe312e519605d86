//! The outline set: a grid of 16 px, stroke 1.5, round caps and joins.

const SHAPES: &[(&str, &str)] = &[
    (
        "overview",
        r#"<rect x="2.25" y="2.25" width="4.5" height="4.5" rx="1"/><rect x="9.25" y="2.25" width="4.5" height="4.5" rx="1"/><rect x="2.25" y="9.25" width="4.5" height="4.5" rx="1"/><rect x="9.25" y="9.25" width="4.5" height="4.5" rx="1"/>"#,
    ),
    ("folder", r#"<path d="M1.75 4.25v8c0 .55.45 1 1 1h10.5c.55 0 1-.45 1-1v-6.5c0-.55-.45-1-1-1H8.2L6.5 2.75H2.75c-.55 0-1 .45-1 1z"/>"#),
    (
        "bucket",
        r#"<ellipse cx="8" cy="3.75" rx="5.5" ry="1.75"/><path d="M2.5 3.75l1.1 8.9c.1.5.5.85 1 .95 2.25.4 4.55.4 6.8 0 .5-.1.9-.45 1-.95l1.1-8.9"/>"#,
    ),
    ("search", r#"<circle cx="7" cy="7" r="4.75"/><path d="M10.5 10.5l3.5 3.5"/>"#),
    ("cache", r#"<path d="M8 1.75l6.25 3.1L8 8 1.75 4.85zM2 8l6 3 6-3M2 11l6 3 6-3"/>"#),
    ("health", r#"<path d="M1.5 8.5h2.75l2-5.5 3.5 10 2-4.5h2.75"/>"#),
    (
        "users",
        r#"<circle cx="6" cy="5" r="2.5"/><path d="M1.5 13.5v-.75c0-1.8 1.45-3.25 3.25-3.25h2.5c1.8 0 3.25 1.45 3.25 3.25v.75M10.75 2.75a2.5 2.5 0 0 1 0 4.5M12.25 9.75c1.35.4 2.25 1.6 2.25 3v.75"/>"#,
    ),
    ("audit", r#"<rect x="3.25" y="1.75" width="9.5" height="12.5" rx="1"/><path d="M5.75 5h4.5M5.75 8h4.5M5.75 11h2.5"/>"#),
    (
        "settings",
        r#"<path d="M1.75 5h7.5M13 5h1.25M1.75 11H3M6.75 11h7.5"/><circle cx="11.1" cy="5" r="1.75"/><circle cx="4.9" cy="11" r="1.75"/>"#,
    ),
    ("upload", r#"<path d="M8 10.25v-8M4.75 5.25L8 2l3.25 3.25M2 10v2.75c0 .7.55 1.25 1.25 1.25h9.5c.7 0 1.25-.55 1.25-1.25V10"/>"#),
    ("download", r#"<path d="M8 2v8M4.75 7L8 10.25 11.25 7M2 10v2.75c0 .7.55 1.25 1.25 1.25h9.5c.7 0 1.25-.55 1.25-1.25V10"/>"#),
    (
        "share",
        r#"<path d="M6.75 9.25a2.9 2.9 0 0 0 4.1 0l2.3-2.3a2.9 2.9 0 0 0-4.1-4.1l-.8.8M9.25 6.75a2.9 2.9 0 0 0-4.1 0l-2.3 2.3a2.9 2.9 0 0 0 4.1 4.1l.8-.8"/>"#,
    ),
    ("preview", r#"<path d="M1.25 8S3.5 3.75 8 3.75 14.75 8 14.75 8 12.5 12.25 8 12.25 1.25 8 1.25 8z"/><circle cx="8" cy="8" r="2"/>"#),
    ("more", r#"<path d="M3 8h.01M8 8h.01M13 8h.01"/>"#),
    (
        "delete",
        r#"<path d="M2.25 4h11.5M5.75 4V2.5c0-.4.35-.75.75-.75h3c.4 0 .75.35.75.75V4M3.75 4l.6 9.1c.05.65.6 1.15 1.25 1.15h4.8c.65 0 1.2-.5 1.25-1.15l.6-9.1M6.5 7v4.25M9.5 7v4.25"/>"#,
    ),
    (
        "copy",
        r#"<rect x="5.75" y="5.75" width="8.5" height="8.5" rx="1.25"/><path d="M10.25 3.5v-.5c0-.7-.55-1.25-1.25-1.25H3c-.7 0-1.25.55-1.25 1.25v6c0 .7.55 1.25 1.25 1.25h.5"/>"#,
    ),
    ("edit", r#"<path d="M2.25 13.75l.75-3.25 7.9-7.9a1.4 1.4 0 0 1 2 0l.5.5a1.4 1.4 0 0 1 0 2L5.5 13zM9.75 3.75l2.5 2.5"/>"#),
    (
        "new-folder",
        r#"<path d="M1.75 4.25v8c0 .55.45 1 1 1h10.5c.55 0 1-.45 1-1v-6.5c0-.55-.45-1-1-1H8.2L6.5 2.75H2.75c-.55 0-1 .45-1 1zM8 7v4M6 9h4"/>"#,
    ),
    (
        "document",
        r#"<path d="M9.25 1.75h-5c-.55 0-1 .45-1 1v10.5c0 .55.45 1 1 1h7.5c.55 0 1-.45 1-1v-8zM9.25 1.75v3.5h3.5M5.75 8.25h4.5M5.75 11h3"/>"#,
    ),
    (
        "image",
        r#"<rect x="1.75" y="2.25" width="12.5" height="11.5" rx="1.25"/><circle cx="5.5" cy="6" r="1.15"/><path d="M2 11.5l3-2.75 2.25 2L10.75 7 14 10.25"/>"#,
    ),
    (
        "json",
        r#"<path d="M5.75 2.25c-1.4 0-2 .6-2 1.75v1.75c0 1.2-.6 2.25-1.75 2.25 1.15 0 1.75 1.05 1.75 2.25V12c0 1.15.6 1.75 2 1.75M10.25 2.25c1.4 0 2 .6 2 1.75v1.75C12.25 6.95 12.85 8 14 8c-1.15 0-1.75 1.05-1.75 2.25V12c0 1.15-.6 1.75-2 1.75"/>"#,
    ),
    ("table", r#"<rect x="1.75" y="2.25" width="12.5" height="11.5" rx="1.25"/><path d="M1.75 6h12.5M1.75 10h12.5M6 6v7.75"/>"#),
    ("audio", r#"<path d="M6 12.25V3.5l7.75-1.75v8.75"/><circle cx="4.1" cy="12.25" r="1.9"/><circle cx="11.85" cy="10.5" r="1.9"/>"#),
    ("video", r#"<rect x="1.25" y="3.5" width="9.5" height="9" rx="1.25"/><path d="M10.75 7.25l4-2.5v6.5l-4-2.5"/>"#),
    (
        "archive",
        r#"<rect x="1.75" y="2.25" width="12.5" height="3.5" rx=".75"/><path d="M3 5.75v7c0 .55.45 1 1 1h8c.55 0 1-.45 1-1v-7M6.5 8.75h3"/>"#,
    ),
    ("other", r#"<path d="M9.25 1.75h-5c-.55 0-1 .45-1 1v10.5c0 .55.45 1 1 1h7.5c.55 0 1-.45 1-1v-8zM9.25 1.75v3.5h3.5"/>"#),
    ("ok", r#"<circle cx="8" cy="8" r="6.25"/><path d="M5.25 8.25l1.9 1.9 3.6-4"/>"#),
    (
        "warn",
        r#"<path d="M7.1 2.6L1.6 12.1c-.4.7.1 1.65.95 1.65h10.9c.85 0 1.35-.95.95-1.65L8.9 2.6a1.05 1.05 0 0 0-1.8 0zM8 6.25v3M8 11.5h.01"/>"#,
    ),
    ("error", r#"<circle cx="8" cy="8" r="6.25"/><path d="M8 4.75v3.75M8 11.1h.01"/>"#),
    ("down", r#"<circle cx="8" cy="8" r="6.25"/><path d="M6 6l4 4M10 6l-4 4"/>"#),
    ("off", r#"<circle cx="8" cy="8" r="6.25"/><path d="M5.25 8h5.5"/>"#),
    ("note", r#"<circle cx="8" cy="8" r="6.25"/><path d="M8 7.5v3.75M8 4.9h.01"/>"#),
    ("lock", r#"<rect x="2.75" y="7" width="10.5" height="7.25" rx="1.25"/><path d="M5 7V4.75a3 3 0 0 1 6 0V7"/>"#),
    ("key", r#"<circle cx="5" cy="11" r="3"/><path d="M7.2 8.8l6.55-6.55M11.25 4.75l2 2"/>"#),
    ("time", r#"<circle cx="8" cy="8" r="6.25"/><path d="M8 4.25V8l2.5 1.5"/>"#),
    ("pause", r#"<path d="M5.25 3.25v9.5M10.75 3.25v9.5"/>"#),
    ("play", r#"<path d="M4.5 2.75v10.5L13 8z"/>"#),
    ("retry", r#"<path d="M13.5 8a5.5 5.5 0 1 1-1.75-4.05l1.75 1.6M13.75 2v3.6h-3.6"/>"#),
    ("close", r#"<path d="M3.5 3.5l9 9M12.5 3.5l-9 9"/>"#),
    ("check", r#"<path d="M2.75 8.5l3.5 3.5 7-8"/>"#),
    ("add", r#"<path d="M8 2.5v11M2.5 8h11"/>"#),
    ("minus", r#"<path d="M3 8h10"/>"#),
    ("next", r#"<path d="M6 3l5 5-5 5"/>"#),
    ("back", r#"<path d="M10 3L5 8l5 5"/>"#),
    ("open", r#"<path d="M3 6l5 5 5-5"/>"#),
    ("unstable", r#"<path d="M4.5 6L8 2.5 11.5 6M4.5 10L8 13.5 11.5 10"/>"#),
    ("ascending", r#"<path d="M8 13.25V2.75M3.75 7L8 2.75 12.25 7"/>"#),
    ("menu", r#"<path d="M2 4h12M2 8h12M2 12h12"/>"#),
    ("theme", r#"<circle cx="8" cy="8" r="6.25"/><path d="M8 1.75a6.25 6.25 0 0 1 0 12.5z" fill="currentColor"/>"#),
    ("filter", r#"<path d="M1.75 4h12.5M4.25 8h7.5M6.5 12h3"/>"#),
    ("go", r#"<path d="M2.5 8h11M9 3.5L13.5 8 9 12.5"/>"#),
    ("sign-out", r#"<path d="M6 14H3.25C2.55 14 2 13.45 2 12.75v-9.5C2 2.55 2.55 2 3.25 2H6M10.5 11.25L13.75 8 10.5 4.75M13.75 8H6"/>"#),
];

#[cfg(test)]
pub fn is_known(name: &str) -> bool {
    SHAPES.iter().any(|(known, _)| *known == name)
}

fn shape(name: &str) -> &'static str {
    SHAPES.iter().find(|(known, _)| *known == name).map_or("", |(_, shape)| shape)
}

/// The definition that [`reference`] points to, once per page.
pub fn symbol(name: &str) -> String {
    format!("<symbol id=\"i-{name}\" viewBox=\"0 0 16 16\">{}</symbol>", shape(name))
}

/// A short reference to the icon, for tables. The page must contain its symbol.
pub fn reference(name: &str) -> String {
    format!("<svg class=\"icon\" width=\"16\" height=\"16\" aria-hidden=\"true\"><use href=\"#i-{name}\"/></svg>")
}

/// The icon as inline SVG. An unknown name yields an empty image.
pub fn svg(name: &str) -> String {
    let shape = shape(name);
    format!("<svg class=\"icon\" width=\"16\" height=\"16\" viewBox=\"0 0 16 16\" aria-hidden=\"true\" focusable=\"false\">{shape}</svg>")
}
