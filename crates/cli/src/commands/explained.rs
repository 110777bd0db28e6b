//! The sentences of `milena explain partition`: Kafka's rules of election and acknowledgement (KIP-966) applied to one
//! partition. Decides nothing; it says what the brokers would.

use std::collections::BTreeSet;

use serde::Serialize;

/// What is known of a partition.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its leader.
    pub leader: Option<i32>,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those out of sync that still hold all that was acknowledged.
    pub elr: Vec<i32>,
    /// The last leader, kept while nobody is in sync or eligible.
    pub last_known_elr: Vec<i32>,
    /// `min.insync.replicas` of the topic.
    pub min_isr: usize,
    /// Brokers that are not fenced.
    pub live: BTreeSet<i32>,
    /// Registered brokers.
    pub known: BTreeSet<i32>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<i32>,
    /// Replicas that it will drop.
    pub removing: Vec<i32>,
}

/// What there is to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Why it is as it is.
    pub now: Vec<String>,
    /// What the loss of each replica would do.
    pub what_if: Vec<String>,
}

impl Facts {
    /// Puts the facts into words.
    pub fn explain(&self) -> Explained {
        let mut now = vec![self.why_leader()];
        now.extend(self.replicas.iter().filter(|id| !self.isr.contains(id)).map(|&id| self.why_out(id)));
        now.push(self.writes(self.isr.len(), self.leader.is_some()));
        if !self.adding.is_empty() || !self.removing.is_empty() {
            now.push(format!(
                "a reassignment is under way: adding {}, then removing {}",
                list(&self.adding),
                list(&self.removing)
            ));
        }
        let what_if = self.replicas.iter().filter(|id| self.live.contains(id)).map(|&id| self.without(id));
        Explained { now, what_if: what_if.collect() }
    }

    /// Copies that `acks=all` needs: never more than there can be.
    fn needed(&self) -> usize {
        self.min_isr.clamp(1, self.replicas.len().max(1))
    }

    fn why_leader(&self) -> String {
        let Some(leader) = self.leader else { return self.why_offline() };
        match self.replicas.first() {
            Some(&first) if first == leader => {
                format!("broker {leader} leads: it is the first replica, so the preferred leader")
            }
            Some(&first) if !self.live.contains(&first) => {
                format!("broker {leader} leads, as the preferred leader {first} is {}", self.absence(first))
            }
            Some(&first) if !self.isr.contains(&first) => {
                format!("broker {leader} leads, as the preferred leader {first} is not in sync")
            }
            Some(&first) => format!(
                "broker {leader} leads though the preferred leader {first} is in sync again: leadership goes back by \
                 kafka-leader-election, or by itself where auto.leader.rebalance.enable is on"
            ),
            None => format!("broker {leader} leads"),
        }
    }

    fn why_offline(&self) -> String {
        let holders: Vec<i32> = self.isr.iter().chain(&self.elr).copied().collect();
        if holders.is_empty() {
            return match self.last_known_elr.as_slice() {
                [] => "nobody leads, and nobody is known to hold all records: only an unclean election can bring the \
                       partition back, at the price of records"
                    .to_owned(),
                last => format!(
                    "nobody leads, and nobody is sure to hold all records: broker {} led last. It may miss what was \
                     acknowledged, so that only an unclean election can bring the partition back",
                    list(last)
                ),
            };
        }
        format!(
            "nobody leads: all that was acknowledged is on {} alone, and {}; the partition comes back with the first \
             of them",
            brokers(&holders),
            holders.iter().map(|&id| format!("{id} is {}", self.absence(id))).collect::<Vec<_>>().join(", ")
        )
    }

    fn why_out(&self, id: i32) -> String {
        let why = match () {
            () if self.adding.contains(&id) => "is being added and still copies".to_owned(),
            () if !self.live.contains(&id) => format!("is {}", self.absence(id)),
            () => "is alive but behind: it catches up, or its disk or network is too slow (replica.lag.time.max.ms)"
                .to_owned(),
        };
        let eligible = if self.elr.contains(&id) {
            "; it may still lead, as it holds all that was acknowledged"
        } else {
            ""
        };
        format!("broker {id} is not in sync: it {why}{eligible}")
    }

