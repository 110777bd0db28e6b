//! Files, environments, command lines.

use super::overrides;
use crate::load::Sources;
use crate::topic_list::TopicToCreate;
use crate::{StartError, properties};

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn properties_are_read_as_java_reads_them() {
    let text = "\
# a comment
! another
a=1
b : 2
c 3
d
  e = with blanks inside  \n
f=one,\\
   two,\\
   three
path=C:\\\\data
tab=\\tx
snow=\\u2603
pair=\\uD83D\\uDE00
key\\ with\\:sep=v
equals=a=b
a=last wins
even=back\\\\
next=1
";
    let want = overrides(&[
        ("a", "last wins"),
        ("b", "2"),
        ("c", "3"),
        ("d", ""),
        ("e", "with blanks inside"),
        ("f", "one,two,three"),
        ("path", "C:\\data"),
        ("tab", "\tx"),
        ("snow", "☃"),
        ("pair", "😀"),
        ("key with:sep", "v"),
        ("equals", "a=b"),
        ("even", "back\\"),
        ("next", "1"),
    ]);
    assert_eq!(properties::parse("f", text), Ok(want));
    assert_eq!(properties::parse("f", "a=1\r\nb=2\r\n"), Ok(overrides(&[("a", "1"), ("b", "2")])));
}

#[test]
fn a_bad_line_is_named() {
    let refusal = properties::parse("server.properties", "a=1\n\nb=\\u12\n").map_err(|it| it.to_string());
    assert_eq!(refusal, Err("server.properties:3: bad \\u escape".into()));
}

#[test]
fn variables_become_settings_by_the_rules_of_the_images() {
    let found = crate::environment::read(variables(&[
        ("KAFKA_NUM_PARTITIONS", "3"),
        ("KAFKA_CFG_LOG_RETENTION_MS", "4"),
        ("KAFKA_ODD__NAME___X_Y", "5"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("KAFKA_LOG4J_ROOT_LOGLEVEL", "INFO"),
        ("KAFKA_JMX_PORT", "9999"),
        ("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw"),
        ("KAFKA_CREATE_TOPICS", "a:1:1,b:2:1:compact"),
        ("PATH", "/bin"),
    ]))
    .unwrap();
    assert_eq!(
        found.settings,
        overrides(&[("num.partitions", "3"), ("log.retention.ms", "4"), ("odd_name-x.y", "5")])
    );
    assert_eq!(found.cluster_id.as_deref(), Some("5L6g3nShT-eMCtK--X86sw"));
    let topic = |name: &str, partitions, policy: Option<&str>| TopicToCreate {
        name: name.into(),
        partitions,
        replication_factor: 1,
        cleanup_policy: policy.map(str::to_owned),
    };
    assert_eq!(found.create_topics, [topic("a", 1, None), topic("b", 2, Some("compact"))]);
    for bad in ["a", "a:x:1", ":1:1", "a:1:1:compact:more"] {
        let refusal = crate::environment::read(variables(&[("KAFKA_CREATE_TOPICS", bad)])).map(|_| ());
        assert_eq!(refusal, Err(StartError::CreateTopics { entry: bad.into() }));
    }
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_file() {
    let loaded = Sources {
        file: Some((
            "f".into(),
            "num.partitions=1\nnum.io.threads=1\ngroup.max.size=1\nlog.dirs=/f\n".into(),
        )),
        environment: variables(&[("KAFKA_NUM_PARTITIONS", "2"), ("KAFKA_GROUP_MAX_SIZE", "2")]),
        set: vec!["group.max.size=3".into()],
        data_dir: Some("/d".into()),
        container: false,
    }
    .load()
    .unwrap();
    let broker = &loaded.broker;
    assert_eq!((broker.num_io_threads(), broker.num_partitions(), broker.group_max_size()), (1, 2, 3));
    assert_eq!(broker.data_dirs(), ["/d"]);
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn what_has_no_effect_warns_and_does_not_stop_a_start() {
    for (setting, want) in [
        (
            "zookeeper.connect=a:2181",
            "zookeeper.connect is ignored: there is no ZooKeeper, metadata lies in the brokers' own quorum",
        ),
        (
            "inter.broker.protocol.version=3.6",
            "inter.broker.protocol.version is ignored: it went with Kafka 4.0",
        ),
        (
            "num.partition=3",
            "num.partition is not a setting of this broker and is ignored; did you mean num.partitions?",
        ),
        (
            "confluent.support.metrics.enable=false",
            "confluent.support.metrics.enable is not a setting of this broker and is ignored",
        ),
        ("super.users=User:a", "accepted, without effect yet (see docs/configuration.md): super.users"),
    ] {
        let loaded = Sources { set: vec![setting.into()], ..Sources::default() }.load().unwrap();
        assert_eq!(loaded.warnings, [want.to_owned()]);
    }
}

#[test]
fn settings_of_later_releases_share_one_line() {
    let set = ["socket.send.buffer.bytes=1", "max.connections=5", "listener.name.x.ssl.key.password=secret"];
    let loaded = Sources { set: set.map(str::to_owned).into(), ..Sources::default() }.load().unwrap();
    assert_eq!(
        loaded.warnings,
        ["accepted, without effect yet (see docs/configuration.md): listener.name.x.ssl.key.password, \
          max.connections, socket.send.buffer.bytes"]
    );
}

#[test]
fn older_names_and_missing_listeners_are_filled_in() {
    let loaded = Sources {
        environment: variables(&[
            ("KAFKA_BROKER_ID", "7"),
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:9092,HOST://localhost:29092"),
            ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,HOST:PLAINTEXT"),
        ]),
        ..Sources::default()
    }
    .load()
    .unwrap();
    assert_eq!(loaded.broker.node_id(), 7);
    let bind: Vec<_> = loaded
        .broker
        .listeners()
        .bind
        .iter()
        .map(|it| (it.name.as_str(), it.host.as_str(), it.port))
        .collect();
    assert_eq!(bind, [("PLAINTEXT", "0.0.0.0", 9092), ("HOST", "0.0.0.0", 29092)]);
}

#[test]
fn a_set_argument_without_value_is_refused() {
    let refusal = Sources { set: vec!["num.partitions".into()], ..Sources::default() }.load().map(|_| ());
    assert_eq!(refusal, Err(StartError::Set("num.partitions".into())));
}

proptest::proptest! {
    /// Files and variables come from anywhere.
    #[test]
    fn no_text_makes_a_reader_panic(text in "(?s).{0,80}", value in "[A-Z0-9:/\\[\\],.%-]{0,40}") {
        let _ = properties::parse("f", &text);
        let _ = crate::topic_list::parse(&text);
        let _ = crate::environment::read(variables(&[(&text, &text), (&format!("KAFKA_{text}"), &text)]));
        for setting in ["listeners", "advertised.listeners", "listener.security.protocol.map"] {
            for value in [&text, &value] {
                let _ = crate::BrokerConfig::new(overrides(&[(setting, value)]));
            }
        }
    }

    /// What is written by the rules is read back.
    #[test]
    fn escaped_properties_are_read_back(key in "[ -~]{1,20}", value in "[!-~][ -~]{0,20}[!-~]") {
        let escape = |text: &str| -> String {
            text.chars().flat_map(|it| [Some('\\').filter(|_| " =:#!\\".contains(it)), Some(it)]).flatten().collect()
        };
        let read = properties::parse("f", &format!("{}={}", escape(&key), escape(&value))).unwrap();
        proptest::prop_assert_eq!(read, overrides(&[(&key, &value)]));
    }
}
