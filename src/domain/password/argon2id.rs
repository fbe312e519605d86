//! Argon2id in memory that is kept for the next hash. Allocated and freed on many threads, 19 MiB at a time, it would stay
//! in the arenas of glibc: some 200 MiB after a flood of sign-ins.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, PasswordVerifier, Version};
use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// As many as hashes run at the same time.
static MEMORY: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// The hash of a password with a new salt, as a PHC string.
pub(super) fn hash(password: &[u8]) -> Option<String> {
    let mut salt = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    let params = Params::default();
    let output = compute(&params, password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    Some(format!("$argon2id$v=19$m={m},t={t},p={p}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output)))
}

/// Whether a PHC string is the hash of this password.
pub(super) fn verify(password: &[u8], hash: &str) -> bool {
    match parse(hash).and_then(|(params, salt, expected)| Some((compute(&params, password, &salt, expected.len())?, expected))) {
        Some((output, expected)) => constant_time::verify_slices_are_equal(&output, &expected).is_ok(),
        // Variants that Larder does not write.
        None => PasswordHash::new(hash).is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok()),
    }
}

/// Parameters, salt and output of a PHC string in the form that [`hash`] writes.
fn parse(hash: &str) -> Option<(Params, Vec<u8>, Vec<u8>)> {
    let mut fields = hash.strip_prefix("$argon2id$v=19$")?.split('$');
    let costs = fields.next()?.split(',').zip(["m=", "t=", "p="]).filter_map(|(cost, name)| cost.strip_prefix(name)?.parse().ok());
    let [m, t, p] = costs.collect::<Vec<u32>>()[..] else { return None };
    let salt = STANDARD_NO_PAD.decode(fields.next()?).ok()?;
    let output = STANDARD_NO_PAD.decode(fields.next()?).ok()?;
    Some((Params::new(m, t, p, Some(output.len())).ok()?, salt, output))
}

fn compute(params: &Params, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
    let kept = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let count = params.block_count();
    let reused = kept().pop().filter(|blocks| blocks.len() == count);
    let mut blocks = reused.unwrap_or_else(|| vec![Block::new(); count]);
    let mut output = vec![0; length];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let outcome = argon2.hash_password_into_with_memory(password, salt, &mut output, &mut blocks);
    kept().push(blocks);
    outcome.ok().map(|()| output)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;

    use super::*;

    #[test]
    fn hashes_are_those_of_the_crate() {
        let own = hash(b"correct horse battery").unwrap();
        let parsed = PasswordHash::new(&own).unwrap();
        assert!(Argon2::default().verify_password(b"correct horse battery", &parsed).is_ok());
        assert!(verify(b"correct horse battery", &own) && !verify(b"correct horse", &own));
        let other = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8192, 1, 2, None).unwrap());
        let other = other.hash_password_with_salt(b"correct horse battery", b"0123456789abcdef").unwrap().to_string();
        assert!(verify(b"correct horse battery", &other) && !verify(b"correct horse", &other));
        for broken in ["", "$argon2id$v=19$", "$argon2id$v=19$m=1,t=2$a$b", "text"] {
            assert!(!verify(b"", broken));
        }
    }
}
