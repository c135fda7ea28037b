//! Permission to act: the intent of a step is durable.

use crate::model::id::IncidentId;
use crate::model::stage::Stage;

/// What the journal hands out while a declared step is performed, and what every act that changes a side, a node or a
/// connection asks for. So no act compiles outside a declared step:
///
/// ```compile_fail,E0061
/// use unsplit::{model::{node::NodeAct, seen::End}, ports::node::Operated};
/// fn act(node: &dyn Operated, act: &NodeAct) -> End {
///     node.act(act)
/// }
/// ```
/// ```
/// use unsplit::engine::journal::{Cursor, Declared, Performed};
/// use unsplit::{model::node::NodeAct, ports::node::Operated};
/// fn act<'j>(at: Cursor<'j, Declared>, node: &dyn Operated, act: &NodeAct) -> Cursor<'j, Performed> {
///     at.perform(|permit| node.act(act, permit))
/// }
/// ```
///
/// Nobody else makes one, and nobody keeps one for later:
///
/// ```compile_fail,E0624
/// use unsplit::{model::{id::IncidentId, stage::Stage}, proof::Permit};
/// fn forge(incident: &IncidentId) -> Permit<'_> {
///     Permit::of_declared(incident, 0, Stage::Overwrite)
/// }
/// ```
/// ```compile_fail,E0521
/// use unsplit::engine::journal::{Cursor, Declared};
/// use unsplit::{model::seen::End, proof::Permit};
/// fn keep<'p>(at: Cursor<'_, Declared>, kept: &mut Option<&'p Permit<'p>>) {
///     let _performed = at.perform(|permit| {
///         *kept = Some(permit);
///         End::Done
///     });
/// }
/// ```
#[derive(Debug)]
pub struct Permit<'a> {
    incident: &'a IncidentId,
    step: usize,
    stage: Stage,
}

impl<'a> Permit<'a> {
    /// For the journal's cursor alone; a test holds everybody else to that.
    pub(crate) fn of_declared(incident: &'a IncidentId, step: usize, stage: Stage) -> Permit<'a> {
        Permit { incident, step, stage }
    }

    /// The incident.
    #[must_use]
    pub fn incident(&self) -> &IncidentId {
        self.incident
    }

    /// Index of the step in the plan.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Where on the line the step stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }
}
