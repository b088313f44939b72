"""One node of an entry-point graph: a trainer or a transform of ML.NET."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Suffix that the scorer after a trainer appends to its column names.
SUFFIX = "Suffix"
# Output columns of a predictor, by the suffix of its name.
_GIVES = {
    "BinaryClassifier": ("PredictedLabel", "Score", "Probability"),
    "Classifier": ("PredictedLabel", "Score"),
    "Clusterer": ("PredictedLabel", "Score"),
}


@dataclass(frozen=True)
class EntryPoint:
    """A trainer or a transform with its options.

    Parameters
    ----------
    name : str
        ML.NET's name, such as ``"Transforms.PcaCalculator"``.
    options : dict
        Its inputs, except for data and models.
    scored : bool
        Whether the predictions of a trainer become columns for later steps.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    scored: bool = False

    @property
    def trains(self) -> bool:
        """Whether it is a trainer."""
        return self.name.startswith("Trainers.")

    def takes(self) -> list[str]:
        """Names of the input columns, without labels."""
        if self.trains:
            return _texts(self.options.get("FeatureColumnName", "Features"))
        found = []
        for column in self._columns():
            found += _texts(column.get("Source") or column["Name"])
        return list(dict.fromkeys(found))

    def gives(self) -> list[str]:
        """Names of the output columns."""
        if self.trains:
            last = next((end for end in _GIVES if self.name.endswith(end)), "")
            suffix = self.options.get(SUFFIX, "")
            return [name + suffix for name in _GIVES.get(last, ("Score",))]
        return [str(column["Name"]) for column in self._columns()]

    def _columns(self) -> list[dict[str, Any]]:
        columns = self.options.get("Column", [])
        columns = columns if isinstance(columns, list) else [columns]
        return [c if isinstance(c, dict) else {"Name": c, "Source": c} for c in columns]


def _texts(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]
