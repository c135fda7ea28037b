//! Decks to deal values from.

use super::image::rng::Rng;

/// Deals every value once, in random order, before it deals any of them again: so many cases as the largest deck
/// has values meet them all.
#[derive(Debug)]
pub(crate) struct Deck<T> {
    values: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    pub(crate) fn new(values: &[T]) -> Deck<T> {
        Deck { values: values.to_vec(), left: Vec::new() }
    }

    pub(crate) fn deal(&mut self, rng: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.values);
        }
        let at = rng.index(self.left.len());
        self.left.swap_remove(at)
    }
}
