"""Translations for skrub, whose encoders of whole tables stay with their own library."""

from ...registry import refuse
from .scaling import SquashingScaler

_TABLES = "takes a table of any columns, and runs once, before what trains"

refuse(
    {
        "skrub.TableVectorizer": _TABLES,
        "skrub.Cleaner": _TABLES,
        "skrub.ApplyToCols": _TABLES,
        "skrub.DatetimeEncoder": "takes dates, and runs once, before what trains",
        "skrub.MinHashEncoder": "takes text, and runs once, before what trains",
        "skrub.StringEncoder": "takes text, and runs once, before what trains",
        "skrub.TextEncoder": "takes text, and runs once, before what trains",
        "skrub.GapEncoder": "takes text, and runs once, before what trains",
    }
)

__all__ = ["SquashingScaler"]
