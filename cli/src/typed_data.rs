//! The message of a grant or a revocation as EIP-712 typed data in JSON, in the shape that `eth_signTypedData_v4` takes, so
//! that any wallet can sign it on any machine.
//!
//! Guarantees: the JSON's digest is the one that the consent contract computes (`pulsegate_rules::eip712`), and what was
//! written reads back as the same message. The JSON holds no secret. Must not: sign, submit, or decide what is granted.

use pulsegate_rules::consent::{Effect, GrantRequest};
use pulsegate_rules::eip712::{DOMAIN_NAME, DOMAIN_TYPE, DOMAIN_VERSION, Domain, GRANT_TYPE, REVOKE_TYPE, Validity};
use pulsegate_rules::{Categories, CidBytes, Generation, GrantId, Principal, Purposes};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};

/// Longest file of typed data that is read, bytes; one that this program writes has some 3,000.
pub(crate) const TYPED_DATA_BYTES_MAX: u64 = 64 * 1_024;
/// Largest whole number that every reader of JSON keeps exactly: 2^53 - 1 (RFC 8259, section 6). Larger ones are decimal text.
const JSON_NUMBER_MAX: u64 = (1 << 53) - 1;

/// What a wallet consents to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// A new grant or denial.
    Grant(GrantRequest),
    /// The end of a grant.
    Revoke(GrantId),
}

/// Everything that a wallet signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypedData {
    /// The contract for which the signature is valid.
    pub(crate) domain: Domain,
    /// Whose consent it is.
    pub(crate) patient: Principal,
    /// To what.
    pub(crate) consent: Consent,
    /// How often and until when.
    pub(crate) validity: Validity,
}

/// The parts of the JSON that carry meaning; the types follow from the primary type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    primary_type: String,
    domain: WrittenDomain,
    message: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenDomain {
    chain_id: Number,
    salt: Principal,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenGrant {
    patient: Principal,
    grantee: Principal,
    effect: Number,
    categories: Number,
    purposes: Number,
    from: Number,
    until: Number,
    wrapped_keys: String,
    generation: Number,
    nonce: Number,
    deadline: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRevocation {
    patient: Principal,
    grant_id: Number,
    nonce: Number,
    deadline: Number,
}

/// A number as wallets write it: a JSON number, decimal text, or hex text.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Number(u64);

impl TryFrom<Value> for Number {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            },
            _ => None,
        };
        number.map(Self).ok_or_else(|| format!("{value} is no number of 64 bits"))
    }
}

impl TypedData {
    /// The JSON, for people and wallets.
    pub(crate) fn to_json(&self) -> Value {
        let (struct_type, message) = match &self.consent {
            Consent::Grant(request) => (GRANT_TYPE, self.grant_message(request)),
            Consent::Revoke(grant) => (
                REVOKE_TYPE,
                json!({
                    "patient": self.patient,
                    "grantId": number(grant.0),
                    "nonce": number(self.validity.nonce),
                    "deadline": number(self.validity.deadline_s),
                }),
            ),
        };
        let ((domain_type, domain_fields), (primary_type, fields)) = (fields(DOMAIN_TYPE), fields(struct_type));
        json!({
            "types": Map::from_iter([(domain_type, domain_fields), (primary_type.clone(), fields)]),
            "primaryType": primary_type,
            "domain": {
                "name": DOMAIN_NAME,
                "version": DOMAIN_VERSION,
                "chainId": number(self.domain.chain_id),
                "verifyingContract": format!("0x{}", hex::encode(&self.domain.contract.0[..20])),
                "salt": self.domain.contract,
            },
            "message": message,
        })
    }

    fn grant_message(&self, request: &GrantRequest) -> Value {
        json!({
            "patient": self.patient,
            "grantee": request.grantee,
            "effect": request.effect as u8,
            "categories": request.categories.0,
            "purposes": request.purposes.0,
            "from": number(request.from_s),
            "until": number(request.until_s),
            "wrappedKeys": request.wrapped_keys.map_or_else(|| "0x".to_owned(), |cid| cid.to_string()),
            "generation": request.generation.0,
            "nonce": number(self.validity.nonce),
            "deadline": number(self.validity.deadline_s),
        })
    }

