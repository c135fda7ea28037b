//! Taking a message apart, one field after the other, without ever reading beyond its end.

use super::reconcile::WireError;

/// What is left of a message.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u128(&mut self) -> Result<u128, WireError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// Seven bits a byte, low ones first; one spelling a number.
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if (bits << shift) >> shift != bits || (shift > 0 && byte == 0) {
                return Err(WireError::Number);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Number)
    }

    /// A length that must fit into what is left.
    pub(super) fn len(&mut self) -> Result<usize, WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::Cut)?;
        if len > self.rest.len() { Err(WireError::Cut) } else { Ok(len) }
    }

    /// A text of at most `most` bytes.
    pub(super) fn text(&mut self, most: usize) -> Result<String, WireError> {
        let len = self.len()?;
        if len > most {
            return Err(WireError::Text);
        }
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| WireError::Text)?;
        Ok(text.to_owned())
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    #[allow(clippy::cast_possible_truncation)] // seven bits at a time
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)]
    out.push(value as u8);
}

/// The text, cut to at most `most` bytes between two characters.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str, most: usize) {
    let cut = text.floor_char_boundary(most);
    put_varint(out, cut as u64);
    out.extend_from_slice(&text.as_bytes()[..cut]);
}
