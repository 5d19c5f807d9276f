#!/usr/bin/env bash
# A rustc wrapper (cargo's RUSTC_WRAPPER): makes the contracts' code the same in whichever folder it is built.
#
# cargo derives a crate's identity from its folder, and the compiler orders functions by it: the contracts and their rules get a fixed
# one. The compiler writes paths of source files into the code: they are cut to begin at the crate. Only wasm is touched.
set -euo pipefail

arguments=("$@")
if [[ " $* " == *" wasm32-unknown-unknown "* ]]; then
  if [[ " $* " =~ " --crate-name "(pulsegate_rules|registry|consent|records)" " ]]; then
    for i in "${!arguments[@]}"; do
      case ${arguments[i]} in
        metadata=*) arguments[i]=metadata=pulsegate-${BASH_REMATCH[1]} ;;
      esac
    done
  fi
  contracts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  arguments+=("--remap-path-prefix=$contracts=contracts")
  if [ -n "${CARGO_MANIFEST_DIR:-}" ]; then
    arguments+=("--remap-path-prefix=$CARGO_MANIFEST_DIR=${CARGO_MANIFEST_DIR##*/}")
  fi
fi
exec "${arguments[@]}"
