"""Named places at which a test may stop, kill or break the program; inert in production.

A failpoint is compiled in by name: ``failpoint("fs.catalog.rename.before")``. It does nothing unless
the variable RECONCILER_FAILPOINTS arms that name when the process starts, as comma-separated
``NAME=ACTION`` pairs; an optional ``@N`` after the name arms its N-th hit only:

    fs.publish.before=kill        SIGKILL this process
    fs.catalog.tmp.mid=EIO        raise OSError with that errno (any name of the errno module)
    fs.ledger.intent.after@2=stop SIGSTOP this process (a paused lock holder)

Names are `<store>.<step>.<moment>`; `NAMES` lists all of them, and a test holds it equal to the source.
"""

from __future__ import annotations

import errno
import os
import signal

NAMES: frozenset[str] = frozenset(
    {
        "arc.document.after",
        "arc.document.before",
        "arc.document.cas",
        "arc.document.dirsync",
        "arc.document.fsync",
        "arc.document.tmp.mid",
        "arc.object.after",
        "arc.object.before",
        "arc.object.dirsync",
        "bucket.copy.mid",
        "bucket.copy.rename.before",
        "fs.alias.cas",
        "fs.alias.dirsync",
        "fs.alias.fsync",
        "fs.alias.rename.after",
        "fs.alias.rename.before",
        "fs.alias.tmp.mid",
        "fs.catalog.cas",
        "fs.catalog.dirsync",
        "fs.catalog.fsync",
        "fs.catalog.rename.after",
        "fs.catalog.rename.before",
        "fs.catalog.tmp.mid",
        "fs.close.after",
        "fs.close.before",
        "fs.close.cas",
        "fs.close.dirsync",
        "fs.close.fsync",
        "fs.close.mid",
        "fs.digest.cas",
        "fs.digest.dirsync",
        "fs.digest.fsync",
        "fs.digest.rename.after",
        "fs.digest.rename.before",
        "fs.digest.tmp.mid",
        "fs.evidence",
        "fs.gc.expire",
        "fs.gc.move.after",
        "fs.gc.move.before",
        "fs.gc.recheck",
        "fs.journal.after",
        "fs.journal.before",
        "fs.journal.cas",
        "fs.journal.dirsync",
        "fs.journal.fsync",
        "fs.journal.mid",
        "fs.lock",
        "fs.packet.after",
        "fs.packet.before",
        "fs.packet.cas",
        "fs.packet.dirsync",
        "fs.packet.fsync",
        "fs.packet.mid",
        "fs.publish.after",
        "fs.publish.before",
        "fs.publish.dirsync",
        "fs.publish.link",
        "fs.read_base",
        "fs.rebuild.aside",
        "fs.stage.dirsync",
        "fs.stage.file.mid",
        "fs.stage.fsync",
        "fs.sweep",
        "fs.verify",
        "pds.probe",
        "pds.verify",
        "pds.write.answer",
        "pds.write.before",
        "reg.begin",
        "reg.commit.answer",
        "reg.commit.before",
        "reg.object.before",
        "reg.object.cas",
        "reg.object.delete",
        "reg.object.dirsync",
        "reg.object.fsync",
        "reg.object.link.after",
        "reg.object.link.before",
        "reg.object.tmp.mid",
        "reg.statement",
        "res.blob.before",
        "res.document.after",
        "res.document.before",
        "res.document.cas",
        "res.document.dirsync",
        "res.document.fsync",
        "res.document.mid",
        "res.mark.after",
        "res.mark.before",
        "res.mark.cas",
        "res.mark.dirsync",
        "res.mark.fsync",
        "res.mark.tmp.mid",
        "res.part.after",
        "res.part.before",
        "res.write.answer",
        "res.write.before",
    }
)

_VARIABLE = "RECONCILER_FAILPOINTS"


def _armed(text: str) -> dict[str, tuple[int, str]]:
    armed = {}
    for pair in filter(None, text.split(",")):
        name, _, action = pair.partition("=")
        name, _, hit = name.partition("@")
        armed[name] = (int(hit or 1), action)
    return armed


_plan = _armed(os.environ.get(_VARIABLE, ""))
_hits: dict[str, int] = {}


def arm(text: str) -> None:
    """Arm failpoints in a process that runs already: a forked child of a test. Replaces what was armed.

    Args:
        text: what the variable would hold.
    """
    _plan.clear()
    _hits.clear()
    _plan.update(_armed(text))


def hits() -> dict[str, int]:
    """How often each armed name was passed since it was armed."""
    return dict(_hits)


def failpoint(name: str) -> None:
    """Do what is armed for this name at this hit; usually nothing.

    Raises:
        OSError: an errno name is armed.
    """
    if not _plan or name not in _plan:
        return
    _hits[name] = _hits.get(name, 0) + 1
    wanted, action = _plan[name]
    if _hits[name] != wanted:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        code = getattr(errno, action)
        raise OSError(code, os.strerror(code), f"failpoint {name}")
