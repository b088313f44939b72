"""The contract of a translation, as checks that run on every translation in the mapping table.

Plug-ins run the same checks on their own translations::

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

from ..graph import copy_source
from ..module import PipelineModule
from ..modules import SparseRows
from ..registry import KEPT_ALWAYS, Example, Translation, rows
from ..translate import from_torch, to_torch
from .comparison import (
    _state,
    answers,
    assert_close,
    assert_same_answers,
    identical,
    learned,
    perturb,
)
from .datasets import DATASETS
from .methods import assert_same_methods
from .promises import PROMISES, shake

# -- cases ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A translation with one of its examples.

    Parameters
    ----------
    name : str
        Dotted name of the operator's class.
    row : Translation
        Translation of the class.
    number : int
        Index of the example in ``row.examples``.
    """

    name: str
    row: Translation
    number: int

    @property
    def example(self) -> Example:
        """The example as an `Example`."""
        example = self.row.examples[self.number]
        return example if isinstance(example, Example) else Example(example)

    @property
    def tolerance(self) -> float:
        """The largest relative difference allowed."""
        given = self.example.tolerance
        return self.row.tolerance if given is None else given

    def __str__(self) -> str:
        return f"{self.name.rpartition('.')[2]}-{self.number}"

    def data(self) -> tuple[Any, Any]:
        """A new copy of the data (X, y)."""
        return DATASETS[self.example.data or self.row.data]()

    def fitted(self) -> Any:
        """A new copy of the fitted operator."""
        return copy_source(_fitted(self.name, self.row, self.number))

    def module(self) -> tuple[Any, PipelineModule]:
        """A fitted operator and its module."""
        operator = self.fitted()
        return operator, to_torch(operator)


@cache
def _fitted(name: str, row: Translation, number: int) -> Any:
    case = Case(name, row, number)
    X, y = case.data()
    with warnings.catch_warnings():
        # Deprecated classes have to meet the contract, too.
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
    """All cases whose class name matches and exists in the installed versions.

    Parameters
    ----------
    pattern : str
        Shell-style pattern of dotted class names.

    Returns
    -------
    list of Case
        One case for each example of each translation.
    """
    found = []
    for name, row in rows():
        if isinstance(row, Translation) and fnmatchcase(name, pattern):
            possible = [Case(name, row, i) for i in range(len(row.examples))]
            found += [case for case in possible if _exists(name, case.example)]
    return found


# -- the contract --------------------------------------------------------------------------------


def check_parity(case: Case) -> None:
    """1. The module's predictions equal the operator's."""
    operator, net = case.module()
    X, _ = case.data()
    assert_same_answers(net, operator, X, case.tolerance)


def check_untouched_round_trip(case: Case) -> None:
    """2. A round trip without training preserves fitted attributes bit for bit."""
    operator, net = case.module()
    again = from_torch(net)
    for name, value in learned(operator).items():
        assert identical(value, getattr(again, name)), f"{name} changed"
    # write_back itself, which from_torch skips if nothing changed, must not change results either.
    row = case.row
    mine = copy_source(operator)
    row.write_back(row.to_torch(operator), mine)
    assert_same_answers(net, mine, case.data()[0], case.tolerance)
    for name, value in learned(operator).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            assert_close(getattr(mine, name), value, max(1e-9, case.tolerance), name)


def check_perturbed_round_trip(case: Case) -> None:
    """3. Changed parameters of the module change the written-back operator in the same way."""
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
    head = case.row.head(operator)
    if list(before) == ["predict"] and head is not None and head.task == "clustering":
        # Clusters of the rows may stay the same, although the centers moved.
        before, after = learned(operator), learned(changed)
    assert not all(identical(before[m], after[m]) for m in before), "nothing changed"


def check_nothing_is_shared(case: Case) -> None:
    """4. The user's object and input do not change, and no memory is shared."""
    operator = case.fitted()
    X, _ = case.data()
    X_before = copy.deepcopy(X)
    before = copy_source(operator)
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
    # Missing entries stay missing and have no gradient.
    known = torch.isfinite(numbers)
    (numbers[known] * cotangent[known]).sum().backward()
    for name, p in net.trainable_parameters().items():
        assert p.grad is not None, f"{name} receives no gradient"
        assert torch.isfinite(p.grad).all(), f"{name} receives a gradient that is not finite"
        assert p.grad.abs().max() > 0, f"{name} receives a zero gradient"


def check_attributes(case: Case) -> None:
    """6. Every fitted attribute follows the parameters, or is unchanged for a stated reason."""
    operator, net = case.module()
    if not net.trainable_parameters():
        return
    perturb(net)
    changed = from_torch(net)
    kept = {*KEPT_ALWAYS, *case.row.unchanged_attributes, *case.example.unchanged_attributes}
    for name, value in learned(operator).items():
        if isinstance(value, str | bool) or value is None or _is_empty(value):
            continue
        same = identical(value, getattr(changed, name))
        assert same or name not in kept, f"{name} is declared unchanged, but changed"
        assert not same or name in kept, f"{name} did not change, and no reason is declared"


