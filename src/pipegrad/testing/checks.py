"""The contract of a translation, as checks that run over every row of the mapping table.

Plug-ins run the same checks over their own rows::

    import pytest
    from pipegrad.testing import CHECKS, cases

    @pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
    @pytest.mark.parametrize("case", cases("my_package.*"), ids=str)
    def test_contract(case, check):
        check(case)
"""

from __future__ import annotations

import copy
import importlib
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.fixes import parse_version

from ..graph import copied, translation
from ..module import PipelineModule
from ..modules import SparseRows
from ..registry import KEPT_ALWAYS, Example, Translation, rows
from ..translate import from_torch, to_torch

METHODS = ("transform", "predict", "predict_proba", "predict_log_proba", "decision_function")
ROWS = 80


# -- data ----------------------------------------------------------------------------------------


def _features(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    scales = np.array([1.0, 10.0, 0.1, 3.0, 100.0, 1.0])
    return rng.normal(size=(ROWS, 6)) * scales + scales * [0, 1, 2, -1, 0.5, 0]


def _signal(X: Any) -> Any:
    Z = (X - X.mean(0)) / X.std(0)
    noise = np.random.default_rng(1).normal(size=len(Z)) * 0.3
    return Z @ np.array([1.0, -0.5, 0.8, 0.3, -0.7, 0.0]) + noise


def _regression() -> tuple[Any, Any]:
    X = _features()
    return X, 3 * _signal(X) + 5


def _binary() -> tuple[Any, Any]:
    X = _features()
    return X, (_signal(X) > 0).astype(int)


def _binary_strings() -> tuple[Any, Any]:
    X, y = _binary()
    return X, np.where(y == 1, "yes", "no")


def _multiclass() -> tuple[Any, Any]:
    X = _features()
    return X, np.array(["ant", "bee", "cat"])[np.digitize(_signal(X), [-0.6, 0.6])]


def _counts() -> tuple[Any, Any]:
    X = _features()
    return X, np.random.default_rng(2).poisson(np.exp(0.5 * _signal(X))).astype(float)


def _positive() -> tuple[Any, Any]:
    X = np.abs(_features()) + 0.1
    return X, np.exp(0.3 * _signal(X)) + 0.1


def _multioutput() -> tuple[Any, Any]:
    X = _features()
    s = _signal(X)
    return X, np.column_stack([s, 2 * s + X[:, 0], -s + X[:, 2]])


def _multilabel() -> tuple[Any, Any]:
    X = _features()
    s = _signal(X)
    return X, np.column_stack([s > 0, s + X[:, 0] > 0, X[:, 3] > 0]).astype(int)


def _several() -> tuple[Any, Any]:
    X = _features()
    s = _signal(X)
    return X, np.column_stack([np.digitize(s, [-0.6, 0.6]) + 3, s + X[:, 0] > 0, X[:, 3] > 0])


def _sparse() -> tuple[Any, Any]:
    X = sparse.random(ROWS, 12, density=0.3, format="csr", random_state=0, dtype=np.float64)
    X.data += 0.1
    empty = sparse.csr_matrix((2, 12))
    X = sparse.vstack([X[:-2], empty]).tocsr()
    return X, np.asarray(X @ np.linspace(-1, 1, 12)) + 0.1 * np.arange(ROWS) / ROWS


def _sparse_multiclass() -> tuple[Any, Any]:
    X, y = _sparse()
    return X, np.array(["ant", "bee", "cat"])[np.digitize(y, np.quantile(y, [0.33, 0.66]))]


def _missing() -> tuple[Any, Any]:
    X, y = _regression()
    hole = np.random.default_rng(3).random(X.shape) < 0.15
    hole[:, 5] = False
    hole[0] = False
    X[hole] = np.nan
    return X, y


def _categories() -> tuple[Any, Any]:
    import pandas as pd

    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {
            "color": rng.choice(["red", "green", "blue"], ROWS, p=[0.5, 0.3, 0.2]),
            "size": rng.choice(["s", "m", "l", "xl"], ROWS, p=[0.4, 0.3, 0.25, 0.05]),
        }
    )
    table.iloc[:4, 1] = ["s", "m", "l", "xl"]
    y = np.where((table["color"] == "red") ^ (rng.random(ROWS) < 0.2), "yes", "no")
    return table, y


