"""Each headline number, by one command, with a peer or a stated floor in the same run.

    python -m benchmarks                 all of them, one table each
    python -m benchmarks.noop_plan       a plan that finds nothing to do, beside octoDNS
    python -m benchmarks.promote_1000    one thousand promotions, one catalog write
    python -m benchmarks.startup         `reconciler --help`, beside bare Python
    python -m benchmarks.hashing         our streaming hash, beside `hashlib.file_digest`
    python -m benchmarks.contention      eight writers on one store, beside the unlocked steps
    python -m benchmarks.registry_tags   one thousand version tags in one apply, beside MLflow
    python -m benchmarks.registry_noop   a plan over 100,000 version tags, beside octoDNS
    python -m benchmarks.registry_bulk   100,000 version tags on PostgreSQL, beside COPY and upsert

Every measured command is a process of its own: CPU seconds are user and system time of that process and
its children, peak memory is its largest resident set, both as the kernel reports them when it is reaped
(`measure`). Ratios between two commands of one run are what counts; absolute seconds describe the
machine. What the numbers stand on (`worlds`) is written by other processes before the clock starts, so
the measuring process stays small: a child's peak memory can never be reported below its parent's.

A benchmark states its goals and ends with exit code 1 when one is missed. None of them is a test: pytest
does not collect this package.
"""
