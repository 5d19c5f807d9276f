//! A block store over HTTP: [`router`] offers the store of this process, [`GatewayBlockStore`] uses that of another.
//!
//! | request | answer |
//! |---|---|
//! | `POST /gateway/blocks`, body a CAR whose roots are to be pinned | 204 |
//! | `GET /gateway/blocks/{cid}` | 200 with the block's bytes |
//! | `HEAD /gateway/blocks/{cid}` | 200 or 404 |
//! | `GET /gateway/blocks-health` | 204 |
//!
//! An error is JSON: `code`, `message`, `next`. Whoever reaches these routes may store and read; blocks hold ciphertext only. Nobody may
//! unpin here: it destroys, and a request carries nothing that says whose it is. The routes belong on a loopback address. The client
//! recomputes every CID and trusts the other side with nothing but keeping.

mod client;
mod routes;

use serde::{Deserialize, Serialize};

pub use client::GatewayBlockStore;
pub use routes::router;

const BLOCKS_PATH: &str = "/gateway/blocks";
const BLOCK_PATH: &str = "/gateway/blocks/{cid}";
const HEALTH_PATH: &str = "/gateway/blocks-health";
const CAR_TYPE: &str = "application/vnd.ipld.car";
const BLOCK_TYPE: &str = "application/vnd.ipld.raw";

/// The JSON of a refusal. The CIDs let the client raise the same error as the store did.
#[derive(Debug, Serialize, Deserialize)]
struct ErrorBody {
    code: String,
    message: String,
    next: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    computed: Option<String>,
}
