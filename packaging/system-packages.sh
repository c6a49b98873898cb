#!/usr/bin/env bash
# The system packages that tarsd needs. As root on Debian or Ubuntu it installs what is missing; otherwise it says what is
# missing and the one command that installs it, and fails only when something is missing that nothing works without.
#   packaging/system-packages.sh [run|test]      run: to run a node    test: all the tests too (namespaces, systemd, a browser)
set -euo pipefail

purpose=${1:-run}

# package : how to see that it is there : what is lost without it
run=(
    "build-essential:has c++ && has make:llama.cpp cannot be built"
    "python3-venv:python_has venv && python_has ensurepip:no virtual environment"
    "tesseract-ocr:has tesseract:scanned pages are not read"
    "tesseract-ocr-spa:has_language spa:scanned pages in Spanish are misread"
)
test=(
    "iproute2:has ip:the namespace tests are skipped"
    "nftables:has nft:the namespace tests are skipped"
    "systemd-container:has systemd-nspawn:the systemd tests are skipped"
    "chromium:has chromium || has chromium-browser || has google-chrome:the page is not tested in a browser"
)
required="build-essential python3-venv"

has() { command -v "$1" >/dev/null 2>&1; }
python_has() { "${PYTHON:-python3}" -c "import $1" >/dev/null 2>&1; }
has_language() { has tesseract && tesseract --list-langs 2>/dev/null | grep -qx "$1"; }

look() {
    missing=() losses=()
    local entry package probe loss
    for entry in "$@"; do
        IFS=: read -r package probe loss <<<"$entry"
        eval "$probe" && continue
        missing+=("$package")
        losses+=("  $package: without it $loss")
    done
}

wanted=("${run[@]}")
[[ $purpose == test ]] && wanted+=("${test[@]}")
look "${wanted[@]}"
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $EUID -eq 0 && ${SYSTEM_PACKAGES:-install} == install ]] && has apt-get; then
    echo "system packages: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "${missing[@]}" >/dev/null
    exit 0
fi

printf '%s\n' "system packages are missing:" "${losses[@]}" >&2
if has apt-get; then
    echo "install them with:  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
else
    echo "install the packages of your distribution that bring them (the names above are Debian's)" >&2
fi
for package in "${missing[@]}"; do
    [[ " $required " == *" $package "* ]] && exit 1
done
exit 0
