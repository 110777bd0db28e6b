//! A newcomer's verdicts, a table per situation.

use milena_peer::message::{HelloResponse, Peer, Stage};
use milena_wire::Uuid;

use super::{Answer, Newcomer, Refusal, Verdict, judge, list};

fn peer(node: u64) -> Peer {
    Peer { node, address: format!("n{node}:9093") }
}

fn peers(nodes: &[u64]) -> Vec<Peer> {
    nodes.iter().copied().map(peer).collect()
}

/// Node `node` that was told of these voters.
fn newcomer(node: u64, voters: &[u64]) -> Newcomer {
    Newcomer {
        node,
        incarnation: Uuid([node as u8; 16]),
        wanted: None,
        proposal: format!("chosen-by-{node}"),
        voters: peers(voters),
        address: format!("n{node}:9093"),
    }
}

fn said(node: u64, stage: Stage, cluster_id: &str, voters: &[u64]) -> HelloResponse {
    HelloResponse {
        node,
        incarnation: vec![node as u8; 16].into(),
        stage: stage.into(),
        cluster_id: cluster_id.to_owned(),
        voters: peers(voters),
        ..Default::default()
    }
}

fn new(node: u64, voters: &[u64]) -> HelloResponse {
    said(node, Stage::New, &format!("chosen-by-{node}"), voters)
}

fn leader(node: u64, cluster_id: &str, voters: &[u64]) -> HelloResponse {
    HelloResponse { is_leader: true, ..said(node, Stage::Formed, cluster_id, voters) }
}

fn answer(said: HelloResponse) -> Answer {
    Answer { address: format!("n{}:9093", said.node), said: Ok(said) }
}

fn silence(node: u64) -> Answer {
    Answer { address: format!("n{node}:9093"), said: Err("connection refused".to_owned()) }
}

fn found(cluster_id: &str, voters: &[u64]) -> Result<Verdict, Refusal> {
    Ok(Verdict::Found { cluster_id: cluster_id.to_owned(), voters: peers(voters) })
}

fn wait(missing: &str) -> Result<Verdict, Refusal> {
    Ok(Verdict::Wait(missing.to_owned()))
}

#[test]
fn first_voter_founds_once_a_majority_was_told_the_same_list() {
    let (one, two) = (newcomer(1, &[1, 2, 3]), newcomer(2, &[1, 2, 3]));
    assert_eq!(
        judge(&one, &[silence(2), silence(3)]),
        wait("2 of 3 voters to found the cluster; no answer from 2@n2:9093,3@n3:9093")
    );
    assert_eq!(judge(&one, &[answer(new(2, &[1, 2, 3])), silence(3)]), found("chosen-by-1", &[1, 2, 3]));
    // Two nodes that both choose an id would be two clusters.
    let all_new = [answer(new(1, &[1, 2, 3])), answer(new(3, &[1, 2, 3]))];
    assert_eq!(judge(&two, &all_new), wait("node 1, which founds the cluster"));
    assert_eq!(
        judge(&two, &[silence(1), answer(new(3, &[1, 2, 3]))]),
        wait("node 1, which founds the cluster")
    );
    let founding = said(1, Stage::Forming, "chosen-by-1", &[1, 2, 3]);
    assert_eq!(judge(&two, &[answer(founding), silence(3)]), found("chosen-by-1", &[1, 2, 3]));
}

/// With the id configured everybody founds the same cluster, so nobody needs to wait for the first.
#[test]
fn configured_cluster_id_lets_any_majority_found() {
    let two = Newcomer { wanted: Some("ours".to_owned()), ..newcomer(2, &[1, 2, 3]) };
    let three = HelloResponse { is_wanted: true, cluster_id: "ours".to_owned(), ..new(3, &[1, 2, 3]) };
    assert_eq!(judge(&two, &[silence(1), answer(three)]), found("ours", &[1, 2, 3]));
    assert_eq!(
        judge(&two, &[silence(1), silence(3)]),
        wait("2 of 3 voters to found the cluster; no answer from 1@n1:9093,3@n3:9093")
    );
}

