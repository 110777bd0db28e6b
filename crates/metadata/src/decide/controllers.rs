//! Registration of nodes that have the controller's role alone.

use crate::decide::Decision;
use crate::{DedicatedController, Image, Record, Refusal};

/// Registers a controller, or takes over what changed of it. A broker must have left the cluster before its number
/// is used by one.
pub fn register(image: &Image, controller: &DedicatedController) -> Result<Decision<()>, Refusal> {
    if image.broker(controller.id).is_some() {
        return Err(Refusal::RegisteredAsBroker(controller.id));
    }
    if image.controller(controller.id).is_some_and(|known| **known == *controller) {
        return Ok(Decision::unchanged(()));
    }
    Ok(Decision { records: vec![Record::ControllerRegistered(controller.clone())], answer: () })
}
