//! Names and identifiers.

use serde::{Deserialize, Serialize};

/// A BLAKE3 digest, shown and serialised as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The first 12 hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A digest's text is not 64 hex digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a digest is 64 hexadecimal digits")]
pub struct NotADigest;

impl std::str::FromStr for Digest {
    type Err = NotADigest;
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return Err(NotADigest);
        }
        let mut out = [0u8; 32];
        for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            let digit = |byte: u8| (byte as char).to_digit(16).ok_or(NotADigest);
            *slot = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| NotADigest)?;
        }
        Ok(Digest(out))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a name: 1 to 128 letters, digits, `.`, `_`, `-`, `+`, not starting with `-` or `.`")]
pub struct NotAName {
    /// What was given, cut to something printable.
    pub text: String,
}

fn checked(text: &str) -> Result<String, NotAName> {
    let fine = (1..=128).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
    if fine {
        Ok(text.to_owned())
    } else {
        Err(NotAName { text: text.chars().take(40).flat_map(char::escape_default).collect() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// A checked name.
            ///
            /// # Errors
            /// When the text holds anything a file name or a shell could trip over.
            pub fn new(text: &str) -> Result<Self, NotAName> {
                checked(text).map(Self)
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NotAName;
            fn try_from(text: String) -> Result<Self, NotAName> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// What a node is called: its host name, or `a`/`b` for images without a better name.
    NodeName
);
name!(
    /// What a DRBD resource or a pair of images is called.
    ResourceName
);
name!(
    /// One incident: from a divergence seen to its record closed. Also a folder name in the state directory.
    IncidentId
);

/// The identity of a plan: BLAKE3 of its canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(pub Digest);

impl std::fmt::Display for PlanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_files_and_words() {
        for good in ["r0", "node1.example", "vm-101-disk-0", "a_b+c"] {
            assert_eq!(NodeName::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-x", ".", "..", "a/b", "a b", "é", &"x".repeat(129)] {
            assert!(NodeName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_round_trip() {
        let digest = Digest(std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("".parse::<Digest>(), Err(NotADigest));
        assert_eq!("zz".repeat(32).parse::<Digest>(), Err(NotADigest));
    }
}
