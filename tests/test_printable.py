"""Names that would move the cursor of a terminal, or break HTML and SVG, are shown escaped."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import pipegrad as pg
from pipegrad.errors import PipegradError, warn
from pipegrad.graph import Graph, Step
from pipegrad.graph.display.html import graph_svg
from pipegrad.graph.display.text import rich_tree
from pipegrad.printable import printable
from pipegrad.report import MovedSplits, Split

matplotlib.use("Agg")
CODES = [*range(32), *range(127, 160), 0x61C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F)]
CODES += [*range(0x2060, 0x206A), 0xFEFF, 0xFFFE, 0xFFFF, 0xD800, 0xDFFF, 0xE0001, 0x1FFFE]
HOSTILE = "".join(map(chr, CODES))


def assert_harmless(text, lines=True):
    text = str(text)
    assert (text.replace("\n", "") if lines else text).isprintable()
    text.encode("utf-8")


@pytest.mark.parametrize("code", CODES)
def test_each_character_is_escaped(code):
    shown = printable(f"a{chr(code)}b")
    assert shown == "a" + chr(code).encode("unicode_escape").decode() + "b"
    assert_harmless(shown, lines=False)


@pytest.mark.parametrize("name", ["plain", "größe / 単位", "می‌خواهم", "क्‍ष", "€ 😀", "a b"])
def test_names_in_any_script_stay(name):
    assert printable(name) == name


def test_graphs():
    step = Step(HOSTILE, f"a.{HOSTILE}", ("input",), HOSTILE, "host", HOSTILE, 3)
    graph = Graph((step, Step("z", "a.Z", (HOSTILE,), reason=HOSTILE)), "z")
    assert_harmless(str(graph))
    assert len(str(graph).splitlines()) == 3
    assert_harmless(rich_tree(graph, why=True).plain)
    assert_harmless(graph._repr_html_())
    ET.fromstring(graph_svg(graph))
    assert_harmless(repr(graph))
    many = Graph(tuple(Step(f"{HOSTILE}{i}", "a.K", ("input",)) for i in range(20)), f"{HOSTILE}0")
    assert_harmless(str(many))
    ET.fromstring(graph_svg(many))


def test_errors_and_warnings():
    assert str(PipegradError("a\x1b[31m\n b\r")) == "a\\x1b[31m\n b\\r"
    with pytest.raises(pg.ArgumentError) as caught:
        pg.Graph.from_json(HOSTILE)
    assert_harmless(caught.value)
    failed = pg.UntranslatableError([("a\x1b", "k\n\x9b", "why\u202e\n")], 2, "hint\x07")
    assert_harmless(failed)
    assert len(str(failed).splitlines()) == 3
    with pytest.warns(pg.PipegradWarning) as seen:
        warn("\x1b[2J")
    assert str(seen[0].message) == "\\x1b[2J"


def data():
    hostile = HOSTILE.replace("\ud800", "").replace("\udfff", "")  # pandas encodes names
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=[f"[/]$a{hostile}$", "[red]b", "c"])
    return X, X.to_numpy() @ [1.0, 2.0, 3.0] + rng.normal(size=120)


def test_a_pipeline_with_such_names():
    X, y = data()
    names = (f"s{HOSTILE}", f"p{HOSTILE}", f"r{HOSTILE}".replace(".", ""))
    pipe = Pipeline(list(zip(names, (StandardScaler(), PCA(2), Ridge(50.0)), strict=True)))
    tuner = pg.FineTuner(pipe, epochs=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        tuner.fit(X, y)
    report = tuner.report_
    assert report.steps
    assert_harmless(report)
    assert_harmless(report.to_html())
    assert_harmless(pg.inspect(tuner.estimator_))
    net = pg.to_torch(tuner.estimator_)
    assert_harmless(repr(net))
    with pytest.raises(pg.ArgumentError) as caught:
        pg.to_torch(tuner.estimator_, train=["nothing"])
    assert_harmless(caught.value)
    pipe.steps[1] = (names[1], FunctionTransformer(lambda Z: Z[::-1]))
    with pytest.raises(pg.UntranslatableError) as refused:
        pg.to_torch(pipe.fit(X, y))
    assert_harmless(refused.value)


def test_the_table_and_the_plot_of_splits():
    names = (f"[/]$a{HOSTILE}$", "[red]b")
    splits = tuple(Split(HOSTILE, 0, name, 0.0, 1.0, 2.0) for name in names)
    moved = MovedSplits(splits, 2, 7)
    assert_harmless(moved)
    assert "[/]$a" in str(moved)
    assert "[red]b" in str(moved)
    figure = moved.plot().figure
    figure.canvas.draw()
