//! DescribeGroups (15), versions 0 to 6. A group that does not exist is `Dead` without an error; from version
//! 6 it is GROUP_ID_NOT_FOUND with a message (GR-17).

use milena_group::Description;
use milena_wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use milena_wire::{ErrorCode, Text};

use crate::authorized;
use crate::coordination::Coordination;
use crate::dispatch::Context;
use crate::error::group_code;

/// Describes each group for itself.
pub(crate) async fn answer(
    coordination: Coordination,
    context: Context,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations_asked = request.include_authorized_operations;
    let names = request.groups.iter().map(|name| name.to_string()).collect();
    let groups = match coordination.describe(names).await {
        Ok(described) => {
            let described = request.groups.into_iter().zip(described);
            described.map(|(name, found)| one(&context, operations_asked, name, found)).collect()
        }
        Err(refusal) => {
            let error_code = group_code(refusal).code();
            let failed = |group_id| DescribedGroup { group_id, error_code, ..Default::default() };
            request.groups.into_iter().map(failed).collect()
        }
    };
    DescribeGroupsResponse { groups, ..Default::default() }
}

fn one(
    context: &Context,
    operations_asked: bool,
    group_id: Text,
    found: Option<Description>,
) -> DescribedGroup {
    let Some(group) = found else {
        let tells_absence = context.version >= 6;
        return DescribedGroup {
            error_code: if tells_absence { ErrorCode::GroupIdNotFound.code() } else { 0 },
            error_message: tells_absence.then(|| format!("Group {group_id} not found.").into()),
            group_id,
            group_state: "Dead".into(),
            ..Default::default()
        };
    };
    let members = group.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member_id.into(),
        group_instance_id: member.instance_id.map(Into::into),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_id,
        group_state: group.state.name().into(),
        protocol_type: group.protocol_type.into(),
        protocol_data: group.protocol_name.into(),
        members: members.collect(),
        authorized_operations: if operations_asked { authorized::GROUP } else { authorized::NOT_ASKED },
        ..Default::default()
    }
}
