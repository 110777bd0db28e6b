//! Whether this broker is ready: in the cluster, and holding all that it should.
//!
//! Ready means that the next broker may be taken down as far as this one is concerned. It does not mean that all is
//! well: a broker does not turn unready because another one died, or whoever probes would stop the survivors too.
//! What does depend on the others is told beside ([`Readiness::at_risk`]), and asked for by `/safe-to-stop`.

use std::fmt;

use milena_metadata::{BrokerId, Image, Partition};
use milena_quorum::GroupHandle;

use crate::services::{Services, is_followed};

/// Partitions named in a text, so that it stays readable.
const NAMED: usize = 5;

/// What a broker lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// What stands in the way, each a sentence without its full stop.
    pub(super) reasons: Vec<String>,
    /// Partitions that would refuse `acks=all`, or have no leader, if this broker stopped now.
    pub(super) at_risk: Vec<String>,
}

impl Readiness {
    /// As it is now.
    pub(super) fn of(services: &Services) -> Self {
        let image = services.view.image();
        let is_open = |topic, index| services.partitions.get(topic, index).is_some();
        let mut readiness = Self::in_cluster(&image, services.broker_id, is_open);
        readiness.reasons.extend(of_quorum([&services.cluster_raft, &services.coordination_raft]));
        // Without it nothing is acknowledged here, whatever the metadata that reached this broker says.
        if !services.partitions.may_lead() {
            readiness.reasons.push("holds no lease of the controller".to_owned());
        }
        readiness
    }

    /// What the metadata says of `me`; `is_open` tells whether a partition's log is open here.
    fn in_cluster(image: &Image, me: BrokerId, is_open: impl Fn(milena_wire::Uuid, i32) -> bool) -> Self {
        let mut found = Self::default();
        match image.broker(me) {
            None => found.reasons.push("not registered with the controller".to_owned()),
            Some(broker) if broker.fenced => found.reasons.push("fenced by the controller".to_owned()),
            Some(broker) if broker.in_controlled_shutdown => found.reasons.push("shutting down".to_owned()),
            Some(_) => {}
        }
        let (mut behind, mut closed) = (Vec::new(), Vec::new());
        for topic in image.topics() {
            for (index, partition) in topic.iter() {
                if !partition.replicas.contains(&me) || partition.adding.contains(&me) {
                    continue;
                }
                let name = || format!("{}-{index}", topic.name);
                if !is_open(topic.id, index) {
                    closed.push(name());
                } else if !partition.isr.contains(&me) {
                    behind.push(name());
                } else if is_at_risk_without(partition) {
                    found.at_risk.push(name());
                }
            }
        }
        if !closed.is_empty() {
            found.reasons.push(format!("log not open: {}", named(&closed)));
        }
        if !behind.is_empty() {
            found.reasons.push(format!("not in sync: {}", named(&behind)));
        }
        found
    }

    /// Whether nothing is lacking.
    pub(super) fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Whether the broker lacks nothing and could stop without any partition refusing writes for it.
    pub(super) fn may_stop(&self) -> bool {
        self.is_ready() && self.at_risk.is_empty()
    }
}

/// What the Raft groups of a node lack.
pub(super) fn of_quorum(groups: [&GroupHandle; 2]) -> Vec<String> {
    let lacks = |raft: &GroupHandle| match raft.leader().borrow().leader {
        None => Some(format!("the Raft group {} has no leader", raft.id())),
        Some(leader) if leader == raft.node_id() && !is_followed(raft) => {
            Some(format!("leads the Raft group {}, and no quorum answers", raft.id()))
        }
        Some(_) => None,
    };
    groups.into_iter().filter_map(lacks).collect()
}

/// Whether one in-sync replica less is too few. A partition that needs all its replicas always is, and nothing that
/// somebody could wait for changes it, so it does not count.
fn is_at_risk_without(partition: &Partition) -> bool {
    let needed = partition.effective_min_isr().max(1);
    needed < partition.replicas.len() && partition.isr.len() <= needed
}

fn named(partitions: &[String]) -> String {
    let first = partitions[..partitions.len().min(NAMED)].join(", ");
    match partitions.len() {
        count if count > NAMED => format!("{first} and {} more", count - NAMED),
        _ => first,
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready() { "ready\n" } else { "not ready\n" })?;
        self.reasons.iter().try_for_each(|reason| writeln!(f, "- {reason}"))?;
        if !self.at_risk.is_empty() {
            writeln!(f, "at min ISR or below, needs this broker: {}", named(&self.at_risk))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: BrokerId = BrokerId(1);

    fn partition(replicas: &[i32], isr: &[i32], min: i32) -> Partition {
        let ids = |ids: &[i32]| ids.iter().map(|&id| BrokerId(id)).collect();
        Partition::new(ids(replicas), ids(isr), min)
    }

    #[test]
    fn a_partition_is_at_risk_when_one_copy_less_is_too_few() {
        for (replicas, isr, min, at_risk) in [
            (&[1, 2, 3][..], &[1, 2, 3][..], 2, false),
            (&[1, 2, 3], &[1, 2], 2, true),
            (&[1, 2, 3], &[1], 2, true),
            (&[1, 2, 3], &[1, 2], 1, false),
            (&[1, 2, 3], &[1], 1, true),
            (&[1, 2], &[1, 2], 2, false),
            (&[1], &[1], 1, false),
        ] {
            let partition = partition(replicas, isr, min);
            assert_eq!(is_at_risk_without(&partition), at_risk, "{replicas:?} {isr:?} {min}");
        }
    }

    #[test]
    fn a_broker_that_nobody_knows_is_not_ready() {
        let readiness = Readiness::in_cluster(&Image::default(), ME, |_, _| true);
        assert_eq!(readiness.to_string(), "not ready\n- not registered with the controller\n");
    }

    #[test]
    fn long_lists_are_cut() {
        let partitions: Vec<String> = (0..7).map(|index| format!("t-{index}")).collect();
        assert_eq!(named(&partitions), "t-0, t-1, t-2, t-3, t-4 and 2 more");
        assert_eq!(named(&partitions[..2]), "t-0, t-1");
    }
}
