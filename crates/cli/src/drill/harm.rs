//! What a round does to brokers, and how it is undone.

use milena_check::{self as check, Event};
use rustix::process::Signal;

use super::cut::Firewall;
use super::fault::Fault;
use super::ground::Land;
use super::recorder::Recorder;
use super::round::{Field, Plan};
use super::seen;
use crate::failure::{Failure, Outcome};

/// The fault of a round, and those it is done to.
pub struct Harm<'a, 'b> {
    /// Says what is done.
    pub plan: &'a Plan,
    /// To whom.
    pub field: &'a mut Field<'b>,
    /// Is told what was done, and when.
    pub recorder: &'a Recorder,
}

impl Harm<'_, '_> {
    fn note(&self, what: String) {
        self.recorder.record(Event::Fault(check::Fault { at: self.recorder.now(), what }));
    }

    fn land(&self) -> Outcome<&Land> {
        self.field.land.ok_or_else(|| {
            Failure::new("this fault needs brokers that the drill has started itself")
                .hint("leave --bootstrap out")
        })
    }

    /// What cuts the victim off, if that is the fault.
    pub fn firewall(&self, victim: i32, controller: i32, ids: &[i32]) -> Outcome<Option<Firewall>> {
        if self.plan.fault != Fault::Partition {
            return Ok(None);
        }
        let others = || ids.iter().copied().filter(|id| *id != victim);
        let other = others().find(|id| *id != controller).or_else(|| others().next()).unwrap_or(victim);
        Ok(Some(self.land()?.firewall(victim, self.plan.cut, other)))
    }

    /// Does it to the victim.
    pub async fn inject(&mut self, victim: i32, firewall: Option<&Firewall>) -> Outcome {
        self.note(format!("{} of broker {victim}", self.plan.fault.name()));
        let node = self.field.nodes.node(victim)?;
        match self.plan.fault {
            Fault::KillLeader | Fault::KillController | Fault::KillBoth => node.signal(Signal::KILL),
            Fault::PowerLossOne => node.signal(Signal::KILL),
            Fault::Pause => node.signal(Signal::STOP),
            Fault::Partition => firewall.map_or(Ok(()), |it| it.close(true)),
            Fault::DiskFull => self.land()?.fill(victim, true),
            Fault::SlowDisk => self.land()?.freeze(victim, true),
            Fault::RollingRestart | Fault::Nothing => Ok(()),
        }
    }

    /// Undoes it; what died is started again.
    pub async fn heal(&mut self, victim: i32, firewall: Option<&Firewall>, round: usize) -> Outcome {
        self.note(format!("healing broker {victim}"));
        match self.plan.fault {
            Fault::KillLeader | Fault::KillController | Fault::KillBoth => {
                self.field.nodes.node(victim)?.ended().await?;
                self.field.nodes.node(victim)?.start()
            }
            Fault::PowerLossOne => {
                self.field.nodes.node(victim)?.ended().await?;
                self.land()?.lose_power(victim, round)?;
                self.field.nodes.node(victim)?.start()
            }
            Fault::Pause => self.field.nodes.node(victim)?.signal(Signal::CONT),
            Fault::Partition => firewall.map_or(Ok(()), |it| it.close(false)),
            Fault::SlowDisk => self.land()?.freeze(victim, false),
            Fault::DiskFull => {
                self.land()?.fill(victim, false)?;
                let node = self.field.nodes.node(victim)?;
                if !node.is_alive() {
                    self.recorder.errors("broker", "ended because its disk was full", 1);
                    self.field.nodes.node(victim)?.start()?;
                }
                Ok(())
            }
            Fault::RollingRestart | Fault::Nothing => Ok(()),
        }
    }

    /// SIGTERM, start, and wait until all is well, one broker after the other.
    pub async fn roll(&mut self, topic: &str, ids: &[i32]) -> Outcome {
        for id in ids {
            self.note(format!("SIGTERM of broker {id}"));
            let node = self.field.nodes.node(*id)?;
            node.signal(Signal::TERM)?;
            node.ended().await?;
            self.note(format!("start of broker {id}"));
            self.field.nodes.node(*id)?.start()?;
            let client = self.field.client;
            if !seen::wait_for_topic(client, topic, self.plan.patience, seen::is_whole).await {
                return Err(Failure::new(format!("broker {id} never came back into sync after its restart")));
            }
        }
        Ok(())
    }
}
