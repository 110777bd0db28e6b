//! ListGroups (16), versions 0 to 5: the groups that this broker coordinates. Version 4 filters by state
//! (KIP-518), 5 by type (KIP-848).

use milena_wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::coordination::Coordination;
use crate::error::group_code;

/// Lists them.
pub(crate) async fn answer(coordination: Coordination, request: ListGroupsRequest) -> ListGroupsResponse {
    let texts = |list: Vec<milena_wire::Text>| list.iter().map(|it| it.to_string()).collect();
    match coordination.list(texts(request.states_filter), texts(request.types_filter)).await {
        Ok(groups) => {
            let groups = groups.into_iter().map(|it| ListedGroup {
                group_id: it.group.into(),
                protocol_type: it.protocol_type.into(),
                group_state: it.state.name().into(),
                group_type: milena_group::GROUP_TYPE.into(),
            });
            ListGroupsResponse { groups: groups.collect(), ..Default::default() }
        }
        Err(refusal) => ListGroupsResponse { error_code: group_code(refusal).code(), ..Default::default() },
    }
}
