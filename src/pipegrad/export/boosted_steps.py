"""Boosted trees whose columns are categories of a table, which become codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Step
from .host_steps import ENCODERS, LIMITS, READS, emitter, kind_of
from .table import Part, Table, TableWriter, is_missing

_LIGHTGBM = tuple(
    f"lightgbm.{name}"
    for name in ("Booster", "LGBMRegressor", "LGBMClassifier", "LGBMRanker", "LGBMModel")
)
_XGBOOST = tuple(
    f"xgboost.{name}"
    for name in ("Booster", "XGBRegressor", "XGBClassifier", "XGBRFRegressor", "XGBRFClassifier")
)
_RANKER = "xgboost.XGBRanker"
_CATBOOST = tuple(
    f"catboost.{name}"
    for name in ("CatBoost", "CatBoostRegressor", "CatBoostClassifier", "CatBoostRanker")
)


@emitter(ENCODERS, *_LIGHTGBM, *_XGBOOST)
def _coded(writer: TableWriter, step: Step, table: Table) -> Table:
    """Codes of the categories, from zero; NaN for others, as for missing ones."""
    known = _categories(step.operator)
    if not any(values is not None for values in known):
        return table
    parts = []
    for place in range(table.width):
        (column,) = writer.select(table, [place]).parts
        values = known[place] if place < len(known) else None
        parts.append(column if values is None else _codes(writer, column, values))
    return Table(tuple(parts))


def _codes(writer: TableWriter, column: Part, values: list[Any]) -> Part:
    return writer.look_up(column, values, np.array([*range(len(values)), np.nan])[:, None])


@emitter(ENCODERS, _RANKER)
def _without_groups(writer: TableWriter, step: Step, table: Table) -> Table:
    rest = Table(tuple(part for part in table.parts if part.name != "qid"))
    return _coded(writer, step, rest)


@emitter(ENCODERS, *_CATBOOST)
def _numbers(writer: TableWriter, step: Step, table: Table) -> Table:
    return table


def reads_categories(step: Step) -> bool:
    """Whether a step is an ensemble of boosted trees with columns of categories."""
    return step.kind in (*_LIGHTGBM, *_XGBOOST, _RANKER) and any(_categories(step.operator))


def _categories(operator: Any) -> list[list[Any] | None]:
    """The categories of each column, in the order of their codes; None for other columns."""
    booster = getattr(operator, "booster_", operator)
    if hasattr(booster, "pandas_categorical"):
        return _categories_of_lightgbm(booster)
    return _categories_of_xgboost(operator)


def _categories_of_lightgbm(booster: Any) -> list[list[Any] | None]:
    """LightGBM keeps the categories of a table, and says of each column whether it has some."""
    tables = booster.pandas_categorical or []
    places = _categorical_columns(booster)
    found: list[list[Any] | None] = [None] * booster.num_feature()
    if len(places) == len(tables):
        for place, values in zip(places, tables, strict=True):
            found[place] = list(values)
    return found


def _categorical_columns(booster: Any) -> list[int]:
    lines = booster.model_to_string(num_iteration=1).split("\n")
    kinds = next(line for line in lines if line.startswith("feature_infos=")).partition("=")[2]
    return [i for i, kind in enumerate(kinds.split(" ")) if kind != "none" and kind[:1] != "["]


def _categories_of_xgboost(operator: Any) -> list[list[Any] | None]:
    from ..sources.xgboost._model_json import Content

    booster = operator.get_booster() if hasattr(operator, "get_booster") else operator
    kinds = booster.feature_types or []
    if "c" not in kinds:
        return []
    known = Content(booster).categories()
    return [
        None if values is None or kind != "c" else [_text(value) for value in values]
        for kind, values in zip(kinds, known, strict=False)
    ]


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _why_not(operator: Any) -> str | None:
    booster = getattr(operator, "booster_", operator)
    tables = getattr(booster, "pandas_categorical", None) or []
    if tables and len(_categorical_columns(booster)) != len(tables):
        return "it does not say which columns hold the categories of its table"
    for values in filter(None, _categories(operator)):
        texts = [value for value in values if isinstance(value, str)]
        if "" in texts:
            return "'' is a category, and ONNX has no other missing text"
        if not hasattr(booster, "pandas_categorical") and not "".join(texts).isascii():
            return "XGBoost confuses the names of its categories beyond ASCII"
        if any(is_missing(value) for value in values) or 0 < len(texts) < len(values):
            return "its categories are neither all texts nor all numbers"
    return None


LIMITS.update(dict.fromkeys((*_LIGHTGBM, *_XGBOOST, _RANKER), _why_not))


def _no_names(operator: Any) -> str | None:
    if not operator.get_cat_feature_indices():
        return None
    return "it stores hashes of its categories, without their names"


LIMITS.update(dict.fromkeys(_CATBOOST, _no_names))


def _reads(operator: Any) -> list[Any] | None:
    known = _categories(operator)
    if not any(known):
        return None
    # Numbers with missing ones among them.
    return [values and ("string" if kind_of(values) == "string" else "float64") for values in known]


READS.update(dict.fromkeys((*_LIGHTGBM, *_XGBOOST), _reads))
