//! Connections: negotiation, order of answers, and every way in which they end.

mod fake;

use std::time::Duration;

use fake::{Fake, Reply, answer_bytes, metadata, nobody, versions};
use milena_client::{Client, ClientOptions, Error, Served, Target};
use milena_wire::api_versions::ApiVersionsResponse;
use milena_wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use milena_wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use milena_wire::metadata::MetadataRequest;
use milena_wire::{ApiKey, ErrorCode, Message, RequestHeader};

fn options() -> ClientOptions {
    ClientOptions {
        retry_backoff: Duration::from_millis(1),
        retry_backoff_max: Duration::from_millis(1),
        ..Default::default()
    }
}

/// Answers every ListGroups with `reply`.
async fn on_list_groups(mut reply: impl FnMut(&RequestHeader) -> Reply + Send + 'static) -> Fake {
    Fake::start(move |(header, _)| (header.api() == Some(ApiKey::ListGroups)).then(|| reply(header))).await
}

async fn connect(fake: &Fake, options: ClientOptions) -> Client {
    Client::connect(&fake.bootstrap(), options).await.unwrap()
}

fn answer(code: ErrorCode) -> ListGroupsResponse {
    ListGroupsResponse { error_code: code.code(), ..Default::default() }
}

#[tokio::test]
async fn nobody_listening_is_said_with_what_to_do() {
    let (_held, address) = nobody();
    let refused = Client::connect(std::slice::from_ref(&address), options()).await.err().unwrap();
    let want = format!(
        "cannot reach {address}: connection refused; is the broker running? start one with `milena serve`"
    );
    assert_eq!(refused.to_string(), want);
}

#[tokio::test]
async fn later_bootstrap_addresses_are_tried() {
    let fake = Fake::start(|_| None).await;
    let (_held, nobody) = nobody();
    let client = Client::connect(&[format!("{nobody},{}", fake.address)], options()).await.unwrap();
    assert_eq!(client.metadata().cluster_id.as_deref(), Some("fake"));
    assert_eq!(client.metadata().brokers.keys().collect::<Vec<_>>(), [&1]);
}

#[tokio::test]
async fn older_brokers_are_asked_for_versions_as_they_know_how() {
    let fake = Fake::start(|(header, _)| {
        let refusal = || {
            let code = ErrorCode::UnsupportedVersion.code();
            let known = versions(|api| (api == ApiKey::ApiVersions).then_some((0, 2)));
            ApiVersionsResponse { error_code: code, ..known }
        };
        // As KIP-511 has it: whatever the version asked for, the refusal is written as version 0.
        (header.api() == Some(ApiKey::ApiVersions) && header.api_version > 2)
            .then(|| Reply::Bytes(answer_bytes(header, &refusal(), 0)))
    })
    .await;
    connect(&fake, options()).await;
    let newest = *ApiKey::ApiVersions.versions().end();
    assert_eq!(fake.asked()[..2], [(ApiKey::ApiVersions, newest), (ApiKey::ApiVersions, 2)]);
}

#[tokio::test]
async fn highest_common_version_is_spoken_and_none_is_an_error() {
    let fake = Fake::start(|(header, _)| match header.api() {
        Some(ApiKey::ApiVersions) => Some(Reply::to(
            header,
            &versions(|api| match api {
                ApiKey::ListGroups => Some((0, 3)),
                ApiKey::Heartbeat => Some((90, 99)),
                _ => None,
            }),
        )),
        Some(ApiKey::ListGroups) => Some(Reply::to(header, &answer(ErrorCode::None))),
        _ => None,
    })
    .await;
    let client = connect(&fake, options()).await;
    client.send_to(Target::Any, ListGroupsRequest::default()).await.unwrap();
    assert_eq!(fake.asked().last(), Some(&(ApiKey::ListGroups, 3)));
    let refused = client.send_to(Target::Broker(1), HeartbeatRequest::default()).await;
    assert_eq!(
        refused,
        Err(Error::NoCommonVersion {
            api: ApiKey::Heartbeat,
            address: fake.address.clone(),
            theirs: Served(Some(90..=99)),
            ours: ApiKey::Heartbeat.versions(),
        })
    );
}

