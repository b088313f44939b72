"""Pictures and tables for people: text, rich, SVG and HTML."""

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
]
