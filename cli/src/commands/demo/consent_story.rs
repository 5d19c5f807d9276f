//! The chapters about consent: grant, open, refusals, a wallet, revocation, rotation.

use pulsegate_ipfs::record;
use pulsegate_ledger::Signer;
use pulsegate_rules::consent::Effect;
use pulsegate_rules::{Categories, Category, Epoch, Generation, GrantId, Principal, Purpose, Purposes};
use rand::RngCore;
use rand::rngs::OsRng;

use super::streaming::Streamed;
use super::tale::Tale;
use super::world::World;
use crate::actions::explanation::{self, Question};
use crate::actions::granting::{self, GrantPlan, Submission};
use crate::actions::opening::{self, OpenedReading, Opening, PatientLock, Wish};
use crate::actions::{receipts, rotation};
use crate::commands::open as printing;
use crate::failure::Outcome;
use crate::identity::Identity;
use crate::moment;
use crate::output::{count, short};

/// Rows of opened readings that are printed.
const ROWS_MAX: usize = 8;
/// How long a wallet's signature is valid, seconds.
const DEADLINE_S: u64 = 600;
const HOUR_S: u64 = 3_600;
/// How far the grants reach past the streamed hours, hours.
const GRANT_HOURS_AHEAD: u64 = 24;

/// What the later chapters need of the practitioner's grant.
pub(super) struct PractitionerGrant {
    pub(super) grant: GrantId,
    pub(super) generation: Generation,
    /// The keys as the practitioner keeps them, whatever the patient does later.
    pub(super) kept_keys: PatientLock<'static>,
}

pub(super) fn wish(world: &World, category: Category, purpose: Purpose, from_s: u64, until_s: u64) -> Wish {
    Wish { patient: world.people.patient.principal(), category, purpose, from_s, until_s }
}

pub(super) async fn read(tale: &mut Tale, world: &World, reader: &Identity, wish: &Wish) -> Outcome<Opening> {
    let opening = opening::open(&world.session, reader, wish).await?;
    tale.requests += opening.requests;
    tale.expect(opening.faults.is_empty(), format!("everything that opens checks ({:?})", opening.faults.first()))?;
    Ok(opening)
}

/// The patient grants, the practitioner opens exactly that.
pub(super) async fn grant_and_open(tale: &mut Tale, world: &World, streamed: &Streamed) -> Outcome<PractitionerGrant> {
    tale.chapter("The patient grants the practitioner a window, and the practitioner opens it");
    let people = &world.people;
    let (from_s, until_s) = (streamed.from_s + HOUR_S, streamed.until_s + GRANT_HOURS_AHEAD * HOUR_S);
    let plan = GrantPlan {
        grantee: people.practitioner.principal(),
        effect: Effect::Permit,
        categories: Categories::of(&[Category::VitalSigns]),
        purposes: Purposes::of(&[Purpose::Treatment]),
        from_s,
        until_s,
    };
    for old in standing(world, people.practitioner.principal()).await? {
        granting::revoke(&world.session, &people.patient, old, &Submission::Patient).await?;
        tale.say(format_args!("grant {old}, which an interrupted run left, is taken back"));
    }
    let granted = granting::grant(&world.session, &people.patient, &plan, &Submission::Patient).await?;
    tale.say(format_args!(
        "grant {}: vital signs for treatment, measured {} until {}",
        granted.grant,
        moment::format_s(from_s),
        moment::format_s(until_s)
    ));
    tale.say(format_args!("wrapped keys {}", granted.wrapped_keys.as_deref().unwrap_or("none")));
    tale.say(format_args!("transaction  {} in block {}", granted.transaction.hash, granted.transaction.block));
    tale.fact("grant", &granted);
    let opening = read(
        tale,
        world,
        &people.practitioner,
        &wish(world, Category::VitalSigns, Purpose::Treatment, from_s, streamed.until_s),
    )
    .await?;
    let expected = streamed.count(Category::VitalSigns, from_s);
    tale.say(format_args!(
        "the practitioner opens {} readings of {} on chain; the first ones:",
        count(opening.readings.len() as u64),
        count(opening.on_chain)
    ));
    printing::table(tale.output, opening.readings.iter().take(ROWS_MAX));
    let worst = opening.readings.iter().filter_map(news2).max_by_key(|(aggregate, _)| *aggregate);
    if let Some((aggregate, at_ms)) = worst {
        tale.say(format_args!("the highest NEWS2 score in the window is {aggregate}, at {}", moment::format_ms(at_ms)));
    }
    tale.fact("opened", opening.readings.len());
    tale.fact("highest_news2", worst.map(|(aggregate, _)| aggregate));
    tale.expect(
        opening.readings.len() as u64 == expected,
        format!("all {expected} readings of the window open, and no other"),
    )?;
    tale.expect(opening.refused.is_empty(), "nothing of the window is refused")?;
    let kept_keys =
        match opening::patient_lock(&world.session, &people.practitioner, people.patient.principal()).await? {
            PatientLock::Granted(keys) => PatientLock::Granted(keys),
            PatientLock::Own(_) => PatientLock::Granted(Vec::new()),
        };
    Ok(PractitionerGrant { grant: granted.grant, generation: granted.generation, kept_keys })
}

