//! The chapters about people and their device: enrolling, registering, and the agent that sends.

use std::path::PathBuf;

use pulsegate_device_agent::{Agent, AgentConfig, create_key_file, read_key_file};
use pulsegate_ipfs::Cid;
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::Role;
use pulsegate_rules::{Categories, Category};

use super::Args;
use super::tale::Tale;
use super::world::World;
use crate::actions::{batches, devices, enrolment, rotation};
use crate::failure::Outcome;
use crate::identity::Identity;
use crate::moment;
use crate::output::short;
use crate::session::Session;

/// The patient's device and its agent.
pub(super) struct DemoDevice {
    pub(super) agent: Agent,
    pub(super) seed: u64,
    pub(super) replay: Option<PathBuf>,
}

/// Enrols the four people, or what of them is not enrolled yet.
pub(super) async fn people(tale: &mut Tale, world: &mut World) -> Outcome<()> {
    tale.chapter("A patient, a practitioner, a specialist and an insurer enrol");
    let people = &mut world.people;
    let everybody: [(&str, &mut Identity, Role); 4] = [
        ("patient", &mut people.patient, Role::Patient),
        ("practitioner", &mut people.practitioner, Role::Practitioner),
        ("specialist", &mut people.specialist, Role::Practitioner),
        ("insurer", &mut people.insurer, Role::Insurer),
    ];
    for (name, identity, role) in everybody {
        let enrolled = enrolment::enrol(&world.session, identity, role, rotation::DAYS_AHEAD).await?;
        tale.say(format_args!(
            "{name:12} {} ({}, {}; {} transactions)",
            enrolled.account,
            enrolled.encryption,
            enrolled.signing,
            enrolled.transactions.len()
        ));
        if let Some(published) = &enrolled.published {
            tale.say(format_args!(
                "             published the public keys of every hour until {}: {}",
                moment::format_s(published.until_s),
                short(&published.directory)
            ));
        }
        tale.fact(name, &enrolled);
    }
    Ok(())
}

/// Registers the device, or takes up the one of the last run, and opens its agent.
pub(super) async fn device(tale: &mut Tale, world: &World, args: &Args) -> Outcome<DemoDevice> {
    tale.chapter("The patient adds a device");
    let path = world.folder.join("device.key");
    let key = if path.exists() { read_key_file(&path)? } else { create_key_file(&path)? };
    let categories = Categories::of(&[Category::VitalSigns, Category::Ecg]);
    let added = devices::register(&world.session, &world.people.patient, &key, categories).await?;
    match &added.transaction {
        Some(transaction) => {
            tale.say(format_args!("device {} may send {}", added.device, added.categories));
            tale.say(format_args!("transaction {} in block {}", transaction.hash, transaction.block));
        }
        None => tale.say(format_args!("device {} of the last run goes on", added.device)),
    }
    tale.fact("device", &added);
    let deployment = &world.session.contracts.deployment;
    let audience = pulsegate_reading::audience(&deployment.genesis, &deployment.records);
    let config = AgentConfig::new(&world.oracle_url, world.people.patient.principal(), audience);
    let agent = Agent::open(&world.folder.join("agent"), key, config, world.clock.as_clock())?;
    let left = agent.pending()?;
    if left > 0 {
        agent.drain().await?;
        tale.say(format_args!("{left} readings that an interrupted run left in the device's queue are sent"));
    }
    Ok(DemoDevice { agent, seed: world.state.seed, replay: args.replay.clone() })
}

impl DemoDevice {
    /// How many readings the oracle acknowledged, over all runs.
    pub(super) fn acknowledged(&self) -> Outcome<u64> {
        Ok(self.agent.head()?.0 - self.agent.pending()?)
    }
}

/// The record that was anchored last.
pub(super) async fn newest_record(session: &Session) -> Outcome<Option<Cid>> {
    let bar = session.output.progress(0, "reading manifests");
    let chains = batches::read_all(session, BatchKind::Records, &bar).await?;
    bar.finish_and_clear();
    let newest = chains.iter().filter_map(|chain| chain.batches.last()).max_by_key(|batch| batch.anchored_at_ms);
    Ok(newest.and_then(|batch| batch.manifest.leaves.last()).map(|leaf| *leaf.cid()))
}