def _missing_binary() -> tuple[Any, Any]:
    X, y = _missing()
    return X, np.where(y > y.mean(), "yes", "no")


def _marked() -> tuple[Any, Any]:
    X, y = _missing()
    return np.where(np.isnan(X), -99.0, X), y


def _sparse_missing() -> tuple[Any, Any]:
    X, y = _sparse()
    X.data[np.random.default_rng(5).random(X.nnz) < 0.2] = np.nan
    return X, y


def _categories_missing() -> tuple[Any, Any]:
    table, y = _categories()
    table["size"] = table["size"].astype(object)
    table.iloc[5:12, 1] = np.nan
    table["grade"] = np.arange(ROWS) % 4.0
    table.iloc[3:9, 2] = np.nan
    return table, y


def _categories_of_pandas() -> tuple[Any, Any]:
    table, y = _categories_missing()
    return table.astype({"color": "category", "size": "category"}), y


def _codes() -> tuple[Any, Any]:
    X, y = _regression()
    X[:, 5] = np.random.default_rng(6).integers(0, 9, ROWS) * 3.0
    X[4:9, 5] = np.nan
    return X, y + np.nan_to_num(X[:, 5]) % 2 * 5


def _multiclass_numbers() -> tuple[Any, Any]:
    X, y = _multiclass()
    X[4:9, 2] = np.nan
    return X, np.unique(y, return_inverse=True)[1]


def _numbers_of_categories() -> tuple[Any, Any]:
    table, y = _categories_of_pandas()
    return table, (y == "yes").astype(int)


def _ranked() -> tuple[Any, Any]:
    import pandas as pd

    X = _features()
    table = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    table["qid"] = np.arange(ROWS) // 16
    return table, np.digitize(_signal(X), [-0.6, 0.6])


def _labels() -> tuple[Any, Any]:
    return _multiclass()[1], None


DATASETS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "features": _regression,
    "regression": _regression,
    "binary": _binary,
    "binary_strings": _binary_strings,
    "multiclass": _multiclass,
    "counts": _counts,
    "positive": _positive,
    "multioutput": _multioutput,
    "multilabel": _multilabel,
    "several": _several,
    "sparse": _sparse,
    "sparse_multiclass": _sparse_multiclass,
    "missing": _missing,
    "missing_binary": _missing_binary,
    "marked": _marked,
    "sparse_missing": _sparse_missing,
    "categories": _categories,
    "categories_missing": _categories_missing,
    "categories_of_pandas": _categories_of_pandas,
    "codes": _codes,
    "multiclass_numbers": _multiclass_numbers,
    "numbers_of_categories": _numbers_of_categories,
    "ranked": _ranked,
    "labels": _labels,
}
"""Data of the contract tests by name: functions that give (X, y), 80 rows."""


