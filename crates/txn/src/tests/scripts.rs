//! Conversations with the transaction coordinator, one behaviour each. The names of refusals are Kafka's errors.

use super::script::{Script, check};

#[test]
fn a_new_client_commits_and_goes_on_at_the_next_epoch() {
    check(
        "init a                    => 1000/0
         verify a 1000/0 t-0       => TransactionAbortable
         add a 1000/0 t-0 t-1      => ok
         add a 1000/0 t-1 u-0      => ok
         show a                    => Ongoing 1000/0 t-0 t-1 u-0
         commit5 a 1000/0          => 1000/1
         markers                   => a commit 1000/1 v2 t-0 t-1 u-0
         commit5 a 1000/0          => ConcurrentTransactions
         abort5 a 1000/0           => InvalidTxnState
         add a 1000/1 t-0          => ConcurrentTransactions
         add a 1000/0 t-0          => ProducerFenced
         init a                    => ConcurrentTransactions
         written a t-0 u-0         => 1 missing
         written a t-0             => 1 missing
         written a                 => complete
         written a t-1             => stale
         show a                    => CompleteCommit 1000/1
         commit5 a 1000/0          => 1000/1
         add a 1000/1 t-0          => ok
         verify a 1000/1 t-0       => ok
         verify a 1000/1 t-1       => TransactionAbortable",
    );
}

#[test]
fn an_old_client_keeps_its_epoch() {
    check(
        "init a                    => 1000/0
         commit a 1000/0           => InvalidTxnState
         abort a 1000/0            => InvalidTxnState
         add a 1000/0 t-0          => ok
         commit a 1000/0           => 1000/0
         markers                   => a commit 1000/0 v0 t-0
         commit a 1000/0           => ConcurrentTransactions
         add a 1000/0 t-0          => ConcurrentTransactions
         written a                 => complete
         commit a 1000/0           => 1000/0
         abort a 1000/0            => InvalidTxnState
         add a 1000/0 t-0          => ok
         abort a 1000/0            => 1000/0
         markers                   => a abort 1000/0 v0 t-0
         commit a 1000/0           => InvalidTxnState",
    );
}

#[test]
fn requests_of_strangers_are_refused() {
    check(
        "add a 1000/0 t-0          => InvalidProducerIdMapping
         commit5 a 1000/0          => InvalidProducerIdMapping
         verify a 1000/0 t-0       => InvalidProducerIdMapping
         init a                    => 1000/0
         init a                    => 1000/1
         add a 7/1 t-0             => InvalidProducerIdMapping
         add a 1000/0 t-0          => ProducerFenced
         add a 1000/2 t-0          => ProducerFenced
         abort5 a 1000/0           => ProducerFenced
         group a 1000/0 g          => ProducerFenced",
    );
}

#[test]
fn a_late_end_does_not_reach_the_next_transaction() {
    check(
        "init a                    => 1000/0
         add a 1000/0 t-0          => ok
         commit5 a 1000/0          => 1000/1
         written a                 => complete
         add a 1000/1 t-0          => ok
         commit5 a 1000/0          => ProducerFenced
         abort5 a 1000/0           => ProducerFenced
         show a                    => Ongoing 1000/1 t-0",
    );
}

#[test]
fn a_new_client_may_abort_what_it_never_began() {
    check(
        "init a                    => 1000/0
         commit5 a 1000/0          => InvalidTxnState
         abort5 a 1000/0           => 1000/1
         show a                    => CompleteAbort 1000/1
         abort5 a 1000/0           => 1000/1
         abort5 a 1000/1           => 1000/2
         commit5 a 1000/1          => InvalidTxnState
         add a 1000/2 t-0          => ok
         commit5 a 1000/2          => 1000/3
         written a                 => complete
         abort5 a 1000/3           => 1000/4
         commit5 a 1000/2          => ProducerFenced",
    );
}

#[test]
fn a_restarted_client_aborts_what_it_left_open() {
    check(
        "init a                    => 1000/0
         add a 1000/0 t-0          => ok
         init a                    => ConcurrentTransactions
         markers                   => a abort 1000/1 v2 t-0
         init a                    => ConcurrentTransactions
         commit5 a 1000/0          => ProducerFenced
         abort5 a 1000/0           => ProducerFenced
         written a                 => complete
         abort5 a 1000/0           => ProducerFenced
         init a                    => 1000/2
         show a                    => Empty 1000/2",
    );
}

