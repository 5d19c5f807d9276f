//! CAR files, version 1: roots and blocks in one stream of bytes (<https://ipld.io/specs/transport/car/carv1/>).
//!
//! Reading recomputes every CID, limits every length before it allocates, refuses a varint that is longer than needed and anything
//! that follows the last whole block. Blocks keep their order; a block that comes twice is given twice.

use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::SealError;
use crate::block::{BLOCK_BYTES_MAX, Block, decode_canonical, encode};

/// Largest CAR, in bytes.
pub const CAR_BYTES_MAX: usize = 64 << 20;
/// Most blocks in one CAR: a full batch, its manifest, and room.
pub const CAR_BLOCKS_MAX: usize = 8_192;
/// Most roots in one CAR.
pub const CAR_ROOTS_MAX: usize = 64;
const VARINT_BYTES_MAX: usize = 9;
const CID_BYTES: usize = 36;
const VERSION: u64 = 1;
const OBJECT: &str = "CAR header";

/// What a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes.
    pub bytes_max: usize,
    /// Most blocks.
    pub blocks_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: CAR_BYTES_MAX, blocks_max: CAR_BLOCKS_MAX }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderWire {
    roots: Vec<Cid>,
    version: u64,
}

/// Writes a CAR. The roots need not be among the blocks: a store may hold them already.
///
/// # Errors
/// [`SealError::TooMany`] above a limit.
pub fn write(roots: &[Cid], blocks: &[Block]) -> Result<Vec<u8>, SealError> {
    check_count("CAR roots", roots.len(), CAR_ROOTS_MAX)?;
    check_count("CAR blocks", blocks.len(), CAR_BLOCKS_MAX)?;
    let header = encode(&HeaderWire { roots: roots.to_vec(), version: VERSION }, OBJECT)?;
    let body: usize = blocks.iter().map(|block| block.bytes.len() + CID_BYTES + VARINT_BYTES_MAX).sum();
    check_count("CAR bytes", body, CAR_BYTES_MAX)?;
    let mut car = Vec::with_capacity(VARINT_BYTES_MAX + header.len() + body);
    write_varint(&mut car, header.len());
    car.extend_from_slice(&header);
    for block in blocks {
        let cid = block.cid.to_bytes();
        write_varint(&mut car, cid.len() + block.bytes.len());
        car.extend_from_slice(&cid);
        car.extend_from_slice(&block.bytes);
    }
    Ok(car)
}

/// Reads a CAR: its roots and its blocks, each recomputed.
///
/// # Errors
/// [`SealError::MalformedCar`], [`SealError::TooMany`], [`SealError::BlockTooLarge`], [`SealError::WrongCid`],
/// [`SealError::UnsupportedCid`], [`SealError::UnsupportedVersion`].
pub fn read(car: &[u8], limits: Limits) -> Result<(Vec<Cid>, Vec<Block>), SealError> {
    check_count("CAR bytes", car.len(), limits.bytes_max)?;
    let mut rest = car;
    let header = take_section(&mut rest, CAR_ROOTS_MAX * 64 + 64)?;
    let header: HeaderWire = decode_canonical(header, OBJECT)?;
    if header.version != VERSION {
        return Err(SealError::UnsupportedVersion { object: "CAR", version: header.version });
    }
    check_count("CAR roots", header.roots.len(), CAR_ROOTS_MAX)?;
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        check_count("CAR blocks", blocks.len() + 1, limits.blocks_max)?;
        let section = take_section(&mut rest, CID_BYTES + BLOCK_BYTES_MAX)?;
        let mut bytes = section;
        let cid = Cid::read_bytes(&mut bytes).map_err(|_| SealError::MalformedCid)?;
        blocks.push(Block::verified(&cid, bytes.to_vec())?);
    }
    Ok((header.roots, blocks))
}

/// Reads a CAR that must hold its own roots.
///
/// # Errors
/// As [`read`], and [`SealError::MissingRoot`].
pub fn read_complete(car: &[u8], limits: Limits) -> Result<(Vec<Cid>, Vec<Block>), SealError> {
    let (roots, blocks) = read(car, limits)?;
    if let Some(missing) = roots.iter().find(|root| blocks.iter().all(|block| block.cid != **root)) {
        return Err(SealError::MissingRoot { cid: *missing });
    }
    Ok((roots, blocks))
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), SealError> {
    if count > max { Err(SealError::TooMany { what, count, max }) } else { Ok(()) }
}

fn take_section<'a>(rest: &mut &'a [u8], bytes_max: usize) -> Result<&'a [u8], SealError> {
    let length = read_varint(rest)?;
    if length == 0 {
        return Err(SealError::MalformedCar { reason: "a section is empty" });
    }
    if length > bytes_max {
        return Err(SealError::BlockTooLarge { bytes: length, max: bytes_max });
    }
    let (section, after) =
        rest.split_at_checked(length).ok_or(SealError::MalformedCar { reason: "the file ends within a section" })?;
    *rest = after;
    Ok(section)
}

/// Unsigned LEB128, as short as possible, at most nine bytes (<https://github.com/multiformats/unsigned-varint>).
fn read_varint(rest: &mut &[u8]) -> Result<usize, SealError> {
    let mut value = 0u64;
    for position in 0..VARINT_BYTES_MAX {
        let (byte, after) =
            rest.split_first().ok_or(SealError::MalformedCar { reason: "the file ends within a length" })?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            if *byte == 0 && position > 0 {
                return Err(SealError::MalformedCar { reason: "a length is longer than needed" });
            }
            return usize::try_from(value).map_err(|_| SealError::MalformedCar { reason: "a length is too large" });
        }
    }
    Err(SealError::MalformedCar { reason: "a length has more than nine bytes" })
}

fn write_varint(out: &mut Vec<u8>, value: usize) {
    let mut value = value;
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
