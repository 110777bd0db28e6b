//! Who votes in `coordination`, where controllers are nodes of their own: brokers, as clients must reach whoever
//! coordinates their groups. Where every voter is a broker, nothing is done here.
//!
//! Such a cluster is founded by controllers, before there is any broker, and they vote in both groups at first. As
//! brokers come, the leader of `coordination` puts them in the controllers' place. Controllers fill the seats that no
//! broker takes, so that committed offsets are on several nodes from the first one on, and hand over when they are
//! elected.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_metadata::Image;
use milena_quorum::{GroupHandle, NodeId};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Committed;
use crate::departure;
use crate::liveness::broker;

/// Fewest voters, if there are as many nodes.
const FEWEST: usize = 3;
/// Most voters: each holds every offset.
const MOST: usize = 5;
/// How often members are looked at without news: new ones listen before they can vote.
const LOOK: Duration = Duration::from_millis(500);

/// What the leader of the group does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// All is as it should be, or as good as it can be.
    Rest,
    /// Makes these the voters.
    Vote(BTreeSet<NodeId>),
    /// Has one of these lead.
    HandOver(BTreeSet<NodeId>),
}

/// Keeps the voters right while this node leads the group, until `shutdown`.
pub(crate) async fn seat_brokers(group: GroupHandle, committed: Committed, shutdown: CancellationToken) {
    let mut leader = group.leader();
    let mut images = committed.changes();
    loop {
        let leads = leader.borrow_and_update().is_self;
        images.borrow_and_update();
        if leads {
            let status = group.status();
            let members: BTreeSet<NodeId> = status.voters.union(&status.learners).copied().collect();
            match next(&committed.image(), group.node_id(), &status.voters, &members) {
                Step::Rest => {}
                Step::Vote(voters) => match group.keep_voters(voters.clone()).await {
                    Ok(()) => info!(group = %group.id(), ?voters, "brokers vote on groups and transactions"),
                    // A leader elected meanwhile goes on with it.
                    Err(error) => debug!(group = %group.id(), %error, "voters not changed yet"),
                },
                Step::HandOver(heirs) => departure::transfer(&group, |id| heirs.contains(&id)).await,
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = leader.changed() => if changed.is_err() { return },
            changed = images.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK), if leads => {}
        }
    }
}