#[tokio::test]
async fn requests_are_pipelined_and_answers_find_their_requests() {
    let (nine, nine_came) = tokio::sync::oneshot::channel();
    let (mut nine, mut held, mut count) = (Some(nine), Vec::new(), 0);
    // Nothing is answered until all ten requests are there.
    let fake = Fake::start(move |(header, mut body)| {
        (header.api() == Some(ApiKey::Heartbeat)).then(|| {
            let request = HeartbeatRequest::decode(&mut body, header.api_version).unwrap();
            let answer = HeartbeatResponse { error_code: request.generation_id as i16, ..Default::default() };
            held.extend(answer_bytes(header, &answer, header.api_version));
            count += 1;
            if count == 9 {
                nine.take().unwrap().send(()).unwrap();
            }
            if count < 10 { Reply::Silence } else { Reply::Bytes(std::mem::take(&mut held)) }
        })
    })
    .await;
    let client = connect(&fake, options()).await;
    let send = |generation_id| {
        let client = client.clone();
        let request = HeartbeatRequest { generation_id, ..Default::default() };
        tokio::spawn(async move {
            client.send_once(Target::Broker(1), request, i16::MAX).await.unwrap().error_code
        })
    };
    let mut calls: Vec<_> = (0..9).map(send).collect();
    nine_came.await.unwrap();
    // One caller loses its patience; its answer must not go to another.
    calls.remove(3).abort();
    calls.push(send(9));
    for (call, want) in calls.into_iter().zip([0, 1, 2, 4, 5, 6, 7, 8, 9]) {
        assert_eq!(call.await.unwrap(), want);
    }
}