#[test]
fn addresses_alone_name_the_voters_once_all_of_them_answer() {
    let one = newcomer(1, &[]);
    let (itself, two, three) = (answer(new(1, &[])), answer(new(2, &[])), answer(new(3, &[])));
    let verdict = judge(&one, &[itself.clone(), two.clone(), silence(3)]);
    assert_eq!(verdict, wait("an answer from n3:9093"));
    assert_eq!(judge(&one, &[itself.clone(), two.clone(), three.clone()]), found("chosen-by-1", &[1, 2, 3]));
    // An even number of voters tolerates no more failures than one fewer.
    assert_eq!(
        judge(&one, &[itself.clone(), two.clone(), three.clone(), answer(new(4, &[]))]),
        found("chosen-by-1", &[1, 2, 3])
    );
    assert_eq!(judge(&one, &[itself]), found("chosen-by-1", &[1]));
    // None of the addresses is this node's: it is no voter.
    assert_eq!(
        judge(&newcomer(4, &[]), &[two, three, answer(new(5, &[]))]),
        wait("the voters to found the cluster")
    );
}

#[test]
fn running_cluster_is_joined_on_its_leaders_word_alone() {
    let four = newcomer(4, &[1, 2, 3]);
    let follower = said(2, Stage::Formed, "c", &[1, 2, 3]);
    assert_eq!(judge(&four, &[silence(1), answer(follower.clone())]), wait("the leader of cluster c"));
    let known = HelloResponse { peers: peers(&[1, 2, 3]), ..leader(1, "c", &[1, 2, 3]) };
    let join = Verdict::Join { cluster_id: "c".to_owned(), peers: peers(&[1, 2, 3]) };
    assert_eq!(judge(&four, &[answer(known.clone()), answer(follower)]), Ok(join.clone()));
    // A voter that was never there comes late.
    assert_eq!(judge(&newcomer(3, &[1, 2, 3]), &[answer(known)]), Ok(join));
}

/// F11.
#[test]
fn voter_whose_directory_is_gone_is_refused() {
    let registered = Uuid([7; 16]);
    let known = |voters: &[u64]| HelloResponse {
        registered_directory: registered.0.to_vec().into(),
        peers: peers(&[1]),
        ..leader(1, "c", voters)
    };
    let refusal = Refusal::LostLog { node: 3, cluster_id: "c".to_owned(), registered };
    assert_eq!(judge(&newcomer(3, &[1, 2, 3]), &[answer(known(&[1, 2, 3]))]), Err(refusal));
    // Who does not vote may come back with a new disk.
    let join = Verdict::Join { cluster_id: "c".to_owned(), peers: peers(&[1]) };
    assert_eq!(judge(&newcomer(3, &[1, 2, 3]), &[answer(known(&[1, 2]))]), Ok(join));
}

/// F12.
#[test]
fn what_would_be_two_clusters_is_refused() {
    let one = newcomer(1, &[1, 2, 3]);
    let wants = Newcomer { wanted: Some("ours".to_owned()), ..one.clone() };
    let (node, address, theirs) = (2, "n2:9093".to_owned(), "theirs".to_owned());
    let other_cluster =
        Refusal::OtherCluster { node, address: address.clone(), ours: "ours".to_owned(), theirs };
    for (me, answers, refusal) in [
        (
            &one,
            vec![answer(new(2, &[1, 2, 4]))],
            Refusal::OtherVoters {
                node,
                address: address.clone(),
                ours: list(&peers(&[1, 2, 3])),
                theirs: list(&peers(&[1, 2, 4])),
            },
        ),
        (&wants, vec![answer(leader(2, "theirs", &[1, 2, 3]))], other_cluster),
        (
            &one,
            vec![answer(leader(2, "c", &[2])), answer(leader(3, "d", &[3]))],
            Refusal::TwoClusters { one: "c".to_owned(), other: "d".to_owned() },
        ),
        (
            &one,
            vec![answer(HelloResponse { incarnation: vec![9; 16].into(), ..new(1, &[1, 2, 3]) })],
            Refusal::IdInUse { node: 1, address: "n1:9093".to_owned() },
        ),
        (
            &one,
            vec![Answer { address: address.clone(), said: Ok(new(3, &[1, 2, 3])) }],
            Refusal::WrongNode { address, expected: 2, found: 3 },
        ),
    ] {
        assert_eq!(judge(me, &answers), Err(refusal));
    }
}
