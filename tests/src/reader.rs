//! A reader with keys in its hands and the wire in front of it: what an honest program would never send, this one can.
//!
//! Used to attack: the same request twice, another's name, a share without the patient's lock.

use pulsegate_ipfs::signing::SigningKey;
use pulsegate_ipfs::wrapping::DecryptionKey;
use pulsegate_ledger::{Contracts, Signer};
use pulsegate_oracle::release::protocol::{ReleaseAnswer, ReleaseRequest};
use pulsegate_rules::registry::{KeyUse, Role};
use pulsegate_rules::{Category, Epoch, Generation, Principal, Purpose};
use rand::RngCore;

use crate::device::now_ms;
use crate::installation::Installation;
use crate::process::http;

/// What a new account gets on a real chain, in its smallest unit.
const ENDOWMENT: u128 = 1_000_000_000_000_000;

/// A registered reader and all of its keys.
pub struct Reader {
    /// Submits its transactions.
    pub account: Signer,
    /// Opens what is wrapped to it.
    pub decryption: DecryptionKey,
    /// Signs its requests.
    pub signing: SigningKey,
    url: String,
    audience: [u8; 32],
}

/// What the oracle said to a request.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The answer, when there is one.
    pub answer: Option<ReleaseAnswer>,
    /// The code of the refusal of the whole request; empty with an answer.
    pub code: String,
}

impl Reader {
    /// Registers a reader whose keys all come from one byte.
    pub async fn registered(installation: &Installation, contracts: &Contracts, seed: u8) -> Self {
        let account = Signer::from_seed(&[seed; 32]);
        if !installation.is_embedded() {
            let endowed =
                installation.ledger().await.endow(&Signer::dev("Alice"), &account.principal(), ENDOWMENT).await;
            endowed.expect("the development account is rich");
        }
        let decryption = DecryptionKey::x25519_from_seed(&[seed; 32]);
        let signing = SigningKey::ed25519_from_seed(&[seed ^ 0xFF; 32]);
        let registry = &contracts.registry;
        registry.register_participant(&account, Role::Practitioner).await.expect("anybody may register");
        let (encryption_key, signing_key) = (decryption.public_key(), signing.public_key());
        for (key_use, key) in [(KeyUse::Encryption, encryption_key), (KeyUse::Signing, signing_key)] {
            registry
                .set_key(&account, key_use, &key.expect("an elliptic key has a public form"))
                .await
                .expect("a participant may set a key");
        }
        let (url, audience) = (installation.url(), installation.audience());
        Self { account, decryption, signing, url, audience }
    }

    /// The account.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.account.principal()
    }

    /// An honest request for treatment, to be changed at will before it is signed.
    #[must_use]
    pub fn request(
        &self,
        patient: Principal,
        category: Category,
        generation: Generation,
        epochs: Vec<Epoch>,
    ) -> ReleaseRequest {
        let mut nonce = [0; 16];
        rand::thread_rng().fill_bytes(&mut nonce);
        ReleaseRequest {
            reader: self.principal(),
            patient,
            category,
            purpose: Purpose::Treatment,
            generation,
            epochs,
            nonce,
            requested_at_ms: now_ms(),
            audience: self.audience,
        }
    }

    /// Sends a body as it is.
    ///
    /// # Panics
    /// When the oracle does not answer, or answers something that is no release answer with status 200.
    pub async fn send(&self, body: Vec<u8>) -> Reply {
        let url = format!("{}/v1/release", self.url);
        let sent = http()
            .post(url)
            .header("content-type", "application/cbor")
            .body(body)
            .send()
            .await
            .expect("the oracle answers");
        let status = sent.status().as_u16();
        let bytes = sent.bytes().await.expect("the answer arrives");
        if status == 200 {
            let answer = ReleaseAnswer::decode(&bytes).expect("the answer decodes");
            return Reply { status, answer: Some(answer), code: String::new() };
        }
        let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Reply { status, answer: None, code: problem["code"].as_str().unwrap_or_default().to_owned() }
    }
}
