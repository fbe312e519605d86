//! E-mail addresses that are written differently but mean the same mailbox: case, composed characters, and internationalised
//! domain names, which browsers send as `xn--…`.

use diesel::sql_types::Text;
use unicode_normalization::UnicodeNormalization;

/// Folds ASCII case, for comparing, counting and searching. Matches `fold_email` in Postgres.
pub(super) fn fold(email: &str) -> String {
    email.to_ascii_lowercase()
}

diesel::define_sql_function! {
    // Like the unique index on e-mail addresses.
    fn fold_email(email: Text) -> Text;
}

/// The form to store: composed (NFC), and the domain as people read it.
pub(super) fn canonical(email: &str) -> String {
    let composed: String = email.trim().nfc().collect();
    match composed.rsplit_once('@').and_then(|(local, host)| Some((local, unicode_host(host)?))) {
        Some((local, host)) => format!("{local}@{host}"),
        None => composed,
    }
}

/// The folded forms under which an account with this address may be stored, the canonical one first.
pub(super) fn forms(email: &str) -> Vec<String> {
    let canonical = canonical(email);
    let ascii = canonical.rsplit_once('@').and_then(|(local, host)| Some(format!("{local}@{}", idna::domain_to_ascii(host).ok()?)));
    let mut forms = vec![fold(&canonical)];
    for form in [Some(email.trim().to_owned()), ascii].into_iter().flatten().map(|form| fold(&form)) {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

/// `None` for a plain ASCII name, which is kept as it is written, and for an invalid name.
fn unicode_host(host: &str) -> Option<String> {
    if host.is_ascii() && !host.to_ascii_lowercase().contains("xn--") {
        return None;
    }
    let (unicode, validity) = idna::domain_to_unicode(&idna::domain_to_ascii(host).ok()?);
    validity.ok().map(|()| unicode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_like_in_postgres_with_the_c_locale() {
        assert_eq!(fold("Mara@Example.COM"), "mara@example.com");
        assert_eq!(fold("v\u{130}ewer@example.com"), "v\u{130}ewer@example.com");
        assert_eq!(fold("J\u{d6}RG@example.com"), "j\u{d6}rg@example.com");
    }

    #[test]
    fn all_spellings_of_an_address_have_one_canonical_form() {
        for written in [
            "mara@b\u{fc}cher.example",
            "mara@bu\u{308}cher.example",
            "mara@B\u{dc}CHER.example",
            "mara@xn--bcher-kva.example",
            " mara@XN--bcher-kva.example ",
        ] {
            assert_eq!(canonical(written), "mara@b\u{fc}cher.example", "{written}");
            let forms = forms(written);
            assert_eq!(forms[0], "mara@b\u{fc}cher.example");
            assert!(forms.contains(&"mara@xn--bcher-kva.example".to_owned()), "{forms:?}");
        }
        assert_eq!(canonical("jo\u{308}rg@example.com"), "j\u{f6}rg@example.com");
    }

    #[test]
    fn ordinary_and_invalid_addresses_are_kept_as_written() {
        for written in ["Mara@Example.COM", "mara@localhost", "no address", "a@xn--a", "@", ""] {
            assert_eq!(canonical(written), written);
        }
        assert_eq!(forms("Mara@Example.COM"), ["mara@example.com"]);
    }
}