#[test]
fn a_client_that_says_who_it_is_must_be_the_present_one() {
    check(
        "init a 7/3                => 1000/0
         init a 1000/0             => 1000/1
         init a 1000/0             => 1000/1
         init a 7/0                => ProducerFenced
         init a 1000/1             => 1000/2
         init a 1000/0             => ProducerFenced
         add a 1000/2 t-0          => ok
         init a 1000/1             => ProducerFenced
         init a 1000/2             => ConcurrentTransactions
         markers                   => a abort 1000/3 v2 t-0
         written a                 => complete
         init a 1000/2             => 1000/3
         init a                    => 1000/4
         init a 1000/3             => ProducerFenced",
    );
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_client_may_find_out() {
    check(
        "init a                    => 1000/0
         add a 1000/0 t-0          => ok
         wait 1000                 =>
         due                       =>
         timeout a                 => left alone
         wait 1                    =>
         due                       => a
         timeout a 1               => left alone
         timeout a                 => aborted
         due                       =>
         timeout a                 => left alone
         markers                   => a abort 1000/1 v2 t-0
         add a 1000/0 u-0          => ProducerFenced
         commit a 1000/0           => ProducerFenced
         commit5 a 1000/0          => InvalidTxnState
         written a                 => complete
         abort5 a 1000/0           => 1000/1
         add a 1000/1 t-0          => ok
         abort5 a 1000/0           => ProducerFenced",
    );
}

#[test]
fn a_time_out_of_one_transaction_spares_the_next() {
    check(
        "init a                    => 1000/0
         add a 1000/0 t-0          => ok
         commit a 1000/0           => 1000/0
         written a                 => complete
         add a 1000/0 t-0          => ok
         wait 5000                 =>
         timeout a 2               => left alone
         timeout a 5               => aborted",
    );
}

#[test]
fn used_up_epochs_lead_to_a_new_producer_id() {
    let mut script = Script::default();
    script.run("init a => 1000/0");
    script.wind_to("a", 32765);
    script.run(
        "add a 1000/32765 t-0      => ok
         commit5 a 1000/32765      => 1000/32766
         written a                 => complete
         add a 1000/32766 t-0      => ok
         commit5 a 1000/32766      => 1001/0
         markers                   => a commit 1000/32767 v2 t-0
         commit5 a 1000/32766      => ConcurrentTransactions
         add a 1001/0 t-0          => ConcurrentTransactions
         written a                 => complete
         commit5 a 1000/32766      => 1001/0
         init a 1000/32766         => 1001/0
         add a 1001/0 t-0          => ok
         commit5 a 1000/32766      => InvalidProducerIdMapping
         commit5 a 1001/0          => 1001/1",
    );
}

#[test]
fn used_up_epochs_do_not_stop_fencing() {
    for fence in ["wait 1001 => \n timeout a => aborted", "init a => ConcurrentTransactions"] {
        let mut script = Script::default();
        script.run("init a => 1000/0");
        script.wind_to("a", 32766);
        script.run("add a 1000/32766 t-0 => ok");
        script.run(fence);
        script.run(
            "markers               => a abort 1000/32767 v2 t-0
             written a             => complete
             show a                => CompleteAbort 1001/0
             init a                => 1001/1",
        );
    }
    let mut script = Script::default();
    script.run("init a => 1000/0");
    script.wind_to("a", 32766);
    script.run("init a 1000/32766 => 1001/0\n init a 1000/32766 => 1001/0\n init a => 1001/1");
}

#[test]
fn offsets_are_settled_by_the_decision_without_markers() {
    check(
        "init a                    => 1000/0
         offsets a 1000/0 g        => TransactionAbortable
         group a 1000/0 g          => ok
         offsets a 1000/0 g        => ok
         offsets a 1000/0 h        => TransactionAbortable
         commit a 1000/0           => 1000/0, shows g of 1000/0
         show a                    => CompleteCommit 1000/0
         offsets5 a 1000/0 h       => ok
         offsets5 a 1000/0 g       => ok
         add a 1000/0 t-0          => ok
         abort5 a 1000/0           => 1000/1, drops g h of 1000/0
         offsets5 a 1000/1 g       => ConcurrentTransactions
         written a                 => complete
         offsets5 a 1000/1 g       => ok
         wait 1001                 =>
         timeout a                 => aborted, drops g of 1000/1
         offsets5 a 1000/2 g       => ok
         init a                    => ConcurrentTransactions, drops g of 1000/2
         init a                    => 1000/4",
    );
}

#[test]
fn deleted_topics_need_no_markers() {
    check(
        "init a                    => 1000/0
         add a 1000/0 t-0 u-0      => ok
         forget t                  => 0 completed
         show a                    => Ongoing 1000/0 u-0
         add a 1000/0 t-1          => ok
         commit5 a 1000/0          => 1000/1
         forget u                  => 0 completed
         markers                   => a commit 1000/1 v2 t-1
         forget t                  => 1 completed
         show a                    => CompleteCommit 1000/1",
    );
}

#[test]
fn idle_transactional_ids_are_forgotten() {
    check(
        "init a                    => 1000/0
         init b                    => 1001/0
         add b 1001/0 t-0          => ok
         init c                    => 1002/0
         wait 50                   =>
         init c 1002/0             => 1002/1
         wait 50                   =>
         expire 100                => 1 removed
         show a                    => unknown
         show c                    => Empty 1002/1
         commit5 a 1000/0          => InvalidProducerIdMapping
         init a                    => 1003/0",
    );
}
