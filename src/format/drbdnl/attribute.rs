//! Attributes: a body to numbered fields.

use super::{FramingError, aligned, array, ne16};
use drbd_sys::netlink::generic as sys;
use std::cell::RefCell;

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its number, without flags.
    pub number: u16,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Takes a run of attributes apart.
///
/// # Errors
/// [`FramingError`], with offsets from the start of `bytes`.
pub fn attributes(bytes: &[u8]) -> Result<Vec<Attribute<'_>>, FramingError> {
    let mut found = Vec::new();
    let mut at = 0usize;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (Some(length), Some(kind)) = (ne16(rest, 0), ne16(rest, 2)) else {
            let needed = sys::ATTRIBUTE_HEADER_BYTES;
            return Err(FramingError::Truncated {
                what: "an attribute's header",
                at,
                left: rest.len(),
                needed,
            });
        };
        let length = usize::from(length);
        let Some(value) = rest.get(sys::ATTRIBUTE_HEADER_BYTES..length) else {
            return Err(FramingError::Length { what: "an attribute", at, length, left: rest.len() });
        };
        found.push(Attribute { number: kind & sys::NLA_TYPE_MASK, bytes: value });
        at = at.saturating_add(aligned(length));
    }
    Ok(found)
}

/// A nest's fields, which remembers what was read of it.
#[derive(Debug)]
pub struct Fields<'a> {
    fields: Vec<Attribute<'a>>,
    read: RefCell<Vec<bool>>,
}

impl<'a> Fields<'a> {
    /// Takes a nest apart.
    ///
    /// # Errors
    /// [`FramingError`], with offsets from the start of `bytes`.
    pub fn of(bytes: &'a [u8]) -> Result<Fields<'a>, FramingError> {
        let fields = attributes(bytes)?;
        let read = RefCell::new(vec![false; fields.len()]);
        Ok(Fields { fields, read })
    }

    /// The last field with a number that `read` can make something of; it and the ones before it count as read.
    fn take<T>(&self, number: u16, read: impl Fn(&'a [u8]) -> Option<T>) -> Option<T> {
        let mut value = None;
        let mut marks = self.read.borrow_mut();
        for (field, mark) in
            self.fields.iter().zip(marks.iter_mut()).filter(|(field, _)| field.number == number)
        {
            if let Some(new) = read(field.bytes) {
                value = Some(new);
                *mark = true;
            }
        }
        value
    }

    /// A flag: one byte.
    #[must_use]
    pub fn flag(&self, number: u16) -> Option<bool> {
        self.take(number, |bytes| array::<1>(bytes, 0).filter(|_| bytes.len() == 1).map(|[byte]| byte != 0))
    }

    /// A u32.
    #[must_use]
    pub fn u32(&self, number: u16) -> Option<u32> {
        self.take(number, |bytes| bytes.try_into().ok().map(u32::from_ne_bytes))
    }

    /// A u32 that means yes or no.
    #[must_use]
    pub fn yes(&self, number: u16) -> Option<bool> {
        self.u32(number).map(|number| number != 0)
    }

    /// An i32.
    #[must_use]
    pub fn s32(&self, number: u16) -> Option<i32> {
        self.take(number, |bytes| bytes.try_into().ok().map(i32::from_ne_bytes))
    }

    /// A u64.
    #[must_use]
    pub fn u64(&self, number: u16) -> Option<u64> {
        self.take(number, |bytes| bytes.try_into().ok().map(u64::from_ne_bytes))
    }

    /// A text, up to the first NUL; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, number: u16) -> Option<String> {
        self.take(number, |bytes| Some(text(bytes)))
    }

    /// Raw bytes.
    #[must_use]
    pub fn bytes(&self, number: u16) -> Option<&'a [u8]> {
        self.take(number, Some)
    }

    /// An array of u64.
    #[must_use]
    pub fn u64s(&self, number: u16) -> Option<Vec<u64>> {
        self.take(number, |bytes| {
            let (words, rest) = bytes.as_chunks::<8>();
            rest.is_empty().then(|| words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
        })
    }

    /// The fields in order. Looking at them does not count as reading.
    #[must_use]
    pub fn all(&self) -> &[Attribute<'a>] {
        &self.fields
    }

    /// What nobody asked for or what could not be read, without padding (number 0).
    pub fn unread(&self) -> impl Iterator<Item = Attribute<'a>> {
        let marks = self.read.borrow().clone();
        self.fields
            .iter()
            .copied()
            .zip(marks)
            .filter(|(field, read)| !read && field.number != 0)
            .map(|(field, _)| field)
    }
}

/// A text, up to the first NUL.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}
