"""Stages that cut texts into terms and count them; they run on the host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ....errors import ArgumentError
from ...named.cells import is_number
from ...named.operators import Host, Step
from ..folder import Stage
from ..input_table import as_texts
from ..java_patterns import JavaPattern, JavaPatternError
from ..numbers import Numbers, find
from ..plan import Plan, reads
from ..unsupported import require_columns

_SPACE = JavaPattern.read(r"\s")
# Terms whose hash is remembered.
_MOST_KNOWN = 1 << 18


def cells_of(kind: str, values: Any, inner: type) -> list[Any]:
    """The cells of a column of texts, or of lists of texts."""
    cells = np.asarray(values, dtype=object)
    if cells.ndim != 1:
        raise ArgumentError(f"{kind} takes a column of texts.")
    found = cells.tolist()
    if not all(isinstance(cell, inner) for cell in found):
        what = "texts" if inner is str else "lists of texts"
        raise ArgumentError(f"{kind} takes {what}, and none may be missing.")
    return found


def as_cells(cells: list[Any]) -> Any:
    """Lists as one column of objects."""
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def java_length(text: str) -> int:
    """The number of UTF-16 units of a text, which is its length in Java."""
    return len(text) + (0 if text.isascii() else sum(char > "\uffff" for char in text))


@dataclass(eq=False, kw_only=True)
class Split(Host):
    """Lower-case texts, cut at single white spaces."""

    def run(self, *values: Any) -> Any:
        """Lists of terms."""
        texts = cells_of(self.kind, values[0], str)
        return as_cells([_SPACE.split(text.lower()) for text in texts])


@dataclass(eq=False, kw_only=True)
class SplitByPattern(Host):
    """Texts cut at the matches of a pattern, or the matches themselves."""

    pattern: str
    gaps: bool
    shortest: int
    lower: bool

    @cached_property
    def compiled(self) -> JavaPattern:
        """The pattern."""
        return JavaPattern.read(self.pattern)

    def run(self, *values: Any) -> Any:
        """Lists of terms."""
        out = []
        for text in cells_of(self.kind, values[0], str):
            cased = text.lower() if self.lower else text
            if self.gaps:
                found = self.compiled.split(cased)
            else:
                found = [match.group() for match in self.compiled.matches(cased)]
            out.append([term for term in found if java_length(term) >= self.shortest])
        return as_cells(out)


@dataclass(eq=False, kw_only=True)
class RemoveTerms(Host):
    """Lists of terms without some of them."""

    words: list[str]
    cased: bool

    @cached_property
    def removed(self) -> frozenset[str]:
        """The terms to remove."""
        return frozenset(self.words if self.cased else (word.lower() for word in self.words))

    def run(self, *values: Any) -> Any:
        """Lists of terms."""
        lists = cells_of(self.kind, values[0], list)
        key = (lambda term: term) if self.cased else str.lower
        return as_cells([[t for t in terms if key(t) not in self.removed] for terms in lists])


@dataclass(eq=False, kw_only=True)
class JoinTerms(Host):
    """Every run of ``n`` terms, joined by spaces."""

    n: int

    def run(self, *values: Any) -> Any:
        """Lists of runs."""
        lists = cells_of(self.kind, values[0], list)
        n = self.n
        return as_cells(
            [[" ".join(terms[i : i + n]) for i in range(len(terms) - n + 1)] for terms in lists]
        )


def counted(rows: list[dict[int, float]], width: int) -> Any:
    """A CSR matrix of the numbers of each row."""
    starts = np.cumsum([0, *map(len, rows)])
    ordered = [sorted(row.items()) for row in rows]
    places = np.array([place for row in ordered for place, _ in row], dtype=np.int64)
    numbers = np.array([number for row in ordered for _, number in row], dtype=np.float64)
    return sparse.csr_matrix((numbers, places, starts), shape=(len(rows), width))


@dataclass(eq=False, kw_only=True)
class HashTerms(Host):
    """How often terms of each hash occur."""

    size: int
    binary: bool
    old: bool = False
    known: dict[str, int] = field(default_factory=dict, repr=False)

    def run(self, *values: Any) -> Any:
        """Counts (n, size), sparse."""
        rows = []
        for terms in cells_of(self.kind, values[0], list):
            counts = Counter(self._place(term) for term in terms)
            rows.append({place: 1.0 if self.binary else float(n) for place, n in counts.items()})
        return counted(rows, self.size)

    def _place(self, term: str) -> int:
        if term not in self.known:
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            self.known[term] = murmur3(term.encode("utf-8"), old=self.old) % self.size
        return self.known[term]


@dataclass(eq=False, kw_only=True)
class CountTerms(Host):
    """How often the terms of a vocabulary occur."""

    terms: list[str]
    least: float
    binary: bool

    @cached_property
    def places(self) -> dict[str, int]:
        """The column of each term."""
        return {term: place for place, term in enumerate(self.terms)}

    def run(self, *values: Any) -> Any:
        """Counts (n, terms), sparse."""
        rows = []
        for terms in cells_of(self.kind, values[0], list):
            places = (self.places[term] for term in terms if term in self.places)
            counts = Counter(places)
            least = self.least if self.least >= 1 else len(terms) * self.least
            kept = {place: float(n) for place, n in counts.items() if n >= least}
            rows.append(dict.fromkeys(kept, 1.0) if self.binary else kept)
        return counted(rows, len(self.terms))


def murmur3(data: bytes, seed: int = 42, old: bool = False) -> int:
    """The 32-bit MurmurHash3 of bytes, signed.

    Parameters
    ----------
    data : bytes
        What to hash.
    seed : int
        Seed.
    old : bool
        Whether the bytes after the last whole word are mixed one by one, each as a signed word, as
        Spark did before its third version.
    """
    mask = 0xFFFFFFFF
    whole = len(data) & ~3
    h = seed
    for i in range(0, whole, 4):
        h = _mixed(h, int.from_bytes(data[i : i + 4], "little"))
    tail = data[whole:]
    if old:
        for byte in tail:
            h = _mixed(h, byte - 256 & mask if byte > 127 else byte)
    elif tail:
        h ^= _scrambled(int.from_bytes(tail, "little"))
    h ^= len(data)
    h ^= h >> 16
    h = h * 0x85EBCA6B & mask
    h ^= h >> 13
    h = h * 0xC2B2AE35 & mask
    h ^= h >> 16
    return h - (1 << 32) if h >> 31 else h


def _scrambled(word: int) -> int:
    k = word * 0xCC9E2D51 & 0xFFFFFFFF
    k = (k << 15 | k >> 17) & 0xFFFFFFFF
    return k * 0x1B873593 & 0xFFFFFFFF


def _mixed(h: int, word: int) -> int:
    h ^= _scrambled(word)
    h = (h << 13 | h >> 19) & 0xFFFFFFFF
    return (h * 5 + 0xE6546B64) & 0xFFFFFFFF


@dataclass(eq=False, kw_only=True)
class ShareOfTerms(Host):
    """The share of each term of a vocabulary in all terms of a row."""

    terms: list[str]

    def run(self, *values: Any) -> Any:
        """Shares (n, terms), sparse."""
        places = {term: place for place, term in enumerate(self.terms)}
        rows = []
        for terms in cells_of(self.kind, values[0], list):
            counts = Counter(places[term] for term in terms if term in places)
            rows.append({place: n / len(terms) for place, n in counts.items()})
        return counted(rows, len(self.terms))


@dataclass(eq=False, kw_only=True)
class MeanOfVectors(Step):
    """Shares of terms times their vectors."""

    vectors: Numbers


@dataclass(eq=False, kw_only=True)
class HashColumns(Host):
    """Several columns in one vector, at places that are hashes of names and of texts.

    Parameters
    ----------
    names : list of str
        The columns.
    categories : frozenset of str
        Columns of numbers whose values are texts.
    size : int
        Number of entries.
    """

    names: list[str]
    categories: frozenset[str]
    size: int

    def run(self, *values: Any) -> Any:
        """Vectors (n, size), sparse."""
        rows: list[dict[int, float]] = [{} for _ in range(len(values[0]))]
        for name, column in zip(self.names, values, strict=True):
            array = np.asarray(column)
            if name not in self.categories and _holds_numbers(array):
                place = murmur3(name.encode("utf-8")) % self.size
                for row, number in zip(rows, array.tolist(), strict=True):
                    if number is not None:
                        row[place] = row.get(place, 0.0) + float(number)
                continue
            for row, text in zip(rows, as_texts(array), strict=True):
                if text is not None:
                    place = murmur3(f"{name}={text}".encode()) % self.size
                    row[place] = row.get(place, 0.0) + 1.0
        return counted(rows, self.size)


def _holds_numbers(array: NDArray[Any]) -> bool:
    """Whether a column holds numbers, not texts or truth values."""
    if array.dtype != object:
        return array.dtype.kind in "iuf"
    known = [cell for cell in array.tolist() if cell is not None]
    return all(is_number(cell) and not isinstance(cell, bool) for cell in known)


@reads("feature.Tokenizer")
def _tokenizer(stage: Stage, plan: Plan) -> None:
    _one_to_one(stage, plan, Split())


@reads("feature.RegexTokenizer")
def _regex_tokenizer(stage: Stage, plan: Plan) -> None:
    pattern = stage.text("pattern", "\\s+")
    try:
        JavaPattern.read(pattern)
    except JavaPatternError as error:
        require_columns(stage, plan, f"of its pattern {pattern!r:.60}: {error}")
        return
    operator = SplitByPattern(
        pattern=pattern,
        gaps=stage.flag("gaps", True),
        shortest=stage.integer("minTokenLength", 1),
        lower=stage.flag("toLowercase", True),
    )
    _one_to_one(stage, plan, operator)


@reads("feature.StopWordsRemover")
def _stop_words(stage: Stage, plan: Plan) -> None:
    words, cased = stage.texts("stopWords"), stage.flag("caseSensitive", False)
    for source, made in stage.inputs_and_outputs():
        operator = RemoveTerms(words=words, cased=cased)
        plan.name(stage, made, plan.step(stage, operator, plan.column(source), name=made))


@reads("feature.NGram")
def _ngram(stage: Stage, plan: Plan) -> None:
    _one_to_one(stage, plan, JoinTerms(n=stage.integer("n", 2)))


@reads("feature.HashingTF")
def _hashing(stage: Stage, plan: Plan) -> None:
    size = stage.integer("numFeatures", 1 << 18)
    if not 0 < size < 1 << 31:
        stage.fail(f"it has {size} columns.")
    old = str(stage.metadata.get("sparkVersion", "")).startswith(("1.", "2."))
    _one_to_one(stage, plan, HashTerms(size=size, binary=stage.flag("binary", False), old=old))


@reads("feature.CountVectorizerModel")
def _counts(stage: Stage, plan: Plan) -> None:
    terms = stage.row().get("vocabulary")
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
        stage.fail("its vocabulary is damaged.")
    operator = CountTerms(
        terms=terms, least=stage.number("minTF", 1.0), binary=stage.flag("binary", False)
    )
    _one_to_one(stage, plan, operator)


@reads("feature.Word2VecModel")
def _word_vectors(stage: Stage, plan: Plan) -> None:
    rows = stage.rows()
    terms = [row.get("word") for row in rows]
    if not rows or not all(isinstance(term, str) for term in terms):
        stage.fail("its vocabulary is damaged.")
    vectors = find(stage, "vector", kind="list", rows=rows)
    ((source, made),) = stage.inputs_and_outputs()
    shares = ShareOfTerms(terms=[str(term) for term in terms])
    step = plan.step(stage, shares, plan.column(source), name="shares")
    plan.name(stage, made, plan.step(stage, MeanOfVectors(vectors=vectors), step))


@reads("feature.FeatureHasher")
def _hashed_columns(stage: Stage, plan: Plan) -> None:
    names, size = stage.texts("inputCols"), stage.integer("numFeatures", 1 << 18)
    if not names or not 0 < size < 1 << 31:
        stage.fail("its columns are damaged.")
    categories = frozenset(stage.texts("categoricalCols"))
    operator = HashColumns(names=names, categories=categories, size=size)
    step = plan.step(stage, operator, *[plan.column(name) for name in names])
    plan.name(stage, stage.text("outputCol"), step)


def _one_to_one(stage: Stage, plan: Plan, operator: Host) -> None:
    ((source, made),) = stage.inputs_and_outputs()
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))
