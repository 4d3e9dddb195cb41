#!/bin/sh
# Creates .venv and installs this project with the extras that are named; a rerun that changes nothing
# asks nobody on the network. Each extra has a stamp in .venv that holds what it was installed for.
#
#   sh tools/environment.sh              the program
#   sh tools/environment.sh test lint    what the tests and the linters need, too

set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}

refuse() {
    printf 'reconciler: %s\n' "$1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    refuse "no '$python' on this machine; install Python 3.11 or newer, or run make with PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    refuse "'$python' is $("$python" -c 'import platform; print(platform.python_version())'), and Python 3.11 or newer is needed; run make with PYTHON=/path/to/a/newer/python3"

usable() {
    [ -x .venv/bin/python ] &&
        .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

create() {
    printf 'reconciler: creating .venv with %s\n' "$("$python" --version)"
    if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$python" -m venv --clear .venv
    elif "$python" -c 'import pip, venv' >/dev/null 2>&1; then
        # Some distributions ship pip but not ensurepip.
        "$python" -m venv --clear --without-pip .venv
        "$python" -m pip --python .venv/bin/python install --quiet pip
    else
        refuse "'$python' can make no environment (no ensurepip and no pip); install the package python3-venv"
    fi
}

# What an installation depends on: the declared dependencies, the place of this checkout, the interpreter.
wanted="$(cksum <pyproject.toml) $(pwd) $(.venv/bin/python --version 2>/dev/null || echo none)"

install() {
    stamp=.venv/.installed${1:+-$1}
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    if ! usable; then
        create
        wanted="$(cksum <pyproject.toml) $(pwd) $(.venv/bin/python --version)"
    fi
    printf 'reconciler: installing %s into .venv\n' "reconciler${1:+[$1]}"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}" ||
        refuse "installing failed (pip's own words are above); the packages come from the index that pip is set up for"
    printf '%s\n' "$wanted" >"$stamp"
}

install ''
for extra in "$@"; do
    install "$extra"
done