def _is_empty(value: Any) -> bool:
    size = getattr(value, "size", None)
    return (len(value) if hasattr(value, "__len__") else 1) == 0 if size is None else size == 0


def check_inputs(case: Case) -> None:
    """7. Edge cases of the input give the same result or error as the operator."""
    operator, net = case.module()
    X, _ = case.data()
    for name, variant in _variants(X).items():
        ours, theirs = _outcome(net, variant), _outcome(operator, variant)
        if name in {*case.row.refused_inputs, *case.example.refused_inputs}:
            assert isinstance(ours, ValueError | TypeError), f"{name}: {ours!r}"
            continue
        if isinstance(theirs, Exception):
            if _accident(name, theirs) and not isinstance(ours, Exception):
                continue
            assert isinstance(ours, Exception), f"{name}: accepted, but the operator rejects it"
            # Where the operator's own library answers, the error is its own as well.
            own = case.row.no_numbers(operator) is not None and type(ours) is type(theirs)
            assert own or isinstance(ours, ValueError | TypeError), f"{name}: {ours!r}"
        elif name == "strings" and case.row.raw_numbers and case.row.reads_raw_numbers(operator):
            # Operators that only move columns accept strings; modules accept numbers only.
            assert isinstance(ours, ValueError | TypeError), f"{name}: {ours!r}"
        else:
            assert not isinstance(ours, Exception), f"{name}: {ours!r}"
            loose = 2e-4 if "float32" in name else case.tolerance
            usual = answers(operator, X) if name in ("no rows", "one row") else theirs
            for method, desired in theirs.items():
                if np.shape(desired)[1:] != np.shape(usual[method])[1:]:
                    continue  # the operator itself is inconsistent
                if "float32" not in name or np.asarray(desired).dtype.kind == "f":
                    assert_close(ours[method], desired, max(loose, case.tolerance), name)


def _accident(name: str, error: Exception) -> bool:
    """Whether an error is a limitation of compiled code, not a check of the input."""
    if type(error).__name__ == "AxisError":
        return name == "no rows"
    return name == "float32" or "read-only" in str(error)


def _outcome(operator: Any, X: Any) -> Any:
    try:
        return answers(operator, X)
    except Exception as error:  # the type of the error is compared
        return error


def _variants(X: Any) -> dict[str, Any]:
    variants = {"one row": X[:1], "no rows": X[:0]}
    if sparse.issparse(X):
        return {
            **variants,
            "csc": X.tocsc(),
            "csr with entries stored twice": _stored_twice(X),
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
    if X.ndim != 2:
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
        "csr with entries stored twice": _stored_twice(sparse.csr_matrix(X)),
        "too few columns": X[:, :-1],
        "one-dimensional": X[0],
        "strings": np.full(X.shape, "a"),
    }


def _stored_twice(X: sparse.csr_matrix) -> sparse.csr_matrix:
    """The rows with a second, different value for the entry that each row stores first."""
    some = np.diff(X.indptr) > 0
    first = X.indptr[:-1][some]
    ends = X.indptr[1:][some]
    data = np.insert(X.data, ends, 1 + np.abs(X.data[first]))
    indices = np.insert(X.indices, ends, X.indices[first])
    starts = X.indptr + np.concatenate([[0], np.cumsum(some)])
    return sparse.csr_matrix((data, indices, starts), shape=X.shape)


def _read_only(X: Any) -> Any:
    X = X.copy()
    X.flags.writeable = False
    return X


def check_state(case: Case) -> None:
    """8. State dicts, copies, pickles, dtypes and devices preserve predictions."""
    operator, net = case.module()
    X, _ = case.data()
    perturb(net)
    tolerance = case.tolerance
    fresh = to_torch(operator)
    fresh.load_state_dict(net.state_dict())
    others = [fresh, copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.to("cpu")]
    expected = answers(net, X)
    for other in others:
        for method, value in answers(other, X).items():
            assert_close(value, expected[method], tolerance, method)
    single = answers(copy.deepcopy(net).to(torch.float32), X)
    for method, value in expected.items():
        if method == "predict_log_proba":
            continue  # float32 may round a probability to zero
        if np.asarray(value.toarray() if sparse.issparse(value) else value).dtype.kind == "f":
            assert_close(single[method], value, 5e-3, f"float32 {method}")


def check_export(case: Case) -> None:
    """9. `torch.export` can export the module (dense input)."""
    operator, net = case.module()
    X, _ = case.data()
    if case.row.no_numbers(operator) is not None:
        return
    blocks = net.encode(X).blocks
    if any(isinstance(block, SparseRows) for block in blocks.values()):
        return
    out = net(blocks)
    if isinstance(out, SparseRows):
        return
    program = torch.export.export(net, (blocks,), strict=False)
    assert_close(program.module()(blocks).detach(), out.detach(), case.tolerance, "export")


