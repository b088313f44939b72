"""Pictures of graphs: text, rich, SVG and HTML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from rich.console import Console

from pipegrad.graph import Graph, Step
from pipegrad.graph.display.folding import fold
from pipegrad.graph.display.html import graph_html, graph_svg
from pipegrad.graph.display.layout import place
from pipegrad.graph.display.table import StepTable
from pipegrad.graph.display.text import rich_tree, text_tree
from pipegrad.supported import Supported, supported_table

NASTY = 'x/<script>alert("&")</script>'


def diamond() -> Graph:
    return Graph(
        (
            Step("cat", "a.b.OneHotEncoder", ("input",), status="host", reason="nothing to train"),
            Step("num", "a.b.PCA", ("input",), status="trainable", parameters=1234),
            Step("join", "a.Concatenate", ("cat", "num"), status="translated"),
            Step("last", "a.Logistic", ("join",), status="trainable", method="predict_proba"),
        ),
        "last",
    )


def ensemble(members: int) -> Graph:
    steps = [Step("scale", "a.Scaler", ("input",))]
    for i in range(members):
        steps.append(Step(f"bag/{i}/columns", "a.Columns", ("scale",)))
        steps.append(Step(f"bag/{i}", "a.Tree", (f"bag/{i}/columns",), parameters=2))
    steps.append(Step("bag", "a.Average", tuple(f"bag/{i}" for i in range(members))))
    return Graph(tuple(steps), "bag")


def test_text_tree_draws_branches():
    assert text_tree(diamond()).splitlines() == [
        "▽    input",
        "├─╮",
        "│ □  cat    OneHotEncoder           host",
        "● │  num    PCA                     trainable   1,234",
        "├─╯",
        "○    join   Concatenate             translated",
        "●    last   Logistic.predict_proba  trainable",
    ]


def test_text_tree_draws_a_value_that_passes_by():
    graph = Graph(
        (
            Step("a", "A", ("input",)),
            Step("b", "B", ("a",)),
            Step("c", "C", ("a",)),
            Step("d", "D", ("b", "c", "a")),
        ),
        "d",
    )
    drawn = [line[:5].rstrip() for line in text_tree(graph).splitlines()]
    assert drawn == ["▽", "•", "├─╮", "│ •", "├─│─╮", "│ │ •", "├─┴─╯", "•"]


def test_text_tree_says_why():
    lines = text_tree(diamond(), why=True).splitlines()
    assert lines[2].endswith("nothing to train")
    assert lines[3].endswith("1,234")


def test_a_single_step_is_a_tree():
    assert text_tree(Graph((Step("pca", "a.PCA", ("input",)),), "pca")) == "▽  input\n•  pca    PCA"


def test_rich_tree_says_the_same():
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(rich_tree(diamond()), soft_wrap=True)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert lines == text_tree(diamond()).splitlines()


@pytest.mark.parametrize("width", [60, 140])
def test_table_names_every_step(width):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(StepTable(diamond()))
    text = capture.get()
    for word in ("cat", "OneHotEncoder", "host", "nothing to train", "1,234", "1 translated"):
        assert word in text


def test_supported_operators_are_listed():
    console = Console(width=140, color_system=None)
    with console.capture() as capture:
        console.print(supported_table([Supported("a.b.PCA", "a", "operator", "it rotates")]))
    assert "a.b.PCA" in capture.get()
    assert "it rotates" in capture.get()


def test_long_names_are_broken_where_they_have_parts():
    graph = Graph((Step("some/quite/long/path/to/a/step", "a.A", ("input",)),), "some")
    lines = [line.split()[0] for line in str(StepTable(graph)).splitlines() if line.strip()]
    assert lines[2:4] == ["some/quite/long/path/to/a/", "step"]


def test_graphs_show_themselves():
    graph = diamond()
    console = Console(width=140, color_system=None)
    with console.capture() as capture:
        console.print(graph)
    assert "nothing to train" in capture.get()
    assert "nothing to train" in str(graph)
    assert "<svg" in graph._repr_html_()


def test_many_alike_steps_become_one():
    folded = fold(ensemble(20))
    assert [step.name for step in folded] == [
        "scale",
        "bag/0/columns … 19/columns",
        "bag/0 … 19",
        "bag",
    ]
    assert folded["bag/0 … 19"].parameters == 40
    assert folded["bag"].inputs == ("bag/0 … 19",)
    assert len(text_tree(ensemble(20)).splitlines()) == 5


def test_few_alike_steps_stay():
    graph = ensemble(8)
    assert fold(graph) is graph


def test_folding_tells_steps_apart_by_where_they_lead():
    many = ensemble(20)
    odd = Step("other", "a.Other", ("bag/3",))
    graph = Graph((*many.steps, odd), "bag")
    assert "bag/3" in [step.name for step in fold(graph)]


def test_svg_is_well_formed_and_holds_each_step():
    root = ET.fromstring(graph_svg(diamond()))
    texts = "\n".join(e.text or "" for e in root.iter() if not e.tag.endswith("style"))
    for word in (
        "OneHotEncoder",
        "PCA",
        "num · 1,234 parameters",
        "trainable",
        "translated",
        "host",
    ):
        assert word in texts
    assert "refused" not in texts


def test_names_are_escaped():
    graph = Graph((Step(NASTY, "<b>.<i>", ("input",), status="refused", reason="<u>"),), NASTY)
    html = graph_html(graph, title="<title>")
    for tag in ("<script>", "<i>", "<u>", "<title><"):
        assert tag not in html
    ET.fromstring(graph_svg(graph))


def test_html_is_balanced_and_loads_nothing():
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag, attrs):
            self.open.append(tag)
            assert not {name for name, _ in attrs} & {"href", "src", "onload"}

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(graph_html(diamond()))
    assert not parser.open


def test_boxes_do_not_overlap():
    widths = {"input": 50.0, "a": 200.0, "b": 80.0, "c": 120.0, "d": 60.0}
    inputs = {"input": (), "a": ("input",), "b": ("input",), "c": ("a", "input"), "d": ("b", "c")}
    layout = place(inputs, widths, gap=10.0)
    assert layout.width >= 200
    for layer in layout.layers:
        for left, right in pairwise(layer):
            assert right.x - left.x >= (left.width + right.width) / 2 + 10 - 1e-9
    for node in layout.nodes.values():
        assert node.width / 2 - 1e-9 <= node.x <= layout.width - node.width / 2 + 1e-9


def test_edges_that_need_not_cross_do_not():
    widths = dict.fromkeys(["input", "a", "b", "c", "x", "y", "z"], 40.0)
    inputs = {
        "input": (),
        "a": ("input",),
        "b": ("input",),
        "c": ("input",),
        "x": ("c",),
        "y": ("b",),
        "z": ("a",),
    }
    at = {name: node.x for name, node in place(inputs, widths, gap=10.0).nodes.items()}
    assert [at[n] for n in "abc"] == pytest.approx([at[n] for n in "zyx"])
