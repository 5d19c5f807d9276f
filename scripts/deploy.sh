#!/usr/bin/env bash
# Puts the three contracts on a contracts node with cargo-contract 5.0.3, writes down where they are, admits the oracle, and activates the detector models that come with the program.
#
# Usage: scripts/deploy.sh [--url URL] [--suri SURI] [--admin ADMIN] [--bundles DIR | --build] [--output FILE] [--config FILE]
#
#   --url URL       WebSocket address of the node (default ws://127.0.0.1:9944, where scripts/node.sh starts one)
#   --suri SURI     secret URI of the account that pays and becomes the registry's admin (default //Alice, a development
#                   account: its key is public, so everybody can act as the admin; give your own for anything but a trial)
#   --admin ADMIN   the same account as the pulsegate program names it: dev:alice or an operator's keystore file (default: from --suri)
#   --bundles DIR   folder with registry.contract, consent.contract and records.contract (default contracts/artifacts)
#   --build         build the bundles first (scripts/build-contracts.sh; needs Rust 1.85)
#   --output FILE   where to write the accounts of the contracts and the chain's genesis hash (default deployment.json)
#   --config FILE   the oracle's configuration, whose [contracts] deployment is FILE of --output: makes the oracle's keys when there
#                   are none, and admits it to the contracts. Its keystore's passphrase is asked, or taken from PULSEGATE_PASSPHRASE.
#
# Every run makes new contracts, even where the code is on the chain already.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

url=ws://127.0.0.1:9944
suri=//Alice
admin=
bundles=$repository/contracts/artifacts
build=no
output=deployment.json
config=
while [ $# -gt 0 ]; do
  case $1 in
    --url) url=$(value_of "$1" "${2-}"); shift ;;
    --suri) suri=$(value_of "$1" "${2-}"); shift ;;
    --admin) admin=$(value_of "$1" "${2-}"); shift ;;
    --bundles) bundles=$(value_of "$1" "${2-}"); shift ;;
    --build) build=yes ;;
    --output) output=$(value_of "$1" "${2-}"); shift ;;
    --config) config=$(value_of "$1" "${2-}"); shift ;;
    -h | --help) help_of "$0" && exit 0 ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
  shift
done
need_cargo_contract
if [ -z "$admin" ] && [ -n "$config" ]; then
  [[ $suri =~ ^//(Alice|Bob|Charlie|Dave|Eve|Ferdie)$ ]] || die "--config needs --admin, because --suri is no development account"
  admin=dev:${suri#//}
fi
# Without a phrase before it, a derivation counts from the development phrase, which everybody knows.
if [[ $suri == /* ]]; then
  say "warning: $suri is a development account. Its key is public, so anybody who reaches the chain can act as the admin of"
  say "  these contracts. For anything but a trial give --suri and --admin of an account of your own."
fi
[ -z "$config" ] || [ -f "$config" ] || die "$config is not there; cli/examples/real-parts.toml is one to start from"
[ "$build" = no ] || "$repository/scripts/build-contracts.sh"
for name in registry consent records; do
  [ -f "$bundles/$name.contract" ] || die "$bundles/$name.contract is not there; build it with --build, or name its folder with --bundles"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

genesis=$(cargo contract rpc chain_getBlockHash 0 --output-json --url "$url" 2>"$work/error" | tr -d '" \n') ||
  die "no node answers at $url; scripts/node.sh starts one. $(head -n 1 "$work/error")"
[[ $genesis =~ ^0x[0-9a-f]{64}$ ]] || die "the node at $url gave '$genesis' instead of a genesis hash"
# The first six bytes, big-endian: the chain id that signatures are bound to.
chain_id=$((16#${genesis:2:12}))
# Fresh for every run, so that the accounts of the contracts are new.
salt=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

# install NAME ARGUMENT...: uploads the code where the chain lacks it, makes a contract of it, prints its account as hex.
install() {
  local name=$1 address arguments=()
  shift
  [ $# -eq 0 ] || arguments=(--args "$@")
  # The file comes first: --args takes everything that follows.
  cargo contract instantiate "$bundles/$name.contract" --suri "$suri" --url "$url" --constructor new --salt "0x$salt" \
    --execute --skip-confirm --output-json ${arguments[@]+"${arguments[@]}"} >"$work/$name.json" 2>"$work/$name.error" || {
    cat "$work/$name.json" "$work/$name.error" >&2
    die "$name could not be instantiated at $url"
  }
  address=$(sed -n 's/.*"contract": *"\([^"]*\)".*/\1/p' "$work/$name.json" | head -n 1)
  [ -n "$address" ] || die "cargo-contract did not say where $name is: $(cat "$work/$name.json")"
  account_hex "$address"
}

# height [HASH]: the number of a block, of the newest one without a hash.
height() {
  local number
  number=$(cargo contract rpc chain_getHeader "$@" --output-json --url "$url" | sed -n 's/.*"number": *"0x\([0-9a-f]*\)".*/\1/p')
  printf '%d' "$((16#$number))"
}

# Readers of the chain look at finalised blocks only, so the contracts are there for them a moment later.
until_final() {
  local wanted finalised give_up=$((SECONDS + 60))
  wanted=$(height)
  while finalised=$(cargo contract rpc chain_getFinalizedHead --output-json --url "$url" | tr -d '" \n') && [ "$(height "$finalised")" -lt "$wanted" ]; do
    [ "$SECONDS" -lt "$give_up" ] || die "block $wanted is not final after 60 s; does the node finalise blocks?"
    sleep 0.2
  done
}

say "chain $genesis at $url (chain id $chain_id)"
registry=$(install registry)
say "registry  $registry"
consent=$(install consent "$chain_id")
say "consent   $consent"
records=$(install records "$registry" "$chain_id")
say "records   $records"
until_final

mkdir -p "$(dirname "$output")"
printf '{\n  "registry": "%s",\n  "consent": "%s",\n  "records": "%s",\n  "genesis": "%s"\n}\n' \
  "$registry" "$consent" "$records" "$genesis" >"$output.partial"
mv "$output.partial" "$output"
say "written to $output"

if [ -z "$config" ]; then
  say "next: pulsegate oracle create --config FILE, pulsegate oracle admit --config FILE, pulsegate oracle model approve --activate --config FILE, pulsegate up --config FILE"
  exit 0
fi
pulsegate=$(pulsegate_binary)
"$pulsegate" oracle create --config "$config"
"$pulsegate" oracle admit --config "$config" --admin "$admin"
# The detector models that come with the program; the chain names them active, so the oracle loads them.
"$pulsegate" oracle model approve --activate --config "$config" --admin "$admin"
say "next: pulsegate up --config $config"
