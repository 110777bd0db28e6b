//! ListTransactions (66), versions 0 to 2 (KIP-664): the transactional ids that this broker coordinates, none if it
//! does not. Version 1 filters by duration (KIP-994), 2 by a regular expression for the id (KIP-1152). State names that
//! do not exist are told back (TX-13).

use milena_txn::{Listing, State};
use milena_wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse, TransactionState};
use milena_wire::{ErrorCode, Text};
use regex::Regex;

use crate::transactions::TransactionCoordinator;

/// Lists what all filters let through.
pub(crate) async fn answer(
    coordinator: TransactionCoordinator,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let (known, unknown): (Vec<Text>, Vec<Text>) =
        request.state_filters.into_iter().partition(|name| State::from_name(name).is_some());
    let states: Vec<State> = known.iter().filter_map(|name| State::from_name(name)).collect();
    let failed = |code: ErrorCode| ListTransactionsResponse { error_code: code.code(), ..Default::default() };
    let Ok(pattern) = request.transactional_id_pattern.as_deref().map(whole).transpose() else {
        return failed(ErrorCode::InvalidRegularExpression);
    };
    let none_can_match = states.is_empty() && !unknown.is_empty();
    let listed = if none_can_match || !coordinator.is_coordinator() {
        Vec::new()
    } else {
        let listing = Listing {
            states,
            producer_ids: request.producer_id_filters,
            older_than_ms: (request.duration_filter >= 0).then_some(request.duration_filter),
        };
        let keeps = |id: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(id));
        match coordinator.list(&listing, keeps).await {
            Ok(listed) => listed,
            // Another broker coordinates by now, and lists them.
            Err(ErrorCode::NotCoordinator) => Vec::new(),
            Err(_) => return failed(ErrorCode::CoordinatorLoadInProgress),
        }
    };
    let transaction_states = listed.into_iter().map(|(id, producer_id, state)| TransactionState {
        transactional_id: id.into(),
        producer_id,
        transaction_state: state.name().into(),
    });
    ListTransactionsResponse {
        unknown_state_filters: unknown,
        transaction_states: transaction_states.collect(),
        ..Default::default()
    }
}

/// A pattern must match the whole id. An empty one filters nothing, as at Kafka.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&if pattern.is_empty() { String::new() } else { format!("^(?:{pattern})$") })
}
