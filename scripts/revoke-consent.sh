#!/usr/bin/env bash
# Takes a grant back and moves to new keys: the oracle releases nothing under it from the next block on, and the keys that the
# reader kept open nothing that is sealed afterwards. Prints what had been released before.
#
# Usage: scripts/revoke-consent.sh GRANT [--keep-keys] [-- MORE...]
#
#   GRANT         the grant's number, as scripts/list-grants.sh shows it
#   --keep-keys   only revoke; do not move to new keys (do it later with `pulsegate rotate`)
#   MORE          further options for `pulsegate revoke`
#
# Environment: as for scripts/grant-consent.sh.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

grant=
rotate=yes
more=()
while [ $# -gt 0 ]; do
  case $1 in
    --keep-keys) rotate=no ;;
    -h | --help) help_of "$0" && exit 0 ;;
    --) shift && more+=("$@") && break ;;
    -*) die "unknown option '$1'; see --help" ;;
    *) [ -z "$grant" ] || die "one grant at a time; see --help"
      grant=$1 ;;
  esac
  shift
done
[[ $grant =~ ^[1-9][0-9]*$ ]] || die "give the number of the grant; scripts/list-grants.sh shows it"
pulsegate=$(pulsegate_binary)
"$pulsegate" revoke "$grant" ${more[@]+"${more[@]}"}
if [ "$rotate" = yes ]; then
  "$pulsegate" rotate
fi
