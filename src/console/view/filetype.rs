//! The icon and the label of a file by its name. For display only: previews depend on the content.

pub struct FileType {
    pub icon: &'static str,
    pub label: &'static str,
}

const TYPES: &[(&str, &str, &str)] = &[
    ("png", "image", "PNG"),
    ("jpg jpeg", "image", "JPEG"),
    ("gif", "image", "GIF"),
    ("webp", "image", "WebP"),
    ("avif", "image", "AVIF"),
    ("svg", "image", "SVG"),
    ("tif tiff", "image", "TIFF"),
    ("bmp heic heif ico psd", "image", "Image"),
    ("pdf", "document", "PDF"),
    ("doc docx odt rtf", "document", "Word"),
    ("ppt pptx odp key", "document", "Slides"),
    ("txt log text", "document", "Text"),
    ("md markdown", "document", "Markdown"),
    ("html htm xhtml", "document", "HTML"),
    ("xml xsd xsl", "document", "XML"),
    ("yml yaml toml ini conf cfg env", "document", "Configuration"),
    ("rs py js ts go java c h cpp sh sql css rb php", "document", "Code"),
    ("eml msg", "document", "Mail"),
    ("json jsonl ndjson geojson", "json", "JSON"),
    ("csv tsv", "table", "CSV"),
    ("xls xlsx ods", "table", "Sheet"),
    ("parquet orc avro", "table", "Data"),
    ("mp3 m4a wav ogg oga opus flac aac", "audio", "Audio"),
    ("mp4 mov webm mkv avi m4v", "video", "Video"),
    ("zip", "archive", "Zip"),
    ("tar gz tgz bz2 xz zst 7z rar jar", "archive", "Archive"),
];

/// By the extension after the last dot.
pub fn of(name: &str) -> FileType {
    let extension = name.trim_end().rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    let found = TYPES.iter().find(|(endings, _, _)| endings.split(' ').any(|ending| ending == extension));
    match found {
        Some((_, icon, label)) => FileType { icon, label },
        None if name.ends_with('/') => FileType { icon: "folder", label: "Folder" },
        None => FileType { icon: "other", label: "File" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_follows_the_last_extension() {
        for (name, label) in
            [("a.PNG", "PNG"), ("b.tar.gz", "Archive"), ("README", "File"), ("x.", "File"), ("notes/", "Folder"), (".json", "JSON")]
        {
            assert_eq!(of(name).label, label, "{name}");
        }
    }
}
