//! SyncGroup (14), versions 0 to 5: the leader hands in assignments, every member gets its own. Version 3
//! knows static members (KIP-345), 5 checks protocol type and name.

use milena_group::Sync;
use milena_wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::coordination::Coordination;
use crate::error::group_code;

/// Waits for the leader's assignment to be durable (GR-11).
pub(crate) async fn answer(coordination: Coordination, request: SyncGroupRequest) -> SyncGroupResponse {
    let sync = Sync {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|it| it.to_string()),
        protocol_name: request.protocol_name.map(|it| it.to_string()),
        assignments: request
            .assignments
            .into_iter()
            .map(|it| (it.member_id.to_string(), it.assignment))
            .collect(),
    };
    match coordination.sync(sync).await {
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type.map(Into::into),
            protocol_name: synced.protocol_name.map(Into::into),
            assignment: synced.assignment,
            ..Default::default()
        },
        Err(refusal) => SyncGroupResponse { error_code: group_code(refusal).code(), ..Default::default() },
    }
}
