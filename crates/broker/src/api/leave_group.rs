//! LeaveGroup (13), versions 0 to 5. From version 3 many members leave at once, each with its own error, and
//! an administrator may remove a static member by its instance id alone (KIP-345, GR-14).

use milena_group::{Leave, LeavingMember};
use milena_wire::ErrorCode;
use milena_wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use crate::coordination::Coordination;
use crate::dispatch::Context;
use crate::error::group_code;

/// Removes members; a rebalance follows.
pub(crate) async fn answer(
    coordination: Coordination,
    context: Context,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let many = context.version >= 3;
    let members = if many {
        let named = request.members.into_iter().map(|it| LeavingMember {
            member_id: it.member_id.to_string(),
            instance_id: it.group_instance_id.map(|id| id.to_string()),
        });
        named.collect()
    } else {
        vec![LeavingMember { member_id: request.member_id.to_string(), instance_id: None }]
    };
    let left = match coordination.leave(Leave { group: request.group_id.to_string(), members }).await {
        Ok(left) => left,
        Err(refusal) => {
            return LeaveGroupResponse { error_code: group_code(refusal).code(), ..Default::default() };
        }
    };
    let code = |outcome| Result::map_or_else(outcome, group_code, |()| ErrorCode::None).code();
    if many {
        let members = left.into_iter().map(|it| MemberResponse {
            error_code: code(it.outcome),
            member_id: it.member_id.into(),
            group_instance_id: it.instance_id.map(Into::into),
        });
        LeaveGroupResponse { members: members.collect(), ..Default::default() }
    } else {
        let error_code = left.into_iter().next().map_or(0, |it| code(it.outcome));
        LeaveGroupResponse { error_code, ..Default::default() }
    }
}
