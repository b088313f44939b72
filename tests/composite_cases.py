"""Composites of scikit-learn, which unfold into their parts, with the data sets for them."""

from __future__ import annotations

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import RFE, RFECV
from sklearn.impute import IterativeImputer
from sklearn.linear_model import Lasso, LogisticRegression, RANSACRegressor, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg


def logistic():
    return LogisticRegression(max_iter=50)


def tree():
    return DecisionTreeClassifier(max_depth=3, random_state=0)


CLASSIFIERS = [("a", logistic()), ("b", tree())]
REGRESSORS = [("a", Ridge()), ("b", Lasso())]
GRID = {"C": [0.5, 1.0]}
CASES = {
    "log of target": (
        "positive",
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
    ),
    "scaled target": (
        "multioutput",
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
    ),
    "stack of classifiers": ("multiclass", StackingClassifier(CLASSIFIERS, cv=2)),
    "stack of regressors": ("regression", StackingRegressor(REGRESSORS, cv=2)),
    "hard vote": ("multiclass", VotingClassifier(CLASSIFIERS)),
    "soft vote": ("multiclass", VotingClassifier(CLASSIFIERS, voting="soft")),
    "mean of regressors": ("regression", VotingRegressor(REGRESSORS)),
    "RFE": ("multiclass", RFE(logistic(), n_features_to_select=3)),
    "RFECV": ("multiclass", RFECV(logistic(), cv=2)),
    "IterativeImputer": ("missing", IterativeImputer(max_iter=1)),
    "RANSAC": ("regression", RANSACRegressor(random_state=0)),
    "fixed threshold": ("binary", FixedThresholdClassifier(logistic(), threshold=0.3)),
    "tuned threshold": ("binary", TunedThresholdClassifierCV(logistic(), cv=2)),
    "grid": ("multiclass", GridSearchCV(logistic(), GRID, cv=2)),
    "random search": ("multiclass", RandomizedSearchCV(logistic(), GRID, n_iter=1, cv=2)),
    "halving grid": ("binary", HalvingGridSearchCV(logistic(), GRID, cv=2)),
    "halving random": ("binary", HalvingRandomSearchCV(logistic(), GRID, cv=2)),
    "one against one": ("multiclass", OneVsOneClassifier(logistic())),
    "one against rest": ("multiclass", OneVsRestClassifier(logistic())),
    "several labels": ("multilabel", OneVsRestClassifier(logistic())),
    "output codes": ("multiclass", OutputCodeClassifier(logistic(), random_state=0)),
    "chain of classifiers": ("multilabel", ClassifierChain(logistic())),
    "several targets": ("several", MultiOutputClassifier(logistic())),
    "several regressions": ("multioutput", MultiOutputRegressor(Ridge())),
    "chain of regressors": ("multioutput", RegressorChain(Ridge())),
    "union": ("multiclass", make_pipeline(make_union(StandardScaler(), PCA(2)), logistic())),
    "self-training": ("partly_labeled", SelfTrainingClassifier(logistic())),
    "predictor as features": (
        "multiclass",
        make_pipeline(make_union(pg.Featurizer(tree()), StandardScaler()), logistic()),
    ),
}
