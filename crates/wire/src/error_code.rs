//! Kafka's error codes: number, name, whether clients try again, and a message.
//!
//! Numbers, names and classes are tested against a list taken from Kafka's own client
//! (`tests/golden/errors-4.3.1.csv`); the messages are ours.

use std::fmt;

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:ident $class:ident $message:literal;)*) => {
        /// What a response's `error_code` says. The numbers are Kafka's and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, ascending.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The code of this number, if Kafka 4.3 has one.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(ErrorCode::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, such as `UNKNOWN_TOPIC_OR_PARTITION`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => stringify!($name),)*
                }
            }

            /// What it means, for people; lower-case and without a full stop.
            pub fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $message,)*
                }
            }

            /// Whether Kafka's clients try again by themselves.
            pub fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => class::$class,)*
                }
            }
        }
    };
}

/// The words of the table's fourth column.
#[allow(non_upper_case_globals)]
mod class {
    pub const retriable: bool = true;
    pub const fatal: bool = false;
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether this says that something went wrong.
    pub fn is_error(self) -> bool {
        self != ErrorCode::None
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> i16 {
        code.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

error_codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR fatal "the broker failed in a way it did not expect; see its log";
    0 None NONE fatal "no error";
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE fatal "the offset is before the log start or after the log end";
    2 CorruptMessage CORRUPT_MESSAGE retriable "a record or batch fails its checksum, has an impossible size, or lacks the key that a compacted topic needs";
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION retriable "this broker knows no such topic or partition";
    4 InvalidFetchSize INVALID_FETCH_SIZE fatal "the fetch size is not valid";
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE retriable "the partition has no leader at the moment";
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER retriable "this broker does not lead the partition, or holds no replica of it";
    7 RequestTimedOut REQUEST_TIMED_OUT retriable "not done within the request's time-out";
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE fatal "the broker is not available";
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE retriable "the replica is not available";
    10 MessageTooLarge MESSAGE_TOO_LARGE fatal "the batch is larger than the topic or broker allows";
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH fatal "the controller has moved to another node";
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE fatal "the metadata string of an offset commit is too long";
    13 NetworkException NETWORK_EXCEPTION retriable "the connection broke before an answer came";
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS retriable "the coordinator is still loading its state";
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE retriable "no coordinator is available for this key";
    16 NotCoordinator NOT_COORDINATOR retriable "another broker is the coordinator of this key";
    17 InvalidTopicException INVALID_TOPIC_EXCEPTION fatal "the topic name is not allowed";
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE fatal "the batch is larger than a log segment";
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS retriable "fewer replicas are in sync than min.insync.replicas asks for; nothing was written";
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND retriable "written, but fewer replicas are in sync than min.insync.replicas asks for";
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS fatal "acks must be -1, 0 or 1";
    22 IllegalGeneration ILLEGAL_GENERATION fatal "the generation id is not the group's current one";
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL fatal "the member shares no protocol with the group, or names none";
    24 InvalidGroupId INVALID_GROUP_ID fatal "the group id is not valid";
    25 UnknownMemberId UNKNOWN_MEMBER_ID fatal "the group has no member of this id";
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT fatal "the session time-out is outside of the broker's bounds";
    27 RebalanceInProgress REBALANCE_IN_PROGRESS fatal "the group rebalances; join again";
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE fatal "the offset commit is too large";
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED fatal "not authorized for the topic";
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED fatal "not authorized for the group";
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED fatal "not authorized for this operation on the cluster";
    32 InvalidTimestamp INVALID_TIMESTAMP fatal "a record's timestamp is too far from the broker's clock";
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM fatal "the SASL mechanism is not enabled here";
    34 IllegalSaslState ILLEGAL_SASL_STATE fatal "not the request that the SASL exchange expects now";
    35 UnsupportedVersion UNSUPPORTED_VERSION fatal "this version of the API is not supported";
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS fatal "a topic of this name exists already";
    37 InvalidPartitions INVALID_PARTITIONS fatal "the partition count is not valid";
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR fatal "the replication factor is below 1 or above the number of usable brokers";
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT fatal "the replica assignment is not valid";
    40 InvalidConfig INVALID_CONFIG fatal "a configuration value is not valid";
    41 NotController NOT_CONTROLLER retriable "this node is not the active controller";
    42 InvalidRequest INVALID_REQUEST fatal "the request contradicts itself or the protocol";
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT fatal "the log's message format cannot do this";
    44 PolicyViolation POLICY_VIOLATION fatal "a policy forbids these parameters";
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER fatal "the producer's sequence number skips or repeats records";
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER fatal "the producer's sequence number was seen before";
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH fatal "a newer producer epoch exists";
    48 InvalidTxnState INVALID_TXN_STATE fatal "the transaction is not in a state that allows this";
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING fatal "the producer id does not belong to the transactional id";
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT fatal "the transaction time-out is above transaction.max.timeout.ms";
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS retriable "another operation on the same transaction is under way";
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED fatal "a newer transaction coordinator has taken over";
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED fatal "not authorized for the transactional id";
    54 SecurityDisabled SECURITY_DISABLED fatal "no authorizer is configured";
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED fatal "not attempted, because something before it failed";
    56 KafkaStorageError KAFKA_STORAGE_ERROR retriable "the log directory failed";
    57 LogDirNotFound LOG_DIR_NOT_FOUND fatal "no such log directory";
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED fatal "authentication failed";
    59 UnknownProducerId UNKNOWN_PRODUCER_ID fatal "nothing is known of the producer id any more, perhaps as its records have expired";
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS fatal "a reassignment of the partition is under way";
    61 DelegationTokenAuthDisabled DELEGATION_TOKEN_AUTH_DISABLED fatal "delegation tokens are not enabled";
    62 DelegationTokenNotFound DELEGATION_TOKEN_NOT_FOUND fatal "no such delegation token";
    63 DelegationTokenOwnerMismatch DELEGATION_TOKEN_OWNER_MISMATCH fatal "the principal may not use this delegation token";
    64 DelegationTokenRequestNotAllowed DELEGATION_TOKEN_REQUEST_NOT_ALLOWED fatal "delegation tokens cannot be requested over this connection";
    65 DelegationTokenAuthorizationFailed DELEGATION_TOKEN_AUTHORIZATION_FAILED fatal "not authorized for the delegation token";
    66 DelegationTokenExpired DELEGATION_TOKEN_EXPIRED fatal "the delegation token has expired";
    67 InvalidPrincipalType INVALID_PRINCIPAL_TYPE fatal "the principal type is not supported";
    68 NonEmptyGroup NON_EMPTY_GROUP fatal "the group still has members";
    69 GroupIdNotFound GROUP_ID_NOT_FOUND fatal "no such group";
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND retriable "no fetch session has this id";
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH retriable "the fetch session's epoch is not the next one";
    72 ListenerNotFound LISTENER_NOT_FOUND retriable "the leader has no listener of this name";
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED fatal "topic deletion is disabled";
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH retriable "the leader epoch is older than the partition's";
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH retriable "the leader epoch is newer than the one known here";
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE fatal "the client's request version cannot carry the batch's compression";
    77 StaleBrokerEpoch STALE_BROKER_EPOCH fatal "the broker has registered anew since";
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE retriable "the new leader's high watermark is not yet known to be current";
    79 MemberIdRequired MEMBER_ID_REQUIRED fatal "join again with the member id in this answer";
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE retriable "the preferred leader is not available";
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED fatal "the group has as many members as it may";
    82 FencedInstanceId FENCED_INSTANCE_ID fatal "another member has taken over this group.instance.id";
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE retriable "no replica is eligible to lead";
    84 ElectionNotNeeded ELECTION_NOT_NEEDED retriable "the partition has the wanted leader already";
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS fatal "no reassignment of the partition is under way";
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC fatal "the group is subscribed to the topic";
    87 InvalidRecord INVALID_RECORD fatal "a record breaks a rule of the broker";
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT retriable "the offset is part of a transaction that is still open";
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED retriable "a quota is exceeded; try again after the throttle time";
    90 ProducerFenced PRODUCER_FENCED fatal "a newer producer uses the same transactional id";
    91 ResourceNotFound RESOURCE_NOT_FOUND fatal "no such resource";
    92 DuplicateResource DUPLICATE_RESOURCE fatal "the same resource is named twice";
    93 UnacceptableCredential UNACCEPTABLE_CREDENTIAL fatal "the credential is not acceptable";
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET fatal "the request's voters are not this node's";
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION fatal "the feature level cannot be changed like this";
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED fatal "the feature levels could not be changed";
    97 PrincipalDeserializationFailure PRINCIPAL_DESERIALIZATION_FAILURE fatal "the forwarded principal cannot be read";
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND fatal "no such snapshot";
    99 PositionOutOfRange POSITION_OUT_OF_RANGE fatal "the position is outside of the snapshot";
    100 UnknownTopicId UNKNOWN_TOPIC_ID retriable "no topic has this id";
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION fatal "the broker id is in use by another process";
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED fatal "the broker id is not registered";
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID retriable "the topic id is not the one of the partition's log";
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID fatal "the cluster id is another one";
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND fatal "no such transactional id";
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR retriable "the fetch session mixes topic names and topic ids";
    107 IneligibleReplica INELIGIBLE_REPLICA fatal "a replica of the new in-sync set is not eligible";
    108 NewLeaderElected NEW_LEADER_ELECTED fatal "the change was made and another leader chosen";
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE fatal "the offset is in tiered storage";
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH fatal "the member epoch is no longer valid; give up all partitions and join again";
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID fatal "another member holds the instance id and must leave first";
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR fatal "the assignor is not supported";
    113 StaleMemberEpoch STALE_MEMBER_EPOCH fatal "the member epoch is out of date; heartbeat for the new one";
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE fatal "this node is of another kind than the request is meant for";
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE fatal "the endpoint type is not known";
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID fatal "no controller has this id";
    117 UnknownSubscriptionId UNKNOWN_SUBSCRIPTION_ID fatal "the telemetry subscription is unknown or out of date";
    118 TelemetryTooLarge TELEMETRY_TOO_LARGE fatal "the telemetry report is too large";
    119 InvalidRegistration INVALID_REGISTRATION fatal "the broker's registration is not valid";
    120 TransactionAbortable TRANSACTION_ABORTABLE fatal "the transaction failed and can only be aborted";
    121 InvalidRecordState INVALID_RECORD_STATE fatal "the record is not in a state that can be acknowledged like this";
    122 ShareSessionNotFound SHARE_SESSION_NOT_FOUND retriable "no such share session";
    123 InvalidShareSessionEpoch INVALID_SHARE_SESSION_EPOCH retriable "the share session's epoch is not the next one";
    124 FencedStateEpoch FENCED_STATE_EPOCH fatal "the share group's state epoch is another one";
    125 InvalidVoterKey INVALID_VOTER_KEY fatal "the voter's directory id does not match";
    126 DuplicateVoter DUPLICATE_VOTER fatal "the voter is in the set already";
    127 VoterNotFound VOTER_NOT_FOUND fatal "the voter is not in the set";
    128 InvalidRegularExpression INVALID_REGULAR_EXPRESSION fatal "the regular expression is not valid";
    129 RebootstrapRequired REBOOTSTRAP_REQUIRED fatal "the client's metadata is of another cluster or too old; bootstrap again";
    130 StreamsInvalidTopology STREAMS_INVALID_TOPOLOGY fatal "the topology is not valid";
    131 StreamsInvalidTopologyEpoch STREAMS_INVALID_TOPOLOGY_EPOCH fatal "the topology epoch is not valid";
    132 StreamsTopologyFenced STREAMS_TOPOLOGY_FENCED fatal "the topology epoch is out of date";
    133 ShareSessionLimitReached SHARE_SESSION_LIMIT_REACHED retriable "no more share sessions fit";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_kafkas() {
        let kafka = include_str!("../tests/golden/errors-4.3.1.csv");
        let ours: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|it| format!("{},{},{}", it.code(), it.name(), it.is_retriable()))
            .collect();
        let kafka: Vec<&str> = kafka.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(ours, kafka);
    }

    #[test]
    fn every_number_finds_its_code() {
        for it in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(it.code()), Some(*it));
        }
        assert_eq!(ErrorCode::from_code(-2), None);
        assert_eq!(ErrorCode::from_code(134), None);
    }
}