    /// Reads the JSON back.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        Self::read(text).map_err(|why| {
            Failure::new("TYPED_DATA_MALFORMED", format!("this is no typed data of a grant or a revocation: {why}"))
                .next("give the JSON as `pulsegate grant --print-typed-data` or `pulsegate revoke --print-typed-data` wrote it")
        })
    }

    fn read(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let domain = Domain { chain_id: written.domain.chain_id.0, contract: written.domain.salt };
        let wrong = |error: serde_json::Error| format!("`message`: {error}");
        match written.primary_type.as_str() {
            "Grant" => {
                let message: WrittenGrant = serde_json::from_value(written.message).map_err(wrong)?;
                let validity = Validity { nonce: message.nonce.0, deadline_s: message.deadline.0 };
                let patient = message.patient;
                Ok(Self { domain, patient, consent: Consent::Grant(request(&message)?), validity })
            }
            "Revoke" => {
                let message: WrittenRevocation = serde_json::from_value(written.message).map_err(wrong)?;
                let validity = Validity { nonce: message.nonce.0, deadline_s: message.deadline.0 };
                let consent = Consent::Revoke(GrantId(message.grant_id.0));
                Ok(Self { domain, patient: message.patient, consent, validity })
            }
            other => Err(format!("`primaryType` is \"{other}\", neither Grant nor Revoke")),
        }
    }
}

fn request(message: &WrittenGrant) -> Result<GrantRequest, String> {
    let effect = match message.effect.0 {
        0 => Effect::Permit,
        1 => Effect::Deny,
        other => return Err(format!("`message.effect` is {other}, neither 0 nor 1")),
    };
    let wrapped_keys = match message.wrapped_keys.as_str() {
        "0x" => None,
        cid => Some(cid.parse::<CidBytes>().map_err(|error| format!("`message.wrappedKeys`: {error}"))?),
    };
    Ok(GrantRequest {
        grantee: message.grantee,
        effect,
        categories: Categories(narrow("categories", message.categories)?),
        purposes: Purposes(narrow("purposes", message.purposes)?),
        from_s: message.from.0,
        until_s: message.until.0,
        wrapped_keys,
        generation: Generation(narrow("generation", message.generation)?),
    })
}

fn narrow<T: TryFrom<u64>>(field: &str, number: Number) -> Result<T, String> {
    T::try_from(number.0).map_err(|_| format!("`message.{field}` is {}, which is too large", number.0))
}

fn number(value: u64) -> Value {
    if value <= JSON_NUMBER_MAX { Value::from(value) } else { Value::from(value.to_string()) }
}

/// The name of a struct type, and its fields as typed data lists them.
fn fields(struct_type: &str) -> (String, Value) {
    let (name, list) =
        struct_type.strip_suffix(')').and_then(|text| text.split_once('(')).expect("the types are Name(type name,…)");
    let field = |pair: &str| {
        let (kind, name) = pair.split_once(' ').expect("every field is a type and a name");
        json!({ "name": name, "type": kind })
    };
    (name.to_owned(), list.split(',').map(field).collect())
}

#[cfg(test)]
mod tests {
    use ethers_core::types::transaction::eip712::{Eip712, TypedData as EthersTypedData};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const MESSAGES: usize = 200;
    const SEED: u64 = 712;

