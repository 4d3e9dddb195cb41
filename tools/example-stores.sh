#!/bin/sh
# Brings up the stores of this repository's worked example as they were after COMMIT was applied. They stand
# under var/, which no CI keeps from one run to the next; real stores are elsewhere and need no such step.
#
#   sh tools/example-stores.sh COMMIT

set -eu
cd "$(dirname "$0")/.."
commit=$1

sh tools/environment.sh
.venv/bin/reconciler dataset publish --store serving --source-root examples/builds/mouse-110 \
    --release 110 --species mus_musculus --assembly GRCm39
.venv/bin/reconciler apply --ref "$commit" --base "$commit" --yes
