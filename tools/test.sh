#!/bin/sh
# Runs every test, or what the arguments select, in as many processes as there are processors.
#
# Temporary files go to memory where the machine offers that: the stores sync every file they write, and
# thousands of small stores on a disk would make the suite wait for the disk.

set -eu
cd "$(dirname "$0")/.."

# A test makes its own repositories; a caller's hook must not redirect them to this one.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX SOURCE_DATE_EPOCH RECONCILER_FAILPOINTS

place=${TMPDIR:-/tmp}
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
    place=/dev/shm
fi
base=$(mktemp -d "$place/reconciler-test.XXXXXX")
trap 'chmod -R u+rwX "$base"; rm -rf "$base"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$base/tmp"
export TMPDIR="$base/tmp"

.venv/bin/python -m pytest -n auto --basetemp="$base/pytest" "$@"
