r"""Contigs of a FASTA file and its `.fai` index, as a sample build needs them.

Decides the length and composition of each contig. A given `.fai` is believed for lengths, as the
reference's ingest does; without one, the index is computed from the sequence.

Never loads more than the text it is given, and never fetches anything.

    >>> contigs, index = read_fasta(">a\nACGN\nAC\n", None)
    >>> contigs[0].length, index
    (6, 'a\t6\t3\t4\t5\n')
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.errors import InvalidInput

_FAI_COLUMNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contig:
    """One sequence: its length and the shares of G+C and of unknown bases."""

    name: str
    length: int
    gc_fraction: float
    n_fraction: float


def read_fasta(text: str, fai: str | None) -> tuple[tuple[Contig, ...], str]:
    """The contigs in file order, and the text of the index (the given one, or a computed one).

    Raises:
        InvalidInput: E_SAMPLE_FASTA, the sequence or its index cannot be read, or they disagree on names.
    """
    sequences, index = _sequences(text)
    lengths = {name: len(sequence) for name, sequence in sequences.items()}
    if fai is not None:
        lengths, index = _fai_lengths(fai), fai
        if list(lengths) != list(sequences):
            raise _refused("the index names other contigs than the sequence", ",".join(lengths))
    return tuple(_contig(name, lengths[name], sequence) for name, sequence in sequences.items()), index


def _contig(name: str, length: int, sequence: str) -> Contig:
    letters = sequence.upper()
    bases = max(len(letters), 1)
    return Contig(
        name=name,
        length=length,
        gc_fraction=(letters.count("G") + letters.count("C")) / bases,
        n_fraction=letters.count("N") / bases,
    )


def _sequences(text: str) -> tuple[dict[str, str], str]:
    sequences: dict[str, str] = {}
    index = []
    offset = 0
    for block in text.split(">")[1:]:
        header, _, body = block.partition("\n")
        name = header.split()[0] if header.split() else ""
        if not name or name in sequences:
            raise _refused("a contig has no name or a name used before", header)
        lines = body.splitlines()
        sequences[name] = "".join(line.strip() for line in lines)
        offset += len(header) + 2
        width = len(lines[0]) if lines else 0
        index.append(f"{name}\t{len(sequences[name])}\t{offset}\t{width}\t{width + 1}\n")
        offset += len(body)
    if not sequences:
        raise _refused("there is no contig", text[:40])
    return sequences, "".join(index)


def _fai_lengths(fai: str) -> dict[str, int]:
    lengths = {}
    for line in fai.splitlines():
        columns = line.split("\t")
        if len(columns) != _FAI_COLUMNS or not columns[1].isdecimal():
            raise _refused("an index line has five tab-separated columns", line)
        lengths[columns[0]] = int(columns[1])
    return lengths


def _refused(message: str, got: str) -> InvalidInput:
    return InvalidInput.of("E_SAMPLE_FASTA", message, got=got, fix="give a plain FASTA file and its .fai")
