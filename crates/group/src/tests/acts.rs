//! What may happen in a random conversation, and how often.

use proptest::prelude::*;

/// One thing that happens. `who` picks among the members that any answer has named so far.
#[derive(Debug, Clone)]
pub enum Act {
    JoinNew {
        group: u8,
        instance: Option<u8>,
        knows: bool,
        skips: bool,
    },
    Rejoin {
        who: usize,
        sticky: bool,
    },
    Sync {
        who: usize,
    },
    Heartbeat {
        who: usize,
    },
    Leave {
        who: usize,
    },
    Commit {
        who: usize,
        partition: i32,
    },
    CommitSimple {
        group: u8,
        partition: i32,
    },
    Delete {
        group: u8,
    },
    Disconnect {
        request: u64,
    },
    Wait {
        ms: u64,
    },
    Hold,
    Release,
    Fail {
        applies: bool,
    },
    FailOver {
        survive: usize,
    },
    /// Every member that is known joins and syncs, as clients do when nothing goes wrong.
    Rally {
        group: u8,
    },
}

pub fn act() -> impl Strategy<Value = Act> {
    let who = 0usize..8;
    prop_oneof![
        4 => (0u8..2, proptest::option::of(0u8..2), any::<bool>(), any::<bool>())
            .prop_map(|(group, instance, knows, skips)| Act::JoinNew { group, instance, knows, skips }),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, sticky)| Act::Rejoin { who, sticky }),
        6 => who.clone().prop_map(|who| Act::Sync { who }),
        3 => who.clone().prop_map(|who| Act::Heartbeat { who }),
        1 => who.clone().prop_map(|who| Act::Leave { who }),
        4 => (who, 0..2).prop_map(|(who, partition)| Act::Commit { who, partition }),
        1 => (0u8..2, 0..2).prop_map(|(group, partition)| Act::CommitSimple { group, partition }),
        1 => (0u8..2).prop_map(|group| Act::Delete { group }),
        1 => (0u64..100).prop_map(|request| Act::Disconnect { request }),
        4 => (0u64..12_000).prop_map(|ms| Act::Wait { ms }),
        2 => Just(Act::Hold),
        3 => Just(Act::Release),
        1 => any::<bool>().prop_map(|applies| Act::Fail { applies }),
        1 => (0usize..3).prop_map(|survive| Act::FailOver { survive }),
        4 => (0u8..2).prop_map(|group| Act::Rally { group }),
    ]
}