# -- cases ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One row of the table with one of its examples.

    Parameters
    ----------
    name : str
        Dotted name of the operator's class.
    row : Translation
        Its row.
    number : int
        Place of the example in ``row.examples``.
    """

    name: str
    row: Translation
    number: int

    @property
    def example(self) -> Example:
        """The example in its full form."""
        example = self.row.examples[self.number]
        return example if isinstance(example, Example) else Example(example)

    @property
    def tolerance(self) -> float:
        """Largest relative difference."""
        given = self.example.tolerance
        return self.row.tolerance if given is None else given

    def __str__(self) -> str:
        return f"{self.name.rpartition('.')[2]}-{self.number}"

    def data(self) -> tuple[Any, Any]:
        """Fresh (X, y)."""
        return DATASETS[self.example.data or self.row.data]()

    def fitted(self) -> Any:
        """A fitted operator of its own."""
        return copied(_fitted(self.name, self.row, self.number))

    def module(self) -> tuple[Any, PipelineModule]:
        """A fitted operator and its translation."""
        operator = self.fitted()
        return operator, to_torch(operator)


@cache
def _fitted(name: str, row: Translation, number: int) -> Any:
    case = Case(name, row, number)
    X, y = case.data()
    with warnings.catch_warnings():
        # Classes that their source is about to drop still keep the contract.
        warnings.simplefilter("ignore")
        operator = copy.deepcopy(_class(name)(**copy.deepcopy(dict(case.example.params))))
        more = case.example.fit
        return operator.fit(X, **more) if y is None else operator.fit(X, y, **more)


def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _exists(name: str, example: Example) -> bool:
    try:
        _class(name)
    except (ImportError, AttributeError):
        return False
    since, before = example.since, example.before
    if since is None and before is None:
        return True
    version = parse_version(importlib.import_module(name.split(".")[0]).__version__)
    return (since is None or version >= parse_version(since)) and (
        before is None or version < parse_version(before)
    )


def cases(pattern: str = "*") -> list[Case]:
    """The cases of all rows whose name matches, as far as the installed versions have them."""
    found = []
    for name, row in rows():
        if isinstance(row, Translation) and fnmatchcase(name, pattern):
            possible = [Case(name, row, i) for i in range(len(row.examples))]
            found += [case for case in possible if _exists(name, case.example)]
    return found


# -- comparison ----------------------------------------------------------------------------------


def assert_close(actual: Any, desired: Any, tolerance: float, what: str = "") -> None:
    """Equal shapes, kinds and values up to a tolerance relative to the size of each column."""
    assert sparse.issparse(actual) == sparse.issparse(desired), f"{what}: sparse and dense"
    if sparse.issparse(actual):
        actual, desired = actual.toarray(), desired.toarray()
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape, f"{what}: shape {actual.shape}, not {desired.shape}"
    if desired.dtype.kind not in "fiub":
        assert (actual == desired).all(), f"{what}: values differ"
        return
    actual, desired = actual.astype(float), desired.astype(float)
    finite = np.isfinite(desired)
    size = np.abs(np.where(finite, desired, 0)).max(axis=0, initial=1e-300)
    np.testing.assert_array_equal(np.isfinite(actual), finite, err_msg=what)
    gap = np.abs(np.where(finite, actual, 0) - np.where(finite, desired, 0))
    worst = float((gap / size).max(initial=0))
    assert worst <= tolerance, f"{what}: differs by {worst:.2e} of the column's size"


def identical(a: Any, b: Any) -> bool:
    """Whether two learned attributes are the same to the last bit."""
    if sparse.issparse(a) and sparse.issparse(b):
        return identical(a.toarray(), b.toarray())
    if hasattr(a, "equals") and type(a) is type(b):  # tables and their columns
        return bool(a.equals(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind == "O":
            return all(identical(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)
    if hasattr(a, "get_params") and type(a) is type(b):
        return identical(_state(a), _state(b))
    if type(a) is type(b) and _keeps_state(type(a)) and not np.isscalar(a):
        return identical(a.__getstate__(), b.__getstate__())
    if isinstance(a, float | np.floating) and isinstance(b, float | np.floating):
        return bool(a == b or (np.isnan(a) and np.isnan(b)))
    try:
        if type(a) is type(b) and type(a).__eq__ is object.__eq__ and a is not b:
            # No comparison of its own: what it is made of counts.
            return identical(a.__reduce_ex__(2), b.__reduce_ex__(2))
        return bool(a == b) or a is b
    except (TypeError, ValueError):
        return repr(a) == repr(b)


def _keeps_state(kind: type) -> bool:
    """Whether objects of that kind tell all that they hold by a method of their own."""
    told = getattr(kind, "__getstate__", None)
    return hasattr(kind, "__setstate__") and told is not getattr(object, "__getstate__", None)


def _state(operator: Any) -> dict[str, Any]:
    return {k: v for k, v in vars(operator).items() if not k.startswith("__")}


def learned(operator: Any) -> dict[str, Any]:
    """Public learned attributes of a fitted operator."""
    return {
        name: value
        for name, value in vars(operator).items()
        if name.endswith("_") and not name.startswith("_")
    }


def answers(operator: Any, X: Any) -> dict[str, Any]:
    """What the operator answers to each method that it has; a list of tables side by side."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {m: getattr(operator, m)(X) for m in METHODS if hasattr(operator, m)}
    found = {m: np.hstack(v) if isinstance(v, list) else v for m, v in found.items()}
    if isinstance(operator, PipelineModule):
        return found
    # An operator that both predicts and transforms is translated as a predictor.
    net_transforms = "transform" in found and ("predict" not in found or _clusters(operator))
    return {m: v for m, v in found.items() if m != "transform" or net_transforms}


