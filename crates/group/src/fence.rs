//! Who may speak for a group: the same rules over the live members and over the applied ones.

use milena_bugs::{Bug, is_on};

use crate::GroupState;
use crate::refusal::Refusal;

/// Members of one group, live or applied.
pub(crate) trait Roster {
    /// Whether the member id belongs to the group.
    fn has_member(&self, member_id: &str) -> bool;
    /// The member id that holds the group instance id.
    fn static_member(&self, instance_id: &str) -> Option<&str>;
    /// Whether this member holds this instance id; a shortcut past [`Roster::static_member`].
    fn holds(&self, member_id: &str, instance_id: &str) -> bool {
        self.static_member(instance_id) == Some(member_id)
    }
}

/// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID, if the claim does not fit the roster (KIP-345).
pub(crate) fn check_member(
    roster: &impl Roster,
    member_id: &str,
    instance_id: Option<&str>,
) -> Result<(), Refusal> {
    match instance_id {
        Some(instance) if roster.holds(member_id, instance) => return Ok(()),
        Some(instance) => match roster.static_member(instance) {
            None => return Err(Refusal::UnknownMemberId),
            Some(holder) if holder != member_id => return Err(Refusal::FencedInstanceId),
            Some(_) => {}
        },
        None => {}
    }
    if roster.has_member(member_id) { Ok(()) } else { Err(Refusal::UnknownMemberId) }
}

/// Who commits offsets.
pub(crate) struct Claim<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub generation: i32,
}

/// Whether an existing group takes offsets from this claim into a transaction (OC-2, T12). Unlike a plain commit,
/// from a client that names nobody, as versions before 3 must, and while the assignment is not yet known.
pub(crate) fn check_txn_commit(
    roster: &impl Roster,
    state: GroupState,
    generation: i32,
    claim: &Claim<'_>,
) -> Result<(), Refusal> {
    let names_someone = claim.generation >= 0 || !claim.member_id.is_empty() || claim.instance_id.is_some();
    if !names_someone || (claim.generation < 0 && state == GroupState::Empty) || is_on(Bug::T12) {
        return Ok(());
    }
    check_member(roster, claim.member_id, claim.instance_id)?;
    if claim.generation == generation { Ok(()) } else { Err(Refusal::IllegalGeneration) }
}

/// Whether an existing group takes offsets from this claim (OC-1, OC-2).
pub(crate) fn check_commit(
    roster: &impl Roster,
    state: GroupState,
    generation: i32,
    claim: &Claim<'_>,
) -> Result<(), Refusal> {
    if claim.generation < 0 && state == GroupState::Empty {
        // An administrator, or a consumer that assigns its partitions itself. On a group with members this
        // would overwrite what its owners committed.
        return Ok(());
    }
    let names_someone = claim.generation >= 0 || !claim.member_id.is_empty() || claim.instance_id.is_some();
    if !names_someone {
        return Err(Refusal::UnknownMemberId);
    }
    check_member(roster, claim.member_id, claim.instance_id)?;
    if claim.generation != generation {
        return Err(Refusal::IllegalGeneration);
    }
    if state == GroupState::CompletingRebalance {
        // The member knows the generation but cannot own anything in it yet.
        return Err(Refusal::RebalanceInProgress);
    }
    Ok(())
}
