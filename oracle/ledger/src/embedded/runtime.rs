//! The runtime: five pallets, native, with the numbers of substrate-contracts-node where they matter to a contract.
//!
//! Guarantees: a transaction runs in a block that begins and ends as on a real chain; what a contract sees (block number width, balance
//! width, time, limits) is what it sees on the node. Must not: be called outside externalities, which hold the state.

use frame_support::traits::fungible::Mutate;
use frame_support::traits::{ConstBool, ConstU32, ConstU128, OnFinalize, OnInitialize};
use frame_support::weights::Weight as FrameWeight;
use frame_support::weights::constants::WEIGHT_REF_TIME_PER_SECOND;
use frame_support::{construct_runtime, derive_impl, parameter_types};
use pallet_contracts::{Code, CollectEvents, DebugInfo, Determinism, WeightInfo as _};
use pallet_insecure_randomness_collective_flip as randomness;
use pulsegate_rules::Principal;
use sp_runtime::traits::BlakeTwo256;
use sp_runtime::{AccountId32, BuildStorage, DispatchError, MultiAddress, MultiSignature, Perbill, generic};

use super::Action;
use crate::port::message_value;
use crate::{ContractEvent, LedgerError, Weight};

/// Picoseconds of computation and bytes of proof that one transaction may need: what a block of the node has for them.
const GAS_LIMIT: FrameWeight = FrameWeight::from_parts(1_500_000_000_000, 5 * 1024 * 1024);
/// What every account has on first sight, smallest units; storage deposits are taken from it. Enough for 10^17 bytes.
const ENDOWMENT: u128 = 1_000_000_000_000_000_000_000_000;

const MILLIUNIT: u128 = 1_000_000_000;
const UNIT: u128 = 1_000 * MILLIUNIT;

const fn deposit(items: u32, bytes: u32) -> u128 {
    (items as u128 * UNIT + bytes as u128 * (5 * MILLIUNIT / 100)) / 10
}

/// The header of a block.
pub(super) type Header = generic::Header<u32, BlakeTwo256>;
type Extrinsic = generic::UncheckedExtrinsic<MultiAddress<AccountId32, ()>, RuntimeCall, MultiSignature, ()>;
type Block = generic::Block<Header, Extrinsic>;

construct_runtime!(
    pub enum Runtime {
        System: frame_system,
        Timestamp: pallet_timestamp,
        Randomness: randomness,
        Balances: pallet_balances,
        Contracts: pallet_contracts,
    }
);

parameter_types! {
    /// As the node's: two seconds of computation a block, three quarters of it for transactions. With the database's weights this makes
    /// a message weigh here what it weighs there.
    pub BlockWeights: frame_system::limits::BlockWeights = frame_system::limits::BlockWeights::with_sensible_defaults(
        FrameWeight::from_parts(2 * WEIGHT_REF_TIME_PER_SECOND, u64::MAX),
        Perbill::from_percent(75),
    );
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type AccountData = pallet_balances::AccountData<u128>;
    type BlockWeights = BlockWeights;
    type DbWeight = frame_support::weights::constants::RocksDbWeight;
}

#[derive_impl(pallet_timestamp::config_preludes::TestDefaultConfig)]
impl pallet_timestamp::Config for Runtime {}

impl randomness::Config for Runtime {}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type Balance = u128;
    type ExistentialDeposit = ConstU128<MILLIUNIT>;
    type AccountStore = System;
}

parameter_types! {
    pub Schedule: pallet_contracts::Schedule<Runtime> = Default::default();
    pub const CodeHashLockupDepositPercent: Perbill = Perbill::from_percent(0);
}

#[derive_impl(pallet_contracts::config_preludes::TestDefaultConfig)]
impl pallet_contracts::Config for Runtime {
    type Time = Timestamp;
    type Randomness = Randomness;
    type Currency = Balances;
    type Schedule = Schedule;
    type CallStack = [pallet_contracts::Frame<Self>; 5];
    type DepositPerItem = ConstU128<{ deposit(1, 0) }>;
    type DepositPerByte = ConstU128<{ deposit(0, 1) }>;
    type DefaultDepositLimit = ConstU128<{ deposit(1024, 1024 * 1024) }>;
    type CodeHashLockupDepositPercent = CodeHashLockupDepositPercent;
    type MaxCodeLen = ConstU32<{ super::CODE_BYTES_MAX as u32 }>;
    type UnsafeUnstableInterface = ConstBool<false>;
    type WeightInfo = pallet_contracts::weights::SubstrateWeight<Self>;
    type WeightPrice = NoFee;
}

/// The chain has no fees.
pub struct NoFee;

impl sp_runtime::traits::Convert<FrameWeight, u128> for NoFee {
    fn convert(_weight: FrameWeight) -> u128 {
        0
    }
}

/// The state of the genesis block.
pub(super) fn genesis() -> Result<sp_core::storage::Storage, LedgerError> {
    RuntimeGenesisConfig::default().build_storage().map_err(|reason| LedgerError::Storage { reason })
}