def _clusters(operator: Any) -> bool:
    row = translation(operator)
    head = None if row is None else row.head(operator)
    return head is None or head.task == "clustering"


def assert_same_answers(net: PipelineModule, operator: Any, X: Any, tolerance: float) -> None:
    """The module and the operator answer alike, method by method."""
    ours, theirs = answers(net, X), answers(operator, X)
    assert ours.keys() == theirs.keys(), f"methods {list(ours)}, not {list(theirs)}"
    for method, desired in theirs.items():
        assert_close(ours[method], desired, tolerance, method)


def perturb(net: PipelineModule, size: float = 0.05, seed: int = 0) -> None:
    """Move every trainable number by a share of its tensor's size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.trainable_parameters().values():
            scale = p.square().mean().sqrt()
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.add_(noise * size * torch.where(scale > 0, scale, torch.ones_like(scale)))


# -- the contract --------------------------------------------------------------------------------


def check_parity(case: Case) -> None:
    """1. The module's answers equal the operator's."""
    operator, net = case.module()
    X, _ = case.data()
    assert_same_answers(net, operator, X, case.tolerance)


def check_untouched_round_trip(case: Case) -> None:
    """2. An untouched round trip gives bit-identical learned attributes."""
    operator, net = case.module()
    again = from_torch(net)
    for name, value in learned(operator).items():
        assert identical(value, getattr(again, name)), f"{name} changed"
    # The row's own write back, which from_torch skips when nothing moved, adds no drift either.
    row = case.row
    mine = copied(operator)
    row.write_back(row.to_torch(operator), mine)
    assert_same_answers(net, mine, case.data()[0], case.tolerance)
    for name, value in learned(operator).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert_close(getattr(mine, name), value, max(1e-9, case.tolerance), name)


def check_perturbed_round_trip(case: Case) -> None:
    """3. Numbers changed in the module change the written-back operator alike."""
    operator, net = case.module()
    X, _ = case.data()
    if not net.trainable_parameters():
        return
    before = answers(operator, X)
    perturb(net)
    changed = from_torch(net)
    assert type(changed) is type(operator)
    assert_same_answers(net, changed, X, case.tolerance)
    after = answers(changed, X)
    assert not all(identical(before[m], after[m]) for m in before), "nothing changed"


def check_nothing_is_shared(case: Case) -> None:
    """4. The user's object and array stay as they were."""
    operator = case.fitted()
    X, _ = case.data()
    X_before = copy.deepcopy(X)
    before = copied(operator)
    net = to_torch(operator)
    for tensor in [*net.parameters(), *net.buffers()]:
        for array in _arrays(_state(operator)):
            assert not np.shares_memory(tensor.detach().numpy(), array), "shared memory"
    answers(net, X)
    perturb(net)
    answers(net, X)
    from_torch(net)
    assert identical(_state(before), _state(operator)), "the operator changed"
    assert _same_input(X_before, X), "the input changed"


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return [value] if value.dtype.kind != "O" else _arrays(list(value.ravel()))
    if isinstance(value, Mapping):
        return [a for v in value.values() for a in _arrays(v)]
    if isinstance(value, list | tuple):
        return [a for v in value for a in _arrays(v)]
    return _arrays(_state(value)) if hasattr(value, "get_params") else []