/// Whatever is outside of the grant is refused, and the reason is said.
pub(super) async fn attempts(
    tale: &mut Tale,
    world: &World,
    streamed: &Streamed,
    granted: &PractitionerGrant,
) -> Outcome<()> {
    tale.chapter("Whatever is outside of the grant is refused");
    let people = &world.people;
    let (from_s, until_s) = (streamed.from_s + HOUR_S, streamed.until_s);
    let before = wish(world, Category::VitalSigns, Purpose::Treatment, streamed.from_s, from_s);
    refused(
        tale,
        world,
        ("the practitioner, an hour before the window", &people.practitioner),
        &before,
        "OUTSIDE_WINDOW",
    )
    .await?;
    let epoch = Epoch::at(streamed.from_s).unwrap_or_default();
    let leaf = granted.kept_keys.leaf(granted.generation, Category::VitalSigns, epoch);
    tale.expect(leaf.is_none(), "the granted keys do not reach the hour before the window")?;
    tale.say("and the granted keys do not reach that hour, so oracle and store together could not help either");
    let ecg = wish(world, Category::Ecg, Purpose::Treatment, from_s, until_s);
    refused(tale, world, ("the practitioner, the ECG", &people.practitioner), &ecg, "CATEGORY_NOT_COVERED").await?;
    let research = wish(world, Category::VitalSigns, Purpose::Research, from_s, until_s);
    refused(tale, world, ("the practitioner, for research", &people.practitioner), &research, "PURPOSE_NOT_COVERED")
        .await?;
    let payment = wish(world, Category::VitalSigns, Purpose::Payment, from_s, until_s);
    refused(tale, world, ("the insurer, without any grant", &people.insurer), &payment, "NO_GRANT").await?;
    let question = Question {
        patient: people.patient.principal(),
        reader: people.practitioner.principal(),
        category: Category::Ecg,
        purpose: Purpose::Treatment,
        at_s: from_s,
    };
    let explained = explanation::explain(&world.session, &question).await?;
    for outcome in explained.grants.iter().filter(|outcome| outcome.grant == granted.grant) {
        tale.say(format_args!("explain: grant {} {} and {}", outcome.grant, outcome.effect, outcome.says));
    }
    tale.say(format_args!("explain: {}", explained.answer));
    Ok(())
}

async fn refused(
    tale: &mut Tale,
    world: &World,
    (who, reader): (&str, &Identity),
    wish: &Wish,
    reason: &str,
) -> Outcome<()> {
    let opening = read(tale, world, reader, wish).await?;
    let reasons = opening.refusals();
    tale.say(format_args!(
        "{who}: {} refused, {}",
        hours(opening.refused.len()),
        reasons.iter().map(|(code, _)| *code).collect::<Vec<_>>().join(", ")
    ));
    tale.fact(who, &opening.refused);
    tale.expect(opening.readings.is_empty(), format!("{who}: nothing opens"))?;
    tale.expect(
        !opening.refused.is_empty() && reasons.iter().all(|(code, _)| *code == reason),
        format!("{who}: refused for {reason}"),
    )
}

