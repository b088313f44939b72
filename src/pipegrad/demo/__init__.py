"""The paper's own experiment on public data: ``python -m pipegrad demo``."""

from .figure1 import load_bikes, make_figure1, run

__all__ = ["load_bikes", "make_figure1", "run"]
