//! The replicated state: an image, changed by committed commands only, with its stored form.

use bytes::{BufMut, Bytes, BytesMut};
use milena_bugs::{Bug, is_on};
use milena_config::Overrides;
use milena_wire::Uuid;
use prost::Message;
use std::sync::Arc;

use crate::stored::{self, Command, DecodeError, proto};
use crate::{Image, Record, Resource};

/// One changed pair of the stored form: a new value, or none where the pair was removed.
pub type Change = (Bytes, Option<Bytes>);

/// What became of a committed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its records took effect.
    Applied,
    /// It was decided on another state and did nothing: decide again.
    Stale,
}

impl Outcome {
    /// The answer for the proposer, as bytes.
    pub fn encode(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Applied => b"a",
            Self::Stale => b"s",
        })
    }

    /// Reads [`Outcome::encode`]'s bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"a" => Some(Self::Applied),
            b"s" => Some(Self::Stale),
            _ => None,
        }
    }
}

/// The cluster's state machine.
///
/// Replaying the commands, applying them live, and restoring the stored pairs give equal images.
#[derive(Debug, Clone, Default)]
pub struct State {
    image: Image,
}

const CLUSTER_ID: &[u8] = b"m/cluster_id";
const INDEX: &[u8] = b"m/index";
const NEXT_PRODUCER_ID: &[u8] = b"m/next_producer_id";

