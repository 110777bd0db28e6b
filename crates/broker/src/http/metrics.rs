//! `/metrics`: facts about this broker under the names that dashboards already ask for.
//!
//! Names beginning with `kafka_server_`, `kafka_controller_`, `kafka_cluster_`, `kafka_log_` and `kafka_network_` are those that
//! Prometheus' JMX exporter makes of Apache Kafka's with Strimzi's rules; `kafka_brokers` and `kafka_topic_partition_...` are
//! `kafka_exporter`'s. Facts of a partition are told by its leader alone, facts of the cluster by the controller alone
//! (others say 0), so that a sum over brokers is right.

use milena_metadata::{BrokerId, Image, Partition, Topic};
use milena_quorum::GroupHandle;

use super::exposition::{Kind, Page};
use crate::clock;
use crate::hosted::Hosted;
use crate::meters::Traffic;
use crate::services::Services;

/// The page.
pub(super) fn render(services: &Services) -> String {
    let image = services.view.image();
    let mut page = Page::default();
    replicas(&mut page, services, &image);
    changes(&mut page, services);
    controller(&mut page, services.cluster_raft.leader().borrow().is_self, &image);
    traffic(&mut page, services);
    partitions(&mut page, services, &image);
    logs(&mut page, services);
    disk(&mut page, services);
    cleaner(&mut page, services);
    raft(&mut page, &services.cluster_raft);
    process(&mut page);
    page.into_text()
}

/// Partitions of the image with their topics.
fn all(image: &Image) -> impl Iterator<Item = (&Topic, i32, &Partition)> {
    image.topics().flat_map(|topic| topic.iter().map(move |(index, it)| (topic, index, &**it)))
}

/// Those that `broker` leads.
fn led(image: &Image, broker: BrokerId) -> impl Iterator<Item = (&Topic, i32, &Partition)> {
    all(image).filter(move |(_, _, it)| it.leader == Some(broker))
}

fn is_under_replicated(partition: &Partition) -> bool {
    partition.isr.len() < partition.replicas.len() - partition.adding.len()
}

fn is_under_min_isr(partition: &Partition) -> bool {
    partition.isr.len() < partition.effective_min_isr()
}

fn is_at_min_isr(partition: &Partition) -> bool {
    partition.isr.len() == partition.effective_min_isr()
}

/// What this broker holds and leads (Kafka's ReplicaManager).
fn replicas(page: &mut Page, services: &Services, image: &Image) {
    let me = services.broker_id;
    let mine = || all(image).filter(|(_, _, it)| it.replicas.contains(&me));
    let of_led = |matches: fn(&Partition) -> bool| led(image, me).filter(|(_, _, it)| matches(it)).count();
    let offline =
        mine().filter(|(topic, index, _)| services.partitions.get(topic.id, *index).is_none()).count();
    for (name, help, count) in [
        ("partitioncount", "Replicas that this broker should hold.", mine().count()),
        ("leadercount", "Partitions that it leads.", led(image, me).count()),
        (
            "underreplicatedpartitions",
            "Partitions led here with replicas out of sync.",
            of_led(is_under_replicated),
        ),
        (
            "underminisrpartitioncount",
            "Partitions led here that refuse acks=all: fewer in sync than min.insync.replicas.",
            of_led(is_under_min_isr),
        ),
        (
            "atminisrpartitioncount",
            "Partitions led here with as many in sync as min.insync.replicas.",
            of_led(is_at_min_isr),
        ),
        (
            "reassigningpartitions",
            "Partitions led here that are being reassigned.",
            of_led(Partition::is_reassigning),
        ),
        ("offlinereplicacount", "Replicas of this broker whose log is not open.", offline),
    ] {
        page.gauge(&format!("kafka_server_replicamanager_{name}"), help, count);
    }
}

/// What happened to the partitions that this broker leads, since its start.
fn changes(page: &mut Page, services: &Services) {
    let changes = &services.partitions.changes;
    for (name, help, count) in [
        ("kafka_server_replicamanager_isrshrinks_total", "Replicas fell out of sync.", &changes.isr_shrinks),
        ("kafka_server_replicamanager_isrexpands_total", "Replicas came in sync.", &changes.isr_expands),
        ("milena_leader_elections_total", "Leaderships that this broker took over.", &changes.elections),
        (
            "kafka_controller_controllerstats_uncleanleaderelections_total",
            "Leaderships that this broker took over without all that was acknowledged.",
            &changes.unclean_elections,
        ),
    ] {
        page.counter(name, help, count.get());
    }
}

