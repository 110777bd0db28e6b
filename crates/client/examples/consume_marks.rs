//! Reads a topic from its start to its end as fast as the broker gives it: `consume_marks <bootstrap> <topic> [group]`.

use std::time::{Duration, Instant};

use milena_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, GroupOptions, OffsetReset, OffsetSpec,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or("localhost:9092".into());
    let topic = args.next().unwrap_or("marks".into());

    let client = Client::connect(&[bootstrap], ClientOptions::default()).await?;
    let options = ConsumerOptions { reset: OffsetReset::Earliest, ..Default::default() };
    let mut consumer = match args.next() {
        Some(group) => Consumer::subscribe(&client, options, GroupOptions::new(group), [topic]),
        None => {
            let described = client.topic(&topic, false).await?;
            let places =
                described.partitions.iter().map(|it| ((topic.clone(), it.index), OffsetSpec::Earliest));
            Consumer::assign(&client, options, places.collect::<Vec<_>>())
        }
    };
    let (mut count, mut bytes, mut start, mut took) = (0, 0, None, Duration::ZERO);
    loop {
        let fetched = consumer.poll(Duration::from_secs(4)).await?;
        if fetched.is_empty() {
            break;
        }
        let start = *start.get_or_insert_with(Instant::now);
        for record in fetched.iter().flat_map(|it| it.iter()) {
            count += 1;
            bytes += record?.value.map_or(0, <[u8]>::len);
        }
        took = start.elapsed();
    }
    let seconds = took.as_secs_f64();
    println!(
        "{count} records, {:.0}/s, {:.0} MiB/s",
        count as f64 / seconds,
        bytes as f64 / seconds / 1048576.0
    );
    println!("{:?}", consumer.positions());
    consumer.close().await?;
    Ok(())
}