impl State {
    /// The metadata now.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Rebuilds the state from stored pairs, in ascending order of keys. An unknown key is an error: a later release
    /// wrote it and this one would lose it.
    pub fn restore(pairs: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<Self, DecodeError> {
        let mut image = Image::default();
        for (key, value) in pairs {
            restore_pair(&mut image, &key, &value)?;
        }
        Ok(Self { image })
    }

    /// Applies the command at `index` of the log and appends what it changed in the stored form to `changes`.
    ///
    /// A command decided on another state does nothing. So does one that cannot be read: every node sees the same
    /// bytes, and all skip it alike.
    pub fn apply(&mut self, index: u64, command: &[u8], changes: &mut Vec<Change>) -> Outcome {
        let Ok(command) = Command::decode(command) else { return Outcome::Stale };
        if command.decided_at != self.image.index && !is_taken_all_the_same(&command) {
            return Outcome::Stale;
        }
        for record in &command.records {
            let doomed = match record {
                Record::TopicDeleted { id } => self.image.topic_by_id(*id).cloned(),
                _ => None,
            };
            self.image.apply(index, record);
            if let Some(topic) = doomed {
                changes.push((topic_key(topic.id), None));
                for (partition, _) in topic.iter() {
                    changes.push((partition_key(topic.id, partition), None));
                }
                changes.push((config_key(&Resource::Topic(topic.name.to_string())), None));
            }
            self.push_changes(record, changes);
        }
        self.image.index = index;
        changes.push((Bytes::from_static(INDEX), Some(Bytes::copy_from_slice(&index.to_be_bytes()))));
        Outcome::Applied
    }

    /// The stored form of what `record`, just applied, is about.
    fn push_changes(&self, record: &Record, changes: &mut Vec<Change>) {
        let image = &self.image;
        let change = match record {
            Record::ClusterFormatted { cluster_id } => {
                (Bytes::from_static(CLUSTER_ID), Some(Bytes::from(cluster_id.clone())))
            }
            Record::BrokerRegistered(broker) => broker_change(image, broker.id),
            Record::BrokerChanged { id, .. } | Record::BrokerUnregistered { id } => broker_change(image, *id),
            Record::ControllerRegistered(controller) => controller_change(image, controller.id),
            Record::ControllerUnregistered { id } => controller_change(image, *id),
            Record::TopicCreated { id, name } => {
                (topic_key(*id), Some(encoded(&proto::Topic { name: name.clone() })))
            }
            Record::TopicDeleted { .. } => return,
            Record::PartitionSet { topic, index, .. } => {
                let Some(partition) = image.partition(*topic, *index) else { return };
                let value = encoded(&stored::partition_to_proto(partition));
                (partition_key(*topic, *index), Some(value))
            }
            Record::ConfigSet { resource, .. } => {
                let overrides = image.overrides(resource);
                let value = proto::Configs { values: Overrides::clone(&overrides) };
                (config_key(resource), (!overrides.is_empty()).then(|| encoded(&value)))
            }
            Record::FeatureSet { name, level } => {
                let value = (*level != 0).then(|| Bytes::copy_from_slice(&level.to_be_bytes()));
                (Bytes::from(format!("f/{name}")), value)
            }
            Record::ProducerIdsAllocated { next } => {
                (Bytes::from_static(NEXT_PRODUCER_ID), Some(Bytes::copy_from_slice(&next.to_be_bytes())))
            }
        };
        changes.push(change);
    }
}

fn broker_change(image: &Image, id: crate::BrokerId) -> Change {
    let mut key = BytesMut::from(&b"b/"[..]);
    key.put_i32(id.0);
    (key.freeze(), image.broker(id).map(|broker| encoded(&stored::broker_to_proto(broker))))
}

fn controller_change(image: &Image, id: crate::BrokerId) -> Change {
    let mut key = BytesMut::from(&b"d/"[..]);
    key.put_i32(id.0);
    let value = image.controller(id).map(|controller| encoded(&stored::controller_to_proto(controller)));
    (key.freeze(), value)
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// `t/` and the topic's id.
fn topic_key(id: Uuid) -> Bytes {
    let mut key = BytesMut::from(&b"t/"[..]);
    key.put_slice(&id.0);
    key.freeze()
}

/// The topic's key, `/`, and the partition's number: it follows its topic in the order of keys.
fn partition_key(topic: Uuid, index: i32) -> Bytes {
    let mut key = BytesMut::from(&topic_key(topic)[..]);
    key.put_u8(b'/');
    key.put_i32(index);
    key.freeze()
}

/// `c/`, the resource's type code and its name.
fn config_key(resource: &Resource) -> Bytes {
    let mut key = BytesMut::from(&b"c/"[..]);
    key.put_i8(resource.code());
    key.put_slice(resource.name().as_bytes());
    key.freeze()
}

/// Whether a command takes effect although it was decided on another state: never, but for a mistake made on purpose.
fn is_taken_all_the_same(command: &Command) -> bool {
    is_on(Bug::M4) && command.records.iter().all(|it| matches!(it, Record::PartitionSet { .. }))
}

fn restore_pair(image: &mut Image, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Missing("UTF-8 name"));
    match key {
        CLUSTER_ID => image.cluster_id = Some(text(value)?.into()),
        INDEX => image.index = u64::from_be_bytes(number(value)?),
        NEXT_PRODUCER_ID => image.next_producer_id = i64::from_be_bytes(number(value)?),
        [b'b', b'/', _, _, _, _] => {
            let broker = stored::broker_from_proto(proto::Broker::decode(value)?)?;
            image.brokers.insert(broker.id, Arc::new(broker));
        }
        [b'c', b'/', code, name @ ..] => {
            let resource = stored::resource((*code).into(), text(name)?)?;
            image.configs.insert(resource, Arc::new(proto::Configs::decode(value)?.values));
        }
        [b'd', b'/', _, _, _, _] => {
            let controller = stored::controller_from_proto(proto::Controller::decode(value)?)?;
            image.controllers.insert(controller.id, Arc::new(controller));
        }
        [b'f', b'/', name @ ..] => {
            image.features.insert(text(name)?.into(), i16::from_be_bytes(number(value)?));
        }
        [b't', b'/', id @ ..] if id.len() == 16 => {
            image.insert_topic(stored::uuid(id)?, &proto::Topic::decode(value)?.name);
        }
        [b't', b'/', rest @ ..] if rest.len() == 21 => {
            let partition = stored::partition_from_proto(proto::Partition::decode(value)?)?;
            let index = i32::from_be_bytes(number(&rest[17..])?);
            image.set_partition(stored::uuid(&rest[..16])?, index, &partition);
        }
        _ => return Err(DecodeError::Missing("key")),
    }
    Ok(())
}

fn number<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Missing("number"))
}
