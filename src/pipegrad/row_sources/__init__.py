"""Tables larger than memory: where their rows are, and how a part of them is read."""

from .opening import is_row_source, open_rows
from .pieces import Piece, RowSource

__all__ = ["Piece", "RowSource", "is_row_source", "open_rows"]
