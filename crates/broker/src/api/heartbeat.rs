//! Heartbeat (12), versions 0 to 4. Version 3 knows static members (KIP-345).

use milena_group::Heartbeat;
use milena_wire::ErrorCode;
use milena_wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::coordination::Coordination;
use crate::error::group_code;

/// A sign of life; tells the member whether to join again (GR-12).
pub(crate) async fn answer(coordination: Coordination, request: HeartbeatRequest) -> HeartbeatResponse {
    let heartbeat = Heartbeat {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
    };
    let code = coordination.heartbeat(heartbeat).await.map_or_else(group_code, |()| ErrorCode::None);
    HeartbeatResponse { error_code: code.code(), ..Default::default() }
}
