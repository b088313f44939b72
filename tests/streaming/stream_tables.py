"""A table in files, and pipelines that are trained on it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROWS, WIDTH, FILES = 6000, 5, 6
FEATURES = [f"x{i}" for i in range(WIDTH)]


def table(seed=0):
    """Numbers, a category, a label, an amount and weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, WIDTH)) * [1, 3, 0.2, 10, 1]
    score = X[:, 0] - X[:, 1] / 3 + np.sin(2 * X[:, 2]) + rng.normal(size=ROWS)
    found = pd.DataFrame(X, columns=FEATURES)
    found["kind"] = rng.choice(["a", "b", "c"], size=ROWS)
    found["label"] = np.where(score > 0, "yes", "no")
    found["amount"] = score
    found["weight"] = rng.uniform(0.5, 2, size=ROWS)
    return found


def write(frame, folder, sizes=(1000,) * FILES):
    """The rows in files of these sizes."""
    ends = np.cumsum([0, *sizes])
    for part, (start, end) in enumerate(pairwise(ends)):
        frame.iloc[start:end].to_parquet(folder / f"part-{part}.parquet", row_group_size=300)
    return str(folder)


def pipeline(frame):
    """A pipeline that was fitted badly, so that there is something to learn."""
    steps = (StandardScaler(), PCA(3, random_state=0), LogisticRegression(C=0.01))
    return make_pipeline(*steps).fit(frame[FEATURES][:300], frame["label"][:300])
