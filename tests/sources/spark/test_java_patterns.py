"""Patterns of Java: random ones with the answers of Spark, and those that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pipegrad as pg
from pipegrad.sources.spark.java_patterns import JavaPattern, JavaPatternError
from pipegrad.sources.spark.operators.texts import SplitByPattern

FILE = Path(__file__).parents[2] / "data" / "spark" / "java_patterns.json"
SAVED = json.loads(FILE.read_text("utf-8"))


@pytest.mark.parametrize("case", SAVED["cases"], ids=lambda case: ascii(case["pattern"]))
def test_terms_are_those_of_spark(case):
    operator = SplitByPattern(
        kind="RegexTokenizer",
        pattern=case["pattern"],
        gaps=case["gaps"],
        shortest=case["minTokenLength"],
        lower=case["toLowercase"],
    )
    compared = 0
    for text, wanted in zip(SAVED["texts"], case["answers"], strict=True):
        try:
            found = operator.run(np.array([text], dtype=object))[0]
        except pg.ArgumentError:
            continue  # Beyond what such a pattern takes.
        assert found == wanted, text
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a)\1", "a reference to a group"),
        (r"(?<n>a)\k<n>", "a reference to a group"),
        (r"\G,", r"\\G is unknown here"),
        (r"(?m)^a", r"flag or group \(\?m"),
        (r"(?x) a", r"flag or group \(\?x"),
        (r"\p{IsLatin}", "not known here"),
        (r"(?i)\p{Lower}", "not the same in all versions"),
        (r"(?:a*)+", "repeats what may be empty"),
        (r"(?:a+)+", "exponential time"),
        (r"\R+", r"repeats \\R"),
        (r"[^a&&b]", "order is not certain"),
        (r"[&&a]", "part of a class of characters is empty"),
        (r"[]", "ends too early|is empty"),
        (r"(?<=a|bc)d", "Python has no such pattern"),
        (r"a{2,1}", "numbers of repetitions"),
        (r"a)", "parentheses do not match"),
        (r"(a", "parentheses do not match"),
        (r"*", "repeats nothing"),
        ("(" * 50, "more than 40 groups"),
        ("[" * 50, "more than 40 groups"),
        ("\\", "ends too early"),
        (r"\x{110000}", "is damaged"),
    ],
)
def test_other_patterns_are_refused_with_the_reason(pattern, why):
    with pytest.raises(JavaPatternError, match=why):
        JavaPattern.read(pattern)


def test_rows_that_versions_of_java_or_halves_of_characters_decide_are_refused():
    assert JavaPattern.read(r"\b").split("a b") == ["a", " ", "b"]
    with pytest.raises(pg.ArgumentError, match="texts of ASCII characters, got 'é'"):
        JavaPattern.read(r"\b").split("é")
    assert JavaPattern.read("").split("aé") == ["a", "é"]
    with pytest.raises(pg.ArgumentError, match=r"characters up to U\+FFFF"):
        JavaPattern.read("a*").split("😀")
