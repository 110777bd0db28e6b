//! What is set up for a round: its victim, a topic whose leaders stand where the fault hits, and probes.

use std::sync::Arc;

use milena_client::{Client, Error, Partition, Topic};
use milena_wire::ErrorCode;

use super::cut::Cut;
use super::fault::{Aim, Fault};
use super::probe::{self, Probe, TRY, ZOMBIE_PATIENCE};
use super::recorder::Recorder;
use super::round::Plan;
use super::seen;
use crate::admin::topics;
use crate::failure::{Failure, Outcome};

/// Numbers of probes in the history begin here.
const PROBES: u32 = 1_000;

/// Whom the fault hits: the controller, or one of the others, each in its turn.
pub fn choose_victim(aim: Aim, controller: i32, ids: &[i32], round: usize) -> i32 {
    let others: Vec<i32> = ids.iter().copied().filter(|id| *id != controller).collect();
    match aim {
        Aim::Leader if !others.is_empty() => others[round % others.len()],
        _ => controller,
    }
}

/// Replicas of each partition, the preferred leader first. Leaders take turns, beginning with the victim; if it is
/// to lead nothing, it comes last everywhere.
fn assignment(partitions: i32, ids: &[i32], victim: Option<i32>, aim: Aim) -> Vec<Vec<i32>> {
    let factor = ids.len().min(3);
    let first = victim.and_then(|victim| ids.iter().position(|id| *id == victim)).unwrap_or(0);
    let turn = |by: usize| (0..ids.len()).map(move |at| ids[(first + by + at) % ids.len()]);
    (0..partitions as usize)
        .map(|partition| match victim {
            Some(victim) if aim == Aim::Controller && ids.len() > 1 => {
                let mut leaders: Vec<i32> =
                    turn(partition).filter(|id| *id != victim).take(factor - 1).collect();
                let by = partition % leaders.len();
                leaders.rotate_left(by);
                leaders.push(victim);
                leaders
            }
            _ => turn(partition).take(factor).collect(),
        })
        .collect()
}

/// Makes the topic of a round and waits until all its replicas are in sync.
pub async fn create_topic(
    client: &Client,
    plan: &Plan,
    name: &str,
    ids: &[i32],
    victim: Option<i32>,
) -> Outcome {
    let assignment = assignment(plan.partitions, ids, victim, plan.aim);
    let min_isr = if ids.len() >= 3 { "2" } else { "1" };
    let new = topics::NewTopic {
        name: name.into(),
        partitions: -1,
        replication_factor: -1,
        assignment,
        configs: vec![("min.insync.replicas".into(), min_isr.into())],
    };
    match topics::create(client, &new, false).await {
        // The answer to an earlier attempt came too late: nobody else has topics of this name.
        Err(Error::Refused { code: ErrorCode::TopicAlreadyExists, .. }) => {}
        created => created?,
    }
    match seen::wait_for_topic(client, name, plan.patience, seen::is_whole).await {
        true => Ok(()),
        false => Err(Failure::new(format!("the replicas of {name} never came into sync"))),
    }
}

/// Probes for every partition at every broker that may lead it after the fault, and those that poke a zombie.
pub async fn open_probes(
    plan: &Plan,
    topic: &Topic,
    victim: Option<i32>,
    ids: &[i32],
    bootstrap: &[String],
    recorder: &Arc<Recorder>,
) -> Outcome<(Vec<Probe>, Vec<Probe>)> {
    let (mut probes, mut pokes) = (Vec::new(), Vec::new());
    let Some(victim) = victim else { return Ok((probes, pokes)) };
    let mut number = PROBES;
    // Cut off from one follower only, it goes on leading without that one.
    let goes_on = plan.fault == Fault::Partition && plan.cut == Cut::Link;
    for id in ids {
        let may_lead = |it: &Partition| it.leader == Some(*id) || it.leader == Some(victim);
        let led_by_victim = |it: &Partition| it.leader == Some(victim);
        let indexes = |of: &dyn Fn(&Partition) -> bool| -> Vec<i32> {
            topic.partitions.iter().filter(|it| of(it)).map(|it| it.index).collect()
        };
        let (tries, patience, into) = match *id == victim && !goes_on {
            false => (indexes(&may_lead), TRY, &mut probes),
            true if plan.fault.leaves_a_zombie() => (indexes(&led_by_victim), ZOMBIE_PATIENCE, &mut pokes),
            true => continue,
        };
        for some in tries.chunks(probe::PARTITIONS) {
            number += 1;
            let name = topic.name.as_str();
            into.push(Probe::open(bootstrap, *id, name, some, number, recorder, patience).await?);
        }
    }
    Ok((probes, pokes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_take_turns_beginning_with_the_victim() {
        assert_eq!(
            assignment(4, &[1, 2, 3], Some(2), Aim::Leader),
            [[2, 3, 1], [3, 1, 2], [1, 2, 3], [2, 3, 1]]
        );
        assert_eq!(assignment(2, &[1, 2, 3], None, Aim::Leader), [[1, 2, 3], [2, 3, 1]]);
        assert_eq!(assignment(2, &[5], Some(5), Aim::Controller), [[5], [5]]);
    }

    #[test]
    fn a_controller_that_is_to_lead_nothing_comes_last() {
        let placed = assignment(4, &[1, 2, 3], Some(2), Aim::Controller);
        assert!(placed.iter().all(|it| it.len() == 3 && it[2] == 2), "{placed:?}");
        let leaders: std::collections::BTreeSet<i32> = placed.iter().map(|it| it[0]).collect();
        assert_eq!(leaders, [1, 3].into());
    }

    #[test]
    fn the_victim_is_whom_the_drill_aims_at() {
        assert_eq!(choose_victim(Aim::Both, 2, &[1, 2, 3], 1), 2);
        assert_eq!(choose_victim(Aim::Controller, 3, &[1, 2, 3], 1), 3);
        let others: Vec<i32> =
            (1..=2).map(|round| choose_victim(Aim::Leader, 2, &[1, 2, 3], round)).collect();
        assert_eq!(others, [3, 1]);
        assert_eq!(choose_victim(Aim::Leader, 1, &[1], 1), 1);
    }
}
