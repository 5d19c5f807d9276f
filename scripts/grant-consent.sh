#!/usr/bin/env bash
# Lets somebody read a window of your data: a consent on chain, with the keys of that window wrapped to the reader.
#
# Usage: scripts/grant-consent.sh --to WHO [--read WHAT]... [--for USE]... [--days N | --from WHEN --until WHEN] [--deny] [-- MORE...]
#
#   --to WHO       the reader: an account (0x and 64 hex digits), an Ethereum address, or the reader's keystore file
#   --read WHAT    vital-signs (default), ecg, activity, laboratory, medication; repeat for several
#   --for USE      treatment (default), emergency, payment, research, operations, public-health, my-request; repeat for several
#   --days N       what is measured from now on for N days (default 30)
#   --from WHEN, --until WHEN   another window: 2026-03-01, 2026-03-01T08:00:00Z, now, -2h, +30d
#   --deny         forbid instead: a denial wins over every permission
#   MORE           further options for `pulsegate grant`, for example --signed-by-wallet
#
# Environment: PULSEGATE_CONFIG (default pulsegate.toml), PULSEGATE_KEYSTORE (your keys), PULSEGATE_PASSPHRASE (else you are asked),
# PULSEGATE_BIN (the pulsegate program; else the one on the PATH, else it is built).
#
# Example: scripts/grant-consent.sh --to 0x8eaf…  --read vital-signs --read ecg --for treatment --days 7
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# purpose_code WORD: the HL7 code of a purpose of use; a code is passed through.
purpose_code() {
  case $1 in
    treatment) printf TREAT ;;
    emergency) printf ETREAT ;;
    payment) printf HPAYMT ;;
    research) printf HRESCH ;;
    operations) printf HOPERAT ;;
    public-health) printf PUBHLTH ;;
    my-request) printf PATRQT ;;
    *) printf '%s' "$1" ;;
  esac
}

to=
from=now
until=
days=30
categories=()
purposes=()
more=()
while [ $# -gt 0 ]; do
  case $1 in
    --to) to=$(value_of "$1" "${2-}"); shift ;;
    --read) categories+=(--category "$(value_of "$1" "${2-}")"); shift ;;
    --for) purposes+=(--purpose "$(purpose_code "$(value_of "$1" "${2-}")")"); shift ;;
    --days) days=$(value_of "$1" "${2-}"); shift ;;
    --from) from=$(value_of "$1" "${2-}"); shift ;;
    --until) until=$(value_of "$1" "${2-}"); shift ;;
    --deny) more+=(--deny) ;;
    -h | --help) help_of "$0" && exit 0 ;;
    --) shift && more+=("$@") && break ;;
    *) die "unknown option '$1'; see --help" ;;
  esac
  shift
done
[ -n "$to" ] || die "--to says who may read; see --help"
[[ $days =~ ^[1-9][0-9]{0,4}$ ]] || die "--days takes a whole number of days"
[ ${#categories[@]} -gt 0 ] || categories=(--category vital-signs)
[ ${#purposes[@]} -gt 0 ] || purposes=(--purpose TREAT)
pulsegate=$(pulsegate_binary)
exec "$pulsegate" grant --to "$to" "${categories[@]}" "${purposes[@]}" --from "$from" --until "${until:-+${days}d}" ${more[@]+"${more[@]}"}
