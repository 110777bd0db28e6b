//! What the kernel takes to carry bytes from one process to another: a bare TCP copy over loopback.
//!
//! Replication is held against it: whatever else a broker does for a replicated byte, it must send and receive it.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{own_cpu_seconds, Options, Outcome};

/// Bytes of one write and of one read at most: as much as a fetch of one partition.
const STEP: usize = 1 << 20;

/// Carries `megabytes` MiB over each of `connections`.
pub fn copy(options: &Options) -> Outcome {
    let connections: usize = options.number("connections", 1)?;
    let bytes = options.number("megabytes", 1_024_usize)? << 20;
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut copies = Vec::new();
        for _ in 0..connections {
            let (mut out, accepted) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
            let mut received = accepted.0;
            copies.push(tokio::spawn(async move {
                let step = vec![1; STEP];
                for _ in 0..bytes / STEP {
                    out.write_all(&step).await?;
                }
                Ok::<_, std::io::Error>(())
            }));
            copies.push(tokio::spawn(async move {
                let (mut buffer, mut left) = (vec![0; STEP], bytes);
                while left > 0 {
                    match received.read(&mut buffer).await? {
                        0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                        count => left -= count,
                    }
                }
                Ok(())
            }));
        }
        for copy in copies {
            copy.await.map_err(std::io::Error::other)??;
        }
        Ok::<_, std::io::Error>(())
    })?;
    Ok(json!({
        "bytes": bytes * connections,
        "seconds": began.elapsed().as_secs_f64(),
        "client_cpu_seconds": own_cpu_seconds() - cpu,
    }))
}
