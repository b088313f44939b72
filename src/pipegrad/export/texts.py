"""Counts of terms in text, on operators of ONNX and the tokenizer of ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from .onnx_graph import GraphWriter
from .table import Part, Table

# Patterns of which a token is a whole run of letters, digits and underscores, and its least length.
_PATTERNS = {
    r"(?u)\b\w\w+\b": 2,
    r"\b\w\w+\b": 2,
    r"\w\w+": 2,
    r"(?u)\b\w+\b": 1,
    r"\b\w+\b": 1,
    r"(?u)\w+": 1,
    r"\w+": 1,
}
_WORDS = r"[\p{L}\p{N}_]+"
_PAD = "\x01"  # no token
_SAME = "\x02"  # instead of a letter that does not change
# The preprocessors of scikit-learn by the name of the option.
_ACCENTS = {"unicode": "strip_accents_unicode", "ascii": "strip_accents_ascii"}


def why_not_counts(operator: Any) -> str | None:
    """Why ONNX cannot express how a vectorizer counts terms, or None."""
    vectorizer = getattr(operator, "owner", operator)
    if vectorizer.analyzer != "word":
        return f"analyzer={_named(vectorizer.analyzer)} has no operator"
    for name in ("tokenizer", "preprocessor"):
        if getattr(vectorizer, name) is not None:
            return f"{name}= is a Python function"
    if vectorizer.strip_accents not in (None, *_ACCENTS):
        return "strip_accents= is a Python function"
    if vectorizer.token_pattern not in _PATTERNS:
        known = ", ".join(map(repr, list(_PATTERNS)[::3]))
        return f"token_pattern={vectorizer.token_pattern!r} is none of {known}"
    if vectorizer.stop_words is not None and vectorizer.ngram_range != (1, 1):
        return "stop_words= joins words that do not stand side by side"
    return None


def _named(value: Any) -> str:
    return repr(value) if isinstance(value, str) else "a Python function"


def counts(writer: GraphWriter, operator: Any, table: Table) -> Table:
    """Counts (n, terms) of the terms in one column of text."""
    vectorizer = getattr(operator, "owner", operator)
    text = writer.node("Reshape", table.parts[0].name, writer.constant(np.array([-1])))
    # A row without words at the end, since the operators need at least one row.
    text = writer.node("Concat", text, writer.constant(np.array([""], dtype=object)), axis=0)
    change, others = _changes(vectorizer)
    if change:
        text = _changed(writer, text, change, others)
    words = writer.node(
        "Tokenizer",
        text,
        domain="com.microsoft",
        mark=0,
        mincharnum=_PATTERNS[vectorizer.token_pattern],
        pad_value=_PAD,
        tokenexp=_WORDS,
    )
    found = writer.node("TfIdfVectorizer", words, **_terms(vectorizer))
    ends = (writer.constant(np.array([place])) for place in (0, -1, 0))
    found = writer.node("Slice", found, *ends)
    if vectorizer.binary:
        found = writer.node("Min", found, writer.constant(np.float32(1)))
    width = len(vectorizer.vocabulary_)
    return Table((Part(writer.cast(found, writer.real), width, writer.real),))


def _terms(vectorizer: Any) -> dict[str, Any]:
    """The vocabulary as attributes of `TfIdfVectorizer`: terms of one word, of two, and so on."""
    by_length: dict[int, list[tuple[list[str], int]]] = {}
    for term, place in vectorizer.vocabulary_.items():
        words = term.split(" ")
        by_length.setdefault(len(words), []).append((words, int(place)))
    shortest, longest = vectorizer.ngram_range
    pool: list[str] = []
    starts, places = [], []
    for length in range(1, longest + 1):
        starts.append(len(pool))
        for words, place in by_length.get(length, []) if length >= shortest else []:
            pool += words
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
    letters = writer.node(
        "Tokenizer",
        text,
        domain="com.microsoft",
        mark=0,
        mincharnum=1,
        pad_value="",
        separators=[""],
    )
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
    empty = writer.node(
        "Where",
        writer.node("Equal", text, text),
        writer.constant(np.array("", dtype=object)),
        text,
    )
    count = writer.node("Shape", letters, start=1, end=2)
    count = writer.node("Squeeze", count)
    return writer.node("Loop", count, "", empty, body=_joining(letters))


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
