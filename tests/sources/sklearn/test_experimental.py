"""Experimental estimators that nothing has enabled, as in a pickle."""

import subprocess
import sys

SCRIPT = """
import numpy as np
import sklearn.impute, sklearn.model_selection
from sklearn.impute._iterative import IterativeImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV
from sklearn.model_selection._search_successive_halving import HalvingRandomSearchCV
import pipegrad as pg

X = np.random.default_rng(0).normal(size=(30, 3))
searches = HalvingGridSearchCV, HalvingRandomSearchCV
operators = [kind(Ridge(), {"alpha": [1.0, 2.0]}, cv=2) for kind in searches]
for operator in (*operators, IterativeImputer(max_iter=1, tol=1e9)):
    pg.to_torch(operator.fit(X, X[:, 0]))
    name = type(operator).__name__
    module = sys.modules[pg.registry.lookup(type(operator)).name.removesuffix("." + name)]
    assert pg.registry.dotted_name(type(operator)) == module.__name__ + "." + name
    assert name not in vars(module), "enabled by pipegrad"
"""


def test_experimental_estimators_are_found_but_not_enabled():
    subprocess.run([sys.executable, "-c", "import sys" + SCRIPT], check=True, timeout=300)
