"""Write the tables of the documentation from the mapping table: `make docs`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pipegrad as pg
from pipegrad.registry import KEPT, rows
from pipegrad.sources.sklearn.unsupported import REFUSED

PAGE = Path(__file__).parent / "operators.md"
GUARANTEES = Path(__file__).parent / "what-training-keeps.md"
INTRODUCTION = """# Operators

Generated from the mapping table. A *composite* unfolds into its parts. Everything else becomes a
module, and its trained numbers go back. Whatever is not here runs in its own library where it
stands before the first trained step, and is refused, with the reason below, where it stands after.
"""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, "| class | | what becomes of it |", "|---|---|---|"]
    for row in pg.supported():
        kind = "composite" if row.kind == "composite" else ""
        lines.append(f"| `{row.name}` | {kind} | {row.summary} |")
    lines += ["", "## Not translated", "", "| class | why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in sorted(REFUSED.items())]
    return "\n".join(lines) + "\n"


PREFACE = """# What training keeps

Generated from the mapping table. A fitted operator may guarantee more than its predictions: that
they never fall in a feature, that some coefficients are zero, that probabilities add to one.
Training keeps these guarantees exactly, whatever the optimizer, in `net.fit`, `net.partial_fit` and
`FineTuner`. The contract tests change all parameters of every row at random and check each entry of
the second column on what `from_torch` returns. An empty cell means that the operator guarantees
nothing of the kind.

- **Monotone constraints** hold in every tree; [Trees](trees.md#monotone-constraints) says how, and
  where a library itself violates them.
- **Zeros** of L1 penalties (`Lasso*`, `ElasticNet*`, `LogisticRegression`, `LinearSVC`, `SGD*`,
  `Perceptron`, `QuantileRegressor`, gblinear) and of selections of features (`Lars*`,
  `OrthogonalMatchingPursuit*`, `ARDRegression`) stay zero, so that the model keeps to the features
  that it selected. `to_torch(..., train_zeros=True)` and `FineTuner(train_zeros=True)` free them.
  Model files of ML.NET do not say which penalty a linear model was fitted with, and their zeros
  train.
- **Structure** does not change: which features a tree uses, which leaves it has, which inliers a
  RANSAC fit used, the weights of a vote, the categories and the columns.
- **Several quantiles** of one model (XGBoost with a list of `quantile_alpha`, CatBoost with
  `MultiQuantile`) may cross, before training and after it; neither library rules it out. `net.fit`
  warns if they cross in rows in which they did not before.
- **Combinations.** A vote or a mean of monotone members stays monotone, and so does a pipeline with
  a scaler, whose scales stay positive. A stack is as monotone as the weights of its final
  estimator: with `positive=True` it stays so.
"""


def _possible(name: str, promise: str) -> bool:
    """Whether a class can give a guarantee that its relatives share."""
    return promise != "probabilities" or hasattr(_class(name), "predict_proba")


def _class(name: str) -> type:
    module, _, attribute = name.rpartition(".")
    found: type = getattr(import_module(module), attribute)
    return found


def guarantees() -> str:
    """The page of guarantees that training keeps."""
    lines = [PREFACE, "| class | training keeps | training does not keep |", "|---|---|---|"]
    for name, row in rows():
        if not name.startswith(("pipegrad.glue.", "pipegrad.sources.")):
            kept = "; ".join(KEPT[promise] for promise in row.kept if _possible(name, promise))
            lines.append(f"| `{name}` | {kept} | {row.not_kept} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GUARANTEES.write_text(guarantees(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"docs/{PAGE.name}: {len(pg.supported())} classes")
