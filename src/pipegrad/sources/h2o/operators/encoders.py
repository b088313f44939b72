"""Encodings of categories by means of the target."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import ChooseColumns, Derive, Step
from ..mojo import Mojo
from ..numbers import Numbers, worded
from ..plan import Answer, Plan, reads
from .answers import classes_of
from .composites import Join

_FOLDER = "feature_engineering/target_encoding/"
_ENCODINGS = f"{_FOLDER}encoding_map.ini"
# Numbers of combinations are exact up to here.
_MOST_COMBINATIONS = 1 << 53


@dataclass(eq=False, kw_only=True)
class TargetMeans(Step):
    """The mean targets of each category, drawn to those of all.

    Parameters
    ----------
    sums : Numbers
        By category and class, the sum of the targets; what trains is the mean.
    counts : array
        Number of rows.
    shares : array
        Weight of a category's own mean.
    rows : array of int64
        The category of each code; -1 if it has none.
    missing : int
        The category of missing values; -1 if they get the mean of all, -2 if they get NaN.
    """

    sums: Numbers
    counts: NDArray[np.float64] = field(repr=False)
    shares: NDArray[np.float64] = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    missing: int


@dataclass(eq=False, kw_only=True)
class Combination(Step):
    """The place of a combination of categories in a list; NaN if it is not there.

    Parameters
    ----------
    sizes : list of int
        Number of levels of each column.
    combinations : array of int64
        Increasing numbers of combinations.
    """

    sizes: list[int]
    combinations: NDArray[np.int64] = field(repr=False)


@reads("targetencoder")
def _target_encoder(mojo: Mojo, plan: Plan) -> Answer:
    count = mojo.integer("n_classes")
    encoded = max(count - 1, 1)
    if count > 1:
        classes_of(mojo)
    categories = _categories(mojo, count)
    sources, outputs = _columns(mojo, list(categories), encoded)
    missing = _missing(mojo)
    row = plan.row(mojo)
    columns: dict[str, str] = {}
    blocks = []
    for (names, group, domain), made in zip(sources, outputs, strict=True):
        if group not in categories or group not in missing or len(made) != encoded:
            mojo.fail(f"the encoding of {group!r:.60} is not described.")
        codes, size = _codes(mojo, plan, row, names, domain)
        operator = _means(mojo, categories[group], size, missing[group])
        step = plan.step(mojo, operator, codes, name=group)
        blocks.append(step)
        entries = {made[0]: step} if encoded == 1 else plan.entries(mojo, step, made)
        if columns.keys() & entries.keys():
            mojo.fail(f"it makes one of the columns {', '.join(made)!r:.80} twice.")
        columns.update(entries)
    if not blocks:
        mojo.fail("it encodes no columns.")
    output = plan.step(mojo, Join(), *blocks, name="encoded")
    return Answer(output, columns, predict="")


Places = dict[int, list[int]]


def _categories(mojo: Mojo, classes: int) -> dict[str, Places]:
    """By group of columns and category, where the file has the sums of the encoded classes."""
    found: dict[str, Places] = {}
    words, current = 0, None
    for line in mojo.described(_ENCODINGS):
        section = re.fullmatch(r"\[([^\]]*)\]", line)
        if section is not None:
            if section[1] in found:
                mojo.fail(f"it has two encodings of {section[1]!r:.60}.")
            current = found.setdefault(section[1], {})
        else:
            entry = re.fullmatch(r"(\d{1,9}) = (\S+) (\S+)( \d{1,9})?", line)
            if entry is None or current is None or (entry[4] is None) != (classes <= 2):
                mojo.fail(f"an encoding is described by {line!r:.60}.")
            _add(mojo, current, entry, classes, words + 2)
        words += len(line.split())
    for name, places in found.items():
        if any(-1 in each for each in places.values()) or not places:
            mojo.fail(f"the encoding of {name!r:.60} lacks classes.")
    return found


def _add(mojo: Mojo, places: Places, entry: re.Match[str], classes: int, word: int) -> None:
    """Note where a category's sum is; the first class and that of missing targets have none."""
    found = places.setdefault(int(entry[1]), [-1] * max(classes - 1, 1))
    number = 0 if entry[4] is None else int(entry[4]) - 1
    if 0 <= number < len(found):
        if found[number] >= 0:
            mojo.fail(f"a category is encoded twice: {entry[0]!r:.60}.")
        found[number] = word


Source = tuple[list[str], str, list[str] | None]


