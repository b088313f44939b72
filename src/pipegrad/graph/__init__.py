"""The graph of operators that a pipeline unfolds into: building, copying and drawing it."""

from .builder import GraphBuilder, join, unfold
from .copying import copy_source
from .graph import INPUT, Composite, Graph, Status, Step, with_updates

__all__ = [
    "INPUT",
    "Composite",
    "Graph",
    "GraphBuilder",
    "Status",
    "Step",
    "copy_source",
    "join",
    "unfold",
    "with_updates",
]