def check_inference(case: Case) -> None:
    """10. Answers change nothing: neither the numbers nor the mode nor the source of the module."""
    operator, net = case.module()
    X, _ = case.data()
    expected = answers(net, X)
    for part in list(net.modules())[1::2]:
        part.train(not part.training)
    before, source = _footprint(net), copy_source(net.source)
    for method, value in answers(net, X).items():
        assert_close(value, expected[method], 0.0, f"{method} in another mode")
    if case.row.no_numbers(operator) is None:
        net.encode(X)
    after = _footprint(net)
    for name, value in before.items():
        assert after[name] == value, f"{name} changed"
    assert identical(_state(source), _state(net.source)), "the source changed"


def _footprint(net: PipelineModule) -> dict[str, Any]:
    """What a change of a module, of its numbers or of its attributes would change."""
    found: dict[str, Any] = {"its pickle": _pickled(net)}
    for name, part in net.named_modules():
        attributes = {**vars(part), **part._parameters, **part._buffers}
        found |= {f"{name}.{key}": (id(v), _version(v)) for key, v in attributes.items()}
        found[f"{name}.training"] = part.training
    return found


def _version(value: Any) -> Any:
    return (value._version, value.requires_grad) if isinstance(value, torch.Tensor) else None


def _pickled(net: PipelineModule) -> bytes | None:
    try:
        return pickle.dumps(net)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def check_methods(case: Case) -> None:
    """11. The module has exactly the operator's inference methods, with the same results."""
    operator, net = case.module()
    X, y = case.data()
    assert_same_methods(net, operator, X, y, case.tolerance)
    if net.trainable_parameters():
        perturb(net)
        assert_same_methods(net, from_torch(net), X, y, case.tolerance)


def check_types(case: Case) -> None:
    """12. Answers have the operator's dtypes, and tensors mean the arrays of their numbers."""
    operator, net = case.module()
    X, _ = case.data()
    for dtype in (np.float64, np.float32, np.int64):
        given = _as_dtype(X, dtype)
        theirs = None if given is None else _outcome(operator, given)
        ours = _outcome(net, given)
        if isinstance(theirs, Exception | None) or isinstance(ours, Exception):
            continue  # check_inputs compares errors.
        for method, desired in theirs.items():
            assert _dtypes(ours[method]) == _dtypes(desired), (
                f"{method} of {np.dtype(dtype)} is {_dtypes(ours[method])}, not {_dtypes(desired)}"
            )
        if isinstance(given, np.ndarray):
            again = _outcome(net, torch.from_numpy(given))
            assert not isinstance(again, Exception), f"tensor: {again!r}"
            for method, expected in ours.items():
                assert identical(again[method], expected), f"{method} of a tensor differs"


def _as_dtype(X: Any, dtype: Any) -> Any:
    """The input with numbers of a dtype; None if it does not hold numbers of one dtype."""
    if not (isinstance(X, np.ndarray) or sparse.issparse(X)) or X.dtype.kind not in "fiub":
        return None
    if np.dtype(dtype).kind == "f":
        return X.astype(dtype)
    if sparse.issparse(X):
        return X.astype(dtype) if np.isfinite(X.data).all() else None
    return np.round(np.nan_to_num(X) + 1).astype(dtype)


def _dtypes(answer: Any) -> Any:
    return list(answer.dtypes) if hasattr(answer, "columns") else answer.dtype


def check_promises(case: Case) -> None:
    """13. What the operator guarantees is declared, and holds whatever the parameters become."""
    operator, net = case.module()
    X, _ = case.data()
    if not net.trainable_parameters():
        return
    given = [name for name, each in PROMISES.items() if each.applies(case.row, operator, X)]
    undeclared = set(given) - set(case.row.kept)
    assert not undeclared, f"{sorted(undeclared)} are missing from kept"
    shake(net)
    after = from_torch(net)
    for name in given:
        assert PROMISES[name].holds(case.row, operator, after, X), f"{name} does not hold"


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
    "inference": check_inference,
    "methods": check_methods,
    "types": check_types,
    "promises": check_promises,
}
"""The thirteen checks of the contract by name."""


def check_translation(name: str) -> None:
    """Run all checks of the contract on one translation.

    Parameters
    ----------
    name : str
        Dotted name of the operator's class.

    Raises
    ------
    AssertionError
        When an example fails a check; the message names both.
    """
    found = cases(name)
    assert found, f"no translation (or no example) for {name!r}"
    for case in found:
        for title, check in CHECKS.items():
            try:
                check(case)
            except Exception as error:
                params = dict(case.example.params)
                raise AssertionError(f"{name}({params}) fails {title!r}: {error}") from error
