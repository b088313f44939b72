"""The command that runs the peers' own tests: what it counts, and what it compares."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge

FOLDER = Path(__file__).parents[2] / "benchmarks" / "peer_suites"
X = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]])


@pytest.fixture
def answers(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import answers

    answers.EVENTS.clear()
    yield answers
    sys.modules.pop("answers")


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import run

    yield run
    sys.modules.pop("run")


def test_answers_are_those_of_the_estimator(answers):
    model = Ridge().fit(X, [0.0, 1.0, 2.0])
    found = answers.translate(model)
    np.testing.assert_allclose(found.ask("predict", X), model.predict(X))
    assert answers.EVENTS == [("begun", "Ridge"), ("translated", "Ridge")]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (X, X.astype(np.float32)),
        (X[:, :1], X),
        (X.tolist(), X),
        ([X], (X,)),
        (X, sparse.csr_array(X)),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array(["a"]), np.array(["b"])),
    ],
    ids=["dtype", "shape", "list", "tuple", "sparse", "labels", "texts"],
)
def test_other_answers_are_wrong(answers, answer, wanted):
    with pytest.raises(answers.WrongAnswerError):
        answers.compare(answer, wanted, "it")


def test_small_differences_are_noted(answers):
    answers.compare(X * (1 + 1e-6), X, "Ridge.predict")
    answers.compare(X * (1 + 1e-12), X, "Ridge.predict")
    assert answers.EVENTS == [("inexact", "Ridge.predict: 3.0e-06")]


def test_parts_of_others_do_not_apply(answers):
    class Own(LogisticRegression):
        pass

    members = [("own", Own()), ("other", DummyClassifier())]
    with pytest.raises(answers.NotApplicableError, match="Own"):
        answers.translate(VotingClassifier(members).fit(X, [0, 1, 1]))


def line(outcome, events, error="", machinery=None):
    return {"outcome": outcome, "events": events, "error": error, "machinery": machinery}


TRANSLATED = ["translated", "Ridge"]


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (line("passed", [TRANSLATED]), "passed"),
        (line("passed", []), "not applicable"),
        (line("skipped", []), "not applicable"),
        (line("passed", [TRANSLATED], machinery="ONNX operators"), "passed"),
        (line("failed", [TRANSLATED], "AssertionError", "ONNX operators"), "not applicable"),
        (line("failed", [TRANSLATED], "WrongAnswerError", "ONNX operators"), "wrong"),
        (line("failed", [["machinery", "the backend tvm"]]), "not applicable"),
        (line("failed", [], "ValueError: no"), "not applicable"),
        (line("failed", [TRANSLATED], "ModuleNotFoundError: no module"), "not applicable"),
        (line("failed", [["refused", "Isomap: no"]], "UntranslatableError: no"), "refused"),
        (line("failed", [TRANSLATED], "AssertionError: 1 != 2"), "wrong"),
        (line("failed", [TRANSLATED], "WrongAnswerError: Ridge"), "wrong"),
        (line("failed", [TRANSLATED], "TypeError: no"), "other"),
        (line("failed", [], "_TooLongError: more than 60 seconds"), "not applicable"),
        (line("failed", [["begun", "Ridge"]], "_TooLongError: more than 60 seconds"), "other"),
    ],
)
def test_how_a_test_ended(run, result, kind):
    assert run.kind(result)[0] == kind


def test_a_test_fails_if_a_part_of_it_fails(run, capsys):
    results = [line("failed", [TRANSLATED], "AssertionError: 1 != 2"), line("passed", [TRANSLATED])]
    run.report([{**one, "test": "a", "place": ""} for one in results], itself=False, show=False)
    assert "0 of 1 tests that apply pass" in capsys.readouterr().out
