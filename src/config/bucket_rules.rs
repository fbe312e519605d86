//! The names that a bucket may have.

/// Each rule for general purpose buckets that `name` violates, as a sentence.
/// Source: Amazon S3 User Guide, "Bucket naming rules".
pub fn violated(name: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let mut rule = |is_broken: bool, sentence: &str| {
        if is_broken {
            broken.push(sentence.to_owned());
        }
    };
    rule(name.len() < 3 || name.len() > 63, "The name must have 3 to 63 characters.");
    rule(name.chars().any(|c| c.is_ascii_uppercase()), "Uppercase letters are not allowed.");
    rule(
        name.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-' && c != '.'),
        "Only lowercase letters, digits, dots and hyphens are allowed.",
    );
    let ends_well = [name.chars().next(), name.chars().next_back()].into_iter().flatten().all(|c| c.is_ascii_alphanumeric());
    rule(!ends_well, "The name must start and end with a letter or digit.");
    rule(name.contains("..") || name.contains(".-") || name.contains("-."), "A dot must not be next to another dot or a hyphen.");
    rule(name.parse::<std::net::Ipv4Addr>().is_ok(), "The name must not look like an IP address.");
    rule(
        ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix)),
        "Names that start with xn--, sthree- or amzn-s3-demo- are reserved.",
    );
    rule(
        ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|suffix| name.ends_with(suffix)),
        "Names that end with -s3alias, --ol-s3, .mrap, --x-s3 or --table-s3 are reserved.",
    );
    broken
}
