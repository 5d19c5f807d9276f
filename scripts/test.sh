#!/usr/bin/env bash
# Checks the whole tree: formatting, clippy and documentation with warnings denied, all tests, the contracts, the scripts.
#
# Usage: scripts/test.sh [--tests-only]
#
#   --tests-only   just the tests, without formatting, clippy, documentation and supply-chain checks
#
# Needs a stable Rust toolchain and a C compiler, nothing else. What else it finds on the PATH it uses: the contracts node,
# Kubo, cargo-contract, cargo-deny, shellcheck. At the end it says what it found, and which scenarios ran or did not.
# With PULSEGATE_DATA set to a folder that holds physionet2012/ and mitdb/, recorded patients are replayed too.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tests_only=no
while [ $# -gt 0 ]; do
  case $1 in
    --tests-only) tests_only=yes ;;
    -h | --help) help_of "$0" && exit 0 ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
  shift
done
cd "$repository"
need cargo "It comes with Rust: https://rustup.rs"

# One set of features for every step, so that nothing is compiled twice.
features=pulsegate/real-parts,pulsegate/wallet,pulsegate/fault-injection
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PULSEGATE_TEST_REPORT=$work/scenarios
: >"$PULSEGATE_TEST_REPORT"
results=()
failures=0

# step NAME COMMAND...: runs one check and remembers how it ended.
step() {
  local name=$1 began=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@" 2>&1 | tee "$work/output"; then
    results+=("ok       $name ($((SECONDS - began)) s)")
  else
    results+=("FAILED   $name ($((SECONDS - began)) s)")
    failures=$((failures + 1))
  fi
  cat "$work/output" >>"$work/all"
}
left_out() { results+=("not run  $1: $2"); }

has_cargo_command() { cargo "$1" --version >/dev/null 2>&1; }

documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --features "$features"; }

checks() {
  if has_cargo_command fmt; then
    step 'formatting' cargo fmt --all --check
    step 'formatting of the contracts' cargo fmt --manifest-path contracts/Cargo.toml --all --check
  else
    left_out 'formatting' 'rustfmt is not installed (rustup component add rustfmt)'
  fi
  if has_cargo_command clippy; then
    step 'clippy' cargo clippy --locked --workspace --all-targets --features "$features" -- -D warnings
  else
    left_out 'clippy' 'clippy is not installed (rustup component add clippy)'
  fi
  step 'documentation' documentation
  if command -v shellcheck >/dev/null 2>&1; then
    step 'shellcheck' shellcheck --external-sources scripts/*.sh .ci/run
  else
    left_out 'shellcheck' 'shellcheck is not installed (apt-get install shellcheck)'
  fi
  if has_cargo_command deny; then
    step 'cargo deny: licences, bans, sources' cargo deny --all-features check licenses bans sources
    # Advisories come from a database of their own, which a machine without internet does not have.
    if cargo deny fetch db >/dev/null 2>&1; then
      step 'cargo deny: advisories' cargo deny --all-features check advisories
    else
      left_out 'cargo deny: advisories' 'the advisory database cannot be fetched'
    fi
  else
    left_out 'cargo deny' 'cargo-deny is not installed (cargo install cargo-deny --locked)'
  fi
  if has_cargo_command machete; then
    step 'unused dependencies' cargo machete
  else
    left_out 'unused dependencies' 'cargo-machete is not installed (cargo install cargo-machete --locked)'
  fi
}

# Whether the contracts can be rebuilt here: cargo-contract and the older compiler that they need. Asked for its version, rustup would
# fetch a toolchain that is missing; a listed one is there.
can_build_contracts() {
  cargo contract --version >/dev/null 2>&1 || return 1
  rustup toolchain list 2>/dev/null | grep -qE '^(ink-1\.85|1\.85)'
}

contracts() {
  step 'tests of the contracts' cargo test --locked --manifest-path contracts/Cargo.toml --workspace
  if can_build_contracts; then
    step 'contract build, code hashes compared' scripts/build-contracts.sh --check
  else
    left_out 'contract build, code hashes compared' 'needs cargo-contract 5.0.3 and Rust 1.85; see scripts/build-contracts.sh --help'
  fi
}

found() {
  if command -v "$1" >/dev/null 2>&1; then
    printf '  found      %-22s %s\n' "$2" "$("$1" "$3" 2>/dev/null | head -n 1)"
  else
    printf '  not found  %-22s %s\n' "$2" "$4"
  fi
}

parts() {
  printf '\nReal components\n'
  found substrate-contracts-node 'contracts node' --version 'see scripts/node.sh --help'
  found ipfs 'Kubo' --version 'see scripts/ipfs.sh --help'
  found cargo-contract 'cargo-contract' --version 'see scripts/build-contracts.sh --help'
  if [ -n "${PULSEGATE_DATA:-}" ] && [ -d "${PULSEGATE_DATA:-}" ]; then
    printf '  found      %-22s\n' 'recorded patients'
  else
    printf '  not found  %-22s %s\n' 'recorded patients' 'set PULSEGATE_DATA to a folder with physionet2012/ and mitdb/'
  fi
}

# suite TEXT FOUND REASON: what the suites of single crates did, which run on every adapter that is there.
suite() {
  if [ "$2" = yes ]; then printf 'ran      %s\n' "$1"; else printf 'not run  %s: %s\n' "$1" "$3"; fi >>"$PULSEGATE_TEST_REPORT"
}
on_path() { if command -v "$1" >/dev/null 2>&1; then printf yes; else printf no; fi; }

suites() {
  local data=no
  [ ! -d "${PULSEGATE_DATA:-/nowhere}/physionet2012" ] || data=yes
  suite "the ledger's suite on a contracts node" "$(on_path substrate-contracts-node)" 'substrate-contracts-node not on the PATH'
  suite "the block store's suite on Kubo" "$(on_path ipfs)" 'ipfs not on the PATH'
  suite "the device agent's sources on recorded patients" "$data" 'PULSEGATE_DATA names no folder with physionet2012/ and mitdb/'
}

summary() {
  local passed failed ignored
  printf '\n== Summary\n'
  printf '  %s\n' "${results[@]}"
  read -r passed failed ignored < <(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$work/all")
  printf '\nTests: %s passed, %s failed, %s ignored\n' "$passed" "$failed" "$ignored"
  parts
  printf '\nScenarios that need real components or data\n'
  # One line a scenario, "ran" or "not run" and why; a scenario that several tests share is named once.
  if [ -s "$PULSEGATE_TEST_REPORT" ]; then sort -u "$PULSEGATE_TEST_REPORT" | sed 's/^/  /'; else printf '  none reported\n'; fi
}

[ "$tests_only" = yes ] || checks
# With all targets, so that the programs which the scenarios run are there, and with the same features.
step 'build' cargo build --locked --workspace --all-targets --features "$features"
step 'tests' cargo test --locked --workspace --no-fail-fast --features "$features"
contracts
suites
summary
if [ "$failures" -gt 0 ]; then
  printf '\n%s of the checks failed.\n' "$failures"
  exit 1
fi
printf '\nEverything that ran passed.\n'
