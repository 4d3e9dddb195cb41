#!/bin/sh
# The main job on this repository's own desired state: read desired/ at HEAD, bring the stores under var/
# to it, and show that a second plan has nothing to do. Run again, it changes nothing.
#
# One declared dataset has no `source:`; it stands for what somebody has published before. The first step
# publishes it by hand, as that somebody would.

set -eu
cd "$(dirname "$0")/.."

refuse() {
    printf 'reconciler: %s\n' "$1" >&2
    exit 1
}

command -v git >/dev/null 2>&1 || refuse "no 'git' on this machine; desired state is read from git commits"
top=$(git rev-parse --show-toplevel 2>/dev/null) ||
    refuse "$(pwd) is not a git checkout that git will read; desired state is read from a commit, so clone the repository (or make this directory a repository and commit)"
[ "$(cd "$top" && pwd -P)" = "$(pwd -P)" ] ||
    refuse "$(pwd) lies inside another repository, $top; the main job reads desired/ at the top of a repository"
git rev-parse --quiet --verify 'HEAD^{commit}' >/dev/null 2>&1 ||
    refuse "this repository has no commit yet; desired state is read from a commit"
[ -z "$(git status --porcelain -- desired ops/datasets 2>/dev/null)" ] ||
    printf 'reconciler: desired/ or ops/datasets/ has changes that are not committed; this run reads HEAD\n' >&2

run() {
    printf '\n$ reconciler'
    printf ' %s' "$@"
    printf '\n'
    .venv/bin/reconciler "$@"
}

run dataset publish --store serving --source-root examples/builds/mouse-110 \
    --release 110 --species mus_musculus --assembly GRCm39
run validate
run plan
run apply --yes
run plan --detailed-exitcode
run drift --detailed-exitcode

cat <<'END'

done: both stores equal desired/ at HEAD.
  serving   var/serving                          datasets, catalog.json, latest.alias.json
  registry  var/registry.db, var/manifests       manifests, links, version tags
  ledger    beside each store                    one record of every run; 'reconciler history' shows it
  next      edit desired/, commit, and run 'make reconcile' again
            .venv/bin/reconciler status          how far each dataset is
END
