#!/usr/bin/env bash
# Shared by the scripts beside it; sourced, never run. Says what is missing and where to get it, asks servers whether they
# are ready, ends a server by its own process id. Must not start anything, and must not end a process by its name.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Prints the comment at the head of the calling script, without the interpreter line: the script's help.
help_of() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$1"; }

# need COMMAND HOW-TO-GET-IT: ends the script with the hint when the command is not on the PATH.
need() {
  command -v "$1" >/dev/null 2>&1 || die "$1 is not on the PATH.
  $2"
}

# value_of OPTION VALUE: the value, or an end with a message when the option came last.
value_of() {
  [ -n "${2-}" ] || die "$1 needs a value; see --help"
  printf '%s' "$2"
}

need_node() {
  need substrate-contracts-node "It is the chain (version 0.42). Get it from the release page
  https://github.com/paritytech/substrate-contracts-node/releases (v0.42.0), unpack it, set its run bit and put its folder on the PATH."
}

need_kubo() {
  need ipfs "It is Kubo, the IPFS node (0.43 was tested). Get it from https://dist.ipfs.tech/#kubo, unpack it and put its folder on the PATH."
}

need_cargo_contract() {
  need cargo "It comes with Rust: https://rustup.rs"
  cargo contract --version >/dev/null 2>&1 || die "cargo-contract is not installed.
  Version 5.0.3 was tested; it compiles with Rust 1.85:
    rustup toolchain install 1.85 && cargo +1.85 install cargo-contract --version 5.0.3 --locked"
}

need_curl() { need curl "Install it with the package manager of the system, for example: apt-get install curl"; }

# pulsegate_binary: the path of the pulsegate program with the adapters to real parts, built when it is not there.
pulsegate_binary() {
  local path=${PULSEGATE_BIN:-}
  if [ -z "$path" ]; then
    path=$(command -v pulsegate || true)
  fi
  if [ -z "$path" ]; then
    need cargo "It comes with Rust: https://rustup.rs"
    local compile=(cargo build --release --manifest-path "$repository/Cargo.toml" --package pulsegate --features 'real-parts,wallet')
    say "pulsegate is not on the PATH, and PULSEGATE_BIN names none; building it, which takes some minutes the first time:"
    say "  ${compile[*]}"
    "${compile[@]}" >&2
    path=$repository/target/release/pulsegate
  fi
  [ -x "$path" ] || die "$path is not a program; set PULSEGATE_BIN to the pulsegate program, or unset it to build one"
  printf '%s' "$path"
}

# until_ready SECONDS PID PROBE...: runs the probe until it succeeds; fails when the time is over or the process has ended.
until_ready() {
  local seconds=$1 pid=$2 give_up
  shift 2
  give_up=$((SECONDS + seconds))
  while ! "$@" >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || return 1
    [ "$SECONDS" -lt "$give_up" ] || return 1
    sleep 0.2
  done
}

# serve NAME PID: waits for the server, and on an interrupt ends exactly that process.
serve() {
  local name=$1 pid=$2 status=0
  trap 'kill "$pid" 2>/dev/null || true' INT TERM
  # A trapped signal ends the first wait early; the second collects the server's own end.
  wait "$pid" || status=$?
  trap - INT TERM
  wait "$pid" 2>/dev/null || true
  say "$name (process $pid) ended"
  # Ending on our own request is success: 130 and 143 are interrupt and terminate.
  case $status in 0 | 130 | 143) return 0 ;; *) return "$status" ;; esac
}

# account_hex ADDRESS: the 32 account bytes of an SS58 address as 0x hex. Hex is passed through.
# SS58 is base58 of one prefix byte, 32 account bytes and two checksum bytes; the sender of the address is our own chain tool, so
# only the length is checked here, and the contracts refuse an account that does not exist.
account_hex() {
  local address=$1 alphabet=123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz
  local -a bytes=()
  local i j digit carry before hex=
  if [[ $address =~ ^0x[0-9a-f]{64}$ ]]; then
    printf '%s' "$address"
    return
  fi
  for ((i = 0; i < 35; i++)); do bytes[i]=0; done
  for ((i = 0; i < ${#address}; i++)); do
    before=${alphabet%%"${address:i:1}"*}
    digit=${#before}
    [ "$digit" -lt 58 ] || die "'$address' is not an SS58 address"
    carry=$digit
    for ((j = 34; j >= 0; j--)); do
      carry=$((carry + bytes[j] * 58))
      bytes[j]=$((carry & 255))
      carry=$((carry >> 8))
    done
    [ "$carry" -eq 0 ] || die "'$address' is longer than an SS58 address of a 32-byte account"
  done
  [ "${bytes[0]}" -lt 64 ] || die "'$address' has a two-byte network prefix, which is not supported here"
  for ((j = 1; j < 33; j++)); do printf -v hex '%s%02x' "$hex" "${bytes[j]}"; done
  printf '0x%s' "$hex"
}