def _columns(mojo: Mojo, groups: list[str], encoded: int) -> tuple[list[Source], list[list[str]]]:
    """What each encoding reads, and the columns that it makes."""
    names = [f"{_FOLDER}input_{kind}_columns_map.ini" for kind in ("encoding", "output")]
    if not all(mojo.prefix + name in mojo.archive.entries for name in names):
        # Files of older versions encode single columns and do not say so.
        ends = ["_te"] if encoded == 1 else [f"_{n + 1}_te" for n in range(encoded)]
        made = [[group + end for end in ends] for group in groups]
        return [([group], group, None) for group in groups], made
    sources: list[Source] = []
    for part in _sections(mojo, names[0]):
        if len(part.get("to", [])) != 1 or not part.get("from"):
            mojo.fail(f"{names[0]!r} is damaged.")
        sources.append((part["from"], part["to"][0], part.get("to_domain")))
    outputs = [part.get("to", []) for part in _sections(mojo, names[1])]
    if len(sources) != len(outputs):
        mojo.fail(f"{names[1]!r} describes {len(outputs)} encodings instead of {len(sources)}.")
    return sources, outputs


def _sections(mojo: Mojo, name: str) -> list[dict[str, list[str]]]:
    """The lists under [from], [to] and [to_domain], for each [from]."""
    found: list[dict[str, list[str]]] = []
    current: list[str] | None = None
    for line in mojo.described(name):
        if line in ("[from]", "[to]", "[to_domain]"):
            key = line[1:-1]
            if key == "from":
                found.append({})
            if not found or key in found[-1]:
                mojo.fail(f"{name!r} is damaged.")
            current = found[-1].setdefault(key, [])
        elif current is None:
            mojo.fail(f"{name!r} is damaged.")
        else:
            current.append(line)
    return found


def _missing(mojo: Mojo) -> dict[str, bool]:
    """By group of columns, whether missing values are a category of their own."""
    found = {}
    for line in mojo.described(f"{_FOLDER}te_column_name_to_missing_values_presence.ini"):
        entry = re.fullmatch(r"([^=]+?) *= *(\d)", line)
        if entry is None:
            mojo.fail(f"missing values are described by {line!r:.60}.")
        found[entry[1]] = entry[2] == "1"
    return found


def _codes(
    mojo: Mojo, plan: Plan, row: str, names: list[str], domain: list[str] | None
) -> tuple[str, int]:
    """The step with the category of a group of columns, and the number of categories."""
    features = {name: place for place, name in enumerate(mojo.features)}
    places = [features.get(name, -1) for name in names]
    if not all(place in mojo.domains for place in places):
        mojo.fail(f"it encodes {', '.join(names)!r:.80}, which have no levels.")
    sizes = [len(mojo.domains[place]) for place in places]
    if len(names) == 1:
        entry = Derive(what="entry", numbers_=[float(places[0])])
        return plan.step(mojo, entry, row, name=names[0]), sizes[0]
    if np.prod([size + 1.0 for size in sizes]) > _MOST_COMBINATIONS:
        mojo.fail(f"{', '.join(names)!r:.80} have too many combinations.")
    if not domain or not all(re.fullmatch(r"\d{1,16}", number) for number in domain):
        mojo.fail(f"the combinations of {', '.join(names)!r:.80} are damaged.")
    combinations = np.array([int(number) for number in domain], dtype=np.int64)
    if (np.diff(combinations) <= 0).any():
        mojo.fail(f"the combinations of {', '.join(names)!r:.80} are not in order.")
    chosen = plan.step(mojo, ChooseColumns(places=places), row, name=", ".join(names))
    operator = Combination(sizes=sizes, combinations=combinations)
    return plan.step(mojo, operator, chosen, name="combination"), len(combinations)


def _means(mojo: Mojo, places: Places, size: int, has_missing: bool) -> TargetMeans:
    keys = sorted(places)
    words = np.array([places[key] for key in keys], dtype=np.int64)
    sums, counts = worded(mojo, _ENCODINGS, words), worded(mojo, _ENCODINGS, words + 1).values
    if not np.isfinite(sums.values).all() or not (np.isfinite(counts) & (counts > 0)).all():
        mojo.fail("the numbers of its encodings are damaged.")
    rows = np.full(size, -1, dtype=np.int64)
    for number, key in enumerate(keys):
        if key < size:
            rows[key] = number
    if (rows < 0).any() and mojo.prefix:
        mojo.fail("it has levels without an encoding, for which the scorer of H2O fails.")
    # H2O takes the category whose number is the largest possible for that of missing values.
    missing = -1
    if has_missing:
        missing = keys.index(len(keys) - 1) if len(keys) - 1 in places else -2
    return TargetMeans(
        sums=sums, counts=counts, shares=_shares(mojo, counts), rows=rows, missing=missing
    )


def _shares(mojo: Mojo, counts: NDArray[Any]) -> NDArray[np.float64]:
    """The weight of a category's own mean, by its number of rows."""
    if not mojo.flag("with_blending"):
        return np.ones_like(counts)
    middle, width = mojo.number("inflection_point"), mojo.number("smoothing")
    with np.errstate(all="ignore"):
        return 1.0 / (1.0 + np.exp((middle - np.trunc(counts)) / width))
