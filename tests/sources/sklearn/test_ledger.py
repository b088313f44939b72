"""Every public estimator of scikit-learn is in the table, or refused for a reason."""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from sklearn.utils import all_estimators
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.registry import Translation, dotted_name, lookup, rows
from pipegrad.sources.sklearn._base import SKLEARN
from pipegrad.sources.sklearn.unsupported import REFUSED

DOCS = Path(__file__).parents[3] / "docs"
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


@pytest.fixture(scope="module")
def make_table() -> Any:
    spec = importlib.util.spec_from_file_location("make_table", DOCS / "make_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_table"] = module
    spec.loader.exec_module(module)
    found = module.entries()
    module.entries = lambda: found
    return module


def test_the_table_says_what_trains_and_what_goes_back(make_table: Any) -> None:
    found = {entry.name: entry for entry in make_table.entries()}
    scaler = found["sklearn.preprocessing.StandardScaler"]
    assert scaler.written == ("mean_", "var_", "scale_")
    assert (scaler.translated, scaler.trainable, scaler.sparse) == ("module", True, True)
    assert (
        found["sklearn.preprocessing.Normalizer"]
        .line()
        .startswith("| `sklearn.preprocessing.Normalizer` | module |  |  | yes | ")
    )
    weights = found["sklearn.feature_extraction.text.TfidfTransformer"]
    assert weights.written == ("idf_",)
    assert found["sklearn.pipeline.Pipeline"].translated == "its parts"
    for entry in found.values():
        assert entry.notes, entry.name
        assert entry.trainable or not entry.written, entry.name
    silent = {name for name, entry in found.items() if entry.trainable and not entry.written}
    trees = {name for name, row in rows() if isinstance(row, Translation) and row.has_splits}
    # The atoms of a SparseCoder are an argument, not a fitted attribute.
    silent -= {"sklearn.decomposition.SparseCoder"}
    assert {name for name in silent if name.startswith("sklearn.")} <= trees


def test_what_runs_on_the_host_says_so(make_table: Any) -> None:
    hosts = {name: row for name, row in rows() if isinstance(row, Translation) and row.on_host}
    found = {entry.name: entry for entry in make_table.entries()}
    assert "sklearn.feature_extraction.text.CountVectorizer" in hosts
    for name, row in hosts.items():
        assert row.on_host.startswith("it "), "the reason follows 'runs once: '"
        if name in found:
            assert found[name].translated == "on the host"
            assert not found[name].trainable
    shown = {row.name for row in pg.supported() if row.kind == "host"}
    assert shown == {name for name in hosts if name in found}


def test_reasons_are_sentences_that_a_user_understands() -> None:
    for name, reason in REFUSED.items():
        assert reason[0].islower(), f"{name}: it follows the name of the class"
        assert len(reason.split()) >= 6, f"{name}: {reason!r} is too short to say why"
        assert not reason.endswith(".")


def test_the_page_lists_what_is_refused(make_table: Any) -> None:
    page = make_table.page()
    assert "| class | translated | trainable | written back | sparse | ONNX | notes |" in page
    assert all(f"| `{name}` | {reason} |" in page for name, reason in REFUSED.items())


def test_the_pages_of_the_mapping_table_are_up_to_date(make_table: Any) -> None:
    for library in ("catboost", "lightgbm", "xgboost"):
        pytest.importorskip(library)  # the page lists their rows as well
    if parse_version("1.9") > SKLEARN:
        pytest.skip("the pages list the attributes and methods of the newest version")
    kept = (DOCS / "what-training-keeps.md").read_text(encoding="utf-8")
    assert make_table.guarantees() == kept, "make docs"
    assert make_table.page() == (DOCS / "operators.md").read_text(encoding="utf-8"), "make docs"
