//! ListTransactions (66), versions 0 to 2 (KIP-664): there are none until transactions are served. State names
//! that do not exist are told back (TX-13).

use milena_wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};

/// Kafka's names of a transaction's states.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Lists none.
pub(crate) fn answer(request: ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown = request.state_filters.into_iter().filter(|name| !STATES.contains(&&**name));
    ListTransactionsResponse { unknown_state_filters: unknown.collect(), ..Default::default() }
}