def _same_input(a: Any, b: Any) -> bool:
    return bool(a.equals(b)) if hasattr(a, "equals") else identical(a, b)


def check_gradients(case: Case) -> None:
    """5. Every trainable parameter receives a finite, non-zero gradient."""
    _, net = case.module()
    X, _ = case.data()
    if not net.trainable_parameters():
        return
    out = net(X)
    numbers = out.values if isinstance(out, SparseRows) else out
    generator = torch.Generator().manual_seed(0)
    cotangent = torch.randn(numbers.shape, generator=generator, dtype=numbers.dtype)
    # Entries that are missing in the input stay missing; they carry no gradient.
    known = torch.isfinite(numbers)
    (numbers[known] * cotangent[known]).sum().backward()
    for name, p in net.trainable_parameters().items():
        assert p.grad is not None, f"{name} gets no gradient"
        assert torch.isfinite(p.grad).all(), f"{name} gets a gradient that is not finite"
        assert p.grad.abs().max() > 0, f"{name} gets a zero gradient"


def check_attributes(case: Case) -> None:
    """6. Every learned attribute follows, or is kept for a stated reason."""
    operator, net = case.module()
    if not net.trainable_parameters():
        return
    perturb(net)
    changed = from_torch(net)
    kept = {*KEPT_ALWAYS, *case.row.keeps, *case.example.keeps}
    for name, value in learned(operator).items():
        if isinstance(value, str | bool) or value is None or _is_empty(value):
            continue
        same = identical(value, getattr(changed, name))
        assert same or name not in kept, f"{name} is said to be kept, but changed"
        assert not same or name in kept, f"{name} did not follow and no reason is given"


def _is_empty(value: Any) -> bool:
    size = getattr(value, "size", None)
    return (len(value) if hasattr(value, "__len__") else 1) == 0 if size is None else size == 0


def check_inputs(case: Case) -> None:
    """7. Unusual input: the same result or the same refusal as the operator's."""
    operator, net = case.module()
    X, _ = case.data()
    for name, variant in _variants(X).items():
        ours, theirs = _outcome(net, variant), _outcome(operator, variant)
        if name in case.row.refuses:
            assert isinstance(ours, ValueError | TypeError), f"{name}: {ours!r}"
            continue
        if isinstance(theirs, Exception):
            if _accident(name, theirs) and not isinstance(ours, Exception):
                continue
            assert isinstance(ours, Exception), f"{name}: answered where the operator refuses"
            assert isinstance(ours, ValueError | TypeError), f"{name}: {ours!r}"
        elif name == "strings":
            # Operators that move columns take texts as well; modules take numbers.
            assert isinstance(ours, ValueError | TypeError), f"{name}: {ours!r}"
        else:
            assert not isinstance(ours, Exception), f"{name}: {ours!r}"
            loose = 2e-4 if "float32" in name else case.tolerance
            usual = answers(operator, X) if name == "no rows" else theirs
            for method, desired in theirs.items():
                if np.shape(desired)[1:] != np.shape(usual[method])[1:]:
                    continue  # the operator contradicts itself
                if "float32" not in name or np.asarray(desired).dtype.kind == "f":
                    assert_close(ours[method], desired, max(loose, case.tolerance), name)


def _accident(name: str, error: Exception) -> bool:
    """Whether compiled code could not take the array, which is no check of the data."""
    if type(error).__name__ == "AxisError":
        return name == "no rows"
    return name == "float32" or "read-only" in str(error)


