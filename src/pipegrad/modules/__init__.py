"""The mathematics: modules named for what they compute, ignorant of where numbers come from."""

from ._base import Module, Positive, parameter
from ._heads import (
    Binary,
    Head,
    Mean,
    Multiclass,
    Multilabel,
    Nearest,
    Probabilities,
    Votes,
)
from ._linear import Linear
from ._scaling import Rescale, Standardize
from ._sparse import Block, SparseRows, dense

__all__ = [
    "Binary",
    "Block",
    "Head",
    "Linear",
    "Mean",
    "Module",
    "Multiclass",
    "Multilabel",
    "Nearest",
    "Positive",
    "Probabilities",
    "Rescale",
    "SparseRows",
    "Standardize",
    "Votes",
    "dense",
    "parameter",
]