/// What one execution gave.
pub(super) struct Outcome {
    /// The message's or constructor's return value.
    pub(super) data: Vec<u8>,
    /// What it cost.
    pub(super) weight: Weight,
    /// The account of the contract that it made.
    pub(super) created: Option<Principal>,
}

/// A block with one transaction in it.
pub(super) struct Executed {
    /// Its header.
    pub(super) header: Header,
    /// What the transaction gave.
    pub(super) outcome: Outcome,
    /// What the contracts emitted.
    pub(super) events: Vec<ContractEvent>,
}

/// Where a new block stands.
pub(super) struct NewBlock {
    /// Its height.
    pub(super) number: u32,
    /// Hash of the block before.
    pub(super) parent: [u8; 32],
    /// Its time, Unix milliseconds.
    pub(super) timestamp_ms: u64,
}

/// An account's next nonce.
pub(super) fn nonce(account: &Principal) -> u32 {
    System::account_nonce(AccountId32::new(account.0))
}

/// Executes one transaction in one block. An error leaves changes behind that the caller drops with its overlay.
pub(super) fn execute_block(
    block: &NewBlock,
    signer: &Principal,
    action: &Action,
    encoded: Vec<u8>,
) -> Result<Executed, LedgerError> {
    System::reset_events();
    System::initialize(&block.number, &block.parent.into(), &generic::Digest::default());
    <AllPalletsWithSystem as OnInitialize<u32>>::on_initialize(block.number);
    Timestamp::set_timestamp(block.timestamp_ms);
    System::note_finished_initialize();
    System::note_extrinsic(encoded);
    let account = endowed(signer);
    let outcome = execute(&account, action)?;
    System::inc_account_nonce(&account);
    System::note_applied_extrinsic(&Ok(().into()), frame_support::dispatch::DispatchInfo::default());
    System::note_finished_extrinsics();
    <AllPalletsWithSystem as OnFinalize<u32>>::on_finalize(block.number);
    let events = contract_events(block.number);
    Ok(Executed { header: System::finalize(), outcome, events })
}

/// Executes an action on the state as it is, without a block.
pub(super) fn execute_dry(caller: &Principal, action: &Action) -> Result<Outcome, LedgerError> {
    execute(&endowed(caller), action)
}

/// The account, with funds if it is new.
fn endowed(principal: &Principal) -> AccountId32 {
    let account = AccountId32::new(principal.0);
    if !System::account_exists(&account) {
        // Fails only when all money there can be is given away, after 10^14 accounts; then the call fails for lack of funds.
        let _ = <Balances as Mutate<AccountId32>>::mint_into(&account, ENDOWMENT);
    }
    account
}

fn execute(caller: &AccountId32, action: &Action) -> Result<Outcome, LedgerError> {
    match action {
        Action::Call { contract, data } => {
            let result = Contracts::bare_call(
                caller.clone(),
                AccountId32::new(contract.0),
                0,
                GAS_LIMIT,
                None,
                data.clone(),
                DebugInfo::Skip,
                CollectEvents::Skip,
                Determinism::Enforced,
            );
            let returned = result.result.map_err(|error| failed(error, *contract))?;
            let weight = result.gas_consumed.saturating_add(ContractWeights::call());
            let data = message_value(returned.data, returned.flags.bits())?;
            Ok(Outcome { data, weight: weight_of(weight), created: None })
        }
        Action::Instantiate { code, data, salt } => {
            let result = Contracts::bare_instantiate(
                caller.clone(),
                0,
                GAS_LIMIT,
                None,
                Code::Upload(code.clone()),
                data.clone(),
                salt.clone(),
                DebugInfo::Skip,
                CollectEvents::Skip,
            );
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let base = ContractWeights::instantiate_with_code(length(code), length(data), length(salt));
            let made = result.result.map_err(|error| failed(error, Principal([0; 32])))?;
            let created = Principal(made.account_id.into());
            let data = message_value(made.result.data, made.result.flags.bits())?;
            Ok(Outcome { data, weight: weight_of(result.gas_consumed.saturating_add(base)), created: Some(created) })
        }
    }
}

type ContractWeights = <Runtime as pallet_contracts::Config>::WeightInfo;

fn weight_of(weight: FrameWeight) -> Weight {
    Weight { ref_time_ps: weight.ref_time(), proof_bytes: weight.proof_size() }
}

fn failed(error: DispatchError, contract: Principal) -> LedgerError {
    match <&'static str>::from(error) {
        "ContractNotFound" => LedgerError::NoContract { contract },
        reason => LedgerError::Failed { reason: reason.to_owned() },
    }
}

fn contract_events(block: u32) -> Vec<ContractEvent> {
    let records = System::read_events_no_consensus();
    records
        .filter_map(|record| match record.event {
            RuntimeEvent::Contracts(pallet_contracts::Event::ContractEmitted { contract, data }) => {
                let topics = record.topics.iter().map(|topic| topic.0).collect();
                Some(ContractEvent { contract: Principal(contract.into()), block: u64::from(block), topics, data })
            }
            _ => None,
        })
        .collect()
}
