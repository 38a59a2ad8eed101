//! Hashes in place of values.

use bytes::{BufMut, BytesMut};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use super::json::put_hex;

/// What stands before the text of a string that Java serialises: the stream's header, then the length in two bytes or, for
/// long ones, in eight.
const JAVA_STRING: &[u8] = b"\xac\xed\x00\x05t";
const JAVA_LONG_STRING: &[u8] = b"\xac\xed\x00\x05|";

/// What a hash is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashVersion {
    /// The text as Java serialises it: what `columnMaskHash` gives.
    V1,
    /// The text's own bytes: what `columnMaskHashV2` gives.
    V2,
}

/// A way to hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) version: HashVersion,
    pub(crate) algorithm: Algorithm,
    pub(crate) salt: String,
}

/// The algorithms, by the names that Java has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_224,
    Sha512_256,
}

impl Algorithm {
    /// The names, for messages.
    pub(crate) const NAMES: &str =
        "MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512, SHA-512/224 and SHA-512/256";

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => Self::Md5,
            "SHA" | "SHA1" | "SHA-1" => Self::Sha1,
            "SHA-224" | "SHA224" => Self::Sha224,
            "SHA-256" | "SHA256" => Self::Sha256,
            "SHA-384" | "SHA384" => Self::Sha384,
            "SHA-512" | "SHA512" => Self::Sha512,
            "SHA-512/224" | "SHA512/224" => Self::Sha512_224,
            "SHA-512/256" | "SHA512/256" => Self::Sha512_256,
            _ => return None,
        })
    }
}

impl std::fmt::Debug for Hash {
    /// Never prints the salt: with it, values can be guessed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash({:?}, {:?})", self.version, self.algorithm)
    }
}

impl Hash {
    /// Appends a JSON string of the digest's hexadecimal digits, `limit` at most.
    pub(crate) fn put(&self, text: &str, limit: Option<usize>, out: &mut BytesMut) {
        match self.algorithm {
            Algorithm::Md5 => self.put_digest::<Md5>(text, limit, out),
            Algorithm::Sha1 => self.put_digest::<Sha1>(text, limit, out),
            Algorithm::Sha224 => self.put_digest::<Sha224>(text, limit, out),
            Algorithm::Sha256 => self.put_digest::<Sha256>(text, limit, out),
            Algorithm::Sha384 => self.put_digest::<Sha384>(text, limit, out),
            Algorithm::Sha512 => self.put_digest::<Sha512>(text, limit, out),
            Algorithm::Sha512_224 => self.put_digest::<Sha512_224>(text, limit, out),
            Algorithm::Sha512_256 => self.put_digest::<Sha512_256>(text, limit, out),
        }
    }

    fn put_digest<D: Digest>(&self, text: &str, limit: Option<usize>, out: &mut BytesMut) {
        let mut digest = D::new();
        digest.update(&self.salt);
        match self.version {
            HashVersion::V1 => update_java(&mut digest, text),
            HashVersion::V2 => digest.update(text),
        }
        out.put_u8(b'"');
        let start = out.len();
        put_hex(&digest.finalize(), out);
        out.truncate(limit.map_or(out.len(), |limit| out.len().min(start.saturating_add(limit))));
        out.put_u8(b'"');
    }
}

/// Feeds a string as Java serialises it.
///
/// Source: <https://docs.oracle.com/en/java/javase/21/docs/specs/serialization/protocol.html>
fn update_java(digest: &mut impl Digest, text: &str) {
    let length: usize = text.chars().map(|c| modified(c, |_| ())).sum();
    match u16::try_from(length) {
        Ok(length) => {
            digest.update(JAVA_STRING);
            digest.update(length.to_be_bytes());
        }
        Err(_) => {
            digest.update(JAVA_LONG_STRING);
            digest.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    for c in text.chars() {
        modified(c, |bytes| digest.update(bytes));
    }
}

/// Gives the bytes of a character in Java's modified UTF-8: U+0000 takes two, and those above U+FFFF are surrogates of three
/// each. Returns how many there are.
fn modified(c: char, mut each: impl FnMut(&[u8])) -> usize {
    let mut buffer = [0; 4];
    match c {
        '\0' => {
            each(b"\xc0\x80");
            2
        }
        '\u{1}'..='\u{ffff}' => {
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            each(bytes);
            bytes.len()
        }
        _ => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let [high, low] = unit.to_be_bytes();
                each(&[0xe0 | high >> 4, 0x80 | (high & 15) << 2 | low >> 6, 0x80 | low & 0x3f]);
            }
            6
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(
        version: HashVersion,
        algorithm: &str,
        salt: &str,
        text: &str,
        limit: Option<usize>,
    ) -> String {
        let algorithm = Algorithm::from_name(algorithm).unwrap();
        let mut out = BytesMut::new();
        Hash { version, algorithm, salt: salt.to_owned() }.put(text, limit, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn hashes_are_those_of_the_field() {
        use HashVersion::{V1, V2};
        let salt = "CzQMA0cB5K";
        for (version, text, expected) in [
            (V1, "test", "8e68c68edbbac316dfe2f6ada6b0d2d3e2002b487a985d4b7c7c82dd83b0f4d7"),
            (V2, "test", "b924906bc565bd0a7da8b7beddb901e9174e363361e31481b3dcd475d1f32694"),
            (V1, "hello", "b4d39ab0d198fb4cac8b2f023da74f670bcaf192dcc79b5d6361b7ae6b2fafdf"),
            (V2, "hello", "c4bf2f9ebc99b7f64add45103e81eb4ca483649064e3e1398b21f41786360c7b"),
            (V2, "hello world", "02982eb0ca53a4ca7d923af4dc03c9aee11190cc3baadc3d5ca18e046dbb44b5"),
            (V1, "ünïcödé€😀x", "b99ea3db29591186a2c337323f2a8e0c0dd910e0075cce0f1a1da602d330afe6"),
        ] {
            assert_eq!(hash(version, "SHA-256", salt, text, None), expected, "{text}");
        }
        assert_eq!(hash(V2, "MD5", "x", "k", None), "a2d8fced03cb2e20ef8e1226935c9c92");
        assert_eq!(hash(V1, "sha-256", salt, "test", Some(20)), "8e68c68edbbac316dfe2");
    }
}
