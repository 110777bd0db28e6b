//! Decisions: from an image and a request to the records that fulfil it. Nothing here changes anything.
//!
//! A caller proposes the records as one [`crate::Command`] that carries the index of the image they were decided on, one
//! command at a time; several requests may be decided in a row by applying each decision's records to a copy of the
//! image ([`Decision::foresee`]) before the next.

pub mod brokers;
pub mod configs;
pub mod controllers;
pub mod elect;
pub mod features;
pub mod isr;
pub mod partitions;
pub mod placement;
pub mod reassign;
pub mod topics;

use crate::{Image, Record};

/// What to propose, and what to answer once it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<T> {
    /// The changes; none if there is nothing to do, and then the answer holds at once.
    pub records: Vec<Record>,
    /// The answer.
    pub answer: T,
}

impl<T> Decision<T> {
    /// An answer that needs no change.
    pub fn unchanged(answer: T) -> Self {
        Self { records: Vec::new(), answer }
    }

    /// The image as it will be when the decision is applied, to decide the next request of the same command on. Its
    /// [`Image::index`] is still the one that the command must carry.
    pub fn foresee(&self, image: &Image) -> Image {
        let mut next = image.clone();
        for record in &self.records {
            next.apply(image.index(), record);
        }
        next
    }
}

/// Source of randomness: returns 64 random bits at each call.
///
/// Topic ids must be unique over all time, so in production it is the system's generator.
pub type Random<'a> = &'a mut dyn FnMut() -> u64;
