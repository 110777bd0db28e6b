//! Why a request of a group's client is refused. The broker maps each to a wire error code.

/// One reason, with Kafka's name for the error it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// INVALID_GROUP_ID (24): empty group id, where FC-5 forbids it.
    #[error("group id is empty")]
    InvalidGroupId,
    /// INVALID_SESSION_TIMEOUT (26): outside `group.min.session.timeout.ms` to
    /// `group.max.session.timeout.ms`.
    #[error("session timeout is outside the broker's bounds")]
    InvalidSessionTimeout,
    /// INCONSISTENT_GROUP_PROTOCOL (23): no protocol, none in common with the other members, or another type.
    #[error("protocol type or protocols do not fit the group")]
    InconsistentGroupProtocol,
    /// GROUP_MAX_SIZE_REACHED (81): `group.max.size` members are there already.
    #[error("group has reached its maximum size")]
    GroupMaxSizeReached,
    /// MEMBER_ID_REQUIRED (79): join again with the member id in this answer (KIP-394).
    #[error("join again with the assigned member id")]
    MemberIdRequired,
    /// UNKNOWN_MEMBER_ID (25): the group does not know this member; it must join anew.
    #[error("member is not known to the group")]
    UnknownMemberId,
    /// FENCED_INSTANCE_ID (82): a newer process uses this group instance id (KIP-345).
    #[error("group instance id is held by another member")]
    FencedInstanceId,
    /// ILLEGAL_GENERATION (22): the member speaks of another generation than the present one.
    #[error("generation is not the present one")]
    IllegalGeneration,
    /// REBALANCE_IN_PROGRESS (27): join again.
    #[error("group is rebalancing")]
    RebalanceInProgress,
    /// GROUP_ID_NOT_FOUND (69).
    #[error("group does not exist")]
    GroupIdNotFound,
    /// NON_EMPTY_GROUP (68): the group has members.
    #[error("group is not empty")]
    NonEmptyGroup,
    /// GROUP_SUBSCRIBED_TO_TOPIC (86): a member consumes the topic whose offset should go.
    #[error("group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// OFFSET_METADATA_TOO_LARGE (12): longer than `offset.metadata.max.bytes`; of one partition.
    #[error("offset metadata is too long")]
    OffsetMetadataTooLarge,
    /// UNKNOWN_SERVER_ERROR (-1): members or assignments do not fit into one entry of the log, as in Kafka
    /// when the group's record is above `message.max.bytes` (OC-5).
    #[error("group's members or assignments are too large to be stored")]
    TooLarge,
    /// COORDINATOR_NOT_AVAILABLE (15): the change may or may not have been made; ask again.
    #[error("coordinator could not complete the request")]
    CoordinatorNotAvailable,
    /// NOT_COORDINATOR (16): another broker is the coordinator now.
    #[error("this broker is not the coordinator")]
    NotCoordinator,
    /// COORDINATOR_LOAD_IN_PROGRESS (14): a bound of [`Settings`](crate::Settings) is reached; back off and
    /// ask again here.
    #[error("coordinator has too many requests waiting")]
    Busy,
}
