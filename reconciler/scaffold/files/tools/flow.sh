#!/bin/sh
# The three moments in the life of a change, the same on every CI. The workflows below .github/ run nothing
# else, and a CI of another kind runs the same lines.
#
#   sh tools/flow.sh plan BASE HEAD OUT [OPTION...]   judge the proposed commit HEAD by the policy of BASE
#   sh tools/flow.sh apply COMMIT INTENT OUT [OPTION...]  do exactly what was approved as INTENT
#   sh tools/flow.sh drift COMMIT OUT [OPTION...]     compare the live stores with COMMIT
#
# OPTIONs go to the command: --store NAME, --live FILE (plan only), and so on. What people and machines read
# lands in the directory OUT: comment.md (bounded, with a marker by which one comment is updated in place),
# plan.json, plan.sarif, intent; apply.md and live.json (a snapshot to plan from without credentials);
# drift.md. The exit code is that of reconciler; drift gives 2 where something moved.
#
# RECONCILER names the program (default: .venv/bin/reconciler where it is, else reconciler). Commits are read
# as objects: nothing is checked out, and nothing in them runs.

set -u

if [ -z "${RECONCILER:-}" ]; then
    RECONCILER=reconciler
    [ -x .venv/bin/reconciler ] && RECONCILER=.venv/bin/reconciler
fi

usage() {
    sed -n '5,7s/^# *//p' "$0" >&2
    exit 3
}

# What a person has to read when there is no plan: the errors, indented so that no text can leave the block.
refusal() {
    {
        printf '<!-- reconciler:plan -->\n### Plan\n\nThere is no plan for this change (exit %s):\n\n' "$1"
        head -c 30000 "$2" | sed 's/^/    /'
    } >"$3"
}

case ${1:-} in
plan)
    [ $# -ge 4 ] || usage
    base=$2 head=$3 out=$4
    shift 4
    mkdir -p "$out" || exit 10
    "$RECONCILER" plan --base "$base" --ref "$head" --out "$out/plan.json" "$@" \
        --output markdown --also "sarif=$out/plan.sarif" \
        >"$out/comment.md" 2>"$out/errors.txt"
    code=$?
    cat "$out/errors.txt" >&2
    if [ -s "$out/comment.md" ]; then
        sed -n 's/^<!-- body [^ ]* intent \(sha256:[0-9a-f]\{64\}\) -->$/\1/p' "$out/comment.md" | head -n 1 >"$out/intent"
    else
        refusal "$code" "$out/errors.txt" "$out/comment.md"
        "$RECONCILER" validate --ref "$head" --output sarif >"$out/plan.sarif" 2>/dev/null || true
    fi
    exit "$code"
    ;;
apply)
    [ $# -ge 4 ] || usage
    commit=$2 intent=$3 out=$4
    shift 4
    mkdir -p "$out" || exit 10
    "$RECONCILER" apply --base "$commit" --ref "$commit" --expect "$intent" "$@" --output markdown >"$out/apply.md"
    code=$?
    cat "$out/apply.md"
    [ "$code" -eq 0 ] || exit "$code"
    exec "$RECONCILER" snapshot --ref "$commit" "$@" --out "$out/live.json"
    ;;
drift)
    [ $# -ge 3 ] || usage
    commit=$2 out=$3
    shift 3
    mkdir -p "$out" || exit 10
    "$RECONCILER" drift --ref "$commit" "$@" --detailed-exitcode --output markdown >"$out/drift.md"
    code=$?
    cat "$out/drift.md"
    exit "$code"
    ;;
*) usage ;;
esac
