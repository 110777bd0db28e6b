//! Commands and state as bytes: the messages of `proto/metadata.proto`, and the crossing to the types of this crate.

use bytes::Bytes;
use milena_records::LeaderEpoch;
use milena_wire::Uuid;
use prost::Message;
use thiserror::Error;

use crate::{
    Broker, BrokerEpoch, BrokerId, DedicatedController, Endpoint, Partition, PartitionEpoch, Record, Resource,
};

#[allow(missing_docs, clippy::all, unused_qualifications)]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/milena.metadata.v1.rs"));
}

/// Bytes that are no command or no stored value: damage, or a release that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are no message of the expected kind.
    #[error("not a metadata message: {0}")]
    Message(#[from] prost::DecodeError),
    /// A part that must be there is missing or out of range.
    #[error("metadata message without a valid {0}")]
    Missing(&'static str),
}

/// Records that take effect together: one entry of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// [`crate::Image::index`] of the image that the records were decided on.
    pub decided_at: u64,
    /// The changes, in order.
    pub records: Vec<Record>,
}

impl Command {
    /// The bytes to propose.
    pub fn encode(&self) -> Bytes {
        let records = self.records.iter().map(record_to_proto).collect();
        proto::Command { decided_at: self.decided_at, records }.encode_to_vec().into()
    }

    /// Reads [`Command::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let command = proto::Command::decode(bytes)?;
        let records = command.records.into_iter().map(record_from_proto).collect::<Result<_, _>>()?;
        Ok(Self { decided_at: command.decided_at, records })
    }
}

fn record_to_proto(record: &Record) -> proto::Record {
    use proto::record::Change;
    let change = match record {
        Record::ClusterFormatted { cluster_id } => Change::ClusterFormatted(cluster_id.clone()),
        Record::BrokerRegistered(broker) => Change::BrokerRegistered(broker_to_proto(broker)),
        Record::BrokerChanged { id, fenced, in_controlled_shutdown } => {
            Change::BrokerChanged(proto::BrokerChanged {
                id: id.0,
                fenced: *fenced,
                in_controlled_shutdown: *in_controlled_shutdown,
            })
        }
        Record::BrokerUnregistered { id } => Change::BrokerUnregistered(id.0),
        Record::ControllerRegistered(controller) => {
            Change::ControllerRegistered(controller_to_proto(controller))
        }
        Record::ControllerUnregistered { id } => Change::ControllerUnregistered(id.0),
        Record::TopicCreated { id, name } => {
            Change::TopicCreated(proto::TopicCreated { id: id.0.to_vec(), name: name.clone() })
        }
        Record::TopicDeleted { id } => Change::TopicDeleted(id.0.to_vec()),
        Record::PartitionSet { topic, index, partition } => Change::PartitionSet(proto::PartitionSet {
            topic: topic.0.to_vec(),
            index: *index,
            partition: Some(partition_to_proto(partition)),
        }),
        Record::ConfigSet { resource, name, value } => Change::ConfigSet(proto::ConfigSet {
            resource_type: resource.code().into(),
            resource_name: resource.name().to_owned(),
            name: name.clone(),
            value: value.clone(),
        }),
        Record::FeatureSet { name, level } => {
            Change::FeatureSet(proto::FeatureSet { name: name.clone(), level: (*level).into() })
        }
        Record::ProducerIdsAllocated { next } => Change::ProducerIdsAllocated(*next),
    };
    proto::Record { change: Some(change) }
}

fn record_from_proto(record: proto::Record) -> Result<Record, DecodeError> {
    use proto::record::Change;
    Ok(match record.change.ok_or(DecodeError::Missing("change"))? {
        Change::ClusterFormatted(cluster_id) => Record::ClusterFormatted { cluster_id },
        Change::BrokerRegistered(broker) => Record::BrokerRegistered(broker_from_proto(broker)?),
        Change::BrokerChanged(it) => Record::BrokerChanged {
            id: BrokerId(it.id),
            fenced: it.fenced,
            in_controlled_shutdown: it.in_controlled_shutdown,
        },
        Change::BrokerUnregistered(id) => Record::BrokerUnregistered { id: BrokerId(id) },
        Change::ControllerRegistered(controller) => {
            Record::ControllerRegistered(controller_from_proto(controller)?)
        }
        Change::ControllerUnregistered(id) => Record::ControllerUnregistered { id: BrokerId(id) },
        Change::TopicCreated(it) => Record::TopicCreated { id: uuid(&it.id)?, name: it.name },
        Change::TopicDeleted(id) => Record::TopicDeleted { id: uuid(&id)? },
        Change::PartitionSet(it) => Record::PartitionSet {
            topic: uuid(&it.topic)?,
            index: it.index,
            partition: partition_from_proto(it.partition.ok_or(DecodeError::Missing("partition"))?)?,
        },
        Change::ConfigSet(it) => Record::ConfigSet {
            resource: resource(it.resource_type, it.resource_name)?,
            name: it.name,
            value: it.value,
        },
        Change::FeatureSet(it) => Record::FeatureSet {
            name: it.name,
            level: i16::try_from(it.level).map_err(|_| DecodeError::Missing("feature level"))?,
        },
        Change::ProducerIdsAllocated(next) => Record::ProducerIdsAllocated { next },
    })
}

