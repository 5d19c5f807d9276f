#!/usr/bin/env bash
# Starts the block store: Kubo, with its RPC and gateway on loopback alone.
#
# Usage: scripts/ipfs.sh [--repo DIR] [--api-port N] [--gateway-port N] [--offline] [--pid-file FILE] [--ready-s N]
#
#   --repo DIR         Kubo's repository (default: .work/ipfs in the repository); created once, continued afterwards
#   --api-port N       port of the RPC on 127.0.0.1 (default 5001)
#   --gateway-port N   port of the HTTP gateway on 127.0.0.1 (default 8081)
#   --offline          no contact to other IPFS nodes: what is stored stays on this machine
#   --pid-file FILE    writes Kubo's process id there
#   --ready-s N        longest wait for the first answer (default 60)
#
# Prints one line when Kubo answers, then stays until interrupted (Ctrl-C) and ends Kubo by its process id.
# Kubo's own log is DIR/pulsegate-kubo.log. Whoever reaches the RPC port can delete blocks: never expose it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

repo=$repository/.work/ipfs
api_port=5001
gateway_port=8081
offline=()
pid_file=
ready_s=60
while [ $# -gt 0 ]; do
  case $1 in
    --repo) repo=$(value_of "$1" "${2-}"); shift ;;
    --api-port) api_port=$(value_of "$1" "${2-}"); shift ;;
    --gateway-port) gateway_port=$(value_of "$1" "${2-}"); shift ;;
    --offline) offline=(--offline) ;;
    --pid-file) pid_file=$(value_of "$1" "${2-}"); shift ;;
    --ready-s) ready_s=$(value_of "$1" "${2-}"); shift ;;
    -h | --help) help_of "$0" && exit 0 ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
  shift
done
need_kubo
need_curl

answers() { curl --silent --fail --max-time 2 --request POST "http://127.0.0.1:$api_port/api/v0/version"; }
if answers >/dev/null 2>&1; then
  die "something answers on port $api_port already; choose another with --api-port"
fi
mkdir -p "$repo"
export IPFS_PATH=$repo
if [ ! -f "$repo/config" ]; then
  # Offline, the profile for tests: no bootstrap peers. Online, Kubo's defaults.
  if [ ${#offline[@]} -gt 0 ]; then ipfs init --profile=test >/dev/null; else ipfs init >/dev/null; fi
fi
ipfs config Addresses.API "/ip4/127.0.0.1/tcp/$api_port"
ipfs config Addresses.Gateway "/ip4/127.0.0.1/tcp/$gateway_port"
log=$repo/pulsegate-kubo.log

ipfs daemon ${offline[@]+"${offline[@]}"} >>"$log" 2>&1 &
pid=$!
[ -z "$pid_file" ] || printf '%s\n' "$pid" >"$pid_file"
if ! until_ready "$ready_s" "$pid" answers; then
  kill "$pid" 2>/dev/null || true
  tail -n 20 "$log" >&2
  die "Kubo did not answer within $ready_s s; its log is $log"
fi
printf 'ready: block store at http://127.0.0.1:%s (process %s, repository %s)\n' "$api_port" "$pid" "$repo"
serve Kubo "$pid"
