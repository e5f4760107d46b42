//! How the data of secrets stands on disk: AES-256-GCM-SIV (RFC 8452).
//!
//! A nonce is the change's generation and a count within it, so none serves twice under one key as long as generations
//! grow. They do not where a copy of the file is put back, or where a change that the disk lost is followed by another one;
//! the SIV mode is why even then no more is told than whether two values are the same.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;

/// The key of a store's secrets.
#[derive(Clone)]
pub struct Seal {
    key: [u8; 32],
}

impl Seal {
    /// Of the octets of the key file, which nobody else may read.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The nonce, then what it seals. `about` has to be the same when it is opened.
    pub(super) fn seal(
        &self,
        nonces: &mut Nonces,
        about: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let nonce = nonces.next()?;
        let mut data = plain.to_vec();
        self.cipher()?.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(about),
            &mut data,
        )?;
        Ok([nonce.as_slice(), &data].concat())
    }

    /// What `seal` was given; an error where the key or `about` is another one, or an octet was changed.
    pub(super) fn open(&self, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let (nonce, data) = sealed.split_at_checked(NONCE_LEN).ok_or(Unspecified)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce)?;
        let mut data = data.to_vec();
        let plain = self.cipher()?.open_in_place(nonce, Aad::from(about), &mut data)?;
        Ok(plain.to_vec())
    }

    fn cipher(&self) -> Result<LessSafeKey, Unspecified> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &self.key)?))
    }
}

/// The key is not shown.
impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(secret)")
    }
}

/// The nonces of one change.
pub(super) struct Nonces {
    generation: u64,
    count: u32,
}

impl Nonces {
    pub(super) fn new(generation: u64) -> Self {
        Self { generation, count: 0 }
    }

    /// An error after four thousand million secrets in one change.
    fn next(&mut self) -> Result<[u8; NONCE_LEN], Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        let octets = self.generation.to_be_bytes().into_iter().chain(self.count.to_be_bytes());
        nonce.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
        self.count = self.count.checked_add(1).ok_or(Unspecified)?;
        Ok(nonce)
    }
}
