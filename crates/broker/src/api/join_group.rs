//! JoinGroup (11), versions 0 to 9.
//!
//! Version 1 tells the rebalance time-out, 4 has new members come twice, the second time with the id they
//! were given (KIP-394), 5 static members (KIP-345), 7 the protocol type in the answer, 9 a leader that may
//! skip the assignment (KIP-814).

use milena_group::{Join, JoinRefused, Joined, Protocol};
use milena_wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use crate::coordination::Coordination;
use crate::dispatch::Context;
use crate::error::group_code;
use crate::random;

/// Waits for the rebalance.
pub(crate) async fn answer(
    coordination: Coordination,
    context: Context,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let tells_protocol_type = context.version >= 7;
    let join = Join {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: context.client_id.to_string(),
        client_host: format!("/{}", context.peer.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: (context.version >= 1).then_some(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            .map(|it| Protocol { name: it.name.to_string(), metadata: it.metadata })
            .collect(),
        requires_known_member_id: context.version >= 4,
        supports_skip_assignment: context.version >= 9,
        fresh_uuid: random::uuid_text(),
    };
    match coordination.join(join).await {
        Ok(joined) => accepted(joined, tells_protocol_type),
        Err(JoinRefused { refusal, member_id }) => JoinGroupResponse {
            error_code: group_code(refusal).code(),
            member_id: member_id.into(),
            // Not null before version 7, which this field's default would be.
            protocol_name: (!tells_protocol_type).then(Default::default),
            ..Default::default()
        },
    }
}

fn accepted(joined: Joined, tells_protocol_type: bool) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id.into(),
        group_instance_id: member.instance_id.map(Into::into),
        metadata: member.metadata,
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.filter(|_| tells_protocol_type).map(Into::into),
        protocol_name: joined.protocol_name.map(Into::into),
        leader: joined.leader.into(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id.into(),
        members: members.collect(),
        ..Default::default()
    }
}
