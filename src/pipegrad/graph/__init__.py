"""The graph of operators that a pipeline unfolds into, and how it is built, copied and drawn."""

from .graph import (
    INPUT,
    Composite,
    Graph,
    GraphBuilder,
    Status,
    Step,
    copied,
    join,
    translation,
    unfold,
    with_status,
)

__all__ = [
    "INPUT",
    "Composite",
    "Graph",
    "GraphBuilder",
    "Status",
    "Step",
    "copied",
    "join",
    "translation",
    "unfold",
    "with_status",
]
