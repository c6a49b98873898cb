#!/usr/bin/env bash
# Installs tarsd on this PC for good: /opt/tarsd (program), /etc/tarsd.toml (settings), tarsd.service (systemd). Run it again
# after an update of this folder; settings and data are kept.
#   sudo packaging/install.sh [EXTRAS]      EXTRAS: cognitive,transformers,processing (all); cognitive alone is the lean PC
#   sudo packaging/install.sh --remove      takes away what it installed, except /etc/tarsd.toml and /var/lib/tarsd
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
extras=${1:-cognitive,transformers,processing}
unit=/etc/systemd/system/tarsd.service

if [[ $EUID -ne 0 ]]; then
    echo "this needs root: sudo $0 $*" >&2
    exit 77
fi
if [[ $extras == --remove ]]; then
    systemctl disable --now tarsd 2>/dev/null || true
    rm -rf /opt/tarsd "$unit" /usr/local/bin/tarsd
    systemctl daemon-reload 2>/dev/null || true
    echo "removed; /etc/tarsd.toml and /var/lib/tarsd are still there"
    exit 0
fi

python=$(readlink -f "$(command -v "${PYTHON:-python3}")")
if [[ $python == /root/* || $python == /home/* ]]; then
    echo "the service may not look into home folders, and $python is in one: set PYTHON to the system's (/usr/bin/python3)" >&2
    exit 1
fi
"$here/system-packages.sh" run
"$here/python-packages.sh" /opt/tarsd "$extras"
# The service's user has no name outside of the service: everybody may read the program, only root may change it.
chmod -R go+rX,go-w /opt/tarsd
ln -sf /opt/tarsd/bin/tarsd /usr/local/bin/tarsd
[[ -e /etc/tarsd.toml ]] || install -m 0644 "$root/etc/tarsd.toml" /etc/tarsd.toml
install -m 0644 "$here/systemd/tarsd.service" "$unit"
systemctl daemon-reload 2>/dev/null || true # no systemd is running where an image is being built
if systemctl is-active --quiet tarsd 2>/dev/null; then
    systemctl restart tarsd
    echo "updated and restarted"
    exit 0
fi

cat <<'NEXT'

Installed. Next:
  edit /etc/tarsd.toml           [node] roles = [...]
  on the first PC                sudo tarsd init
  on each further PC             sudo tarsd join TOKEN      (TOKEN: sudo tarsd invite, on the first one)
  then                           sudo systemctl enable --now tarsd
NEXT
