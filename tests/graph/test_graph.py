"""The graph: names, edges, JSON, text."""

from __future__ import annotations

import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

import pipegrad as pg
from helpers import fit_on, fitted, table, target


def graph_of(source):
    return pg.to_torch(source).graph


def columns():
    X = table()
    first = make_column_transformer(
        (StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["color"]), remainder="drop"
    )
    return fitted(Pipeline([("prepare", first), ("model", Ridge())]), X, target(X))


def union():
    both = FeatureUnion([("s", StandardScaler()), ("p", PCA(2)), ("x", "passthrough")])
    return fit_on("regression", make_pipeline(both, MinMaxScaler(), Ridge()))[0]


def stacking():
    learners = [("one", make_pipeline(StandardScaler(), Ridge())), ("two", LinearRegression())]
    return fit_on("regression", StackingRegressor(learners, Ridge(), passthrough=True, cv=2))[0]


def voting():
    learners = [("one", LogisticRegression()), ("two", make_pipeline(PCA(2), LogisticRegression()))]
    return fit_on("multiclass", VotingClassifier(learners, voting="soft"))[0]


SOURCES = [columns, union, stacking, voting]


def test_names_are_paths_in_the_source():
    assert [(s.name, s.inputs, s.method) for s in graph_of(columns())] == [
        ("prepare/standardscaler/columns", ("input",), "transform"),
        ("prepare/standardscaler", ("prepare/standardscaler/columns",), "transform"),
        ("prepare/onehotencoder/columns", ("input",), "transform"),
        ("prepare/onehotencoder", ("prepare/onehotencoder/columns",), "transform"),
        ("prepare/concatenate", ("prepare/standardscaler", "prepare/onehotencoder"), "transform"),
        ("model", ("prepare/concatenate",), "score"),
    ]
    assert [(s.name, s.inputs, s.method) for s in graph_of(union())] == [
        ("featureunion/s", ("input",), "transform"),
        ("featureunion/p", ("input",), "transform"),
        ("featureunion/x", ("input",), "transform"),
        (
            "featureunion/concatenate",
            ("featureunion/s", "featureunion/p", "featureunion/x"),
            "transform",
        ),
        ("minmaxscaler", ("featureunion/concatenate",), "transform"),
        ("ridge", ("minmaxscaler",), "score"),
    ]
    assert [(s.name, s.inputs, s.method) for s in graph_of(stacking())] == [
        ("one/standardscaler", ("input",), "transform"),
        ("one/ridge", ("one/standardscaler",), "predict"),
        ("two", ("input",), "predict"),
        ("concatenate", ("one/ridge", "two", "input"), "transform"),
        ("final_estimator", ("concatenate",), "score"),
    ]
    assert [(s.name, s.inputs, s.method) for s in graph_of(voting())] == [
        ("one", ("input",), "predict_proba"),
        ("two/pca", ("input",), "transform"),
        ("two/logisticregression", ("two/pca",), "predict_proba"),
        ("average", ("one", "two/logisticregression"), "score"),
    ]


def test_names_of_a_single_operator_and_of_a_search():
    source, _ = fit_on("regression", Ridge())
    assert [s.name for s in graph_of(source)] == ["ridge"]
    pipe = make_pipeline(StandardScaler(), Ridge())
    source, _ = fit_on("regression", GridSearchCV(pipe, {"ridge__alpha": [1.0]}, cv=2))
    assert [s.name for s in graph_of(source)] == ["standardscaler", "ridge"]


@pytest.mark.parametrize("make", SOURCES)
def test_steps_come_after_those_that_feed_them(make):
    graph = graph_of(make())
    seen = {"input"}
    for step in graph:
        assert seen.issuperset(step.inputs)
        seen.add(step.name)
    assert graph.output == graph.steps[-1].name
    assert len(seen) == len(graph) + 1


@pytest.mark.parametrize("make", SOURCES)
def test_names_are_stable(make):
    source = make()
    first, net = graph_of(source), pg.to_torch(source)
    assert first == net.graph == graph_of(pg.from_torch(net))
    assert first.to_json() == graph_of(source).to_json()


@pytest.mark.parametrize("make", SOURCES)
def test_json_there_and_back(make):
    graph = graph_of(make())
    again = pg.Graph.from_json(graph.to_json())
    assert again == graph
    assert again.to_json() == graph.to_json()
    assert str(again) == str(graph)
    assert [s.status for s in again] == [s.status for s in graph]
    assert pg.Graph.from_json(graph.to_json(indent=None)) == graph


@pytest.mark.parametrize(
    "text", ["", "nonsense", "{}", "[]", "3", '{"steps": [{}], "output": "a", "composites": []}']
)
def test_text_that_is_no_graph(text):
    with pytest.raises(pg.ArgumentError, match="not a graph that to_json wrote"):
        pg.Graph.from_json(text)


@pytest.mark.parametrize("make", SOURCES)
def test_text(make):
    graph = graph_of(make())
    lines = str(graph).splitlines()
    assert len(lines) >= len(graph)
    for step in graph:
        assert any(step.kind.rpartition(".")[2] in line for line in lines)


def test_look_up():
    graph = graph_of(union())
    assert graph["minmaxscaler"].kind == "sklearn.preprocessing.MinMaxScaler"
    assert [s.name for s in graph.consumers("featureunion/p")] == ["featureunion/concatenate"]
    assert [s.name for s in graph.consumers("input")] == [
        "featureunion/s",
        "featureunion/p",
        "featureunion/x",
    ]
    with pytest.raises(KeyError, match="no step 'nothing'; there are featureunion/s"):
        graph["nothing"]
    assert len(graph) == 6
    assert graph["ridge"].matches("rid*")
    assert graph["featureunion/p"].matches("featureunion")
    assert not graph["featureunion/p"].matches("feature")