    fn random(rng: &mut StdRng) -> TypedData {
        // Numbers of every length, so that both sides of the largest exact JSON number occur.
        let number = |rng: &mut StdRng| rng.r#gen::<u64>() >> rng.gen_range(0..64);
        let consent = if rng.r#gen() {
            Consent::Revoke(GrantId(number(rng)))
        } else {
            Consent::Grant(GrantRequest {
                grantee: Principal(rng.r#gen()),
                effect: if rng.r#gen() { Effect::Permit } else { Effect::Deny },
                categories: Categories(rng.r#gen()),
                purposes: Purposes(rng.r#gen()),
                from_s: number(rng),
                until_s: number(rng),
                wrapped_keys: rng.r#gen::<bool>().then(|| CidBytes(std::array::from_fn(|_| rng.r#gen()))),
                generation: Generation(rng.r#gen()),
            })
        };
        TypedData {
            domain: Domain { chain_id: number(rng), contract: Principal(rng.r#gen()) },
            patient: Principal(rng.r#gen()),
            consent,
            validity: Validity { nonce: number(rng), deadline_s: number(rng) },
        }
    }

    fn digest(data: &TypedData) -> [u8; 32] {
        match &data.consent {
            Consent::Grant(request) => data.domain.grant_digest(&data.patient, request, &data.validity),
            Consent::Revoke(grant) => data.domain.revoke_digest(&data.patient, *grant, &data.validity),
        }
    }

    #[test]
    fn ethers_reads_the_json_and_signs_the_digest_of_the_contract() {
        let mut rng = StdRng::seed_from_u64(SEED);
        for _ in 0..MESSAGES {
            let data = random(&mut rng);
            let text = data.to_json().to_string();
            // ethers reads every field as wallets write it but the salt, which it wants as a list of numbers.
            let mut json = data.to_json();
            json["domain"]["salt"] = json!(data.domain.contract.0);
            let theirs: EthersTypedData =
                serde_json::from_value(json).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(theirs.encode_eip712().unwrap(), digest(&data), "seed {SEED}: {text}");
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        let mut rng = StdRng::seed_from_u64(SEED);
        for _ in 0..MESSAGES {
            let data = random(&mut rng);
            assert_eq!(TypedData::parse(&data.to_json().to_string()).unwrap(), data, "seed {SEED}");
        }
    }

    #[test]
    fn the_json_has_the_four_parts_that_wallets_take_with_bytes_as_hex() {
        let data = TypedData {
            domain: Domain { chain_id: 7, contract: Principal([0xab; 32]) },
            patient: Principal([1; 32]),
            consent: Consent::Revoke(GrantId(3)),
            validity: Validity { nonce: u64::MAX, deadline_s: 1_800_000_000 },
        };
        let json = data.to_json();
        assert_eq!(json.as_object().unwrap().len(), 4);
        assert_eq!(json["types"]["EIP712Domain"][4], json!({ "name": "salt", "type": "bytes32" }));
        assert_eq!(json["types"]["Revoke"][1], json!({ "name": "grantId", "type": "uint64" }));
        assert_eq!(json["domain"]["chainId"], 7);
        assert_eq!(json["domain"]["salt"], format!("0x{}", "ab".repeat(32)));
        assert_eq!(json["domain"]["verifyingContract"], format!("0x{}", "ab".repeat(20)));
        assert_eq!(json["message"]["nonce"], u64::MAX.to_string());
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let grant = std::iter::repeat_with(|| random(&mut rng))
            .find(|data| matches!(data.consent, Consent::Grant(_)))
            .expect("every second one is a grant");
        for (path, value, why) in [
            ("/primaryType", json!("Mail"), "neither Grant nor Revoke"),
            ("/message/effect", json!(2), "effect"),
            ("/message/categories", json!(65_536), "categories"),
            ("/message/nonce", json!(-1), "no number"),
            ("/message/wrappedKeys", json!("0x01"), "wrappedKeys"),
            ("/message/patient", json!("anna"), "message"),
        ] {
            let mut json = grant.to_json();
            *json.pointer_mut(path).unwrap() = value;
            let failure = TypedData::parse(&json.to_string()).unwrap_err();
            assert_eq!(failure.code, "TYPED_DATA_MALFORMED");
            assert!(failure.message.contains(why), "{path}: {}", failure.message);
        }
        assert_eq!(TypedData::parse("{}").unwrap_err().code, "TYPED_DATA_MALFORMED");
    }
}
