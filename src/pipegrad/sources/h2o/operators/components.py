"""Principal components."""

from __future__ import annotations

import numpy as np

from ...named.operators import LinearMap
from ..mojo import Mojo
from ..numbers import listed, stored
from ..plan import Answer, Plan, reads
from .expansion import Expand, StandardizeLast

_BLOB = "eigenvectors_raw"


@reads("pca")
def _components(mojo: Mojo, plan: Plan) -> Answer:
    categories, numeric, count = mojo.integer("ncats"), mojo.integer("nnums"), mojo.integer("k")
    order = mojo.integers("permutation").tolist()
    if min(categories, numeric) < 0 or categories + numeric != len(mojo.features):
        mojo.fail(f"it has {len(mojo.features)} features, but describes others.")
    if sorted(order) != list(range(len(mojo.features))):
        mojo.fail("its permutation is damaged.")
    if [place in mojo.domains for place in order] != [n < categories for n in range(len(order))]:
        mojo.fail("its permutation does not put categories first.")
    offsets = mojo.integers("catOffsets")
    sizes = np.diff(offsets)
    if len(sizes) != categories or (sizes < 0).any() or offsets[0]:
        mojo.fail("its catOffsets are damaged.")
    width = int(offsets[-1]) + numeric
    size = len(mojo.blob(_BLOB)) // 8
    if mojo.integer("eigenvector_size") != width or not 0 < count <= size or width * count != size:
        mojo.fail("its eigenvectors are damaged.")
    source = plan.row(mojo, tuple(mojo.features[place] for place in order))
    if numeric:
        operator = StandardizeLast(
            start=categories,
            scale=listed(mojo, "normMul", np.arange(numeric)),
            offset=listed(mojo, "normSub", np.arange(numeric)),
        )
        source = plan.step(mojo, operator, source, name="standardize")
    expanded = Expand(
        sizes=sizes.tolist(),
        first=0 if mojo.flag("use_all_factor_levels") else 1,
        modes=None,
        means=None,
        numeric=numeric,
    )
    source = plan.step(mojo, expanded, source, name="expand")
    places = np.arange(width * count).reshape(width, count).T
    directions = LinearMap(weight=stored(mojo, _BLOB, ">f8", places), bias=None, gaps=True)
    score = plan.step(mojo, directions, source, name="components")
    names = [f"PC{number + 1}" for number in range(count)]
    return Answer(score, plan.entries(mojo, score, names), predict="")
