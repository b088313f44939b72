"""Reports of fine-tuning as text, tables, SVG, HTML and matplotlib displays."""

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
