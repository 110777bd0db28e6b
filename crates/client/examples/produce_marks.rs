//! Sends records as fast as the broker takes them: `produce_marks <bootstrap> <topic> <count> <bytes> [codec] [batch KiB]`.

use std::time::{Duration, Instant};

use milena_client::{Client, ClientOptions, Producer, ProducerOptions, ProducerRecord};
use milena_records::Compression;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or("localhost:9092".into());
    let topic = args.next().unwrap_or("marks".into());
    let count: usize = args.next().map_or(Ok(1_000_000), |it| it.parse())?;
    let bytes: usize = args.next().map_or(Ok(1_000), |it| it.parse())?;
    let codec = args.next().unwrap_or("none".into());
    let compression = Compression::ALL.into_iter().find(|it| it.name() == codec).ok_or("no such codec")?;
    let batch_size = args.next().map_or(Ok(1_000), |it| it.parse::<usize>())? * 1024;

    let client = Client::connect(&[bootstrap], ClientOptions::default()).await?;
    let options =
        ProducerOptions { compression, batch_size, linger: Duration::from_millis(5), ..Default::default() };
    let producer = Producer::start(&client, options).await?;
    let value = vec![b'x'; bytes];
    let start = Instant::now();
    let mut deliveries = Vec::with_capacity(count);
    for _ in 0..count {
        let record = ProducerRecord { topic: &topic, value: Some(&value), ..Default::default() };
        deliveries.push(producer.send(record).await?);
    }
    producer.flush().await?;
    let took = start.elapsed().as_secs_f64();
    println!("{:.0} records/s, {:.0} MiB/s", count as f64 / took, (count * bytes) as f64 / took / 1048576.0);
    let failed: Vec<_> = deliveries.iter().filter_map(|it| it.result()?.err()).collect();
    if let Some(error) = failed.first() {
        println!("{} records failed: {error}", failed.len());
    }
    Ok(())
}
