//! `process.roles`: whether a node keeps partitions, votes on metadata, or both.

use std::collections::BTreeSet;

use crate::listeners::Listeners;
use crate::quorum::Quorum;
use crate::{BrokerConfig, StartError};

/// The roles of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Keeps partitions and serves clients.
    pub broker: bool,
    /// May vote on metadata and lead the quorum.
    pub controller: bool,
}

impl Roles {
    /// Of a node that is broker and, where it is told or asked to, voter: who gives no roles has both.
    pub(crate) const BOTH: Self = Self { broker: true, controller: true };

    pub(crate) fn of(config: &BrokerConfig) -> Self {
        let has = |role: &str| config.process_roles().iter().any(|it| it == role);
        match (has("broker"), has("controller")) {
            (false, false) => Self::BOTH,
            (broker, controller) => Self { broker, controller },
        }
    }

    /// What Kafka asks of nodes with one role, in its words. Nodes with both are judged by their listeners alone.
    pub(crate) fn check(
        self,
        config: &BrokerConfig,
        listeners: &Listeners,
        quorum: &Quorum,
    ) -> Result<(), StartError> {
        let id = config.node_id();
        let voters: BTreeSet<i32> = quorum.voters.iter().map(|voter| voter.id).collect();
        let set = || voters.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let refuse = |reason: String| Err(StartError::Roles(reason));
        match self {
            Self { broker: false, .. } if listeners.controller.is_empty() => refuse(
                "controller.listener.names must contain at least one value appearing in the 'listeners' \
                 configuration when running the KRaft controller role"
                    .to_owned(),
            ),
            Self { broker: false, .. } if !listeners.bind.is_empty() => refuse(
                "The listeners config must only contain KRaft controller listeners from controller.listener.names \
                 when process.roles=controller"
                    .to_owned(),
            ),
            Self { broker: false, .. } if !voters.is_empty() && !voters.contains(&id) => refuse(format!(
                "If process.roles contains the 'controller' role, the node id {id} must be included in the set of \
                 voters controller.quorum.voters=Set({})",
                set()
            )),
            Self { controller: false, .. } if !listeners.controller.is_empty() => refuse(
                "controller.listener.names must not contain a value appearing in the 'listeners' configuration when \
                 running KRaft with just the broker role"
                    .to_owned(),
            ),
            Self { controller: false, .. } if voters.contains(&id) => refuse(format!(
                "If process.roles contains just the 'broker' role, the node id {id} must not be included in the set \
                 of voters controller.quorum.voters=Set({})",
                set()
            )),
            Self { controller: false, .. } if voters.is_empty() && quorum.bootstrap_servers.is_empty() => {
                refuse(
                    "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of \
                     bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers."
                        .to_owned(),
                )
            }
            _ => Ok(()),
        }
    }
}