/// What the controller knows of the cluster. Brokers that are not the controller say 0.
pub(super) fn controller(page: &mut Page, is_controller: bool, image: &Image) {
    let told = |count: usize| if is_controller { count } else { 0 };
    let offline = all(image).filter(|(_, _, it)| it.leader.is_none()).count();
    let imbalanced =
        all(image).filter(|(_, _, it)| it.leader.is_some() && !it.has_preferred_leader()).count();
    let fenced = image.brokers().filter(|it| it.fenced).count();
    for (name, help, count) in [
        ("activecontrollercount", "1 at the controller, else 0.", 1),
        ("offlinepartitionscount", "Partitions without a leader.", offline),
        ("globaltopiccount", "Topics of the cluster.", image.topic_count()),
        ("globalpartitioncount", "Partitions of the cluster.", all(image).count()),
        ("preferredreplicaimbalancecount", "Partitions not led by their first replica.", imbalanced),
        ("activebrokercount", "Brokers that are not fenced.", image.live_brokers().count()),
        ("fencedbrokercount", "Registered brokers that are fenced.", fenced),
    ] {
        page.gauge(&format!("kafka_controller_kafkacontroller_{name}"), help, told(count));
    }
    page.gauge(
        "kafka_brokers",
        "Brokers that are not fenced, as this one sees it.",
        image.live_brokers().count(),
    );
}

type Of = fn(&Traffic) -> u64;
type OfLog = fn(&Hosted) -> i64;

/// Kafka's BrokerTopicMetrics, and the requests by API.
fn traffic(page: &mut Page, services: &Services) {
    let hosted = by_topic(services);
    let families: [(&str, &str, Of); 7] = [
        ("messagesin", "Records written by clients.", |it| it.messages_in.get()),
        ("bytesin", "Bytes written by clients.", |it| it.bytes_in.get()),
        ("bytesout", "Bytes read by clients.", |it| it.bytes_out.get()),
        ("totalproducerequests", "Writes to a partition.", |it| it.produce_requests.get()),
        ("failedproducerequests", "Writes to a partition that failed.", |it| {
            it.failed_produce_requests.get()
        }),
        ("totalfetchrequests", "Reads of a partition.", |it| it.fetch_requests.get()),
        ("failedfetchrequests", "Reads of a partition that failed.", |it| it.failed_fetch_requests.get()),
    ];
    for (name, help, of) in families {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        let mut family = page.family(&name, Kind::Counter, help);
        family.sample(&[], of(&services.partitions.traffic));
        for topic in &hosted {
            let sum: u64 = topic.iter().map(|it| of(&it.traffic)).sum();
            if sum > 0 {
                family.sample(&[("topic", &topic[0].topic)], sum);
            }
        }
    }
    let mut family = page.family(
        "kafka_network_requestmetrics_requests_total",
        Kind::Counter,
        "Requests of clients by API.",
    );
    for (api, count) in services.meters.requests() {
        family.sample(&[("request", &api)], count);
    }
    page.gauge(
        "kafka_server_socket_server_metrics_connection_count",
        "Connections of clients.",
        services.meters.connections(),
    );
    page.counter(
        "kafka_server_socket_server_metrics_connection_creation_total",
        "Connections of clients since the start.",
        services.meters.accepted(),
    );
}

/// Hosted partitions, those of one topic together.
fn by_topic(services: &Services) -> Vec<Vec<std::sync::Arc<Hosted>>> {
    let mut all = services.partitions.all();
    all.sort_by(|one, other| (&one.topic, one.index).cmp(&(&other.topic, other.index)));
    all.chunk_by(|one, other| one.topic_id == other.topic_id).map(<[_]>::to_vec).collect()
}

