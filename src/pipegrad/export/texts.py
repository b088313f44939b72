"""Counts of terms in text, on operators of ONNX and the tokenizer of ONNX Runtime."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from .onnx_graph import GraphWriter
from .table import Part, Table

# A kind of letters, in Python's patterns and in those of ONNX Runtime, for ASCII and beyond.
_LETTERS = {r"\w": r"[\p{L}\p{N}_]", r"\d": r"\p{Nd}", r"\S": ""}
# A token is a whole run of letters of a kind, of some least length.
_RUN = re.compile(r"(?:\(\?u\))?(\\b)?((\\[wdS]|\[[^\[\]\\]+\])\3*?)(\+|\{\d+,\})(\\b)?")
_PAD = "\ufdd0"  # no token
_SAME = "\x02"  # instead of a letter that does not change
_EDGE = "\ufdd1"  # before and after a word; neither stands in text
# The preprocessors of scikit-learn by the name of the option.
_ACCENTS = {"unicode": "strip_accents_unicode", "ascii": "strip_accents_ascii"}


def why_not_counts(operator: Any) -> str | None:
    """Why ONNX cannot express how a vectorizer counts terms, or None."""
    vectorizer = getattr(operator, "owner", operator)
    if callable(vectorizer.analyzer):
        return "analyzer= is a Python function"
    for name in ("tokenizer", "preprocessor"):
        if getattr(vectorizer, name) is not None:
            return f"{name}= is a Python function"
    if vectorizer.strip_accents not in (None, *_ACCENTS):
        return "strip_accents= is a Python function"
    if vectorizer.analyzer == "word" and _run(vectorizer) is None:
        return f"token_pattern={vectorizer.token_pattern!r} is no run of letters of one kind"
    if any(mark in term for term in vectorizer.vocabulary_ for mark in (_PAD, _EDGE)):
        return "its terms contain letters that Unicode keeps free"
    return None


def _run(vectorizer: Any) -> tuple[str, int] | None:
    """The pattern of ONNX Runtime for the letters of a token, and the least number of them."""
    found = _RUN.fullmatch(vectorizer.token_pattern)
    if found is None:
        return None
    before, letters, kind, times, after = found.groups()
    # Where a word begins and ends: its run of letters is whole anyway.
    if (before or after) and kind != r"\w":
        return None
    least = len(letters) // len(kind) - 1
    least += 1 if times == "+" else int(times[1:-2])
    if kind == r"\S":
        return f"[^{''.join(map(_escaped, _blanks()))}]", least
    return (_LETTERS.get(kind, kind), least) if least else None


@cache
def _blanks() -> list[str]:
    """The letters that Python takes for white space."""
    return [letter for letter in map(chr, range(sys.maxunicode + 1)) if letter.isspace()]


def _escaped(letter: str) -> str:
    return f"\\x{{{ord(letter):x}}}"


def counts(writer: GraphWriter, operator: Any, table: Table) -> Table:
    """Counts (n, terms) of the terms in one column of text."""
    vectorizer = getattr(operator, "owner", operator)
    text = writer.node("Reshape", table.parts[0].name, writer.constant(np.array([-1])))
    # A row without words at the end, since the operators need at least one row.
    text = writer.node("Concat", text, writer.constant(np.array([""], dtype=object)), axis=0)
    change, others = _changes(vectorizer)
    if change:
        text = _changed(writer, text, change, others)
    if vectorizer.analyzer == "word":
        tokens, terms = _words(writer, vectorizer, text), _terms_of_words(vectorizer)
    else:
        tokens = _marked(writer, text, edges=vectorizer.analyzer == "char_wb")
        terms = _terms_of_letters(vectorizer)
    found = writer.node("TfIdfVectorizer", tokens, **_attributes(terms))
    ends = (writer.constant(np.array([place])) for place in (0, -1, 0))
    found = writer.node("Slice", found, *ends)
    if vectorizer.binary:
        found = writer.node("Min", found, writer.constant(np.float32(1)))
    width = len(vectorizer.vocabulary_)
    return Table((Part(writer.cast(found, writer.real), width, writer.real),))


def _words(writer: GraphWriter, vectorizer: Any, text: str) -> str:
    """The words (n, most words) of texts, without stop words."""
    words = _tokens(writer, text, vectorizer)
    stopped = vectorizer.get_stop_words()
    if stopped is None or vectorizer.ngram_range == (1, 1):
        return words  # The vocabulary has no stop words.
    gone = writer.node(
        "LabelEncoder",
        words,
        domain="ai.onnx.ml",
        keys_strings=sorted({*stopped, _PAD}),
        values_int64s=[1] * len({*stopped, _PAD}),
        default_int64=0,
    )
    spaced = writer.node("StringConcat", words, _text(writer, " "))
    left = writer.node("Where", writer.cast(gone, "bool"), _text(writer, ""), spaced)
    # The others stand side by side once they are words of a text again.
    return _tokens(writer, _joined(writer, text, left), vectorizer)


def _tokens(writer: GraphWriter, text: str, vectorizer: Any) -> str:
    run = _run(vectorizer)
    assert run is not None
    letters, least = run
    options: dict[str, Any] = {
        "mark": 0,
        "mincharnum": least,
        "pad_value": _PAD,
        "tokenexp": f"{letters}+",
    }
    return writer.node("Tokenizer", text, domain="com.microsoft", **options)


def _letters(writer: GraphWriter, text: str, pad: str) -> str:
    """The letters (n, longest) of texts."""
    options: dict[str, Any] = {"mark": 0, "mincharnum": 1, "pad_value": pad, "separators": [""]}
    return writer.node("Tokenizer", text, domain="com.microsoft", **options)


def _text(writer: GraphWriter, text: str) -> str:
    return writer.constant(np.array(text, dtype=object))


def _marked(writer: GraphWriter, text: str, edges: bool) -> str:
    """The letters of texts whose white space is as scikit-learn changes it.

    Runs of white space become one blank, or with ``edges``, each word gets a blank on both sides,
    and a mark outside of these.
    """
    letters = _letters(writer, text, _PAD)
    kinds = {**dict.fromkeys(_blanks(), 1), _PAD: 2}
    kind = writer.node(
        "LabelEncoder",
        letters,
        domain="ai.onnx.ml",
        keys_strings=list(kinds),
        values_int64s=list(kinds.values()),
        default_int64=0,
    )
    before, after = _shifted(writer, kind, 1), _shifted(writer, kind, -1)
    is_kind = partial(_equals, writer)
    both = partial(writer.node, "And")
    if edges:
        begins = writer.node("Not", is_kind(before, 0))
        ends = writer.node("Not", is_kind(after, 0))
        nothing = _text(writer, "")
        head = writer.node("Where", begins, _text(writer, f"{_EDGE} "), nothing)
        tail = writer.node("Where", ends, _text(writer, f" {_EDGE}"), nothing)
        new = writer.node("StringConcat", writer.node("StringConcat", head, letters), tail)
        new = writer.node("Where", is_kind(kind, 0), new, nothing)
    else:
        blank = is_kind(kind, 1)
        new = writer.node("Where", both(blank, is_kind(after, 1)), _text(writer, " "), letters)
        gone = writer.node("Or", both(blank, is_kind(before, 1)), is_kind(kind, 2))
        new = writer.node("Where", gone, _text(writer, ""), new)
    return _letters(writer, _joined(writer, text, new), _PAD)


def _equals(writer: GraphWriter, kinds: str, kind: int) -> str:
    return writer.node("Equal", kinds, writer.constant(np.array(kind)))


def _shifted(writer: GraphWriter, kinds: str, by: int) -> str:
    """The kinds of the letters one place before or after; 2 where there is none."""
    pads = writer.constant(np.array([0, max(by, 0), 0, max(-by, 0)]))
    padded = writer.node("Pad", kinds, pads, writer.constant(np.array(2)))
    start, end = (0, -1) if by > 0 else (1, np.iinfo(np.int64).max)
    bounds = (writer.constant(np.array([place])) for place in (start, end, 1))
    return writer.node("Slice", padded, *bounds)


_Terms = list[tuple[list[str], int]]


def _terms_of_words(vectorizer: Any) -> _Terms:
    shortest, longest = vectorizer.ngram_range
    terms = [(term.split(" "), int(place)) for term, place in vectorizer.vocabulary_.items()]
    return [(words, place) for words, place in terms if shortest <= len(words) <= longest]


def _terms_of_letters(vectorizer: Any) -> _Terms:
    shortest, longest = vectorizer.ngram_range
    found = []
    for term, place in vectorizer.vocabulary_.items():
        if shortest <= len(term) <= longest:
            found.append((list(term), int(place)))
        elif vectorizer.analyzer == "char_wb" and len(term) < shortest:
            found.append(([_EDGE, *term, _EDGE], int(place)))  # a whole word that is shorter
    return found


def _attributes(terms: _Terms) -> dict[str, Any]:
    """Terms as attributes of `TfIdfVectorizer`: those of one token, of two, and so on."""
    by_length: dict[int, _Terms] = {}
    for tokens, place in terms:
        by_length.setdefault(len(tokens), []).append((tokens, place))
    shortest, longest = min(by_length, default=1), max(by_length, default=1)
    pool: list[str] = []
    starts, places = [], []
    for length in range(1, longest + 1):
        starts.append(len(pool))
        for tokens, place in by_length.get(length, []):
            pool += tokens
            places.append(place)
    return {
        "mode": "TF",
        "min_gram_length": shortest,
        "max_gram_length": longest,
        "max_skip_count": 0,
        "ngram_counts": starts,
        "ngram_indexes": places,
        "pool_strings": pool,
    }


def _changes(vectorizer: Any) -> tuple[dict[str, str], str]:
    """What the preprocessor makes of letters, and of all others (`_SAME` if they stay)."""
    steps: list[Callable[[str], str]] = []
    if vectorizer.lowercase:
        steps.append(str.lower)
    if vectorizer.strip_accents is not None:
        from sklearn.feature_extraction import text

        steps.append(getattr(text, _ACCENTS[vectorizer.strip_accents]))
    found = {}
    for code in range(sys.maxunicode + 1) if steps else ():
        if not 0xD800 <= code < 0xE000:  # halves of letters
            after = chr(code)
            for step in steps:
                after = step(after)
            found[chr(code)] = after
    if vectorizer.strip_accents == "ascii":  # All others vanish.
        return {letter: after for letter, after in found.items() if after}, ""
    return {letter: after for letter, after in found.items() if after != letter}, _SAME


def _changed(writer: GraphWriter, text: str, change: dict[str, str], others: str) -> str:
    """The texts (n,) letter by letter, whatever the locale of the machine that runs the file."""
    letters = _letters(writer, text, "")
    other = writer.node(
        "LabelEncoder",
        letters,
        domain="ai.onnx.ml",
        keys_strings=list(change),
        values_strings=list(change.values()),
        default_string=others,
    )
    same = writer.node("Equal", other, writer.constant(np.array(_SAME, dtype=object)))
    letters = writer.node("Where", same, letters, other)
    return _joined(writer, text, letters)


def _joined(writer: GraphWriter, text: str, parts: str) -> str:
    """Parts of texts (n, most parts) one after the other, (n,)."""
    same = writer.node("Equal", text, text)
    empty = writer.node("Where", same, _text(writer, ""), text)
    count = writer.node("Squeeze", writer.node("Shape", parts, start=1, end=2))
    return writer.node("Loop", count, "", empty, body=_joining(parts))


def _joining(letters: str) -> Any:
    """The body of a loop over letters that joins them.

    A `Scan` would be the natural operator, but ONNX Runtime joins text in its place there.
    """
    info = helper.make_tensor_value_info
    place, goes_on = info("place", TensorProto.INT64, []), info("on", TensorProto.BOOL, [])
    text, joined = (info(name, TensorProto.STRING, ["rows"]) for name in ("text", "joined"))
    still = info("still", TensorProto.BOOL, [])
    nodes = [
        helper.make_node("Gather", [letters, "place"], ["letter"], axis=1),
        helper.make_node("StringConcat", ["text", "letter"], ["joined"]),
        helper.make_node("Identity", ["on"], ["still"]),
    ]
    return helper.make_graph(nodes, "join", [place, goes_on, text], [still, joined])
