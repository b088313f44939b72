"""Graphs from text that may come from anywhere."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ET

import pytest

import pipegrad as pg
from pipegrad.graph.display.html import graph_html, graph_svg
from pipegrad.graph.display.table import StepTable


def content():
    return {
        "output": "z",
        "steps": [
            {"name": "a/x", "kind": "m.Scaler", "inputs": ["input"], "status": "host"},
            {"name": "b", "kind": "m.PCA", "inputs": ["a/x"], "parameters": 3, "frozen": True},
            {"name": "c", "kind": "m.K", "inputs": ["a/x", "input"], "options": {"k": [1, {}]}},
            {"name": "z", "kind": "m.Ridge", "inputs": ["b", "c"], "method": "score"},
        ],
        "composites": [{"name": "a", "source": "input", "method": "transform", "value": "a/x"}],
        "columns": {"Score": "z"},
    }


def entry_points():
    scaler = {"Column": [{"Name": "x", "Source": "x"}], "Data": "$data"}
    scaled = {"OutputData": "$data1", "Model": "$model1"}
    trained = {"FeatureColumnName": "x", "TrainingData": "$data1"}
    return {
        "nodes": [
            {"Name": "Transforms.MinMaxNormalizer", "Inputs": scaler, "Outputs": scaled},
            {"Name": "Trainers.X", "Inputs": trained, "Outputs": {"PredictorModel": "$p"}},
        ]
    }


def changed(place, value, make=content):
    """The text with another value at a place; ... leaves the field out."""
    out = inner = make()
    *path, last = place
    for key in path:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(out)


def test_what_to_json_writes_is_read():
    graph = pg.Graph.from_json(json.dumps(content()))
    assert graph == pg.Graph.from_json(graph.to_json())
    assert pg.Graph.from_json(graph.to_json().encode()) == graph
    assert len(pg.Graph.from_json(json.dumps(entry_points()))) == 2


FAULTS = [
    (("output",), ..., "the graph lacks the field 'output'"),
    (("output",), "zz", "the output must be the name of a step, got 'zz'"),
    (("output",), 3, "'output' of the graph must be a text, got 3"),
    (("steps",), {}, "'steps' of the graph must be a list"),
    (("steps",), ..., "lacks the field 'steps'"),
    (("colums",), {}, "the graph has the unknown field 'colums'"),
    (("steps", 1), 7, "step 1 must be an object, got 7"),
    (("steps", 1, "inputs"), ["c"], r"step 1 \('b'\) takes 'c', which does not come before it"),
    (("steps", 1, "inputs"), ["b"], r"step 1 \('b'\) takes its own output"),
    (("steps", 0, "inputs"), ["z"], r"step 0 \('a/x'\) takes 'z', which does not come before it"),
    (("steps", 3, "inputs"), ["b", "no"], r"step 3 \('z'\) takes 'no', which is no step"),
    (("steps", 3, "inputs"), "b", "'inputs' of step 3 must be a list, got 'b'"),
    (("steps", 3, "inputs"), [["b"]], r"an input of step 3 \('z'\) must be a text"),
    (("steps", 2, "name"), "b", r"step 2 \('b'\) has a name that is taken"),
    (("steps", 2, "name"), "input", "a name that is taken"),
    (("steps", 2, "name"), None, "'name' of step 2 must be a text, got None"),
    (("steps", 2, "name"), ..., "step 2 lacks the field 'name'"),
    (("steps", 2, "kind"), ["k"], "'kind' of step 2 must be a text"),
    (("steps", 2, "status"), "weird", r"'status' of step 2 \('c'\) must be one of"),
    (("steps", 2, "parameters"), True, "'parameters' of step 2 must be a whole number"),
    (("steps", 2, "parameters"), -1, "a whole number of at least 0, got -1"),
    (("steps", 2, "parameters"), 1.5, "a whole number of at least 0, got 1.5"),
    (("steps", 2, "frozen"), 1, "'frozen' of step 2 must be true or false"),
    (("steps", 2, "options"), [], "'options' of step 2 must be an object"),
    (("steps", 2, "operator"), {}, "step 2 has the unknown field 'operator'"),
    (("composites", 0, "value"), "no", "the value of composite 0 must be the name of a step"),
    (("composites", 0, "source"), "no", "the source of composite 0 must be the name of a step"),
    (("composites", 0, "operator"), 1, "composite 0 has the unknown field 'operator'"),
    (("composites", 0, "method"), ..., "composite 0 lacks the field 'method'"),
    (("columns", "Score"), "no", "column 'Score' must be the name of a step, got 'no'"),
    (("columns", "Score"), ["z"], "column 'Score' must be the name of a step"),
]


@pytest.mark.parametrize(("place", "value", "match"), FAULTS)
def test_faults_are_named_with_their_place(place, value, match):
    with pytest.raises(pg.ArgumentError, match=match):
        pg.Graph.from_json(changed(place, value))


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (("nodes",), {}, "'nodes' must be a list"),
        (("nodes", 0), 1, "node 0 must be an object, got 1"),
        (("nodes", 0, "Name"), 1, "'Name' of node 0 must be a text"),
        (("nodes", 0, "Inputs"), ..., "node 0 lacks the field 'Inputs'"),
        (("nodes", 0, "Outputs"), [], "'Outputs' of node 0 must be an object"),
        (("nodes", 0, "Inputs", "Column"), [3], "a column of node 0 .* must have a name, got 3"),
        (("nodes", 0, "Inputs", "Data"), [], "'Data' of node 0 .* must be a text"),
        (("nodes", 1, "Inputs", "Suffix"), 3, "'Suffix' of node 1 .* must be a text, got 3"),
        (("nodes", 1, "Outputs", "PredictorModel"), ..., "'PredictorModel' of node 1 .* got None"),
        (("nodes", 1, "Name"), "Transforms.DatasetScorer", "'PredictorModel' of node 1"),
    ],
)
def test_faults_of_entry_point_graphs(place, value, match):
    with pytest.raises(pg.ArgumentError, match=match):
        pg.Graph.from_json(changed(place, value, entry_points))


def test_a_scorer_needs_a_trainer_and_a_step_is_no_input():
    scorer = {"Name": "Transforms.DatasetScorer", "Inputs": {"PredictorModel": "$q"}, "Outputs": {}}
    with pytest.raises(pg.ArgumentError, match=r"scores '\$q', which no node before it trains"):
        pg.Graph.from_json(json.dumps({"nodes": [scorer]}))
    graph = pg.Graph.from_json(changed(("nodes", 1, "Name"), "Trainers.input", entry_points))
    assert [step.name for step in graph] == ["MinMaxNormalizer", "input#2"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"steps": ' * 300 + "1" + "}" * 300, "nested too deeply"),
        (changed(("steps", 0, "options"), {"a": eval("[" * 90 + "]" * 90)}), "nested too deeply"),
        ('{"nodes": ' + "[" * 200 + "]" * 200 + "}", "nested too deeply"),
        ('{"output": "a", "output": "b"}', "an object has the field 'output' twice"),
        ("9" * 10_000, "digits"),
        ('"nodes"', "no JSON object"),
        (b"\xff\xfe{", "can't decode"),
        (None, "text must be JSON text, got NoneType"),
        ({"steps": []}, "text must be JSON text, got dict"),
    ],
)
def test_text_that_is_no_object(text, match):
    with pytest.raises(pg.ArgumentError, match=match):
        pg.Graph.from_json(text)


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+|true|false|null|[\[\]{},:]|\s+')
VALUES = [
    '"input"', '"a/x"', '"zz"', '"\\u001b[2J"', '"\\u202e\\n"', '"\\ud800"', "null", "-1", "NaN",
    "1e400", "true", "[]", "{}", '["b"]', '"status"', '"name"', '"$data1"', '"Trainers.X"',
]  # fmt: skip


def mutant(chance):
    tokens = TOKEN.findall(json.dumps(chance.choice([content, content, entry_points])()))
    for _ in range(chance.choice([1, 1, 2])):
        one, other = chance.randrange(len(tokens)), chance.randrange(len(tokens))
        kind = chance.random()
        if kind < 0.15:
            del tokens[one]
        elif kind < 0.25:
            tokens[one:one] = tokens[one : one + chance.randrange(12)]
        elif kind < 0.4:
            tokens[one], tokens[other] = tokens[other], tokens[one]
        else:
            plain = [i for i, token in enumerate(tokens) if token.strip() and token not in "[]{},:"]
            tokens[chance.choice(plain)] = chance.choice(VALUES)
    return "".join(tokens)


def test_mutants_are_refused_or_are_whole_graphs():
    chance, read, refused = random.Random(0), 0, 0
    for _ in range(600):
        try:
            graph = pg.Graph.from_json(mutant(chance))
        except pg.ArgumentError:
            refused += 1
            continue
        read += 1
        for shown in (str(graph), str(StepTable(graph)), graph_html(graph)):
            assert shown.replace("\n", "").isprintable()
        ET.fromstring(graph_svg(graph))
        assert graph.ancestors(graph.output) <= {"input", *(step.name for step in graph)}
        assert pg.Graph.from_json(graph.to_json()) == graph
    assert read > 40
    assert refused > 200


def test_long_chains_are_drawn():
    steps = [{"name": f"s{i}", "kind": "a.K", "inputs": [f"s{i - 1}"]} for i in range(400)]
    steps[0]["inputs"] = ["input"]
    graph = pg.Graph.from_json(json.dumps({"output": "s9", "steps": steps, "composites": []}))
    assert len(str(graph).splitlines()) == 401
