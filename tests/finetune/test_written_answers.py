"""A pipeline that is written back wrongly is not handed out."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

import pipegrad as pg
from pipegrad.errors import PipegradWarning
from pipegrad.finetune.written_answers import answers_alike
from pipegrad.registry import lookup
from pipegrad.testing import DATASETS, perturb

draw = np.random.default_rng(0)
X = draw.normal(size=(300, 6))
y = X @ draw.normal(size=6) + X[:, 0] * X[:, 1]
LABELS = np.where(y > 0, "high", "low")


def pipeline(numeric):
    return make_pipeline(PCA(2), Ridge() if numeric else LogisticRegression())


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"epochs": 30, "lr": 0.1}])
@pytest.mark.parametrize("numeric", [True, False])
def test_a_defect_of_writing_keeps_the_fitted_pipeline(monkeypatch, numeric, settings):
    target = y if numeric else LABELS
    good = pg.FineTuner(pipeline(numeric), random_state=0, **settings).fit(X, target)
    assert good.improved_

    def wrong(self, module, operator):
        operator.mean_ = operator.mean_ + 1.0

    monkeypatch.setattr(type(lookup(PCA)), "write_back", wrong)
    tuner = pg.FineTuner(pipeline(numeric), random_state=0, **settings)
    with pytest.warns(PipegradWarning, match="please report"):
        tuner.fit(X, target)
    assert not tuner.improved_
    assert "did not answer" in tuner.report_.why
    assert np.array_equal(tuner.predict(X[:5]), tuner.estimator_.predict(X[:5]))


@pytest.mark.parametrize("data", ["multiclass", "binary_strings"])
def test_answers_of_what_is_written_right_are_alike(data):
    rows, labels = DATASETS[data]()
    for model in (GaussianNB(), LogisticRegression(max_iter=2000)):
        net = pg.to_torch(model.fit(rows, labels))
        assert answers_alike(net, model, rows)
        perturb(net)
        assert answers_alike(net, pg.from_torch(net), rows)
        assert not answers_alike(net, model, rows)
