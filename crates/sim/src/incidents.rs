//! What befalls a world beside its work, by numbers, so that a run can be repeated without some of it.

use std::collections::BTreeSet;

/// The incidents of a run in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incidents {
    spared: BTreeSet<usize>,
    count: usize,
    words: Option<Vec<String>>,
}

impl Incidents {
    /// Only these of the first `of` shall happen, and all that come after them.
    pub fn only(kept: &[usize], of: usize) -> Self {
        let kept: BTreeSet<usize> = kept.iter().copied().collect();
        Self { spared: (0..of).filter(|number| !kept.contains(number)).collect(), ..Self::default() }
    }

    /// The same, with a line for each that happens.
    pub fn in_words(self) -> Self {
        Self { words: Some(Vec::new()), ..self }
    }

    /// How many were drawn, those that were left out among them.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A line for each that happened, if that was asked for.
    pub fn words(&self) -> &[String] {
        self.words.as_deref().unwrap_or_default()
    }

    /// Whether the next one happens.
    pub(crate) fn happens(&mut self, what: impl FnOnce() -> String) -> bool {
        let happens = !self.spared.contains(&self.count);
        self.count += 1;
        if let Some(words) = self.words.as_mut().filter(|_| happens) {
            words.push(what());
        }
        happens
    }
}
