"""Which fields of two JSON values differ, in words a person can act on.

Run only on a pair that is known to differ and is going to be shown: comparing whole catalogs this way
would cost seconds, and their fingerprints already say that nothing changed.
"""

from __future__ import annotations

from typing import Any

from reconciler.errors import escaped

_SHOWN = 8
_WIDTH = 80


def field_differences(before: object, after: object) -> tuple[str, ...]:
    """One phrase for each field that differs, at most eight, the rest counted.

    >>> field_differences({"after": {"dataset": "a"}}, {"after": {"dataset": "b"}})
    ('after.dataset: "a" became "b"',)
    """
    from deepdiff import DeepDiff  # noqa: PLC0415 - slow to import, needed only for what is shown

    tree = DeepDiff(before, after, view="tree", threshold_to_diff_deeper=0)
    phrases = sorted(_phrase(level) for levels in tree.values() for level in levels)
    if len(phrases) > _SHOWN:
        return (*phrases[:_SHOWN], f"{len(phrases) - _SHOWN} more fields")
    return tuple(phrases)


def _phrase(level: Any) -> str:  # noqa: ANN401 - a node of DeepDiff, which has no type
    path = ".".join(str(part) for part in level.path(output_format="list")) or "value"
    return f"{escaped(path, _WIDTH)}: {_shown(level.t1)} became {_shown(level.t2)}"


def _shown(value: object) -> str:
    if value is None or type(value).__name__ == "NotPresent":
        return "nothing"
    return f'"{escaped(value, _WIDTH)}"' if isinstance(value, str) else escaped(str(value), _WIDTH)
