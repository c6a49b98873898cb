#!/usr/bin/env bash
# Holds the unit to two promises: systemd understands every line of it, and its exposure stays at or below the limit.
#   packaging/systemd/check.sh [UNIT [LIMIT_IN_TENTHS]]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
unit=${1:-$here/tarsd.service}
limit=${2:-12} # 1.2, what systemd's own most hardened services come near to (hostnamed 1.5, timesyncd 2.3)

if ! command -v systemd-analyze >/dev/null; then
    echo "unit not checked: no systemd-analyze on this machine"
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# The program is not installed where this runs, so its place is taken by one that surely exists.
sed -E 's#^(Exec[A-Za-z]+=)/opt/tarsd/bin/tarsd#\1/bin/true#' "$unit" >"$scratch/tarsd.service"

# `verify` exits 0 even for values it does not understand: whatever it says is a failure.
said=$(systemd-analyze verify --man=no "$scratch/tarsd.service" 2>&1 || true)
if [[ -n $said ]]; then
    echo "systemd-analyze verify: $said" >&2
    exit 1
fi
report=$(systemd-analyze security --offline=true --no-pager --threshold="$limit" "$scratch/tarsd.service") || {
    grep '✗' <<<"$report" >&2 || true
    echo "exposure is over the limit of $limit tenths" >&2
    exit 1
}
grep -oE 'Overall exposure level.*: [0-9.]+ [A-Z]+' <<<"$report"
