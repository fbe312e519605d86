//! The audited actions and their texts.

use std::fmt;

/// Defines the enum, its list and its texts from one table, so that none of them can lack an action.
macro_rules! actions {
    ($($variant:ident = $text:literal,)+) => {
        /// What an event records. The text is stored, exported and filtered by, so it must not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($variant,)+
        }

        impl Action {
            /// Sorted by text.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// `noun.verb`, for example `object.upload`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

actions! {
    AuditExport = "audit.export",
    BucketCreate = "bucket.create",
    BucketDelete = "bucket.delete",
    CacheClear = "cache.clear",
    CacheSlowlog = "cache.slowlog",
    FileReconcile = "file.reconcile",
    FolderCreate = "folder.create",
    KeyDelete = "key.delete",
    KeyDeleteMatching = "key.delete_matching",
    KeyExpire = "key.expire",
    ModelsCall = "models.call",
    ObjectDelete = "object.delete",
    ObjectDownload = "object.download",
    ObjectPreview = "object.preview",
    ObjectShare = "object.share",
    ObjectUpload = "object.upload",
    SessionBegin = "session.begin",
    SessionEnd = "session.end",
    SessionRefuse = "session.refuse",
    SetupComplete = "setup.complete",
    StoreProbe = "store.probe",
    TokenRevoke = "token.revoke",
    UploadAbort = "upload.abort",
    UploadFail = "upload.fail",
    UserCreate = "user.create",
    UserDisable = "user.disable",
    UserEnable = "user.enable",
    UserPassword = "user.password",
    UserRole = "user.role",
}

impl Action {
    /// `None` for an action of another version of Larder.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text)
    }

    /// The part before the dot.
    pub fn noun(self) -> &'static str {
        let text = self.as_str();
        text.split_once('.').map_or(text, |(noun, _)| noun)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_unique_sorted_and_of_the_form_noun_verb() {
        let texts: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert!(texts.is_sorted_by(|a, b| a < b), "{texts:?}");
        for action in Action::ALL {
            let (noun, verb) = action.as_str().split_once('.').unwrap();
            assert!(!noun.is_empty() && !verb.is_empty() && !verb.contains('.'), "{action}");
            assert_eq!((Action::parse(action.as_str()), action.noun()), (Some(*action), noun));
        }
        assert_eq!(Action::parse("object"), None);
    }
}
