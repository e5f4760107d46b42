//! The key of one backup file: made of a password or of the installation's key, and what it seals.

use super::{BackupError, Keys, Protection};
use crate::hex;
use crate::path::KeyPath;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

/// Argon2id as it is used for writing: RFC 9106 section 4, second choice, with one lane as there are no threads here.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// What a file may ask for: four times what is written, so that a forged one takes neither all memory nor minutes.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

const PURPOSE: &[u8] = b"postroad backup";
/// The seal of nothing has a nonce that no record reaches.
const CHECK_NONCE: [u8; NONCE_LEN] = [0xff; NONCE_LEN];

/// The key of one file.
pub(super) struct FileKey(LessSafeKey);

/// A key for a file that is being made, and what its manifest says of it.
pub(super) fn seal_new(
    password: Option<&str>,
    machine: &[u8; 32],
    salt: [u8; 16],
) -> Result<(FileKey, Protection), BackupError> {
    let Some(password) = password else {
        let key = FileKey::of_machine(machine, salt)?;
        let protection = Protection::Machine { salt: hex::write(&salt), check: key.check()? };
        return Ok((key, protection));
    };
    if password.is_empty() {
        return Err(BackupError::EmptyPassword);
    }
    let key = FileKey::of_password(password, salt, [MEMORY_KIB, PASSES, LANES])?;
    let protection = Protection::Password {
        salt: hex::write(&salt),
        check: key.check()?,
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
    };
    Ok((key, protection))
}

/// The key of a file that is being read; none where it has no secrets.
pub(super) fn open(protection: &Protection, keys: &Keys<'_>) -> Result<Option<FileKey>, BackupError> {
    let (key, check, wrong) = match protection {
        Protection::None {} => return Ok(None),
        Protection::Machine { salt, check } => {
            (FileKey::of_machine(keys.machine, read_salt(salt)?)?, check, BackupError::OtherMachine)
        }
        Protection::Password { salt, check, memory_kib, passes, lanes } => {
            let salt = read_salt(salt)?;
            let is_sane = (8 * LANES_MAX..=MEMORY_KIB_MAX).contains(memory_kib)
                && (1..=PASSES_MAX).contains(passes)
                && (1..=LANES_MAX).contains(lanes);
            if !is_sane {
                return Err(BackupError::Malformed(format!(
                    "it asks for Argon2id with {memory_kib} KiB, {passes} passes and {lanes} lanes, \
                     and at most {MEMORY_KIB_MAX}, {PASSES_MAX} and {LANES_MAX} are allowed"
                )));
            }
            let password = keys.password.ok_or(BackupError::PasswordNeeded)?;
            let key = FileKey::of_password(password, salt, [*memory_kib, *passes, *lanes])?;
            (key, check, BackupError::WrongPassword)
        }
    };
    if key.check()? == *check { Ok(Some(key)) } else { Err(wrong) }
}

fn read_salt(salt: &str) -> Result<[u8; 16], BackupError> {
    let salt = unhex(salt).and_then(|salt| salt.try_into().ok());
    salt.ok_or_else(|| BackupError::Malformed("its salt is not 16 octets in hexadecimal digits".into()))
}

impl FileKey {
    fn of_machine(machine: &[u8; 32], salt: [u8; 16]) -> Result<Self, BackupError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, machine);
        Self::new(hmac::sign(&key, &[PURPOSE, &salt].concat()).as_ref())
    }

    fn of_password(password: &str, salt: [u8; 16], costs: [u32; 3]) -> Result<Self, BackupError> {
        let [memory_kib, passes, lanes] = costs;
        let failed = |_| BackupError::Crypto("Argon2id failed");
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), &salt, &mut key)
            .map_err(failed)?;
        Self::new(&key)
    }

    fn new(key: &[u8]) -> Result<Self, BackupError> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key);
        key.map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| BackupError::Crypto("the cipher refused the key"))
    }

    /// The seal of nothing.
    fn check(&self) -> Result<String, BackupError> {
        self.encrypt(CHECK_NONCE, PURPOSE, Vec::new())
    }

    /// Seals the data of a record, the `count`th sealed one of the file.
    pub(super) fn seal(
        &self,
        place: (&KeyPath, u32),
        count: u64,
        data: Vec<u8>,
    ) -> Result<String, BackupError> {
        self.encrypt(nonce(count), &belongs_to(place), data)
    }

    /// Opens what `seal` gave for the same place and count; none where that is not so.
    pub(super) fn open(&self, place: (&KeyPath, u32), count: u64, sealed: &str) -> Option<Vec<u8>> {
        let mut octets = unhex(sealed)?;
        let nonce = Nonce::assume_unique_for_key(nonce(count));
        let length = self.0.open_in_place(nonce, Aad::from(belongs_to(place)), &mut octets).ok()?.len();
        octets.truncate(length);
        Some(octets)
    }

    fn encrypt(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        mut octets: Vec<u8>,
    ) -> Result<String, BackupError> {
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut octets)
            .map_err(|_| BackupError::Crypto("the cipher failed"))?;
        Ok(hex::write(&octets))
    }
}

/// The key is of one file, so a count never comes twice under it.
fn nonce(count: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&count.to_le_bytes());
    nonce
}

fn belongs_to((path, id): (&KeyPath, u32)) -> Vec<u8> {
    format!("{path}\n{id}").into_bytes()
}

/// What `hex::write` gave, and nothing else that says the same.
fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::read(text.chars()).filter(|_| !text.contains(|c: char| c.is_ascii_uppercase()))
}