/// A wallet signs, a stranger submits; the same signature works once.
pub(super) async fn wallet(tale: &mut Tale, world: &World, streamed: &Streamed) -> Outcome<()> {
    tale.chapter("An Ethereum wallet signs a grant (EIP-712), and a stranger submits it");
    let people = &world.people;
    let session = &world.session;
    let address = people.patient.wallet()?.address();
    let linked = session.contracts.consent.set_wallet(people.patient.account(), Some(address)).await?;
    tale.say(format_args!(
        "the patient links wallet 0x{} in block {}",
        hex::encode(address),
        linked.transaction.block.number
    ));
    let deadline_s = session.now_s() + DEADLINE_S;
    let submission = || -> Outcome<Submission> {
        Ok(Submission::Wallet { wallet: people.patient.wallet()?, relayer: stranger(), deadline_s })
    };
    for old in standing(world, people.specialist.principal()).await? {
        let transaction = granting::revoke(session, &people.patient, old, &submission()?).await?;
        tale.say(format_args!(
            "grant {old} of the last run is taken back by wallet signature: {}",
            short(&transaction.hash)
        ));
    }
    let plan = GrantPlan {
        grantee: people.specialist.principal(),
        effect: Effect::Permit,
        categories: Categories::of(&[Category::VitalSigns, Category::Ecg]),
        purposes: Purposes::of(&[Purpose::Treatment]),
        from_s: streamed.from_s,
        until_s: streamed.until_s + GRANT_HOURS_AHEAD * HOUR_S,
    };
    let granted = granting::grant(session, &people.patient, &plan, &submission()?).await?;
    tale.say(format_args!(
        "grant {} to the specialist: vital signs and ECG, relayed in {}",
        granted.grant, granted.transaction.hash
    ));
    tale.fact("grant", &granted);
    let opening = read(
        tale,
        world,
        &people.specialist,
        &wish(world, Category::Ecg, Purpose::Treatment, streamed.from_s, streamed.until_s),
    )
    .await?;
    let expected = streamed.count(Category::Ecg, streamed.from_s);
    tale.say(format_args!("the specialist opens {} ECG readings:", count(opening.readings.len() as u64)));
    printing::table(tale.output, opening.readings.iter().take(3));
    tale.fact("opened", opening.readings.len());
    tale.expect(opening.readings.len() as u64 == expected, format!("all {expected} ECG readings open"))?;
    let stranger_grant = session.contracts.consent.revoke(&stranger(), granted.grant).await;
    tale.expect(stranger_grant.is_err(), "a stranger cannot revoke without the wallet's signature")?;
    tale.say("the stranger's own attempt to revoke that grant is refused by the contract");
    Ok(())
}

/// The NEWS2 score that was sealed with a reading, and when it was measured (Unix milliseconds).
fn news2(opened: &OpenedReading) -> Option<(u8, u64)> {
    let score = opened.payload.verdict.news2()?;
    Some((score.aggregate, opened.reading.measured_at_ms))
}

fn hours(count: usize) -> String {
    if count == 1 { "1 hour".to_owned() } else { format!("{count} hours") }
}

/// The patient's grants to a reader that are not revoked.
async fn standing(world: &World, reader: Principal) -> Outcome<Vec<GrantId>> {
    let mut grants = granting::grants_of(&world.session, world.people.patient.principal()).await?;
    grants.retain(|grant| grant.request.grantee == reader && grant.revoked_at_ms.is_none());
    Ok(grants.into_iter().map(|grant| grant.id).collect())
}

/// Somebody whom nobody knows.
fn stranger() -> Signer {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *seed);
    Signer::from_seed(&seed)
}

/// The patient revokes; the next block refuses.
pub(super) async fn revoke(
    tale: &mut Tale,
    world: &World,
    streamed: &Streamed,
    granted: &PractitionerGrant,
) -> Outcome<()> {
    tale.chapter("The patient revokes the practitioner's grant");
    let people = &world.people;
    world.settle().await?;
    let transaction = granting::revoke(&world.session, &people.patient, granted.grant, &Submission::Patient).await?;
    tale.say(format_args!("grant {} is revoked in block {}: {}", granted.grant, transaction.block, transaction.hash));
    let receipt = receipts::of_revocation(&world.session, &people.patient, granted.grant, transaction).await?;
    for part in &receipt.released {
        tale.say(format_args!(
            "released before, so known: {} of {} until {}",
            part.category,
            moment::format_s(part.from_s),
            moment::format_s(part.until_s)
        ));
    }
    tale.fact("revocation", &receipt);
    tale.expect(!receipt.released.is_empty(), "the revocation receipt lists what had been released")?;
    let again = wish(world, Category::VitalSigns, Purpose::Treatment, streamed.from_s + HOUR_S, streamed.until_s);
    refused(tale, world, ("the practitioner, the same window as before", &people.practitioner), &again, "REVOKED").await
}

