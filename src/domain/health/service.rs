//! The services that Larder depends on, and what depends on them.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Postgres,
    Redis,
    S3,
    Qdrant,
    LiteLlm,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::Postgres, Self::Redis, Self::S3, Self::Qdrant, Self::LiteLlm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Redis => "Redis",
            Self::S3 => "S3",
            Self::Qdrant => "Qdrant",
            Self::LiteLlm => "LiteLLM",
        }
    }

    /// In URLs, metrics and the database.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::S3 => "s3",
            Self::Qdrant => "qdrant",
            Self::LiteLlm => "litellm",
        }
    }

    pub fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.slug() == slug)
    }

    /// Whether Larder is unavailable without it.
    pub fn is_hard(self) -> bool {
        matches!(self, Self::Postgres | Self::S3)
    }

    /// What depends on it.
    pub fn needed_for(self) -> &'static str {
        match self {
            Self::Postgres => "Signing in, uploads, and every page except this one",
            Self::Redis => "The cache pages, and speed: without it, pages are slower but no data is lost",
            Self::S3 => "Uploads, downloads, browsing",
            Self::Qdrant => "Semantic search in applications that use it",
            Self::LiteLlm => "Completions and embeddings in applications that use them",
        }
    }

    /// What is unavailable while it is down.
    pub fn stops(self) -> &'static str {
        match self {
            Self::Redis => "The cache pages; other pages are slower, but no data is lost",
            other => other.needed_for(),
        }
    }

    /// What is unavailable while it is down, as a sentence.
    pub fn waiting(self) -> &'static str {
        match self {
            Self::Postgres => "Signing in, uploads and the audit log are unavailable.",
            Self::Redis => "Pages are slower; no data is lost.",
            Self::S3 => "Uploads, downloads and browsing are unavailable.",
            Self::Qdrant => "Semantic search is unavailable in applications that use it.",
            Self::LiteLlm => "Completions and embeddings are unavailable in applications that use them.",
        }
    }

    /// What still works.
    pub fn not_affected(self) -> &'static str {
        match self {
            Self::Postgres => "This page, and existing links to files",
            Self::Redis => "Signing in, uploads, downloads, browsing, the audit log",
            Self::S3 => "Signing in, users, the audit log, the cache",
            Self::Qdrant | Self::LiteLlm => "Everything in Larder",
        }
    }

    /// Paths that are unavailable without it.
    pub fn affected_endpoints(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["/", "/session", "/buckets", "/uploads", "/users", "/audit"],
            Self::Redis => &["/cache"],
            Self::S3 => &["/buckets", "/uploads"],
            Self::Qdrant | Self::LiteLlm => &[],
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}