    fn absence(&self, id: i32) -> &'static str {
        match (self.known.contains(&id), self.live.contains(&id)) {
            (false, _) => "not registered",
            (true, false) => "fenced: down, unreachable, or not caught up with the metadata",
            (true, true) => "alive",
        }
    }

    fn writes(&self, in_sync: usize, is_led: bool) -> String {
        let needed = self.needed();
        match () {
            () if !is_led => "no reads and no writes".to_owned(),
            () if in_sync < needed => format!(
                "acks=all is refused (NOT_ENOUGH_REPLICAS): {in_sync} in sync, {needed} needed; acks=1 is accepted, but \
                 consumers see it only when enough are in sync again"
            ),
            () if in_sync == needed && needed < self.replicas.len() => {
                format!("acks=all works, with exactly the {needed} in sync that it needs")
            }
            () => format!("acks=all works: {in_sync} in sync, {needed} needed"),
        }
    }

    /// What the death of `lost` would do.
    fn without(&self, lost: i32) -> String {
        let left: Vec<i32> = self.isr.iter().copied().filter(|&id| id != lost).collect();
        let is_alive = |id: &i32| *id != lost && self.live.contains(id);
        let in_order =
            |holders: &[i32]| self.replicas.iter().copied().find(|id| holders.contains(id) && is_alive(id));
        let successor = match self.leader {
            Some(leader) if leader != lost => Some(leader),
            _ => in_order(&left).or_else(|| in_order(&self.elr)),
        };
        let leads = match (self.leader, successor) {
            (_, None) => match self.isr.iter().chain(&self.elr).copied().collect::<Vec<_>>().as_slice() {
                [] => "nobody could lead".to_owned(),
                [one] => format!("nobody could lead until broker {one} is back"),
                several => format!("nobody could lead until one of the brokers {} is back", list(several)),
            },
            (leader, Some(next)) if leader == Some(next) => format!("{next} goes on leading"),
            (_, Some(next)) => format!("{next} takes over"),
        };
        // Whoever leads is in sync, also when it comes from the eligible ones.
        let in_sync = left.len().max(usize::from(successor.is_some()));
        format!("broker {lost}: {leads}; {}", self.writes(in_sync, successor.is_some()))
    }
}

fn list(ids: &[i32]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn brokers(ids: &[i32]) -> String {
    match ids {
        [one] => format!("broker {one}"),
        several => format!("brokers {}", list(several)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(leader: Option<i32>, isr: &[i32], live: &[i32]) -> Facts {
        Facts {
            leader,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            min_isr: 2,
            live: live.iter().copied().collect(),
            known: [1, 2, 3].into(),
            ..Facts::default()
        }
    }

    #[test]
    fn all_is_well() {
        let said = three(Some(1), &[1, 2, 3], &[1, 2, 3]).explain();
        assert_eq!(
            said.now,
            [
                "broker 1 leads: it is the first replica, so the preferred leader",
                "acks=all works: 3 in sync, 2 needed"
            ]
        );
        assert_eq!(
            said.what_if,
            [
                "broker 1: 2 takes over; acks=all works, with exactly the 2 in sync that it needs",
                "broker 2: 1 goes on leading; acks=all works, with exactly the 2 in sync that it needs",
                "broker 3: 1 goes on leading; acks=all works, with exactly the 2 in sync that it needs",
            ]
        );
    }

    #[test]
    fn a_second_loss_stops_writes_but_not_the_leader() {
        let said = three(Some(2), &[2, 3], &[2, 3]).explain();
        assert!(said.now[0].starts_with("broker 2 leads, as the preferred leader 1 is fenced"), "{said:?}");
        assert!(said.now[1].starts_with("broker 1 is not in sync: it is fenced"), "{said:?}");
        assert!(said.what_if[0].starts_with("broker 2: 3 takes over; acks=all is refused"), "{said:?}");
    }

    #[test]
    fn an_eligible_replica_leads_when_nobody_is_in_sync() {
        let facts = Facts { elr: vec![3], ..three(Some(2), &[2], &[2, 3]) };
        let said = facts.explain();
        assert!(said.what_if[0].starts_with("broker 2: 3 takes over"), "{said:?}");
        let offline =
            Facts { leader: None, isr: vec![], elr: vec![2], ..three(None, &[], &[1, 3]) }.explain();
        assert!(
            offline.now[0]
                .starts_with("nobody leads: all that was acknowledged is on broker 2 alone, and 2 is fenced"),
            "{offline:?}"
        );
    }

    #[test]
    fn nobody_is_promised_who_may_miss_records() {
        let facts = Facts { last_known_elr: vec![2], ..three(None, &[], &[1, 3]) };
        assert!(facts.explain().now[0].contains("only an unclean election"), "{facts:?}");
    }

    #[test]
    fn a_single_replica_is_enough_for_itself() {
        let facts = Facts { replicas: vec![1], isr: vec![1], ..three(Some(1), &[1], &[1]) };
        let said = facts.explain();
        assert_eq!(said.now[1], "acks=all works: 1 in sync, 1 needed");
        assert_eq!(
            said.what_if,
            ["broker 1: nobody could lead until broker 1 is back; no reads and no writes"]
        );
    }
}
