"""Checks the tables of statistics of categories (CTRs) in a binary CatBoost model.

CatBoost checks nothing about them: an index leads out of a table, or a search never ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..faults import fail
from ._flatbuffer import Buffer, Table

_BORDERS, _BUCKETS, _MEANS, _COUNTERS = 0, 1, (2, 3), (4, 5)
_BUCKET = np.dtype([("hash", "<u8"), ("index", "<u4")])
_EMPTY = 2**64 - 1
_SMALLEST = 24


def statistic_base(base: Table) -> tuple[Any, ...]:
    """What a statistic is about: its kind, its features, and the borders of the target."""
    kind = int(base.number(1, "CtrType", "b", 0))
    if not 0 <= kind <= 5:
        fail(base.named("CtrType"), f"{kind} is unknown")
    combination = base.table(0, "FeatureCombination")
    columns = tuple(combination.array(0, "CatFeatures", "<i4").tolist())
    splits = combination.array(1, "FloatSplits", [("index", "<i4"), ("border", "<f4")]).tolist()
    values = combination.array(2, "OneHotSplits", "<i4, <i4").tolist()
    which = int(base.number(2, "TargetBorderClassifierIdx", "i", 0))
    return kind, columns, tuple(splits), tuple(values), which


def read_statistics(content: bytes, at: int) -> tuple[dict[Any, tuple[int, int]], int]:
    """The tables by what they are about, each with its classes and entries, and their end.

    Parameters
    ----------
    content : bytes
        The whole file.
    at : int
        Where the part begins.
    """
    place = "categorical statistics"
    count = int(Buffer(content, place).number(at, "I", place))
    if count > len(content) // _SMALLEST:
        fail(place, f"{count} tables do not fit into the file")
    at += 4
    found = {}
    for number in range(count):
        name = f"{place}, table {number}"
        size = int(Buffer(content, name).number(at, "I", name))
        if size > len(content) - at - 4:
            fail(name, f"{size} bytes, but the file ends after {max(0, len(content) - at - 4)}")
        table = Buffer(content[at + 4 : at + 4 + size], name).root()
        base = statistic_base(table.table(0, "ModelCtrBase"))
        if base in found:
            fail(name, "there is another table for the same statistic")
        found[base] = _check_table(table, base[0])
        at += 4 + size
    return found, at


def _check_table(table: Table, kind: int) -> tuple[int, int]:
    """The number of classes and of categories of a table."""
    raw, blob = table.array(1, "IndexHashRaw", "u1"), table.array(2, "CTRBlob", "u1")
    classes = int(table.number(4, "TargetClassesCount", "i", 0))
    buckets = len(raw) // _BUCKET.itemsize
    if len(raw) % _BUCKET.itemsize or buckets < 1 or buckets & (buckets - 1):
        fail(table.named("IndexHashRaw"), f"{len(raw)} bytes are no power of two of entries")
    entries = np.frombuffer(raw.tobytes(), _BUCKET)
    used = entries["hash"] != _EMPTY
    if used.all():
        fail(table.named("IndexHashRaw"), "no entry is empty, so that a search would not end")
    each = 8 if kind in _MEANS else 4
    if len(blob) % each:
        fail(table.named("CTRBlob"), f"{len(blob)} bytes are no multiple of {each}")
    if kind in (_BORDERS, _BUCKETS):
        if not 0 <= classes <= len(blob):
            fail(table.named("TargetClassesCount"), f"{classes} for a table of {len(blob)} bytes")
        each *= max(classes, 2) if kind == _BORDERS else max(classes, 1)
    # CatBoost exports what the empty entries lead to as well; those of JSON lead anywhere.
    if entries["index"].max() >= max(1, len(blob) // each):
        fail(table.named("IndexHashRaw"), f"an index beyond the {len(blob) // each} categories")
    if kind in _MEANS and not np.isfinite(np.frombuffer(blob.tobytes(), "<f4")[::2]).all():
        fail(table.named("CTRBlob"), "it is not finite")
    return classes, len(blob) // each


def check_statistics(wanted: list[Any], tables: dict[Any, tuple[int, int]]) -> None:
    """Check that each feature finds its table, and its class in it.

    Parameters
    ----------
    wanted : list of (str, tuple, int)
        Place, statistic and class of each feature.
    tables : dict
        What `read_statistics` returned.
    """
    for place, base, which in wanted:
        if base not in tables:
            fail(place, "the file has no table for it")
        classes, _ = tables[base]
        kind = base[0]
        limit = classes if kind == _BUCKETS else max(1, classes - 1)
        if kind in (_BORDERS, _BUCKETS) and not 0 <= which < limit:
            fail(place, f"TargetBorderIdx {which}, but its table has {classes} classes")


def confused_in_json(trees: Table) -> bool:
    """Whether two statistics differ in the borders of the target alone, which JSON leaves out."""
    features = trees.tables(7, "CtrFeatures")
    bases = {statistic_base(one.table(0, "Ctr").table(0, "Base")) for one in features}
    return len({base[:-1] for base in bases}) < len(bases)