/// `me` leads a group of `members`, of whom `voters` vote.
fn next(image: &Image, me: NodeId, voters: &BTreeSet<NodeId>, members: &BTreeSet<NodeId>) -> Step {
    let controllers = image.controllers().count();
    if controllers == 0 {
        return Step::Rest;
    }
    let is_broker = |id: &&NodeId| image.broker(broker(**id)).is_some();
    let is_live = |id: &&NodeId| image.is_active(broker(**id));
    let is_controller = |id: &&NodeId| image.controller(broker(**id)).is_some();
    // A seat is kept while its broker is down: it will be back, and has the offsets. Unregistered, it loses it.
    let seated = voters.iter().filter(is_broker);
    let waiting = members.difference(voters).filter(is_live);
    let fillers = voters.iter().chain(members.difference(voters)).filter(is_controller);
    let size = controllers.clamp(FEWEST, MOST);
    let mut chosen: Vec<NodeId> = seated.chain(waiting).chain(fillers).copied().take(size).collect();
    // One more than an odd number makes nothing safer, and a majority larger.
    if chosen.len().is_multiple_of(2) {
        chosen.pop();
    }
    let chosen: BTreeSet<NodeId> = chosen.into_iter().collect();
    if !chosen.iter().any(|id| is_live(&id)) {
        return Step::Rest;
    }
    let may_lead = is_broker(&&me) && chosen.contains(&me);
    if may_lead {
        return if chosen == *voters { Step::Rest } else { Step::Vote(chosen) };
    }
    let heirs: BTreeSet<NodeId> = chosen.intersection(voters).filter(is_live).copied().collect();
    match heirs.is_empty() {
        false => Step::HandOver(heirs),
        // First they vote beside those who do.
        true => Step::Vote(voters.union(&chosen).copied().collect()),
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::{Broker, BrokerEpoch, BrokerId, DedicatedController, Record};
    use milena_wire::Uuid;

    use super::*;

    fn ids(list: &[u64]) -> BTreeSet<NodeId> {
        list.iter().copied().map(NodeId).collect()
    }

    /// Controllers 1 to `controllers`, and brokers of which some are fenced.
    fn image(controllers: i32, brokers: &[i32], fenced: &[i32]) -> Image {
        let mut image = Image::default();
        for id in 1..=controllers {
            let (id, directory) = (BrokerId(id), Uuid([9; 16]));
            let controller = DedicatedController { id, directory, peer_address: String::new() };
            image.apply(1, &Record::ControllerRegistered(controller));
        }
        for id in brokers {
            let broker = Broker {
                id: BrokerId(*id),
                epoch: BrokerEpoch(0),
                incarnation: Uuid([1; 16]),
                endpoints: Vec::new(),
                rack: None,
                fenced: fenced.contains(id),
                in_controlled_shutdown: false,
                log_dirs: Vec::new(),
                peer_address: String::new(),
                broker_only: false,
            };
            image.apply(2, &Record::BrokerRegistered(broker));
        }
        image
    }

    #[test]
    fn brokers_take_the_seats_of_controllers_and_lead() {
        let vote = |list: &[u64]| Step::Vote(ids(list));
        let over = |list: &[u64]| Step::HandOver(ids(list));
        for (image, me, voters, learners, want) in [
            // Nodes of both roles are left alone.
            (image(0, &[1, 2, 3, 4], &[]), 1, &[1, 2, 3][..], &[4][..], Step::Rest),
            // Controllers wait for a broker, and for one that listens already and is not fenced.
            (image(3, &[], &[]), 1, &[1, 2, 3], &[], Step::Rest),
            (image(3, &[4], &[]), 1, &[1, 2, 3], &[], Step::Rest),
            (image(3, &[4], &[4]), 1, &[1, 2, 3], &[4], Step::Rest),
            // It votes beside them, leads, and makes room for itself.
            (image(3, &[4], &[]), 1, &[1, 2, 3], &[4], vote(&[1, 2, 3, 4])),
            (image(3, &[4], &[]), 1, &[1, 2, 3, 4], &[], over(&[4])),
            (image(3, &[4], &[]), 4, &[1, 2, 3, 4], &[], vote(&[1, 2, 4])),
            (image(3, &[4], &[]), 4, &[1, 2, 4], &[3], Step::Rest),
            // So do the next.
            (image(3, &[4, 5], &[]), 4, &[1, 2, 4], &[3, 5], vote(&[1, 4, 5])),
            (image(3, &[4, 5, 6], &[]), 4, &[1, 4, 5], &[2, 3, 6], vote(&[4, 5, 6])),
            (image(3, &[4, 5, 6, 7], &[]), 4, &[4, 5, 6], &[1, 2, 3, 7], Step::Rest),
            // A broker that is down keeps its seat, and loses it when it is unregistered.
            (image(3, &[4, 5, 6, 7], &[5]), 4, &[4, 5, 6], &[1, 2, 3, 7], Step::Rest),
            (image(3, &[4, 6, 7], &[]), 4, &[4, 5, 6], &[1, 2, 3, 7], vote(&[4, 6, 7])),
            // A controller that was elected hands over to who is there, if anybody is.
            (image(3, &[4, 5], &[4]), 1, &[1, 4, 5], &[2, 3], over(&[5])),
            (image(3, &[4, 5], &[4, 5]), 1, &[1, 4, 5], &[2, 3], Step::Rest),
            // Few nodes.
            (image(1, &[2], &[]), 1, &[1], &[2], vote(&[1, 2])),
            (image(1, &[2], &[]), 2, &[1, 2], &[], vote(&[2])),
            (image(1, &[2, 3], &[]), 2, &[2], &[1, 3], vote(&[1, 2, 3])),
        ] {
            let (voters, learners) = (ids(voters), ids(learners));
            let members = voters.union(&learners).copied().collect();
            assert_eq!(next(&image, NodeId(me), &voters, &members), want, "{me} {voters:?} {learners:?}");
        }
    }
}
