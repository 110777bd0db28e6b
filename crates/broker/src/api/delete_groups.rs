//! DeleteGroups (42), versions 0 to 2: groups without members, with their offsets (GR-19).

use milena_wire::ErrorCode;
use milena_wire::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use crate::coordination::Coordination;
use crate::error::group_code;

/// Deletes each for itself.
pub(crate) async fn answer(coordination: Coordination, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let outcome = coordination.delete_group(group_id.to_string()).await;
        let error_code = outcome.map_or_else(group_code, |()| ErrorCode::None).code();
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