/// New keys for whoever's grant stands; the practitioner's old ones open nothing new.
pub(super) async fn rotate(tale: &mut Tale, world: &mut World) -> Outcome<()> {
    tale.chapter("The patient moves to new keys");
    let rotated = rotation::rotate(&world.session, &mut world.people.patient, rotation::DAYS_AHEAD).await?;
    tale.say(format_args!("generation {} is in force: {}", rotated.generation, rotated.transaction.hash));
    tale.say(format_args!("key directory {}", rotated.directory));
    for part in &rotated.rewrapped {
        tale.say(format_args!("grant {} is wrapped again: {}", part.grant, part.wrapped_keys));
    }
    tale.fact("rotation", &rotated);
    let specialist = world.people.specialist.principal();
    tale.expect(
        rotated.rewrapped.iter().any(|part| part.grantee == specialist),
        "the specialist's grant is wrapped again",
    )?;
    let practitioner = world.people.practitioner.principal();
    tale.expect(rotated.rewrapped.iter().all(|part| part.grantee != practitioner), "the practitioner's is not")
}

/// The specialist reads the new hour, the practitioner's kept keys do not open it.
pub(super) async fn after_rotation(
    tale: &mut Tale,
    world: &World,
    before: &Streamed,
    new: &Streamed,
    granted: &PractitionerGrant,
) -> Outcome<()> {
    tale.chapter("The specialist reads on; the keys that the practitioner kept open nothing new");
    let people = &world.people;
    let both = read(
        tale,
        world,
        &people.specialist,
        &wish(world, Category::VitalSigns, Purpose::Treatment, before.from_s, new.until_s),
    )
    .await?;
    let expected = before.count(Category::VitalSigns, before.from_s) + new.count(Category::VitalSigns, new.from_s);
    let newest = both.readings.iter().filter(|opened| opened.found.leaf.generation > granted.generation).count();
    tale.say(format_args!(
        "the specialist opens {} readings, {newest} of them sealed to the new keys",
        count(both.readings.len() as u64)
    ));
    tale.fact("opened_by_specialist", both.readings.len());
    tale.expect(
        both.readings.len() as u64 == expected && newest > 0,
        format!("all {expected} readings open, of both generations"),
    )?;
    let hour = wish(world, Category::VitalSigns, Purpose::Treatment, new.from_s, new.until_s);
    let mut asked = Opening::default();
    let mut found = opening::find(&world.session, &hour, &mut asked.faults).await?;
    found.retain(|found| found.leaf.generation > granted.generation);
    let shares = opening::ask(&world.session, &people.specialist, &hour, &found, &mut asked).await?;
    tale.requests += asked.requests;
    let (mut tried, mut opened) = (0_u64, 0_u64);
    for found in &found {
        let leaf = &found.leaf;
        let old = granted.kept_keys.leaf(granted.generation, Category::VitalSigns, leaf.epoch);
        let (Some(old), Some(share)) = (old, shares.get(&(leaf.generation, leaf.epoch))) else { continue };
        let newer = granted.kept_keys.leaf(leaf.generation, Category::VitalSigns, leaf.epoch);
        let block = world.session.blocks.get(&leaf.record).await?;
        tried += 1;
        opened += u64::from(newer.is_some() || record::open(&block, &old, share).is_ok());
    }
    tale.say(format_args!(
        "the practitioner's kept keys, with a copy of the oracle's share: {tried} new records tried, {opened} open"
    ));
    tale.fact("old_keys_tried", tried);
    tale.expect(
        tried > 0 && opened == 0,
        format!("of {tried} new records, {opened} opened with old keys and a copied share"),
    )
}
