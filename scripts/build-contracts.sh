#!/usr/bin/env bash
# Builds the three contracts with cargo-contract 5.0.3 and Rust 1.85, and puts their bundles into contracts/artifacts.
#
# Usage: scripts/build-contracts.sh [--check] [--target DIR]
#
#   --check       write nothing; compare the code hash of each fresh build with the committed one, and fail if one differs.
#                 The code hash is the BLAKE2b-256 of the wasm: the chain's own name for the code. Metadata is not compared.
#                 The same compiler gives the same hash in every folder; with another compiler than the one named in
#                 contracts/artifacts/code-hashes.txt the build is tried, but a difference says nothing and is no failure.
#   --target DIR  where the compiler works (default contracts/target/bundles); an empty folder makes it a build from nothing
#
# Later compilers emit wasm instructions that the contracts pallet refuses, hence 1.85 (a rustup toolchain `ink-1.85` or `1.85`, with
# rust-src and clippy). A build from nothing takes some minutes.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

contracts=$repository/contracts
hashes=$contracts/artifacts/code-hashes.txt
names=(registry consent records)
check=no
target=$contracts/target/bundles
while [ $# -gt 0 ]; do
  case $1 in
    --check) check=yes ;;
    --target) target=$(value_of "$1" "${2-}"); shift ;;
    -h | --help) help_of "$0" && exit 0 ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
  shift
done

# The name of the first 1.85 toolchain that is there with all it needs, or an end that says what is missing.
find_toolchain() {
  local name root found=
  need rustup "It manages Rust compilers: https://rustup.rs"
  for name in ink-1.85 1.85; do
    # Asked for its version, rustup would fetch a toolchain that is missing; a listed one is there.
    rustup toolchain list | grep -q "^$name\(\.[0-9]*\)\?\(-[^ ]*\)\?\( .*\)\?$" || continue
    found=$name
    root=$(rustup run "$name" rustc --print sysroot)
    [ -f "$root/lib/rustlib/src/rust/library/core/src/lib.rs" ] || continue
    rustup run "$name" cargo clippy --version >/dev/null 2>&1 || continue
    printf '%s' "$name"
    return
  done
  [ -z "$found" ] || die "the toolchain $found lacks rust-src or clippy.
  rustup component add --toolchain $found rust-src clippy"
  die "Rust 1.85 is not installed.
  rustup toolchain install 1.85 --component rust-src,clippy"
}

# hash_of FILE: the code hash in a bundle.
hash_of() { sed -n 's/.*"source":{"hash":"\(0x[0-9a-f]*\)".*/\1/p' "$1" | head -n 1; }

need_cargo_contract
toolchain=$(find_toolchain)
version=$(cargo contract --version | sed -n '1s/^[^0-9]*\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p')

mkdir -p "$target/ink/shared"
target=$(cd "$target" && pwd)
# cargo-contract gives every contract of a workspace a target folder of its own; links make it one, so that ink! is compiled once.
for name in "${names[@]}"; do
  [ -e "$target/ink/$name" ] || ln -s shared "$target/ink/$name"
done
# What decides the code besides the source: the compiler, down to its commit and its LLVM.
compiler="cargo-contract $version, $(rustup run "$toolchain" rustc --version --verbose | sed -n '1p; s/^LLVM version: /, LLVM /p' | tr -d '\n')"
say "building with $compiler (toolchain $toolchain) in $target"

differing=0
for name in "${names[@]}"; do
  RUSTUP_TOOLCHAIN=$toolchain CARGO_TARGET_DIR=$target CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback \
    RUSTC_WRAPPER=$contracts/rustc-wrapper.sh \
    cargo contract build --quiet --release --manifest-path "$contracts/$name/Cargo.toml" >&2 || die "$name does not build"
  bundle=$target/ink/$name/$name.contract
  [ -f "$bundle" ] || die "cargo-contract left no $bundle"
  fresh=$(hash_of "$bundle")
  [ -n "$fresh" ] || die "$bundle holds no code hash"
  if [ "$check" = yes ]; then
    committed=$(hash_of "$contracts/artifacts/$name.contract")
    if [ "$fresh" = "$committed" ]; then
      printf '%s %s: the same code as the committed bundle\n' "$fresh" "$name"
    else
      printf '%s %s: the committed bundle holds other code, %s\n' "$fresh" "$name" "${committed:-none}"
      differing=$((differing + 1))
    fi
  else
    mkdir -p "$contracts/artifacts"
    cp "$bundle" "$contracts/artifacts/$name.contract"
    printf '%s %s\n' "$fresh" "$name"
  fi
done

if [ "$check" = no ]; then
  {
    printf '# %s\n' "$compiler"
    for name in "${names[@]}"; do printf '%s  %s\n' "$(hash_of "$contracts/artifacts/$name.contract")" "$name"; done
  } >"$hashes"
elif [ "$differing" -gt 0 ]; then
  grep -qxF "# $compiler" "$hashes" || {
    say "built, but not compared: the committed bundles were built by $(sed -n 's/^# //p' "$hashes")"
    exit 0
  }
  die "$differing committed bundles are not of this source; run scripts/build-contracts.sh and commit contracts/artifacts"
fi
