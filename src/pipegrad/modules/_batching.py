"""Alike modules as one: the same function, with the parameters of all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from ._elementwise import Sequential, Threshold
from ._heads import (
    BernoulliHead,
    Head,
    IdentityHead,
    LinkHead,
    MulticlassHead,
    MultilabelHead,
    ProbabilityHead,
    RegressionHead,
    ShareHead,
)
from ._linear import Deferred, Linear
from ._power import BoxCox, YeoJohnson
from ._projection import Projection
from ._scaling import Rescale, Standardize
from ._select import Select
from ._side_by_side import Scaled, Selected, SideBySide
from ._stacks import ParameterStack
from ._structural import Predictor, unwrap_head
from ._unsupervised_heads import OutlierHead

_DTYPE = attrgetter("dtype")
_OF_TORCH = frozenset(vars(nn.Module()))
# A product with selected columns is one with whole rows if these have up to so many times more.
_MORE_COLUMNS = 16
# A column that lies so many times its scale from zero loses three digits, of sixteen.
_FAR = 1000.0
# Larger numbers may overflow.
_LARGEST = 1e100
# Heads that map each row on its own.
_HEADS = (
    BernoulliHead,
    IdentityHead,
    LinkHead,
    MulticlassHead,
    MultilabelHead,
    OutlierHead,
    ProbabilityHead,
    RegressionHead,
    ShareHead,
)


class NotAlike(Exception):  # noqa: N818
    """The modules, or their inputs, cannot be computed as one; nothing was changed."""


class AlikeModules:
    """Several modules of the same structure, computed as one.

    The modules themselves stay as they are: their parameters are read in each call, and gradients
    reach each of them.

    Parameters
    ----------
    modules : sequence of Module
        Modules with the same `structure`.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = list(modules)
        self.bodies = [unwrap_head(module) for module in modules]
        self.form = _FORMS[type(self.bodies[0])]
        self.stacks: dict[str, ParameterStack] = {}
        self.kept: dict[str, Tensor] = {}
        self._has_zeros = any(getattr(body, "zeros", None) is not None for body in self.bodies)
        self._owners: dict[str, list[dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self.modules)

    def __call__(self, x: Any) -> SideBySide:
        """The outputs of all modules.

        Parameters
        ----------
        x : Tensor, SparseRows, Deferred or SideBySide
            The input of all modules, or an input for each of them.

        Raises
        ------
        NotAlike
            If there is no joint form for this input, or the modules differ by now.
        """
        out = self.form.call(self, x)
        first = self.modules[0]
        return _responses(first.head, first.method, out) if isinstance(first, Predictor) else out

    def scaled(self, x: Any, lossy: bool = True) -> SideBySide:
        """The outputs of modules that scale columns, which the linear maps after them take up.

        This rounds differently, and is for float64 only: columns far from zero lose digits. If it
        is not to be ``lossy``, only finite rows of columns near zero are taken up.
        """
        affine = getattr(self.body, "affine", None)
        if affine is None or self.body.bounds is not None or isinstance(self.modules[0], Predictor):
            return self(x)
        rows = x.rows if isinstance(x, Selected) else x
        if isinstance(rows, SideBySide) or not isinstance(rows, Tensor) or rows.ndim != 2:
            return self(x)
        factor, added = self.merged((-1,)).affine()
        if rows.dtype != torch.float64 or factor.dtype != torch.float64:
            return self(x)
        if not (lossy or _near_zero(rows, added)):
            return self(x)
        widths = x.widths if isinstance(x, Selected) else (rows.shape[1],) * len(self)
        return Scaled(x, factor, added, lambda: self(x).columns, widths)

    @property
    def body(self) -> Any:
        """The first module without its head."""
        return self.bodies[0]

    def tensors(self, path: str) -> list[Any]:
        """The parameters, or buffers, of a name such as ``"scale.initial"``."""
        if path not in self._owners:
            self._owners[path] = [_owner(body, path) for body in self.bodies]
        name = path.rpartition(".")[2]
        return [owner[name] for owner in self._owners[path]]

    def parameter_names(self) -> list[str]:
        """The names of the parameters that each module has."""
        return [name for name, _ in self.body.named_parameters()]

    def joined(self, path: str) -> Tensor:
        """The tensors of a name, one after the other in their first dimension."""
        if path in self.stacks:
            return self.stacks[path].joined()
        if path in self.kept:
            return self.kept[path]
        tensors = self.tensors(path)
        if len(set(map(_DTYPE, tensors))) > 1:
            raise NotAlike
        return torch.cat(tensors)

    def constant(self) -> Tensor | None:
        """What linear maps add, one after the other; None if they add nothing."""
        given = [self.joined(n) for n in ("bias", "offset") if getattr(self.body, n) is not None]
        return sum(given[1:], given[0]) if given else None

    def keep_buffers(self) -> None:
        """Join the buffers once, until `forget`, since nobody changes them."""
        for path, _ in self.body.named_buffers():
            if path not in self.form.optional:
                self.kept[path] = self.joined(path)

    def forget(self) -> None:
        """Read all parameters and buffers of the modules again."""
        self.stacks.clear()
        self.kept.clear()

    @contextmanager
    def parameters_from_stacks(self) -> Iterator[None]:
        """Context in which the modules, called on their own, have the numbers of the stacks."""
        places = []
        for path, stack in self.stacks.items():
            name, members = path.rpartition(".")[2], self.tensors(path)
            parts = stack.joined().split([len(member) for member in members])
            places += list(
                zip(self._owners[path], [name] * len(parts), parts, members, strict=True)
            )
        try:
            for owner, name, part, _ in places:
                owner[name] = part
            yield
        finally:
            for owner, name, _, member in places:
                owner[name] = member

    def zeros(self) -> Tensor | None:
        """The weights of linear maps that stay zero, in a row; None if there are none."""
        known = [getattr(body, "zeros", None) for body in self.bodies] if self._has_zeros else []
        if not known:
            return None
        weights: Any = (body.weight for body in self.bodies)
        none = (torch.zeros_like(weight, dtype=torch.bool) for weight in weights)
        pairs = zip(known, none, strict=True)
        return torch.cat([other if one is None else one for one, other in pairs])

    def merged(self, shape: tuple[int, ...]) -> Any:
        """One module with the parameters of all, for modules that treat each column alone."""
        return self._merged(self.body, "", shape)

    def _merged(self, module: nn.Module, prefix: str, shape: tuple[int, ...]) -> nn.Module:
        def joined(tensors: Any) -> dict[str, Tensor | None]:
            return {
                name: None if one is None else self.joined(prefix + name).view(shape)
                for name, one in tensors.items()
            }

        children = {
            name: None if child is None else self._merged(child, f"{prefix}{name}.", shape)
            for name, child in module._modules.items()
        }
        view = type(module).__new__(type(module))
        view.__dict__.update(
            module.__dict__,
            _parameters=joined(module._parameters),
            _buffers=joined(module._buffers),
            _modules=children,
        )
        view.__dict__.pop("_compiled_call_impl", None)  # It is bound to the module itself.
        return view


def _owner(module: nn.Module, path: str) -> dict[str, Any]:
    prefix, _, name = path.rpartition(".")
    owner = module.get_submodule(prefix)
    found: Any = owner._parameters if name in owner._parameters else owner._buffers
    return found


def structure(module: nn.Module, fixed: tuple[str, ...] | None = None) -> Hashable | None:
    """What modules must have in common to be computed as one; None if this one cannot be.

    ``fixed`` are the attributes that their tensors share; by default, those of their `Form`.
    """
    body = unwrap_head(module)
    form = _FORMS.get(type(body))
    if form is None or not form.accepts(body):
        return None
    form = form if fixed is None else replace(form, fixed=fixed)
    own: Hashable = _structure(body, form)
    if isinstance(module, Predictor):
        head = module.head
        bare = not any(True for _ in (*head.parameters(), *head.buffers()))
        known = module.method == "score" or type(head) in _HEADS
        if not (type(module) is Predictor and module.classes is None and bare and known):
            return None
        own = (own, module.method, _structure(head, form))
    try:
        hash(own)
    except TypeError:
        return None
    return own


def _structure(module: nn.Module, form: Form) -> Hashable:
    settings = [(k, type(v), v) for k, v in sorted(vars(module).items()) if k not in _OF_TORCH]
    tensors = {**module._parameters, **module._buffers}
    kinds = [
        (
            name,
            None if one is None else (one.dtype, one.ndim, *(getattr(one, f) for f in form.fixed)),
        )
        for name, one in sorted(tensors.items())
        if name not in form.optional
    ]
    children = [
        (name, None if child is None else _structure(child, form))
        for name, child in module._modules.items()
    ]
    optional = [s for s in settings if s[0] not in form.optional]
    return type(module), tuple(optional), tuple(kinds), tuple(children)


@dataclass(frozen=True)
class Form:
    """How modules of a class are computed as one.

    Parameters
    ----------
    call : callable
        Function of `AlikeModules` and their input.
    fixed : tuple of str
        Attributes that the tensors of a name must share; by default, they may differ in length.
    optional : frozenset of str
        Buffers that some of the modules may lack.
    accepts : callable
        Whether a module of the class can be one of several.
    """

    call: Callable[[AlikeModules, Any], SideBySide]
    fixed: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    accepts: Callable[[Any], bool] = lambda module: True


def _responses(head: Head, method: str, scores: SideBySide) -> SideBySide:
    """The outputs of a head that maps each row on its own."""
    if method in ("score", "transform"):
        return scores
    count = len(scores)
    rows = scores.columns.reshape(-1) if scores.flat else scores.stacked().flatten(0, 1)
    answer = head.respond(rows, method)
    flat = answer.ndim == 1
    width = 1 if flat else answer.shape[1]
    return SideBySide(answer.reshape(-1, count * width), [width] * count, flat)


def _near_zero(rows: Tensor, added: Tensor) -> bool:
    """Whether rows are finite, and the middle of columns is near zero in units of their scale."""
    try:
        largest = torch.stack([*torch.aminmax(rows.detach())]).abs().max()
        return bool((largest < _LARGEST) & (added.detach().abs().max() < _FAR))
    except RuntimeError:  # no rows, or under `torch.func.vmap`
        return False


def _linear(alike: AlikeModules, x: Any) -> SideBySide:
    body = alike.body
    count, (features, outputs) = len(alike), body.weight.shape
    weight = alike.joined("weight")
    if weight.shape != (count * features, outputs):
        raise NotAlike
    weight = weight.view(count, features, outputs)
    if body.nonnegative:
        weight = weight.clamp(min=0)
    zeros = alike.zeros()
    if zeros is not None:
        weight = weight.masked_fill(zeros.view(weight.shape), 0.0)
    added = alike.constant()
    if body.shift is not None:
        shift = -(alike.joined("shift").view(count, 1, features) @ weight).flatten()
        added = shift if added is None else added + shift
    out = _product(x, weight, added)
    return SideBySide(out, [outputs] * count, body.squeeze)


def _product(x: Any, weight: Tensor, added: Tensor | None) -> Tensor:
    """Rows times each of the weights (members, features, outputs), (n, members * outputs)."""
    if isinstance(x, Scaled):
        factor = x.factor.view(weight.shape[:2])[..., None]
        constant = (x.added.view(len(weight), 1, -1) @ weight).flatten()
        constant = constant if added is None else constant + added
        return _product(x.source, factor * weight, constant)
    if isinstance(x, Selected) and _spans_rows(x, weight):
        return affine(x.rows, _columns_of_all(_spread(x, weight)), added)
    if isinstance(x, SideBySide):
        if not x.alike or x.widths[0] != weight.shape[1]:
            raise NotAlike
        out = torch.bmm(x.stacked().transpose(0, 1), weight).transpose(0, 1).flatten(1)
        return out if added is None else out + added
    if isinstance(x, Tensor) and x.ndim != 2:
        raise NotAlike
    return affine(x, _columns_of_all(weight), added)


def affine(x: Any, weight: Tensor, added: Tensor | None) -> Tensor:
    """Rows times a weight plus a constant, in one pass if the rows are dense."""
    if added is not None and isinstance(x, Tensor):
        return torch.addmm(added, x, weight)
    out: Tensor = x.matmul(weight)
    return out if added is None else out + added


def _columns_of_all(weight: Tensor) -> Tensor:
    return weight.transpose(0, 1).flatten(1)


def _spans_rows(x: Selected, weight: Tensor) -> bool:
    """Whether whole rows take less time than a copy of the selected columns."""
    few = x.rows.shape[1] <= _MORE_COLUMNS * weight.shape[1]
    # Zero times infinity is not zero.
    return few and x.alike and _known_to_be_finite(x.rows)


def _spread(x: Selected, weight: Tensor) -> Tensor:
    """Weights of selected columns as weights of all columns, (members, all, outputs)."""
    count, selected, outputs = weight.shape
    features = x.rows.shape[1]
    first = torch.arange(count, device=weight.device) * features
    place = x.keep + first.repeat_interleave(selected)
    none = weight.new_zeros(count * features, outputs)
    return none.index_add(0, place, weight.flatten(0, 1)).unflatten(0, (count, features))


def _known_to_be_finite(x: Tensor) -> bool:
    """Whether all entries are finite; False where finding out would cost more than it saves."""
    try:
        return x.device.type == "cpu" and bool(torch.isfinite(x).all())
    except RuntimeError:  # under `torch.func.vmap`
        return False


def _projection(alike: AlikeModules, x: Any) -> SideBySide:
    out = _linear(alike, x)
    if alike.body.variance is None:
        return out
    if isinstance(x, Deferred):
        raise NotAlike
    variance = alike.merged((-1,)).variance()
    return SideBySide(out.columns / Projection._deviation(variance), out.widths)


def _columnwise(alike: AlikeModules, x: Any) -> SideBySide:
    """Modules that treat each column alone; all of their tensors have an entry for each column."""
    if isinstance(x, SideBySide):
        if x.flat:
            raise NotAlike
        return SideBySide(_call(alike.merged((-1,)), x.columns), x.widths)
    if not isinstance(x, Tensor) or x.ndim != 2 or not alike.body.state_dict():
        raise NotAlike
    count, features = len(alike), x.shape[1]
    out = _call(alike.merged((count, features)), x[:, None])
    return SideBySide(out.flatten(1), [features] * count)


def _call(merged: Any, x: Tensor) -> Tensor:
    out: Tensor = merged.forward(x)
    return out


def _select(alike: AlikeModules, x: Any) -> SideBySide:
    if not isinstance(x, Tensor) or x.ndim != 2:
        raise NotAlike
    return Selected(x, alike.joined("keep"), [len(keep) for keep in alike.tensors("keep")])


_ALL_FIXED = ("shape",)
# Modules all of whose tensors have an entry for each column.
_COLUMNWISE = (BoxCox, Rescale, Standardize, Threshold, YeoJohnson)


def _all_columnwise(module: Any) -> bool:
    links = module.links if isinstance(module, Sequential) else [module]
    return all(type(link) in _COLUMNWISE for link in links)


_FORMS: dict[type, Form] = {
    Linear: Form(_linear, _ALL_FIXED, frozenset({"zeros"})),
    Projection: Form(_projection, _ALL_FIXED, frozenset({"zeros"})),
    Select: Form(_select),
    **dict.fromkeys((*_COLUMNWISE, Sequential), Form(_columnwise, accepts=_all_columnwise)),
}