def _outcome(operator: Any, X: Any) -> Any:
    try:
        return answers(operator, X)
    except Exception as error:  # the kind of error is what is compared
        return error


def _variants(X: Any) -> dict[str, Any]:
    variants = {"one row": X[:1], "no rows": X[:0]}
    if sparse.issparse(X):
        return {
            **variants,
            "csc": X.tocsc(),
            "float32": X.astype(np.float32),
            "dense": X.toarray(),
            "too few columns": X[:, :-1],
        }
    if hasattr(X, "iloc"):
        return {
            **variants,
            "array": X.to_numpy(),
            "columns turned": X[X.columns[::-1]],
            "column missing": X[X.columns[:-1]],
        }
    if X.ndim == 1:
        return variants
    import pandas as pd

    with_nan, with_inf = X.copy(), X.copy()
    with_nan[3, 1] = np.nan
    with_inf[3, 1] = np.inf
    return {
        **variants,
        "nan": with_nan,
        "inf": with_inf,
        "float32": X.astype(np.float32),
        "integers": np.round(np.nan_to_num(X) + 1).astype(np.int64),
        "every other row": X[::2],
        "fortran order": np.asfortranarray(X),
        "read only": _read_only(X),
        "list": X.tolist(),
        "table": pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]),
        "csr": sparse.csr_matrix(X),
        "too few columns": X[:, :-1],
        "one-dimensional": X[0],
        "strings": np.full(X.shape, "a"),
    }


def _read_only(X: Any) -> Any:
    X = X.copy()
    X.flags.writeable = False
    return X


def check_state(case: Case) -> None:
    """8. State dicts, copies, pickles, types and devices."""
    operator, net = case.module()
    X, _ = case.data()
    perturb(net)
    tolerance = case.tolerance
    fresh = to_torch(operator)
    fresh.load_state_dict(net.state_dict())
    others = [fresh, copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.to("cpu")]
    for other in others:
        for method, value in answers(net, X).items():
            assert_close(answers(other, X)[method], value, tolerance, method)
    single = copy.deepcopy(net).to(torch.float32)
    for method, value in answers(net, X).items():
        if method == "predict_log_proba":
            continue  # the logarithm of a probability that float32 rounds to zero
        if np.asarray(value.toarray() if sparse.issparse(value) else value).dtype.kind == "f":
            assert_close(answers(single, X)[method], value, 5e-3, f"float32 {method}")


def check_export(case: Case) -> None:
    """9. `torch.export` captures the module (dense input)."""
    _, net = case.module()
    X, _ = case.data()
    blocks = net.encode(X).blocks
    if any(isinstance(block, SparseRows) for block in blocks.values()):
        return
    out = net(blocks)
    if isinstance(out, SparseRows):
        return
    program = torch.export.export(net, (blocks,), strict=False)
    assert_close(program.module()(blocks).detach(), out.detach(), case.tolerance, "export")


CHECKS: dict[str, Callable[[Case], None]] = {
    "parity": check_parity,
    "untouched_round_trip": check_untouched_round_trip,
    "perturbed_round_trip": check_perturbed_round_trip,
    "nothing_is_shared": check_nothing_is_shared,
    "gradients": check_gradients,
    "attributes": check_attributes,
    "inputs": check_inputs,
    "state": check_state,
    "export": check_export,
}
"""The nine checks of the contract by name."""


def check_translation(name: str) -> None:
    """Run the whole contract over one row.

    Parameters
    ----------
    name : str
        Dotted name of the operator's class.

    Raises
    ------
    AssertionError
        Says which example breaks which check.
    """
    found = cases(name)
    assert found, f"no row (or no example) for {name!r}"
    for case in found:
        for title, check in CHECKS.items():
            try:
                check(case)
            except Exception as error:
                params = dict(case.example.params)
                raise AssertionError(f"{name}({params}) breaks {title!r}: {error}") from error
