//! Signs of life over loopback: each node has its own runtime, listener and thread, as three processes would.

use milena_peer::liveness::{
    Cause, Expectations, Incarnation, Lease, Liveness, LogEnd, Standing, Verdict, Wants,
};
use milena_peer::{Addresses, Identity, Routes, serve};
use milena_quorum::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

struct Process {
    runtime: Runtime,
    liveness: Liveness,
    standing: Arc<Mutex<Standing>>,
}

impl Process {
    fn start(id: NodeId, life: u8, addresses: &Addresses) -> Process {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let identity = Identity::new("a-cluster", id).unwrap();
        let standing: Arc<Mutex<Standing>> = Arc::default();
        let asked = standing.clone();
        // Patient, as a busy machine must not be taken for a dead one.
        let expect = Expectations { first_session: Duration::from_secs(2), ..Expectations::default() };
        let liveness = Liveness::start(
            identity,
            incarnation(id, life),
            addresses.clone(),
            Lease::none(),
            expect,
            Box::new(move || asked.lock().unwrap().clone()),
        );
        let liveness = liveness.unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        addresses.set(id, listener.local_addr().unwrap().to_string());
        let routes = Routes::default().with(liveness.service(CancellationToken::new()));
        runtime.spawn(serve(listener, routes, CancellationToken::new()));
        liveness.watch([ONE, TWO, THREE].into());
        Process { runtime, liveness, standing }
    }

    /// Closes its sockets without a word.
    fn kill(self) {
        drop(self.liveness);
        self.runtime.shutdown_background();
    }

    /// Waits until this node's view of `of` is as wanted.
    fn wait(&self, of: NodeId, what: &str, wanted: impl Fn(&milena_peer::liveness::PeerHealth) -> bool) {
        let mut health = self.liveness.health();
        let seen = health.wait_for(|health| health.get(&of).is_some_and(&wanted));
        let seen = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), seen).await });
        assert!(seen.is_ok(), "{of}: {what}");
    }
}

fn incarnation(id: NodeId, life: u8) -> Incarnation {
    let mut name = [life; 16];
    name[0] = id.0 as u8;
    Incarnation(name)
}

fn three() -> (Addresses, Process, Process, Process) {
    let addresses = Addresses::default();
    let [one, two, three] = [ONE, TWO, THREE].map(|id| Process::start(id, 1, &addresses));
    for (process, others) in [(&one, [TWO, THREE]), (&two, [ONE, THREE]), (&three, [ONE, TWO])] {
        others.iter().for_each(|of| process.wait(*of, "is heard", |peer| peer.verdict == Verdict::Alive));
    }
    (addresses, one, two, three)
}

#[test]
fn end_of_a_process_is_noticed_by_all_and_so_is_the_next_one() {
    let (addresses, one, two, three) = three();
    let end = LogEnd { group: GroupId::CLUSTER, term: 4, index: 44 };
    two.standing.lock().unwrap().ends = vec![end];
    three.kill();
    for process in [&one, &two] {
        process.wait(THREE, "is dead by evidence", |peer| peer.verdict.is_evident());
        assert_eq!(process.liveness.sighting(THREE).unwrap().incarnation, Some(incarnation(THREE, 1)));
    }
    // Each learns where the other's log ended.
    one.wait(TWO, "tells what it saw", |peer| {
        peer.sightings.get(&THREE).is_some_and(|sighting| sighting.ends == [end])
    });
    // It comes back at another port.
    let three = Process::start(THREE, 2, &addresses);
    for process in [&one, &two] {
        process.wait(THREE, "is back", |peer| {
            peer.verdict == Verdict::Alive && peer.incarnation == Some(incarnation(THREE, 2))
        });
        assert_eq!(process.liveness.sighting(THREE), None);
    }
    [one, two, three].into_iter().for_each(Process::kill);
}

