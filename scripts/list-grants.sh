#!/usr/bin/env bash
# Lists what you granted and what was granted to you. Grants are public on chain, so no passphrase is asked.
#
# Usage: scripts/list-grants.sh [--patient WHO] [--to WHO] [--standing] [--json]
#
#   --patient WHO   what this patient granted
#   --to WHO        what was granted to this reader
#   --standing      leave out what was revoked
#   --json          one JSON document, for programs
#
# Environment: as for scripts/grant-consent.sh.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1-} in
  -h | --help) help_of "$0" && exit 0 ;;
esac
# The options are those of `pulsegate grants`, which checks them.
pulsegate=$(pulsegate_binary)
exec "$pulsegate" grants "$@"
