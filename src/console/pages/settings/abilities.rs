//! The features of the store, and what Larder does without them.

use crate::console::view::badge::Badge;
use crate::domain::abilities::{Abilities, Ability};

pub struct AbilityRow {
    pub feature: &'static str,
    pub ability: Ability,
    yes: &'static str,
    no: &'static str,
}

impl AbilityRow {
    /// Tone, icon and label.
    pub fn badge(&self) -> Badge {
        match self.ability {
            Ability::Yes => Badge::new("ok", "check", "Yes"),
            Ability::No(_) => Badge::new("warn", "minus", "No"),
            Ability::Unknown(_) => Badge::new("off", "note", "Unknown"),
        }
    }

    pub fn effect(&self) -> String {
        match &self.ability {
            Ability::Yes => self.yes.to_owned(),
            Ability::No(why) => format!("{why} {}", self.no),
            Ability::Unknown(why) => why.clone(),
        }
    }
}

/// The features that Larder relies on first, then those that the pages of a bucket show.
pub fn rows(found: Abilities) -> Vec<AbilityRow> {
    let row = |feature, ability, yes, no| AbilityRow { feature, ability, yes, no };
    vec![
        row(
            "Never overwrite an existing object",
            found.put_if_absent,
            "Small uploads cannot overwrite an existing object, even with concurrent writers.",
            "Larder checks before writing, so an object written in between could be replaced.",
        ),
        row(
            "Never overwrite with a multipart upload",
            found.complete_if_absent,
            "Large uploads cannot overwrite an existing object either.",
            "Larder checks before writing, so an object written in between could be replaced.",
        ),
        row(
            "Replace only an unchanged object",
            found.put_if_match,
            "Applications can make sure that they replace the version they have read.",
            "Larder does not need this feature; other applications may.",
        ),
        row(
            "Delete only an unchanged object",
            found.delete_if_match,
            "An object that changed after you opened the page is not deleted.",
            "Larder checks before deleting, so an object that changed in between could be deleted.",
        ),
        row(
            "Verify checksums of uploads",
            found.checksums,
            "The store rejects data that was corrupted in transit.",
            "Corruption is not detected during the upload, only later by the SHA-256 that Larder records.",
        ),
        row(
            "Range requests",
            found.range,
            "Downloads can be resumed, and media players can seek.",
            "Downloads restart from the beginning, and media players cannot seek.",
        ),
        row(
            "Temporary links",
            found.presigned,
            "Signed links download objects without an account.",
            "Signed links do not work with this store.",
        ),
        row(
            "List names with any characters",
            found.encoded_listing,
            "Every name is listed correctly.",
            "Names with control characters may be shown incorrectly.",
        ),
        row(
            "List unfinished uploads",
            found.multipart_listing,
            "Uploads of other applications are listed as well.",
            "Only uploads started by Larder are listed.",
        ),
        row("Tags", found.tagging, "Objects can carry tags.", "Objects cannot carry tags."),
        row(
            "Report versioning",
            found.versioning,
            "The details show whether older versions are kept.",
            "Replaced and deleted objects cannot be restored.",
        ),
        row("Report lifecycle rules", found.lifecycle, "Lifecycle rules can be read.", "Lifecycle rules cannot be read."),
        row("Report the bucket policy", found.policy, "The bucket policy can be read.", "The bucket policy cannot be read."),
        row("Report CORS rules", found.cors, "The CORS rules can be read.", "The CORS rules cannot be read."),
    ]
}
