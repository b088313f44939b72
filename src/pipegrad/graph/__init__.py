"""The graph of operators that a pipeline unfolds into, and how it is built, copied and drawn."""

from .builder import GraphBuilder, join, unfold
from .copying import copied
from .graph import INPUT, Composite, Graph, Status, Step, with_status

__all__ = [
    "INPUT",
    "Composite",
    "Graph",
    "GraphBuilder",
    "Status",
    "Step",
    "copied",
    "join",
    "unfold",
    "with_status",
]