/// What the leader of each partition knows of it.
fn partitions(page: &mut Page, services: &Services, image: &Image) {
    type Told = fn(&Partition) -> usize;
    let families: [(&str, &str, Told); 9] = [
        ("kafka_cluster_partition_underminisr", "1 if fewer are in sync than min.insync.replicas.", |it| {
            usize::from(is_under_min_isr(it))
        }),
        ("kafka_cluster_partition_atminisr", "1 if as many are in sync as min.insync.replicas.", |it| {
            usize::from(is_at_min_isr(it))
        }),
        ("kafka_cluster_partition_underreplicated", "1 if replicas are out of sync.", |it| {
            usize::from(is_under_replicated(it))
        }),
        ("kafka_cluster_partition_insyncreplicascount", "Replicas in sync.", |it| it.isr.len()),
        ("kafka_cluster_partition_replicascount", "Replicas.", |it| it.replicas.len()),
        ("kafka_topic_partition_in_sync_replica", "Replicas in sync.", |it| it.isr.len()),
        ("kafka_topic_partition_replicas", "Replicas.", |it| it.replicas.len()),
        ("kafka_topic_partition_under_replicated_partition", "1 if replicas are out of sync.", |it| {
            usize::from(is_under_replicated(it))
        }),
        ("kafka_topic_partition_leader_is_preferred", "1 if the first replica leads.", |it| {
            usize::from(it.has_preferred_leader())
        }),
    ];
    let led: Vec<_> = led(image, services.broker_id).collect();
    for (name, help, of) in families {
        let mut family = page.family(name, Kind::Gauge, help);
        for (topic, index, partition) in &led {
            family.sample(&[("topic", &topic.name), ("partition", index)], of(partition));
        }
    }
    let mut family = page.family("kafka_topic_partition_leader", Kind::Gauge, "Id of the leader.");
    for (topic, index, _) in &led {
        family.sample(&[("topic", &topic.name), ("partition", index)], services.broker_id.0);
    }
    let offsets: [(&str, &str, OfLog); 2] = [
        ("kafka_topic_partition_current_offset", "Next offset that consumers will see.", |it| {
            it.checkpointed().map_or(-1, |it| it.high_watermark.0)
        }),
        ("kafka_topic_partition_oldest_offset", "First offset that is there.", |it| it.log_start().0),
    ];
    for (name, help, of) in offsets {
        let mut family = page.family(name, Kind::Gauge, help);
        for (topic, index, _) in &led {
            if let Some(hosted) = services.partitions.get(topic.id, *index) {
                family.sample(&[("topic", &topic.name), ("partition", index)], of(&hosted));
            }
        }
    }
    let mut family =
        page.family("kafka_topic_partitions", Kind::Gauge, "Partitions; told by the leader of the first.");
    for (topic, _, _) in led.iter().filter(|(_, index, _)| *index == 0) {
        family.sample(&[("topic", &topic.name)], topic.partitions.len());
    }
}

/// The logs of this broker, as leader or follower.
fn logs(page: &mut Page, services: &Services) {
    let families: [(&str, &str, OfLog); 3] = [
        ("kafka_log_log_size", "Bytes of the log.", |it| it.size_bytes() as i64),
        ("kafka_log_log_logstartoffset", "First offset of the log.", |it| it.log_start().0),
        ("kafka_log_log_logendoffset", "Next offset of the log.", |it| it.log_end().0),
    ];
    let hosted = by_topic(services);
    for (name, help, of) in families {
        let mut family = page.family(name, Kind::Gauge, help);
        for it in hosted.iter().flatten() {
            family.sample(&[("topic", &it.topic), ("partition", &it.index)], of(it));
        }
    }
}

/// The disk under the data directory.
fn disk(page: &mut Page, services: &Services) {
    let health = services.data_dir.health();
    let failed = i32::from(health.failure().is_some());
    page.gauge("kafka_log_logmanager_offlinelogdirectorycount", "Data directories that failed.", failed);
    let help = "Logs found damaged at the start, set aside and copied anew.";
    page.counter("milena_damaged_logs_total", help, services.data_dir.damaged_logs());
    if let Some((total, free)) = services.data_dir.volume_bytes() {
        page.gauge("milena_volume_total_bytes", "Size of the data directory's volume.", total);
        page.gauge("milena_volume_free_bytes", "Room left on it.", free);
    }
    let help = "0: room enough, 1: less than four reserves, 2: producers are slowed, 3: they are refused.";
    page.gauge("milena_disk_level", help, health.level() as u8);
    page.gauge("milena_disk_reserve_bytes", "Room that producers are kept out of.", health.reserve_bytes());
    page.gauge(
        "milena_disk_ballast_bytes",
        "Room to fall back on; 0 once it is used.",
        health.ballast_bytes(),
    );
    if let Some(seen) = health.seen() {
        let help = "For how long the disk has not moved; 0 while all is well.";
        page.gauge("milena_disk_standstill_seconds", help, seen.standstill.as_secs_f64());
        let help = "Age of the oldest write or flush that has not ended.";
        page.gauge("milena_disk_oldest_unfinished_seconds", help, seen.oldest_unfinished.as_secs_f64());
    }
}

