#!/bin/sh
# Writes requirements.lock: every package that the composite action installs, pinned by hash. Run it after
# the dependencies in pyproject.toml changed; it needs uv and an index.

set -eu
cd "$(dirname "$0")/.."

printf 'setuptools>=77\n' |
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command 'sh tools/lock.sh' --extra postgres --extra s3 --extra sign --output-file requirements.lock pyproject.toml -
