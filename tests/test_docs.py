"""The public names are complete and documented, and the code in the README runs."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import pipegrad
from h2o_tables import training_table

ROOT = Path(__file__).parents[1]
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(pipegrad.__path__, "pipegrad.")
    if not any(part.startswith("_") for part in name.split("."))
]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]


def public_names() -> list[str]:
    return [name for name in pipegrad.__all__ if not name.startswith("__")]


def documented_methods(kind: type) -> list[str]:
    own = [base for base in kind.__mro__ if base.__module__.startswith("pipegrad")]
    return sorted({n for base in own for n, v in vars(base).items() if _is_public(n, v)})


def _is_public(name: str, value: object) -> bool:
    return not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))


def test_all_is_sorted_and_complete():
    assert pipegrad.__all__ == sorted(pipegrad.__all__)
    assert len(set(pipegrad.__all__)) == len(pipegrad.__all__)
    here = {
        name
        for name, value in vars(pipegrad).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert here <= set(pipegrad.__all__)
    assert set(public_names()) <= set(dir(pipegrad))


@pytest.mark.parametrize("name", public_names())
def test_public_names_are_documented(name):
    thing = getattr(pipegrad, name)
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert own, f"pipegrad.{name} has no docstring"
    if inspect.isclass(thing):
        for method in documented_methods(thing):
            text = inspect.getdoc(getattr(thing, method, None)) or _doc_of(thing, method)
            assert text, f"pipegrad.{name}.{method} has no docstring"


def _doc_of(kind: type, method: str) -> str | None:
    """The docstring of what a descriptor hides when asked on the class."""
    value = inspect.getattr_static(kind, method)
    return getattr(getattr(value, "fn", value), "__doc__", None)


@pytest.mark.parametrize(
    "name", [n for n in public_names() if inspect.isfunction(getattr(pipegrad, n, None))]
)
def test_arguments_of_public_functions_are_documented(name):
    thing = getattr(pipegrad, name)
    for argument in inspect.signature(thing).parameters:
        listed = rf"^\s*(\w+, )*\*{{0,2}}{argument}(, \w+)*( :|$)"
        assert re.search(listed, thing.__doc__ or "", re.MULTILINE), f"{name}: {argument}"


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("name", [n for n in MODULES if "__main__" not in n])
def test_all_lists_name_what_exists(name):
    module = importlib.import_module(name)
    missing = [entry for entry in getattr(module, "__all__", []) if not hasattr(module, entry)]
    assert not missing


@pytest.mark.filterwarnings("ignore:The validation rows:pipegrad.PipegradWarning")
@pytest.mark.filterwarnings("ignore:Fine-tuning kept the fitted:pipegrad.PipegradWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch.compile about itself
# What MLflow does with pandas and SQLAlchemy.
@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    for file in (ROOT / "tests" / "data" / "mlnet").glob("figure1*"):
        shutil.copy(file, tmp_path)
    with zipfile.ZipFile(ROOT / "tests" / "data" / "spark" / "text_labels.spark") as file:
        file.extractall(tmp_path / "spark-model")
    shutil.copy(ROOT / "tests" / "data" / "spark" / "text_labels.parquet", tmp_path)
    shutil.copy(
        ROOT / "tests" / "data" / "h2o" / "ensemble_binomial.zip", tmp_path / "ensemble.zip"
    )
    training_table().to_parquet(tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    text = (ROOT / page).read_text("utf-8")
    for needed, block in re.findall(r"```python(?: needs=(\S+))?\n(.*?)```", text, re.DOTALL):
        if all(name in os.environ or find_spec(name) for name in filter(None, needed.split(","))):
            exec(compile(block, page, "exec"), names)


def test_the_version_is_the_same_everywhere():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{pipegrad.__version__}"' in text


@pytest.mark.parametrize("document", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_inside_the_repository_lead_somewhere(document):
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), f"{document} links to {target}"


def test_the_readme_counts_the_classes_of_scikit_learn():
    count = sum(row.name.startswith("sklearn.") for row in pipegrad.supported())
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"{count} classes of scikit-learn" in readme
