"""Inspection of a pipeline: the status of each step, before anything is translated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .graph import Graph, Step, unfold
from .graph.display.table import StepTable
from .modules import SplitMode, SplitRelaxation, standard_settings
from .partition import Translate, partition
from .through import Through
from .translate import check_arguments, open_source, own_copy


class Inspection(StepTable):
    """The steps of a pipeline with their status and its reason.

    Prints as a table; notebooks show the graph as a picture; iteration yields the steps.

    Attributes
    ----------
    graph : Graph
        The partitioned graph.
    """

    graph: Graph

    def __iter__(self) -> Iterator[Step]:
        return iter(self.graph)

    def __len__(self) -> int:
        return len(self.graph)

    def __getitem__(self, name: str) -> Step:
        return self.graph[name]

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()


@standard_settings
def inspect(
    source: Any,
    *,
    train: Iterable[str] | None = None,
    freeze: Iterable[str] | None = None,
    translate: Translate = "trainable",
    trees: SplitMode = "leaves",
    through: Through | None = None,
    trusted: bool = False,
) -> Inspection:
    """The status of each step (trainable, translated, on the host, refused) and its reason.

    Parameters
    ----------
    source : estimator, or path of a model file
        A fitted pipeline, which is not changed, or another source that `pipegrad.to_torch` takes: a
        path, a model of pyspark.ml, a NimbusML pipeline.
    train, freeze, translate, trees, through, trusted
        The options of `pipegrad.to_torch`.

    Returns
    -------
    Inspection
        A table of the steps.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        When the pipeline is not fitted.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> steps = pg.inspect(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    >>> [(step.name, step.status, step.parameters) for step in steps]
    [('ridge', 'trainable', 2)]
    """
    check_arguments(translate, trees=trees, through=through)
    graph = unfold(own_copy(open_source(source, trusted)))
    splits = SplitRelaxation(trees)
    return Inspection(partition(graph, translate, train, freeze, splits, through))
