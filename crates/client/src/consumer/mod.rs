//! Reading records: of given partitions, or as a member of a group.

mod commits;
mod fetched;
mod fetcher;
mod membership;
mod offsets;
mod options;
mod protocol;

use std::collections::BTreeMap;
use std::time::Duration;

use milena_wire::ErrorCode;
use tokio::time::Instant;

use crate::{Client, Error};
use fetcher::{Fetcher, reset};
use membership::Membership;

pub use commits::offset_fetch_code;
pub use fetched::Fetched;
pub use offsets::TopicPartition;
pub use options::{ConsumerOptions, GroupOptions, OffsetReset, OffsetSpec};

/// Reads records. One answer per broker may wait in memory; no more is read ahead.
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    fetcher: Fetcher,
    membership: Option<Membership>,
    /// Cleared while a rebalance is under way, so that one that was given up half-way is begun again.
    settled: bool,
    committed_at: Instant,
}

impl Consumer {
    /// Reads `partitions`, each from its place on.
    pub fn assign(
        client: &Client,
        options: ConsumerOptions,
        partitions: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
    ) -> Self {
        let mut consumer = Self::new(client, options, None);
        consumer.fetcher.assign(partitions.into_iter().collect());
        consumer
    }

    /// Reads `topics` as a member of a group; it joins in the first [`Consumer::poll`].
    pub fn subscribe(
        client: &Client,
        options: ConsumerOptions,
        group: GroupOptions,
        topics: impl IntoIterator<Item = String>,
    ) -> Self {
        let membership = Membership::new(client.clone(), group, topics.into_iter().collect());
        Self::new(client, options, Some(membership))
    }

    fn new(client: &Client, options: ConsumerOptions, membership: Option<Membership>) -> Self {
        let fetcher = Fetcher::new(client.clone(), options.clone());
        Self {
            client: client.clone(),
            options,
            fetcher,
            membership,
            settled: true,
            committed_at: Instant::now(),
        }
    }

    /// The next records, batch by batch; none when none came within `patience`.
    ///
    /// As a member of a group this also joins and rejoins it, which may take as long as a rebalance takes;
    /// `patience` counts from then.
    pub async fn poll(&mut self, patience: Duration) -> Result<Vec<Fetched>, Error> {
        let mut deadline = Instant::now() + patience;
        loop {
            self.commit_if_due().await?;
            if self.rejoin_if_due().await? {
                deadline = Instant::now() + patience;
            }
            let Some(signal) = self.membership.as_ref().map(Membership::signal) else {
                return self.fetcher.next(deadline).await;
            };
            tokio::select! {
                fetched = self.fetcher.next(deadline) => return fetched,
                () = signal.raised() => {}
            }
        }
    }

    /// What is read now: given partitions, or the member's share.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.fetcher.partitions().cloned().collect()
    }

    /// The generation and the member id by which the partitions are read; `None` outside of a group.
    pub fn generation(&self) -> Option<(i32, &str)> {
        let membership = self.membership.as_ref()?;
        Some((membership.generation, &membership.member_id))
    }

    /// Offset after the last record that was returned, of each partition where it is known.
    pub fn positions(&self) -> BTreeMap<TopicPartition, i64> {
        self.fetcher.positions()
    }

    /// Goes on elsewhere in one of the partitions that are read.
    pub fn seek(&mut self, partition: &TopicPartition, spec: OffsetSpec) -> Result<(), Error> {
        match self.fetcher.seek(partition, spec) {
            true => Ok(()),
            false => Err(Error::NotAssigned { topic: partition.0.clone(), partition: partition.1 }),
        }
    }

    /// Commits the positions: everything returned so far counts as done. Nothing to do outside of a group.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.committed_at = Instant::now();
        match &self.membership {
            Some(membership) => membership.commit(&self.client, &self.fetcher.positions()).await,
            None => Ok(()),
        }
    }

    /// Commits (if that is automatic) and leaves the group.
    pub async fn close(mut self) -> Result<(), Error> {
        let Some(membership) = &self.membership else { return Ok(()) };
        let committed = match membership.options.auto_commit {
            Some(_) if !membership.signal().is_lost() => self.commit().await,
            _ => Ok(()),
        };
        if let Some(membership) = &mut self.membership {
            membership.leave().await?;
        }
        committed
    }

    async fn commit_if_due(&mut self) -> Result<(), Error> {
        let Some(membership) = &self.membership else { return Ok(()) };
        let due = membership.options.auto_commit.is_some_and(|every| self.committed_at.elapsed() >= every);
        if !due || !self.settled || membership.signal().is_due() {
            return Ok(());
        }
        match self.commit().await {
            // The rebalance that is under way commits again.
            Err(error) if joins_again(&error) => Ok(()),
            committed => committed,
        }
    }

    /// Takes part in a rebalance if there is one; returns whether there was.
    async fn rejoin_if_due(&mut self) -> Result<bool, Error> {
        let Some(membership) = &mut self.membership else { return Ok(false) };
        let signal = membership.signal();
        if self.settled && !signal.is_due() {
            return Ok(false);
        }
        self.settled = false;
        if membership.options.auto_commit.is_some() && !signal.is_lost() {
            match membership.commit(&self.client, &self.fetcher.positions()).await {
                Err(error) if !joins_again(&error) => return Err(error),
                _ => {}
            }
        }
        self.fetcher.assign(BTreeMap::new());
        let share = membership.join().await?;
        let partitions: Vec<TopicPartition> = share
            .into_iter()
            .flat_map(|(topic, partitions)| partitions.into_iter().map(move |it| (topic.clone(), it)))
            .collect();
        let committed = match partitions.is_empty() {
            true => BTreeMap::new(),
            false => membership.committed(&self.client, &partitions).await?,
        };
        let mut starts = BTreeMap::new();
        for partition in partitions {
            let start = committed.get(&partition).map(|offset| OffsetSpec::At(*offset));
            let start = start
                .or(reset(self.options.reset))
                .ok_or_else(|| Error::NoPosition { topic: partition.0.clone(), partition: partition.1 })?;
            starts.insert(partition, start);
        }
        self.fetcher.assign(starts);
        self.settled = true;
        self.committed_at = Instant::now();
        Ok(true)
    }
}

fn joins_again(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::RebalanceInProgress
                | ErrorCode::IllegalGeneration
                | ErrorCode::UnknownMemberId
                | ErrorCode::FencedInstanceId
        )
    )
}
