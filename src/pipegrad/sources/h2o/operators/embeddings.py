"""Vectors of words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Step
from ..input_table import Row, category_codes
from ..mojo import Mojo
from ..numbers import Numbers, stored
from ..plan import Answer, Plan, reads

_MOST_NUMBERS = 1 << 28
_MISSING = -1.0


@dataclass(eq=False, kw_only=True)
class Words(Row):
    """Places of the words of a column of texts, (n, words); -1 for unknown ones.

    The only column of a table is read under any name, as H2O does.

    Parameters
    ----------
    parted : bool
        Whether texts are parted at spaces, instead of being one word each.
    """

    parted: bool

    def lacking(self, table: Any) -> list[str]:
        """The column, if a table of several lacks it."""
        return super().lacking(table) if len(_names(table)) != 1 else []

    def run(self, *values: Any) -> Any:
        """Places of words, padded to the longest text."""
        (table,) = values
        (name,) = self.names if len(_names(table)) != 1 else _names(table)
        (words,) = self.levels.values()
        if not self.parted:
            return np.nan_to_num(category_codes(table[name], words, name), nan=_MISSING)[:, None]
        texts = np.asarray(table[name], dtype=object)
        parts = [text.split(" ") if isinstance(text, str) else [] for text in texts]
        out = np.full((len(parts), max(map(len, parts), default=0)), _MISSING)
        every = np.array([word for part in parts for word in part], dtype=object)
        codes = np.nan_to_num(category_codes(every, words, name), nan=_MISSING)
        start = 0
        for row, part in enumerate(parts):
            out[row, : len(part)] = codes[start : start + len(part)]
            start += len(part)
        return out


def _names(table: Any) -> list[Any]:
    return list(table.columns) if hasattr(table, "columns") else list(table)


@dataclass(eq=False, kw_only=True)
class Embed(Step):
    """The mean of the vectors of known words, in single precision as H2O computes it.

    Parameters
    ----------
    vectors : Numbers
        Vectors (words, entries).
    """

    vectors: Numbers = field(repr=False)


@reads("word2vec")
def _vectors(mojo: Mojo, plan: Plan) -> Answer:
    count, width = mojo.integer("vocab_size"), mojo.integer("vec_size")
    if not 0 < count * width <= _MOST_NUMBERS or count < 1:
        mojo.fail(f"it has {count} words with {width} numbers each.")
    if len(mojo.blob("vectors")) != 4 * count * width:
        mojo.fail("its vectors are damaged.")
    words = mojo.lines("vocabulary", count)
    if len(set(words)) != count:
        mojo.fail("its words are not unique.")
    places: NDArray[np.int64] = np.arange(count * width).reshape(count, width)
    operator = Embed(vectors=stored(mojo, "vectors", ">f4", places))
    columns: dict[str, str] = {}
    for parted, prefix in ((False, ""), (True, "mean:")):
        names = mojo.features[:1]
        host = Words(names=names, levels={0: words}, parted=parted)
        source = plan.table_step(mojo, host, name=f"{prefix}words")
        block = plan.step(mojo, operator, source, name=f"{prefix}vector")
        columns |= plan.entries(mojo, block, [f"{prefix}C{n + 1}" for n in range(width)])
    return Answer(block, columns, predict="")
