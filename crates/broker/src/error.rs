//! From refusals of the pure crates to the codes that clients read. Each match names every variant, so that a
//! new one does not compile until it is mapped. Topics' and configs' refusals know their code themselves.

use milena_group::Refusal;
use milena_metadata::Refusal as MetadataRefusal;
use milena_wire::ErrorCode;

use crate::cluster::{ChangeError, MembersError};

/// Kafka's code for a refusal of the group coordinator.
pub(crate) fn group_code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::InvalidGroupId => ErrorCode::InvalidGroupId,
        Refusal::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        Refusal::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        Refusal::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
        Refusal::MemberIdRequired => ErrorCode::MemberIdRequired,
        Refusal::UnknownMemberId => ErrorCode::UnknownMemberId,
        Refusal::FencedInstanceId => ErrorCode::FencedInstanceId,
        Refusal::IllegalGeneration => ErrorCode::IllegalGeneration,
        Refusal::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        Refusal::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        Refusal::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        Refusal::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        Refusal::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        Refusal::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        Refusal::NotCoordinator => ErrorCode::NotCoordinator,
        Refusal::TooLarge => ErrorCode::UnknownServerError,
        Refusal::Busy => ErrorCode::CoordinatorLoadInProgress,
    }
}

/// Kafka's code for a refusal about transactions.
pub(crate) fn transaction_code(refusal: milena_txn::Refusal) -> ErrorCode {
    use milena_txn::Refusal as R;
    match refusal {
        R::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
        R::ProducerFenced => ErrorCode::ProducerFenced,
        R::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
        R::InvalidTxnState => ErrorCode::InvalidTxnState,
        R::TransactionAbortable => ErrorCode::TransactionAbortable,
        R::TransactionalIdNotFound => ErrorCode::TransactionalIdNotFound,
        R::NeedsProducerId => ErrorCode::CoordinatorNotAvailable,
    }
}

/// A code with the sentence that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Explained {
    /// A code in these words.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<&MetadataRefusal> for Explained {
    fn from(refusal: &MetadataRefusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl From<ChangeError<MetadataRefusal>> for Explained {
    fn from(error: ChangeError<MetadataRefusal>) -> Self {
        match error {
            ChangeError::Refused(refusal) => Self::from(&refusal),
            ChangeError::Unknown(_) => Self::new(ErrorCode::RequestTimedOut, error.to_string()),
        }
    }
}

impl From<MembersError> for Explained {
    fn from(error: MembersError) -> Self {
        let code = match error {
            MembersError::Refused(_) => ErrorCode::InvalidRequest,
            MembersError::TimedOut { .. } => ErrorCode::RequestTimedOut,
        };
        Self::new(code, error.to_string())
    }
}
