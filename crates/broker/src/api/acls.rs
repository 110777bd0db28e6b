//! DescribeAcls (29), CreateAcls (30) and DeleteAcls (31), versions 1 to 3, of a broker without an authorizer: each is
//! refused with SECURITY_DISABLED (54), as Kafka does (SA-8). MirrorMaker and consoles ask and know this answer; one that
//! is not served at all they take for a broken cluster.

use milena_wire::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use milena_wire::delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};
use milena_wire::describe_acls::DescribeAclsResponse;
use milena_wire::{ErrorCode, Text};

const SECURITY_DISABLED: i16 = ErrorCode::SecurityDisabled.code();

fn message(text: &'static str) -> Option<Text> {
    Some(text.into())
}

/// There are no rules to list.
pub(crate) fn describe() -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: SECURITY_DISABLED,
        error_message: message("No Authorizer is configured on the broker"),
        ..Default::default()
    }
}

/// One refusal for each rule.
pub(crate) fn create(request: &CreateAclsRequest) -> CreateAclsResponse {
    let error_message = message("No Authorizer is configured.");
    let refused = AclCreationResult { error_code: SECURITY_DISABLED, error_message };
    CreateAclsResponse { results: vec![refused; request.creations.len()], ..Default::default() }
}

/// One refusal for each filter.
pub(crate) fn delete(request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult {
        error_code: SECURITY_DISABLED,
        error_message: message("No Authorizer is configured."),
        ..Default::default()
    };
    DeleteAclsResponse { filter_results: vec![refused; request.filters.len()], ..Default::default() }
}