#[test]
fn address_that_refuses_whoever_looks_is_evidence() {
    let addresses = Addresses::default();
    // Whoever is dialled there says nothing: the stream gives up after a second.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    addresses.set(TWO, mute.local_addr().unwrap().to_string());
    let one = Process::start(ONE, 1, &addresses);
    let _dialled = mute.accept().unwrap();
    // A port on which nobody listens, nor will while it is held.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    addresses.set(TWO, held.local_addr().unwrap().to_string());
    one.runtime.block_on(one.liveness.look(TWO));
    assert_eq!(one.liveness.health().borrow()[&TWO].verdict, Verdict::Dead(Cause::Refused));
    one.kill();
}

#[test]
fn what_a_broker_says_arrives() {
    let (_, one, two, three) = three();
    one.liveness.say(|saying| {
        saying.applied = 17;
        saying.broker_epoch = 5;
        saying.wants = Wants::Unfenced;
    });
    for process in [&two, &three] {
        process.wait(ONE, "said it", |peer| {
            let saying = peer.saying;
            (saying.applied, saying.broker_epoch, saying.wants) == (17, 5, Wants::Unfenced)
        });
    }
    [one, two, three].into_iter().for_each(Process::kill);
}

#[test]
fn lease_lasts_while_a_controller_with_a_quorum_grants_it() {
    let (_, one, two, three) = three();
    let holders = || BTreeMap::from([(ONE, incarnation(ONE, 1)), (TWO, incarnation(TWO, 1))]);
    let lease = two.liveness.lease();
    assert!(!lease.holds());
    // Not by one who does not lead, nor by one whom no quorum has followed for long.
    for standing in [None, Some((1, Duration::from_secs(60)))] {
        one.standing.lock().unwrap().controller = standing;
        one.liveness.grant_to(BTreeMap::new());
        one.liveness.grant_to(holders());
        one.liveness.say(|saying| saying.applied += 1);
        let applied = one.liveness.saying().applied;
        two.wait(ONE, "beat", |peer| peer.saying.applied == applied);
        assert!(!lease.holds(), "{standing:?}");
    }
    one.standing.lock().unwrap().controller = Some((1, Duration::ZERO));
    let holds = |process: &Process| {
        let lease = process.liveness.lease();
        let mut beat = tokio::time::Instant::now();
        process.runtime.block_on(async {
            while !lease.holds() {
                beat += Duration::from_millis(5);
                tokio::time::sleep_until(beat).await;
            }
        });
    };
    holds(&one);
    holds(&two);
    assert!(!three.liveness.lease().holds(), "it is fenced");
    // No longer than a session after the controller is gone.
    one.kill();
    two.wait(ONE, "is dead", |peer| peer.verdict.is_dead());
    let remaining = lease.remaining().unwrap();
    assert!(remaining < Duration::from_secs(2), "{remaining:?}");
    two.runtime.block_on(async { tokio::time::sleep(remaining).await });
    assert!(!lease.holds());
    [two, three].into_iter().for_each(Process::kill);
}

/// Whoever looked at the peers and asked for more waited for the one who was about to tell news of them, who waited for
/// the look to end: the control thread of a broker once stood still like that.
#[test]
fn who_looks_at_the_peers_may_ask_for_more_meanwhile() {
    let identity = Identity::new("a-cluster", ONE).unwrap();
    let ask = Box::new(Standing::default);
    let (lease, expect) = (Lease::none(), Expectations::default());
    let liveness =
        Liveness::start(identity, incarnation(ONE, 1), Addresses::default(), lease, expect, ask).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut health = liveness.health();
        let looked = health.borrow();
        let telling = liveness.clone();
        let telling = std::thread::spawn(move || telling.watch([ONE, TWO].into()));
        // It is about to tell: time passes for the new peer, of which nothing can be said before the look ends.
        while liveness.silence(TWO).0.is_zero() {
            assert_eq!(liveness.sighting(TWO), None);
        }
        assert!(looked.is_empty());
        drop(looked);
        telling.join().unwrap();
        assert!(health.borrow_and_update().contains_key(&TWO));
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(30)), Ok(()), "they wait for each other");
}
