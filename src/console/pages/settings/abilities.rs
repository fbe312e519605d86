//! What the store can do, in plain words, and what Larder does where it cannot.

use crate::domain::abilities::{Abilities, Ability};

pub struct AbilityRow {
    pub what: &'static str,
    pub ability: Ability,
    yes: &'static str,
    no: &'static str,
}

impl AbilityRow {
    /// Tone, icon and word.
    pub fn badge(&self) -> (&'static str, &'static str, &'static str) {
        match self.ability {
            Ability::Yes => ("ok", "check", "Yes"),
            Ability::No(_) => ("warn", "minus", "No"),
            Ability::Unknown(_) => ("off", "note", "Not known"),
        }
    }

    pub fn meaning(&self) -> String {
        match &self.ability {
            Ability::Yes => self.yes.to_owned(),
            Ability::No(why) => format!("{why} {}", self.no),
            Ability::Unknown(why) => why.clone(),
        }
    }
}

/// What Larder relies on first, then what the pages of a bucket show.
pub fn rows(found: Abilities) -> Vec<AbilityRow> {
    let row = |what, ability, yes, no| AbilityRow { what, ability, yes, no };
    vec![
        row(
            "Keep an object that is there",
            found.put_if_absent,
            "A small file that may not overwrite cannot, whoever else writes.",
            "Larder looks first, which leaves a moment in which another program's object could be replaced.",
        ),
        row(
            "Keep it from uploads in parts, too",
            found.complete_if_absent,
            "The same holds for large files.",
            "Larder looks first, which leaves a moment in which another program's object could be replaced.",
        ),
        row(
            "Replace only the object that was read",
            found.put_if_match,
            "Programs can be sure that nobody wrote in between.",
            "Larder does not depend on it; other programs may.",
        ),
        row(
            "Delete only the object that was seen",
            found.delete_if_match,
            "What has changed since you looked is not deleted.",
            "Larder looks first, which leaves a moment in which an object that has just changed could be deleted.",
        ),
        row(
            "Check what arrives",
            found.checksums,
            "Bytes that were damaged on their way are refused.",
            "Larder cannot do that for it. The SHA-256 that it keeps of each upload tells later.",
        ),
        row(
            "Send a part of an object",
            found.range,
            "Downloads go on where they stopped, and players can skip.",
            "Downloads begin anew each time, and players cannot skip.",
        ),
        row(
            "Temporary links",
            found.presigned,
            "A link that Larder signs downloads without an account.",
            "Links that Larder makes do not work with this store.",
        ),
        row(
            "List names of any characters",
            found.encoded_listing,
            "Every name is listed as it is.",
            "Names with control characters may be shown otherwise than they are.",
        ),
        row(
            "List unfinished uploads",
            found.multipart_listing,
            "Those of other programs are found as well.",
            "Those that Larder began are shown all the same.",
        ),
        row("Tags", found.tagging, "Objects can carry tags.", "Objects carry no tags here."),
        row(
            "Tell of versions",
            found.versioning,
            "The details say whether older versions are kept.",
            "Whatever is replaced or deleted is gone at once.",
        ),
        row("Tell of expiry rules", found.lifecycle, "Rules that delete old objects can be read.", "No rule can be read."),
        row("Tell of access rules", found.policy, "The bucket's policy can be read.", "No policy can be read."),
        row("Tell of other sites' access", found.cors, "The bucket's CORS rules can be read.", "No CORS rules can be read."),
    ]
}