/// The log cleaner.
fn cleaner(page: &mut Page, services: &Services) {
    let meters = &services.cleaner;
    let name = |metric: &str| format!("kafka_log_logcleaner_{metric}");
    let help = "Share of the bytes that the last cleaning kept.";
    page.gauge(&name("cleaner_recopy_percent"), help, meters.recopy_percent());
    let help = "How full the last cleaning's table of keys was.";
    page.gauge(&name("max_buffer_utilization_percent"), help, meters.buffer_utilization_percent());
    page.gauge(&name("max_clean_time_secs"), "The longest cleaning.", meters.longest_secs());
    let help = "How far a record is past its max.compaction.lag.ms.";
    page.gauge(&name("max_compaction_delay_secs"), help, meters.compaction_delay_secs());
    page.gauge(&name("deadthreadcount"), "Always 0: a partition that fails is set aside.", 0);
    let name = |metric: &str| format!("kafka_log_logcleanermanager_{metric}");
    let help = "Dirty share of the filthiest partition.";
    page.gauge(&name("max_dirty_percent"), help, meters.dirty_percent());
    let help = "Milliseconds since the cleaner last looked at partitions.";
    page.gauge(&name("time_since_last_run_ms"), help, meters.since_last_run_ms(clock::unix_ms()));
    let directory = services.data_dir.root().display();
    let set_aside: Vec<_> =
        services.partitions.all().into_iter().filter(|hosted| hosted.is_uncleanable()).collect();
    let bytes: u64 = set_aside.iter().map(|hosted| hosted.size_bytes()).sum();
    for (metric, help, value) in [
        ("uncleanable_partitions_count", "Partitions whose cleaning failed.", set_aside.len() as u64),
        ("uncleanable_bytes", "Bytes of those.", bytes),
    ] {
        page.family(&name(metric), Kind::Gauge, help).sample(&[("logDirectory", &directory)], value);
    }
    for (metric, help, counter) in [
        ("milena_cleaner_runs_total", "Cleanings that came to their end.", &meters.cleanings),
        ("milena_cleaner_read_bytes_total", "Bytes that the cleaner read.", &meters.bytes_read),
        ("milena_cleaner_written_bytes_total", "Bytes that it wrote anew.", &meters.bytes_written),
    ] {
        page.counter(metric, help, counter.get());
    }
}

/// The metadata quorum (Kafka's RaftMetrics).
fn raft(page: &mut Page, raft: &GroupHandle) {
    let status = raft.status();
    let end = |index: Option<u64>| index.map_or(0, |index| index + 1);
    let name = |metric: &str| format!("kafka_server_raftmetrics_{metric}");
    let leader = status.leader.map_or(-1, |id| id.0 as i64);
    page.gauge(&name("current_leader"), "Id of the controller; -1 while there is none.", leader);
    page.gauge(&name("current_epoch"), "Its term.", status.term);
    page.gauge(&name("log_end_offset"), "Next index of this broker's metadata log.", end(status.last_index));
    page.gauge(&name("high_watermark"), "Next index to be committed.", end(status.committed_index));
    page.gauge(&name("number_of_voters"), "Voters of the quorum.", status.voters.len());
    let state = match () {
        () if status.leader == Some(raft.node_id()) => "leader",
        () if status.learners.contains(&raft.node_id()) => "observer",
        () if status.leader.is_none() => "candidate",
        () => "follower",
    };
    let help = "1 for the state that this broker is in.";
    page.family(&name("current_state"), Kind::Gauge, help).sample(&[("state", &state)], 1);
}

/// The process, under the names of Prometheus' client libraries. Only what the system tells cheaply.
fn process(page: &mut Page) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let page_size = rustix::param::page_size() as u64;
    if let Some(pages) = read("/proc/self/statm").split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()) {
        page.gauge("process_resident_memory_bytes", "Resident memory.", pages * page_size);
    }
    // Fields are counted behind the process's name, which may hold anything.
    let stat = read("/proc/self/stat");
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    if let (Some(user), Some(system)) = (fields.get(11), fields.get(12)) {
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        page.counter("process_cpu_seconds_total", "CPU time used.", (user + system) as f64 / ticks);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open descriptors.", open.count().saturating_sub(1));
    }
    let io = read("/proc/self/io");
    let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    for (name, field_name, help) in [
        ("kafka_server_kafkaserver_linux_disk_read_bytes", "read_bytes:", "Bytes read from disk."),
        ("kafka_server_kafkaserver_linux_disk_write_bytes", "write_bytes:", "Bytes written to disk."),
    ] {
        if let Some(bytes) = field(field_name) {
            page.counter(name, help, bytes);
        }
    }
    page.family("milena_build_info", Kind::Gauge, "Always 1; the label tells the version.")
        .sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
}
