"""Pictures and tables for people: text, rich, SVG and HTML."""

from .splits import MovedSplits, Split, moved_splits

__all__ = ["MovedSplits", "Split", "moved_splits"]