/// The resource of a stored type code and name.
pub(crate) fn resource(code: i32, name: String) -> Result<Resource, DecodeError> {
    let code = i8::try_from(code).map_err(|_| DecodeError::Missing("resource type"))?;
    Resource::from_code(code, name).ok_or(DecodeError::Missing("resource type"))
}

pub(crate) fn uuid(bytes: &[u8]) -> Result<Uuid, DecodeError> {
    Ok(Uuid(bytes.try_into().map_err(|_| DecodeError::Missing("id of 16 bytes"))?))
}

pub(crate) fn broker_to_proto(broker: &Broker) -> proto::Broker {
    let endpoint = |it: &Endpoint| proto::Endpoint {
        listener: it.listener.clone(),
        host: it.host.clone(),
        port: it.port.into(),
        security_protocol: it.security_protocol.into(),
    };
    proto::Broker {
        id: broker.id.0,
        epoch: broker.epoch.0,
        incarnation: broker.incarnation.0.to_vec(),
        endpoints: broker.endpoints.iter().map(endpoint).collect(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.iter().map(|dir| dir.0.to_vec()).collect(),
        peer_address: broker.peer_address.clone(),
        broker_only: broker.broker_only,
    }
}

pub(crate) fn broker_from_proto(broker: proto::Broker) -> Result<Broker, DecodeError> {
    let endpoint = |it: proto::Endpoint| {
        Ok(Endpoint {
            listener: it.listener,
            host: it.host,
            port: u16::try_from(it.port).map_err(|_| DecodeError::Missing("port"))?,
            security_protocol: i16::try_from(it.security_protocol)
                .map_err(|_| DecodeError::Missing("security protocol"))?,
        })
    };
    Ok(Broker {
        id: BrokerId(broker.id),
        epoch: BrokerEpoch(broker.epoch),
        incarnation: uuid(&broker.incarnation)?,
        endpoints: broker.endpoints.into_iter().map(endpoint).collect::<Result<_, DecodeError>>()?,
        rack: broker.rack,
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.iter().map(|dir| uuid(dir)).collect::<Result<_, _>>()?,
        peer_address: broker.peer_address,
        broker_only: broker.broker_only,
    })
}

pub(crate) fn controller_to_proto(controller: &DedicatedController) -> proto::Controller {
    proto::Controller {
        id: controller.id.0,
        directory: controller.directory.0.to_vec(),
        peer_address: controller.peer_address.clone(),
    }
}

pub(crate) fn controller_from_proto(
    controller: proto::Controller,
) -> Result<DedicatedController, DecodeError> {
    Ok(DedicatedController {
        id: BrokerId(controller.id),
        directory: uuid(&controller.directory)?,
        peer_address: controller.peer_address,
    })
}

pub(crate) fn partition_to_proto(partition: &Partition) -> proto::Partition {
    let ids = |list: &[BrokerId]| list.iter().map(|id| id.0).collect();
    proto::Partition {
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
        elr: ids(&partition.elr),
        last_known_elr: ids(&partition.last_known_elr),
        leader: partition.leader.map(|id| id.0),
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch.0,
        adding: ids(&partition.adding),
        removing: ids(&partition.removing),
        directories: partition.directories.iter().map(|dir| dir.0.to_vec()).collect(),
        min_insync_replicas: partition.min_insync_replicas,
        recovering: partition.recovering,
    }
}

pub(crate) fn partition_from_proto(partition: proto::Partition) -> Result<Partition, DecodeError> {
    let ids = |list: Vec<i32>| list.into_iter().map(BrokerId).collect();
    Ok(Partition {
        replicas: ids(partition.replicas),
        isr: ids(partition.isr),
        elr: ids(partition.elr),
        last_known_elr: ids(partition.last_known_elr),
        leader: partition.leader.map(BrokerId),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        partition_epoch: PartitionEpoch(partition.partition_epoch),
        adding: ids(partition.adding),
        removing: ids(partition.removing),
        directories: partition.directories.iter().map(|dir| uuid(dir)).collect::<Result<_, _>>()?,
        min_insync_replicas: partition.min_insync_replicas,
        recovering: partition.recovering,
    })
}
