//! What stands behind Larder, and what needs it.

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

    /// In addresses, metrics and the database.
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

    /// Whether Larder cannot do its work without it.
    pub fn is_hard(self) -> bool {
        matches!(self, Self::Postgres | Self::S3)
    }

    /// What does not work without it.
    pub fn needed_for(self) -> &'static str {
        match self {
            Self::Postgres => "Signing in, uploads, and every page except this one",
            Self::Redis => "Speed, and the pages about the cache: without it pages are slower, nothing is lost",
            Self::S3 => "Uploads, downloads, browsing",
            Self::Qdrant => "Search by meaning, in the applications that use it",
            Self::LiteLlm => "Answers and embeddings of models, in the applications that use it",
        }
    }

    /// What does not work while it is down.
    pub fn stops(self) -> &'static str {
        match self {
            Self::Redis => "The pages about the cache; other pages are slower, nothing is lost",
            other => other.needed_for(),
        }
    }

    /// What does not work meanwhile, as a sentence.
    pub fn waiting(self) -> &'static str {
        match self {
            Self::Postgres => "Signing in, uploads and the audit wait for it.",
            Self::Redis => "Pages are slower until it is back; nothing is lost.",
            Self::S3 => "Uploads, downloads and browsing wait for it.",
            Self::Qdrant => "Search by meaning waits for it, in the applications that use it.",
            Self::LiteLlm => "Answers and embeddings wait for it, in the applications that use it.",
        }
    }

    /// What works all the same.
    pub fn not_affected(self) -> &'static str {
        match self {
            Self::Postgres => "This page, and links to files that were made before",
            Self::Redis => "Signing in, uploads, downloads, browsing, the audit",
            Self::S3 => "Signing in, users, the audit, the cache",
            Self::Qdrant | Self::LiteLlm => "Everything in Larder",
        }
    }

    /// Addresses that do not work without it.
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
