//! Names and ids.

use crate::error::{Doing, Result};

/// How many digits of a random id end the name of what is being made, or removed.
pub const TAIL: usize = 12;
/// The same for what is renamed aside while its tree is being removed.
pub const LONG_TAIL: usize = 16;

/// 256 random bits as 64 hexadecimal digits: an id that no one else has, without asking anyone.
pub fn random() -> Result<String> {
    let bytes: [u8; 32] = crate::kernel::random().doing(|| "ask the kernel for random bytes")?;
    Ok(hex(&bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[(byte >> 4) as usize] as char, DIGITS[(byte & 15) as usize] as char]).collect()
}

/// An id as tables show it.
pub fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, Docker's rule for container and volume names.
pub fn valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
