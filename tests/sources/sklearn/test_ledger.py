"""Every public estimator of scikit-learn is in the table, or refused for a reason."""

import importlib
import importlib.util
import warnings
from pathlib import Path

import pytest
from sklearn.utils import all_estimators

import pipegrad as pg
from pipegrad.registry import dotted_name, lookup, rows
from pipegrad.sources.sklearn.unsupported import REFUSED

# By their private modules, because all_estimators() lists them only if something enabled them.
_EXPERIMENTAL = {
    "IterativeImputer": "sklearn.impute._iterative",
    "HalvingGridSearchCV": "sklearn.model_selection._search_successive_halving",
    "HalvingRandomSearchCV": "sklearn.model_selection._search_successive_halving",
}


def _estimators() -> list[tuple[str, type]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        listed = dict(all_estimators())
    for name, module in _EXPERIMENTAL.items():
        listed[name] = getattr(importlib.import_module(module), name)
    return sorted(listed.items())


@pytest.mark.parametrize(("name", "kind"), _estimators())
def test_each_estimator_is_in_the_table_or_refused(name: str, kind: type) -> None:
    translated = lookup(kind) is not None
    refused = dotted_name(kind) in REFUSED
    assert translated != refused, f"{dotted_name(kind)}: in both, or in neither"


def test_every_row_serves_a_class_that_exists() -> None:
    optional = {"sklearn.frozen.FrozenEstimator"}  # since scikit-learn 1.6
    for name, _ in rows():
        module, _, attribute = name.rpartition(".")
        if not name.startswith("sklearn.") or name in optional:
            continue
        module = _EXPERIMENTAL.get(attribute, module)
        assert hasattr(importlib.import_module(module), attribute), name


def test_supported_lists_rows_with_what_becomes_of_them() -> None:
    names = {row.name: row for row in pg.supported()}
    assert names["sklearn.pipeline.Pipeline"].kind == "composite"
    assert names["sklearn.preprocessing.StandardScaler"].kind == "operator"
    assert all(row.summary for row in names.values())
    assert not any(name.startswith("pipegrad.glue") for name in names)


def test_why_missing_tells_the_ledger_reason() -> None:
    from sklearn.manifold import TSNE

    from pipegrad.registry import why_missing

    assert "new samples" in why_missing(TSNE)


def test_the_pages_of_the_mapping_table_are_up_to_date() -> None:
    for library in ("catboost", "lightgbm", "xgboost"):
        pytest.importorskip(library)  # the page lists their rows as well
    folder = Path(__file__).parents[3] / "docs"
    spec = importlib.util.spec_from_file_location("make_table", folder / "make_table.py")
    assert spec is not None
    assert spec.loader is not None
    make_table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_table)
    assert make_table.page() == (folder / "operators.md").read_text(encoding="utf-8"), "make docs"
    kept = (folder / "what-training-keeps.md").read_text(encoding="utf-8")
    assert make_table.guarantees() == kept, "make docs"