#[tokio::test]
async fn lost_connections_are_told_or_tried_again() {
    type Ending = fn(&RequestHeader) -> Reply;
    let endings: [(&str, Ending); 4] = [
        ("closed by the broker; it closes on requests and versions that it does not serve", |_| {
            Reply::Close(vec![])
        }),
        ("closed by the broker in the middle of an answer", |_| Reply::Close(vec![0, 0, 0, 9, 1])),
        ("an answer of more than 1000 bytes; is this a Kafka port?", |_| {
            Reply::Bytes(b"HTTP/1.1 400".to_vec())
        }),
        ("answer Some(7) came where 1 was due", |_| Reply::Bytes(vec![0, 0, 0, 4, 0, 0, 0, 7])),
    ];
    for (reason, ending) in endings {
        let mut count = 0;
        let fake = on_list_groups(move |header| {
            count += 1;
            // The versions take correlation id 1 of each connection, so that what is due is known.
            let header = RequestHeader { correlation_id: header.correlation_id, ..header.clone() };
            if count % 2 == 1 { ending(&header) } else { Reply::to(&header, &answer(ErrorCode::None)) }
        })
        .await;
        let options = ClientOptions { max_response_bytes: 1_000, ..options() };
        let client = connect(&fake, options).await;
        let lost = client.send_once(Target::Any, ListGroupsRequest::default(), i16::MAX).await.unwrap_err();
        let Error::Disconnected { address, reason: found } = lost else { panic!("{lost:?}") };
        assert_eq!(address, fake.address);
        if reason.starts_with("answer Some") {
            assert!(found.starts_with("answer Some(7) came where "), "{found}");
        } else {
            assert_eq!(found, reason);
        }
        // The broker is well again from the second request on.
        client.send_to(Target::Any, ListGroupsRequest::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_retriable_code_is_tried_again_and_any_other_is_returned() {
    let mut count = 0;
    let fake = on_list_groups(move |header| {
        count += 1;
        let code = match count {
            1 | 2 => ErrorCode::CoordinatorLoadInProgress,
            3 => ErrorCode::None,
            _ => ErrorCode::GroupAuthorizationFailed,
        };
        Reply::to(header, &answer(code))
    })
    .await;
    let client = connect(&fake, options()).await;
    let send = async || {
        let request = ListGroupsRequest::default();
        client.send_retrying(Target::Any, request, i16::MAX, |it| it.error_code).await.unwrap().error_code
    };
    assert_eq!(send().await, 0);
    assert_eq!(send().await, ErrorCode::GroupAuthorizationFailed.code());
    assert_eq!(fake.asked().iter().filter(|(api, _)| *api == ApiKey::ListGroups).count(), 4);
}

#[tokio::test]
async fn retries_end_at_the_deadline_with_the_last_failure() {
    let fake = on_list_groups(|_| Reply::Close(vec![])).await;
    let deadline = Duration::from_millis(20);
    let client = connect(&fake, ClientOptions { deadline, ..options() }).await;
    let failed = client.send_to(Target::Any, ListGroupsRequest::default()).await.unwrap_err();
    let Error::DeadlinePassed { after, last } = failed else { panic!("{failed:?}") };
    assert_eq!(after, deadline);
    assert!(matches!(*last, Error::Disconnected { .. }), "{last:?}");
}

#[tokio::test]
async fn silence_ends_the_connection_and_the_next_call_opens_another() {
    let (silent, is_silent) = tokio::sync::oneshot::channel();
    let mut silent = Some(silent);
    let fake = on_list_groups(move |header| match silent.take() {
        Some(silent) => {
            silent.send(()).unwrap();
            Reply::Silence
        }
        None => Reply::to(header, &answer(ErrorCode::None)),
    })
    .await;
    let request_timeout = options().request_timeout;
    let client = connect(&fake, options()).await;
    let send = || {
        let client = client.clone();
        async move { client.send_once(Target::Any, ListGroupsRequest::default(), i16::MAX).await }
    };
    let unanswered = tokio::spawn(send());
    is_silent.await.unwrap();
    tokio::time::pause();
    tokio::time::advance(request_timeout).await;
    tokio::time::resume();
    assert_eq!(
        unanswered.await.unwrap(),
        Err(Error::RequestTimedOut {
            api: ApiKey::ListGroups,
            address: fake.address.clone(),
            after: request_timeout,
        })
    );
    assert_eq!(send().await, Ok(answer(ErrorCode::None)));
}

#[tokio::test]
async fn a_topic_is_waited_for_until_its_partitions_have_leaders() {
    let mut count = 0;
    let fake = Fake::start(move |(header, _)| {
        (header.api() == Some(ApiKey::Metadata)).then(|| {
            count += 1;
            let mut answer = metadata(1, &[("t", 2)]);
            match count {
                1 => answer.topics.clear(),
                2 => answer.topics[0].error_code = ErrorCode::LeaderNotAvailable.code(),
                3 => answer.topics[0].partitions[1].leader_id = -1,
                _ => {}
            }
            Reply::to(header, &answer)
        })
    })
    .await;
    let client = connect(&fake, options()).await;
    let topic = client.topic("t", true).await.unwrap();
    assert_eq!(topic.partitions.iter().map(|it| it.leader).collect::<Vec<_>>(), [Some(1), Some(1)]);
    assert_eq!(fake.asked().iter().filter(|(api, _)| *api == ApiKey::Metadata).count(), 4);
    // What is known is not asked for again.
    client.topic("t", true).await.unwrap();
    assert_eq!(fake.asked().iter().filter(|(api, _)| *api == ApiKey::Metadata).count(), 4);
}

#[tokio::test]
async fn an_unknown_topic_fails_at_once_unless_it_may_be_created() {
    let mut count = 0;
    let fake = Fake::start(move |(header, mut body)| {
        (header.api() == Some(ApiKey::Metadata)).then(|| {
            let request = MetadataRequest::decode(&mut body, header.api_version).unwrap();
            let asked = request.topics.unwrap_or_default();
            let mut answer = metadata(1, &[]);
            if !asked.is_empty() {
                count += 1;
                answer = metadata(1, &[("t", 1)]);
                // The second question asks for creation, and creation takes a moment.
                assert_eq!(request.allow_auto_topic_creation, count > 1);
                if count < 4 {
                    answer.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.code();
                }
            }
            Reply::to(header, &answer)
        })
    })
    .await;
    let client = connect(&fake, options()).await;
    let refused = client.topic("t", false).await.unwrap_err();
    assert_eq!(refused, Error::refused("describe topic t", ErrorCode::UnknownTopicOrPartition.code(), None));
    assert_eq!(client.topic("t", true).await.unwrap().partitions.len(), 1);
}
