"""Generalized additive models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Step
from ..mojo import Mojo
from ..numbers import listed, stored
from ..plan import Answer, Plan, reads, refused
from .expansion import Expand
from .linear import add_linear, add_multinomial, add_ordered

_CUBIC, _THIN_PLATE, _INTEGRALS, _DENSITIES = 0, 1, 2, 3
# H2O sorts smooth functions by their kind.
_SORTED = (_CUBIC, _INTEGRALS, _DENSITIES, _THIN_PLATE)
_MOST_KNOTS, _HIGHEST_ORDER, _MOST_FEATURES = 100_000, 30, 10

Matrix = NDArray[np.float64]


@dataclass(eq=False, kw_only=True)
class Smooth:
    """The basis of a smooth function.

    Parameters
    ----------
    columns : tuple of int
        Columns of the row that it reads.
    start : int
        Its first output.
    knots : array
        Its knots (columns, knots).
    map : array, optional
        A matrix that the basis is multiplied with.
    order : int
        Order of splines that are no cubic ones, or of a penalty.
    """

    columns: tuple[int, ...]
    start: int
    knots: Matrix = field(repr=False)
    map: Matrix | None = field(repr=False)
    order: int


@dataclass(eq=False, kw_only=True)
class CubicSpline(Smooth):
    """A cubic regression spline, with the second derivatives for the values at all knots."""

    curvature: Matrix = field(repr=False)


@dataclass(eq=False, kw_only=True)
class MonotoneSpline(Smooth):
    """M-splines, or I-splines."""

    integrals: bool


@dataclass(eq=False, kw_only=True)
class ThinPlate(Smooth):
    """A thin plate regression spline.

    Parameters
    ----------
    powers : array
        Exponents (polynomials, columns).
    radial : array
        Linear combinations (functions, knots) of radial functions.
    scale, shift : array
        Factor of distances in each column, and what polynomials subtract.
    """

    powers: Matrix = field(repr=False)
    radial: Matrix = field(repr=False)
    scale: Matrix
    shift: Matrix


@dataclass(eq=False, kw_only=True)
class SmoothColumns(Step):
    """Bases of smooth functions behind the other columns of a row.

    Parameters
    ----------
    parts : list of Smooth
        The bases.
    kept : int
        Number of the other columns.
    width : int
        Number of outputs of all bases.
    """

    parts: list[Smooth]
    kept: int
    width: int


@reads("gam")
def _additive(mojo: Mojo, plan: Plan) -> Answer:
    if mojo.has("offset_column"):
        raise refused(mojo, "its scorer refuses all rows of models with an offset")
    width = mojo.integer("num_expanded_gam_columns_center")
    kept = len(mojo.features) - width
    if width < 0 or kept < 0:
        mojo.fail(f"it has {len(mojo.features)} features, but describes others.")
    smooth = _Smooths(mojo, kept, width)
    row = plan.row(mojo, (*mojo.features[:kept], *smooth.names))
    columns = SmoothColumns(parts=smooth.parts(), kept=kept, width=width)
    source = plan.step(mojo, columns, row, name="smooth")
    expanded = _expanded(mojo, kept, width)
    source = plan.step(mojo, expanded, source, name="expand")
    size, family = expanded.width + 1, mojo.text("family")
    if family not in ("multinomial", "ordinal"):
        every = np.arange(size)
        weight, bias = (listed(mojo, "beta_center", part) for part in (every[:-1], every[-1:]))
        if len(mojo.numbers("beta_center")) != size:
            mojo.fail(f"it has other coefficients than {size}.")
        return add_linear(mojo, plan, source, weight, bias)
    name, count = "beta_multinomial_centering", mojo.integer("n_classes")
    if len(mojo.blob(name)) != 8 * count * size:
        mojo.fail(f"it has other coefficients than {count} times {size}.")
    places = np.arange(count * size).reshape(count, size)
    if family == "ordinal":
        places = places[:-1]
    weight, bias = (stored(mojo, name, ">f8", part) for part in (places[:, :-1], places[:, -1]))
    if family == "ordinal":
        return add_ordered(mojo, plan, source, weight, bias, decide="first_positive")
    return add_multinomial(mojo, plan, source, weight, bias)


def _expanded(mojo: Mojo, kept: int, width: int) -> Expand:
    categories = mojo.integer("cats")
    numeric = kept - categories + width
    offsets = mojo.integers("cat_offsets") if categories else np.zeros(1, dtype=np.int64)
    sizes = np.diff(offsets)
    if not 0 <= categories <= kept or len(sizes) != categories:
        mojo.fail("its cat_offsets are damaged.")
    if (sizes < 0).any() or offsets[0] or offsets[-1] > _MOST_KNOTS * 100:
        mojo.fail("its cat_offsets are damaged.")
    if [n in mojo.domains for n in range(kept)] != [n < categories for n in range(kept)]:
        mojo.fail("its columns are of other kinds than it describes.")
    modes, means = np.zeros(categories, dtype=np.int64), None
    if mojo.flag("mean_imputation", False):
        if categories:
            modes = mojo.integers("catNAFills")
        if numeric:
            means = listed(mojo, "numNAFillsCenter", np.arange(numeric))
    if len(modes) != categories or mojo.integer("numsCenter") != numeric:
        mojo.fail("its catNAFills or numsCenter are damaged.")
    first = 0 if mojo.flag("use_all_factor_levels", False) else 1
    return Expand(sizes=sizes.tolist(), first=first, modes=modes, means=means, numeric=numeric)


class _Smooths:
    """What the files say of smooth functions, in the order in which H2O writes them."""

    def __init__(self, mojo: Mojo, kept: int, width: int) -> None:
        self.mojo, self.kept, self.width = mojo, kept, width
        self.kinds = mojo.integers("bs_sorted").tolist()
        counts = {kind: self.kinds.count(kind) for kind in _SORTED}
        stated = [mojo.integer(f"num_{name}_col") for name in ("CS", "IS", "MS", "TP")]
        if stated != [counts[kind] for kind in _SORTED]:
            mojo.fail("its kinds of splines are damaged.")
        if self.kinds != [kind for kind in _SORTED for _ in range(counts[kind])]:
            mojo.fail("its kinds of splines are not sorted.")
        self.counts = counts
        self.sizes = self._list("num_knots_sorted", 2, _MOST_KNOTS)
        self.features = self._list("_d", 1, _MOST_FEATURES)
        if self.features != self._list("gam_column_dim_sorted", 1, _MOST_FEATURES) or any(
            count != 1 for count in self.features[: len(self.kinds) - counts[_THIN_PLATE]]
        ):
            mojo.fail("its splines read other columns than it describes.")
        self.names = tuple(self._lines("gam_columns_sorted", sum(self.features)))
        curved, plates = counts[_CUBIC], counts[_THIN_PLATE]
        if plates and self.features[-plates:] != self.features[curved : curved + plates]:
            raise refused(mojo, "its scorer mixes up thin plates with other splines")
        several = counts[_INTEGRALS] + counts[_DENSITIES] > 0
        zeros = [0] * len(self.kinds)
        orders = self._list("spline_orders_sorted", 0, _HIGHEST_ORDER) if several else zeros
        self.orders = orders

    def _list(self, key: str, low: int, high: int) -> list[int]:
        """A whole number of each smooth function."""
        found = self.mojo.integers(key).tolist()
        if len(found) != len(self.kinds) or not all(low <= one <= high for one in found):
            self.mojo.fail(f"its {key} are damaged.")
        return found

    def _lines(self, name: str, count: int) -> list[str]:
        return self.mojo.lines(name, count)

    def _matrices(self, name: str, shapes: Sequence[tuple[int, int]], kind: str) -> list[Matrix]:
        """Matrices one after the other."""
        ends = np.cumsum([0, *map(prod, shapes)])
        if len(self.mojo.blob(name)) != ends[-1] * np.dtype(kind).itemsize:
            self.mojo.fail(f"{name!r} has another size than its matrices.")
        every = stored(self.mojo, name, kind, np.arange(ends[-1])).values
        if not np.isfinite(every).all():
            self.mojo.fail(f"{name!r} has numbers that are not finite.")
        parts = zip(ends[:-1], ends[1:], shapes, strict=True)
        return [every[a:b].reshape(shape) for a, b, shape in parts]

    def _basis_size(self, place: int) -> int:
        spline = self.kinds[place] in (_INTEGRALS, _DENSITIES)
        return self.sizes[place] + (self.orders[place] - 2 if spline else 0)

    def _map_shape(self, place: int) -> tuple[int, int]:
        size = self._basis_size(place)
        return (0, 0) if self.kinds[place] == _INTEGRALS else (size - 1, size)

    def _outputs(self, place: int) -> int:
        return self._basis_size(place) - (self.kinds[place] != _INTEGRALS)

    def parts(self) -> list[Smooth]:
        """The bases, each where the scorer writes it."""
        count = len(self.kinds)
        shapes = list(zip(self.features, self.sizes, strict=True))
        knots = self._matrices("knots", shapes, ">f8")
        maps = self._matrices("zTranspose", [self._map_shape(n) for n in range(count)], ">f8")
        curved = self.counts[_CUBIC]
        bent: list[Matrix] = []
        if curved:
            inner = [(size - 2, size) for size in self.sizes[:curved]]
            bent = self._matrices("_binvD", inner, ">f8")
        plates = self._plates() if self.counts[_THIN_PLATE] else []
        found: list[Smooth] = []
        start, read = 0, self.kept
        for place, kind in enumerate(self.kinds):
            columns = tuple(range(read, read + self.features[place]))
            common: dict[str, Any] = {"columns": columns, "start": start, "knots": knots[place]}
            if kind != _THIN_PLATE and (np.diff(knots[place][0]) <= 0).any():
                self.mojo.fail("its knots do not increase.")
            part: Smooth
            if kind == _CUBIC:
                part = CubicSpline(**common, map=maps[place], order=4, curvature=bent[place])
            elif kind == _THIN_PLATE:
                own = plates[place - count + len(plates)]
                part = ThinPlate(**common, map=maps[place], **own)
            else:
                part = self._monotone(place, common, maps)
            if start + self._outputs(place) > self.width:
                raise refused(self.mojo, "its scorer has no place for all of its splines")
            found.append(part)
            # The scorer goes on by this for all kinds, and writes some over others.
            start, read = start + self.sizes[place] - 1, columns[-1] + 1
        return found

    def _monotone(self, place: int, common: dict[str, Any], maps: list[Matrix]) -> Smooth:
        order, integrals = self.orders[place], self.kinds[place] == _INTEGRALS
        if order < 1:
            self.mojo.fail("its spline_orders_sorted are damaged.")
        size, matrix = self._basis_size(place), None
        if not integrals:
            # The scorer takes the matrix of another function if there are several kinds.
            matrix = maps[place - self.counts[_CUBIC] - self.counts[_INTEGRALS]]
            if matrix.shape[0] < size - 1 or matrix.shape[1] < size:
                raise refused(self.mojo, "its scorer mixes up the matrices of its splines")
            matrix = matrix[: size - 1, :size]
        return MonotoneSpline(**common, map=matrix, order=order, integrals=integrals)

    def _plates(self) -> list[dict[str, Any]]:
        """What is known of thin plates beside their knots."""
        mojo, count = self.mojo, self.counts[_THIN_PLATE]
        sizes, features = self.sizes[-count:], self.features[-count:]
        orders, polynomials = (mojo.integers(key).tolist() for key in ("_m", "_M"))
        if mojo.integers("num_knots_TP").tolist() != sizes or not (
            len(orders) == len(polynomials) == count
        ):
            mojo.fail("its thin plates are damaged.")
        for m, d, few, size in zip(orders, features, polynomials, sizes, strict=True):
            if not d < 2 * m <= 4 * _MOST_FEATURES or not 0 < few < size:
                mojo.fail("its thin plates are damaged.")
        shapes = [(size - few, size) for size, few in zip(sizes, polynomials, strict=True)]
        radial = self._matrices("zTransposeCS", shapes, ">f8")
        shapes = list(zip(polynomials, features, strict=True))
        powers = self._matrices("polynomialBasisList", shapes, ">i4")
        ones = [(1, d) for d in features]
        means, scales = (self._matrices(f"gamCol{n}Raw", ones, ">f8") for n in ("Means", "Std"))
        scaled = mojo.flag("standardize")
        found = []
        for n in range(count):
            scale, shift = scales[n][0], (means[n] * scales[n])[0]
            if (powers[n] < 0).any() or (powers[n] > _HIGHEST_ORDER).any():
                mojo.fail("its polynomials are damaged.")
            found.append(
                {
                    "order": orders[n],
                    "powers": powers[n],
                    "radial": radial[n],
                    "scale": scale if scaled else np.ones_like(scale),
                    "shift": shift if scaled else np.zeros_like(shift),
                }
            )
        return found
