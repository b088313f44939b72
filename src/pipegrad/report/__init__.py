"""Reports of fine-tuning as text, Markdown, JSON, SVG, HTML and matplotlib displays."""

from typing import Any

from .displays import GainDisplay, MovedStepsDisplay, ReliabilityDisplay, TrainingCurvesDisplay
from .split_changes import MovedSplits, Split, moved_splits

__all__ = [
    "GainDisplay",
    "MovedSplits",
    "MovedStepsDisplay",
    "ReliabilityDisplay",
    "Split",
    "TrainingCurvesDisplay",
    "moved_splits",
    "schema",
]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``report.to_json()``.

    Its ``$id`` ends in the number of its version, which each report repeats under ``"schema"``.

    Returns
    -------
    dict
        The schema; a new object at each call.

    Examples
    --------
    >>> schema()["$id"]
    'urn:pipegrad:report:1'
    """
    import json

    from .json_form import schema_text

    content: dict[str, Any] = json.loads(schema_text())
    return content
