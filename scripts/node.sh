#!/usr/bin/env bash
# Starts the chain: substrate-contracts-node 0.42, one block per transaction, finalised a second later.
#
# Usage: scripts/node.sh [--base-path DIR | --tmp] [--port N] [--finalise-s N] [--pid-file FILE] [--ready-s N]
#
#   --base-path DIR   where the chain keeps its blocks (default: .work/node in the repository); the next start continues there
#   --tmp             forget everything at the end instead
#   --port N          JSON-RPC port on 127.0.0.1 (default 9944)
#   --finalise-s N    seconds from a block to its finality (default 1)
#   --pid-file FILE   writes the node's process id there
#   --ready-s N       longest wait for the first answer (default 90)
#
# Prints one line when the node answers, then stays until interrupted (Ctrl-C) and ends the node by its process id.
# The node's own log is DIR/node.log. Use it for development and tests alone: its accounts (//Alice and so on) are public knowledge.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

base_path=$repository/.work/node
temporary=no
port=9944
finalise_s=1
pid_file=
ready_s=90
while [ $# -gt 0 ]; do
  case $1 in
    --base-path) base_path=$(value_of "$1" "${2-}"); shift ;;
    --tmp) temporary=yes ;;
    --port) port=$(value_of "$1" "${2-}"); shift ;;
    --finalise-s) finalise_s=$(value_of "$1" "${2-}"); shift ;;
    --pid-file) pid_file=$(value_of "$1" "${2-}"); shift ;;
    --ready-s) ready_s=$(value_of "$1" "${2-}"); shift ;;
    -h | --help) help_of "$0" && exit 0 ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
  shift
done
need_node
need_curl

answers() {
  curl --silent --fail --max-time 2 --header 'content-type: application/json' \
    --data '{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[0]}' "http://127.0.0.1:$port"
}
if answers >/dev/null 2>&1; then
  die "something answers on port $port already; choose another with --port"
fi
if [ "$temporary" = yes ]; then
  base_path=$(mktemp -d)
  trap 'rm -rf "$base_path"' EXIT
fi
mkdir -p "$base_path"
log=$base_path/node.log

# Peer port 0: several nodes on one machine do not get in each other's way.
substrate-contracts-node --dev --base-path "$base_path" --rpc-port "$port" --port 0 \
  --finalize-delay-sec "$finalise_s" --no-telemetry --no-prometheus >>"$log" 2>&1 &
pid=$!
[ -z "$pid_file" ] || printf '%s\n' "$pid" >"$pid_file"
if ! until_ready "$ready_s" "$pid" answers; then
  kill "$pid" 2>/dev/null || true
  tail -n 20 "$log" >&2
  die "the node did not answer within $ready_s s; its log is $log"
fi
printf 'ready: chain at ws://127.0.0.1:%s (process %s, state in %s)\n' "$port" "$pid" "$base_path"
serve substrate-contracts-node "$pid"
