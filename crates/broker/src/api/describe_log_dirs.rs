//! DescribeLogDirs (35), versions 1 to 5: bytes per partition, and of the volume (KIP-827). Consoles show sizes
//! from here.

use std::collections::BTreeMap;

use milena_wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use milena_wire::{ErrorCode, Text};

use crate::hosted::Hosted;
use crate::services::Services;

/// Tells of the one data directory.
pub(crate) fn answer(services: &Services, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let mut topics: BTreeMap<Text, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for hosted in services.partitions.all() {
        if is_asked(request, &hosted) {
            topics.entry((&*hosted.topic).into()).or_default().push(DescribeLogDirsPartition {
                partition_index: hosted.index,
                partition_size: hosted.size_bytes() as i64,
                ..Default::default()
            });
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|it| it.partition_index);
        DescribeLogDirsTopic { name, partitions }
    });
    let (total_bytes, usable_bytes) = services.data_dir.volume_bytes().unwrap_or((-1, -1));
    let result = DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        log_dir: services.data_dir.root().display().to_string().into(),
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        ..Default::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..Default::default() }
}

fn is_asked(request: &DescribeLogDirsRequest, hosted: &Hosted) -> bool {
    let Some(topics) = &request.topics else { return true };
    topics.iter().any(|it| *it.topic == *hosted.topic && it.partitions.contains(&hosted.index))
}
