"""The contract of a translation, as far as it holds for composites, on fitted examples."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from helpers import assert_round_trip, fitted
from pipegrad.finetune.losses import get_loss
from pipegrad.testing import CHECKS, DATASETS, perturb

# Members of composites.
CLASSIFIERS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "support vectors": SVC(gamma=0.1),
    "hinge": LinearSVC(dual=False, C=0.01),
    "naive Bayes": GaussianNB(),
    "tree": DecisionTreeClassifier(max_depth=3),
    "boosting": GradientBoostingClassifier(n_estimators=3, max_depth=2),
}

_CHECKS = (
    "parity",
    "nothing_is_shared",
    "gradients",
    "inputs",
    "state",
    "export",
    "inference",
    "methods",
    "types",
)


class CompositeRow(pg.Translation):
    """What the checks ask of the translation of an operator."""

    def __init__(self, refused_inputs: Mapping[str, str] | None = None) -> None:
        self.refused_inputs = dict(refused_inputs or {})  # type: ignore[misc]

    def head(self, operator: Any) -> Any:
        return pg.to_torch(operator).head


@dataclass(frozen=True)
class CompositeCase:
    """A composite with its data, as the checks of the contract take it."""

    make: Callable[[], Any]
    rows: Callable[[], tuple[Any, Any]]
    row: CompositeRow = field(default_factory=CompositeRow)
    tolerance: float = 1e-9
    example: pg.Example = field(default_factory=pg.Example)

    def data(self) -> tuple[Any, Any]:
        return self.rows()

    def fitted(self) -> Any:
        X, y = self.data()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fitted(self.make(), X, y)

    def module(self) -> tuple[Any, pg.PipelineModule]:
        operator = self.fitted()
        return operator, pg.to_torch(operator)


def check_composite(
    estimator: Any,
    data: str | Callable[[], tuple[Any, Any]],
    refused_inputs: Mapping[str, str] | None = None,
    but: tuple[str, ...] = (),
    tolerance: float = 1e-9,
) -> pg.PipelineModule:
    """Run all checks of the contract that apply to composites, but the named ones."""
    rows = DATASETS[data] if isinstance(data, str) else data
    row = CompositeRow(refused_inputs)
    case = CompositeCase(lambda: copy.deepcopy(estimator), rows, row, tolerance)
    for name in _CHECKS:
        if name in but:
            continue
        try:
            CHECKS[name](case)  # type: ignore[arg-type]
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    operator = case.fitted()
    net: pg.PipelineModule = assert_round_trip(operator, rows()[0], tolerance=tolerance)
    return net


def mean_loss(net: pg.PipelineModule, X: Any, y: Any) -> float:
    return float(row_losses(net, X, y).mean())


def row_losses(net: pg.PipelineModule, X: Any, y: Any) -> Any:
    """The loss of each row on the composite's own objective."""
    objective = net.objective
    assert objective is not None
    loss = get_loss(objective.name)
    options = {name: value for name, value in objective.options.items() if name != "weigh"}
    return loss(net(X), net.encode_target(y), **options).detach().numpy()


def lower_loss(net: pg.PipelineModule, X: Any, y: Any, epochs: int = 20) -> tuple[float, float]:
    """The loss before and after training."""
    before = mean_loss(net, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(X, y, validation=None, epochs=epochs, seed=0)
    return before, mean_loss(net, X, y)


def as_table(X: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(np.asarray(X), columns=[f"x{i}" for i in range(np.shape(X)[1])])


def check_recovery(estimator: Any, data: str, size: float = 0.1) -> None:
    """Numbers that are perturbed come back by training on the composite's own loss."""
    X, y = DATASETS[data]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = pg.to_torch(fitted(copy.deepcopy(estimator), X, y))
    before = mean_loss(net, X, y)
    perturb(net, size)
    moved = mean_loss(net, X, y)
    net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=12)
    after = mean_loss(net, X, y)
    assert after <= before + 0.01 * abs(before)
    assert after < moved
    np.testing.assert_allclose(mean_loss(pg.to_torch(pg.from_torch(net)), X, y), after, rtol=1e-6)
