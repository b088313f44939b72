"""Checks the features of a CatBoost model in JSON, and its statistics of categories (CTRs)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..document import Place

_LARGEST = 2**31 - 1
_MEANS = ("BinarizedTargetMeanValue", "FloatTargetMeanValue")
_COUNTS = ("Counter", "FeatureFreq")
_CTR_TYPES = ("Borders", "Buckets", *_MEANS, *_COUNTS)
_ELEMENTS = ("cat_feature_value", "float_feature", "cat_feature_exact_value")
_HASH = re.compile(r"\d{1,20}", re.ASCII)


def check_features(document: Place, most: int) -> int:
    """Check the features and the statistics that the splits are made of.

    Parameters
    ----------
    document : Place
        The model.
    most : int
        How many columns the input may have.

    Returns
    -------
    int
        Number of different splits.
    """
    known = document["features_info"]
    floats, categorical = _listed(known, "float_features"), _listed(known, "categorical_features")
    places = [_check_positions(group, most) for group in (floats, categorical)]
    columns = [flat for group in places for _, flat in group]
    if len(set(columns)) != len(columns):
        known.fail("two features have the same flat_feature_index.")
    splits = 0
    borders: dict[int, set[np.float32]] = {}
    for feature, (number, _) in zip(floats, places[0], strict=True):
        values = _check_float(feature)
        splits, borders[number] = splits + len(values), set(values.tolist())
    for feature in categorical:
        splits += _check_categorical(feature)
    ctrs = _listed(known, "ctrs")
    numbers = {number for number, _ in places[1]}
    for ctr in ctrs:
        splits += _check_ctr(ctr, borders, numbers)
    _check_tables(document, ctrs, borders, numbers)
    return splits


def _listed(known: Place, key: str) -> list[Place]:
    place = known.get(key)
    return [] if place is None or place.value is None else list(place.elements())


def _check_positions(features: list[Place], most: int) -> list[tuple[int, int]]:
    """Numbers and columns of the features of one kind, which must increase."""
    places: list[tuple[int, int]] = []
    for feature in features:
        number = feature["feature_index"].integer(0, most - 1)
        column = feature["flat_feature_index"].integer(number, most - 1)
        if places and (number <= places[-1][0] or column <= places[-1][1]):
            feature.fail("feature_index and flat_feature_index must increase.")
        places.append((number, column))
        feature["feature_id"].text()
    return places


def _check_float(feature: Place) -> Any:
    feature["has_nans"].boolean()
    feature["nan_value_treatment"].one_of(("AsIs", "AsFalse", "AsTrue"))
    return _check_borders(feature["borders"])


def _check_borders(place: Place) -> Any:
    """Increasing borders in single precision."""
    if place.value is None:
        return np.zeros(0, dtype=np.float32)
    values = place.numbers(finite=True).astype(np.float32)
    if (np.diff(values) <= 0).any():
        place.fail("must increase.", at=1 + int(np.flatnonzero(np.diff(values) <= 0)[0]))
    return values


def _check_categorical(feature: Place) -> int:
    """The values of one-hot splits."""
    values = feature.get("values")
    if values is None or values.value is None:
        return 0
    hashes = values.integers(-_LARGEST - 1, _LARGEST)
    if len(np.unique(hashes)) != len(hashes):
        values.fail("has a value twice.")
    texts = feature.get("string_values")
    if texts is not None and texts.value is not None:
        texts.texts(len(hashes))
    return len(hashes)


def _check_ctr(ctr: Place, borders: dict[int, set[np.float32]], categorical: set[int]) -> int:
    ctr["ctr_type"].one_of(_CTR_TYPES)
    _check_elements(ctr["elements"], borders, categorical)
    for key in ("prior_numerator", "prior_denomerator", "shift", "scale"):
        ctr[key].number()
    ctr["target_border_idx"].integer(0, _LARGEST)
    return len(_check_borders(ctr["borders"]))


def _check_elements(
    elements: Place, borders: dict[int, set[np.float32]], categorical: set[int]
) -> None:
    """The features that a statistic combines."""
    for element in elements.elements():
        kind = element["combination_element"].one_of(_ELEMENTS)
        if kind == "float_feature":
            number = element["float_feature_index"].integer(0, _LARGEST)
            border = float(np.float32(element["border"].number()))
            if border not in borders.get(number, ()):
                element.fail(f"float feature {number} has no such border.")
            continue
        number = element["cat_feature_index"].integer(0, _LARGEST)
        if number not in categorical:
            element["cat_feature_index"].fail(f"there is no categorical feature {number}.")
        if kind == "cat_feature_exact_value":
            element["value"].integer(-_LARGEST - 1, _LARGEST)


def _check_tables(
    document: Place, ctrs: list[Place], borders: dict[int, set[np.float32]], categorical: set[int]
) -> None:
    """The tables from hashes of categories to their statistics."""
    tables = document.get("ctr_data")
    if tables is None or tables.value is None:
        return  # The fit was told not to keep them (final_ctr_computation_mode="Skip").
    strides: dict[str, int] = {}
    for key, table in tables.members():
        base = table.parsed(key)
        kind = base["type"].one_of(_CTR_TYPES)
        _check_elements(base["identifier"], borders, categorical)
        strides[_name(kind, base["identifier"])] = _check_table(table, kind)
    for ctr in ctrs:
        kind = ctr["ctr_type"].text()
        stride = strides.get(_name(kind, ctr["elements"]))
        if stride is None:
            ctr.fail("ctr_data has no table for it.")
        classes = stride - 1 if kind not in _MEANS + _COUNTS else 1
        ctr["target_border_idx"].integer(0, classes - (kind == "Borders") - 1)


def _name(kind: str, elements: Place) -> str:
    """What identifies a table: its type and the features, whose order does not matter."""
    parts = []
    for element in elements.elements():
        border = element.get("border")
        members = {**element.object()}
        if border is not None:
            members["border"] = float(np.float32(border.number()))
        parts.append(sorted((key, str(value)) for key, value in members.items()))
    return f"{kind}{sorted(parts)}"


def _check_table(table: Place, kind: str) -> int:
    """Check one table; returns how many entries of its array belong to one hash."""
    stride = table["hash_stride"].integer(2, _LARGEST)
    wanted = 3 if kind in _MEANS else 2 if kind in _COUNTS else stride
    if stride != wanted:
        table["hash_stride"].fail(f"must be {wanted} for {kind}.")
    if kind in _COUNTS:
        table["counter_denominator"].integer(-_LARGEST - 1, _LARGEST)
    place = table["hash_map"]
    entries = place.array()
    if not len(entries) or len(entries) % stride:
        place.fail(f"{len(entries)} elements are no whole number of entries of {stride}.")
    for at in range(0, len(entries), stride):
        text = entries[at]
        if not isinstance(text, str) or not _HASH.fullmatch(text) or int(text) >= 2**64:
            place.fail("must be a text with a hash.", at=at)
    for offset in range(1, stride):
        part = place.replaced(entries[offset::stride])
        if kind in _MEANS and offset == 1:
            part.numbers(finite=True)
        else:
            part.integers(-_LARGEST - 1, _LARGEST)
    return stride
