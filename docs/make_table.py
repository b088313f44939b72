"""Write the tables of the documentation from the mapping table: `make docs`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pipegrad as pg
from pipegrad.registry import KEPT, Translation, rows, translation
from pipegrad.sources.sklearn.unsupported import REFUSED
from pipegrad.sources.spark.plan import READERS
from pipegrad.sources.spark.unsupported import UNSUPPORTED
from pipegrad.testing import cases, identical, learned, perturb

PAGE = Path(__file__).parent / "operators.md"
GUARANTEES = Path(__file__).parent / "what-training-keeps.md"
INTRODUCTION = """# Operators

Generated from the mapping table and from a fitted example of each class.

- **Translated.** A *module* computes the output in torch. *Its parts*: the class unfolds into its
  parts, to which the other columns apply. *On the host*: the class's own library computes the
  output once for each input, since there is nothing in it that a gradient could reach; the rest of
  the pipeline trains behind it.
- **Trainable.** Whether some configuration of the class has parameters that train.
- **Written back.** The fitted attributes that training changes, in the first example with trainable
  parameters; *its model* where the library has no such attributes.
- **Sparse.** Whether sparse rows stay sparse in the module.
- **ONNX.** Whether `pg.export` writes it into an [ONNX file](deploy.md). Options that ONNX cannot
  express are refused, with the reason. Programs of torch (`.pt2`) exist for the same classes, but
  for those that count words.

A class that is not in this table runs in its own library where it stands before the first trained
step. After that it is refused, for the reason in the last table.
"""
HEADER = ("class", "translated", "trainable", "written back", "sparse", "ONNX", "notes")
TRANSLATED = {"operator": "module", "composite": "its parts", "host": "on the host"}


@dataclass(frozen=True)
class Entry:
    """A row of the table; its fields are the columns of `HEADER`."""

    name: str
    translated: str
    trainable: bool
    written: tuple[str, ...]
    sparse: bool
    in_onnx: bool
    notes: str

    def line(self) -> str:
        """The row in Markdown."""
        written = ", ".join(f"`{name}`" for name in self.written)
        if self.trainable and not written:
            written = "its model"
        found = (self.trainable, self.sparse, self.in_onnx)
        flags = ["yes" if flag else "" for flag in found]
        cells = f"`{self.name}`", self.translated, flags[0], written, *flags[1:], self.notes
        return f"| {' | '.join(cells)} |"


def entries() -> list[Entry]:
    """The rows of the table."""
    sparse = {name for name, row in rows() if isinstance(row, Translation) and row.sparse}
    not_exported = {
        name for name, row in rows() if isinstance(row, Translation) and row.not_exported
    }
    found = []
    for row in pg.supported():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = _written(row.name) if row.kind == "operator" else None
        changed = () if written is None else written
        kind = TRANSLATED[row.kind]
        flags = row.name in sparse, row.name not in not_exported
        found.append(Entry(row.name, kind, written is not None, changed, *flags, row.summary))
    return found


def _written(name: str) -> tuple[str, ...] | None:
    """The fitted attributes that training changes; None if nothing trains in any example."""
    for case in cases(name):
        operator, net = case.module()
        if net.trainable_parameters():
            perturb(net)
            after = pg.from_torch(net)
            before = learned(operator).items()
            return tuple(key for key, v in before if not identical(v, getattr(after, key)))
    return None


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    lines += [entry.line() for entry in entries()]
    lines += [IN_FILES.rstrip("\n"), *file_lines()]
    lines += ["", "## Not translated", "", "| class | why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in sorted(REFUSED.items())]
    lines += not_in_files()
    return "\n".join(lines) + "\n"


IN_FILES = """
## Models in files

What the model files of [ML.NET](mlnet.md), [Spark MLlib](spark.md) and [H2O](h2o.md) consist of,
by the name that the library gives to a part, as far as the saved models among the tests show it.
Their numbers go back into the file.

| library | part | translated | trainable |
|---|---|---|---|
"""
FILES = Path(__file__).parents[1] / "tests" / "data"
LIBRARIES = {
    "mlnet": ("ML.NET", "*.zip"),
    "spark": ("Spark MLlib", "*.spark"),
    "h2o": ("H2O", "*.zip"),
}


def parts_of_files() -> dict[tuple[str, str], list[Any]]:
    """The steps that each part of a saved model becomes, by library and part."""
    found: dict[tuple[str, str], list[Any]] = {}
    for source, (library, pattern) in LIBRARIES.items():
        for path in sorted((FILES / source).glob(pattern)):
            try:
                net = pg.to_torch(path, translate="all")
            except pg.UntranslatableError:
                continue
            for step in net.graph:
                _, _, part = step.kind.partition(".")
                found.setdefault((library, part), []).append(step)
    for kind in READERS:
        part = kind.rpartition(".")[2]
        found.setdefault(("Spark MLlib", part), [])
    return found


def file_lines() -> list[str]:
    """A line for each part of a model file."""
    lines = []
    for (library, part), steps in sorted(parts_of_files().items()):
        if part != "column":
            served = [(step, row) for step in steps if (row := _row(step)) is not None]
            kind = "module" if served else "on the host" if steps else "its parts"
            trains = any(row.trainable(step.operator) for step, row in served)
            lines.append(f"| {library} | `{part}` | {kind} | {'yes' if trains else ''} |")
    return lines


def _row(step: Any) -> Translation | None:
    """The translation that makes a step a module; None for what reads texts and columns."""
    row = translation(step.operator)
    module = row is not None and row.raw_numbers and row.refuse(step.operator) is None
    return row if module else None


def not_in_files() -> list[str]:
    """A line for each part of a model file that has no translation."""
    return [f"| Spark MLlib `{part}` | {why} |" for part, why in sorted(UNSUPPORTED.items())]


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
