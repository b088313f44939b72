"""Partition of a graph into modules (the neural part) and steps in their own library (the host).

The paper's rule (sections 3 and 4): a step is translated if it is trainable, or if it follows a
translated step, since gradients would stop at anything else. The remaining steps run once in their
own library, and their output is cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from .errors import ArgumentError, UntranslatableError
from .glue import Columns
from .graph import Graph, Step, with_updates
from .modules import SplitRelaxation
from .registry import Expansion, lookup, why_missing
from .through import Estimate, Through, with_estimates

Translate = Literal["trainable", "all"]


def partition(
    graph: Graph,
    translate: Translate = "trainable",
    train: Iterable[str] | None = None,
    freeze: Iterable[str] | None = None,
    splits: SplitRelaxation | None = None,
    through: Through | None = None,
) -> Graph:
    """Assign a status and a reason to every step of a graph.

    Parameters
    ----------
    graph : Graph
        The graph of a fitted pipeline.
    translate : {"trainable", "all"}
        Whether to translate trainable steps and their successors, or all steps that have a module.
    train, freeze : list of str, optional
        Patterns of the steps to train and of the steps to freeze.
    splits : SplitRelaxation, optional
        How tree splits train; fixed splits by default.
    through : mapping of str to way, optional
        How gradients are estimated of steps that have none, by patterns of steps.

    Returns
    -------
    Graph
        The same graph with statuses; steps that cannot be translated are "refused".
    """
    splits = splits or SplitRelaxation()
    graph = with_estimates(graph, through, lambda step: _refusal(step) is None)
    refusals = {step.name: _refusal(step) for step in graph}
    chosen = _chosen(graph, train, freeze)
    reached = _reached_by_gradients(graph, refusals, splits)
    trainable = {
        step.name: count
        for step in graph
        if step.name in chosen
        and step.name in reached
        and refusals[step.name] is None
        and (count := _count_parameters(step, splits))
    }
    shares = _other_places(graph, trainable)
    neural = graph.descendants({*trainable, *shares, graph.output})
    neural = _with_raw_scores(graph, neural)
    if translate == "all":
        neural |= _translatable_tail(graph, refusals, neural)
    changes: dict[str, dict[str, Any]] = {}
    for step in graph:
        refusal = refusals[step.name]
        if step.name in neural and _needs_raw_input(step) and neural.intersection(step.inputs):
            status = "refused", "it takes raw values, not the output of a module"
        elif step.through is not None and step.name in neural.difference(_after(graph, neural)):
            status = "refused", "`through` serves steps after a trained one, and it follows none"
        elif step.name in shares:
            status = "trainable", f"shares its parameters with {shares[step.name]!r}"
        elif step.name in trainable:
            status = "trainable", "has parameters that gradients reach"
        elif step.name not in neural:
            status = "host", _why_host(step, chosen, reached, refusal)
        elif refusal is not None:
            status = "refused", refusal
        else:
            status = "translated", _why_translated(step, graph, neural, chosen, reached)
        count = 0 if step.name in shares else trainable.get(step.name, 0)
        changes[step.name] = {"status": status[0], "reason": status[1], "parameters": count}
    return with_updates(graph, changes)


def check(graph: Graph) -> None:
    """Reject a graph that cannot be translated, with a list of all problems.

    Raises
    ------
    UntranslatableError
        When a step that must become a module has none.
    """
    refused = [step for step in graph if step.status == "refused"]
    if refused:
        trained = _first_trained_before(graph)
        problems = [(s.name, s.kind, _with_place(s, trained[s.name])) for s in refused]
        freeze = _in_the_way(refused, graph)
        raise UntranslatableError(problems, len(graph), _hint(refused, graph), freeze)


def _after(graph: Graph, neural: set[str]) -> set[str]:
    """The steps that follow a module."""
    return {step.name for step in graph if neural.intersection(step.inputs)}


def _refusal(step: Step) -> str | None:
    if step.through is not None:
        return step.through.refuse(step.operator)
    row = lookup(type(step.operator))
    if row is None:
        return why_missing(type(step.operator))
    return row.refuse(step.operator) or _refused_method(step)


def _refused_method(step: Step) -> str | None:
    """Why a translation does not support the method of the step, or None."""
    row = step.translation
    if row is None:
        return f"its expansion does not support {step.method!r}"
    head = row.head(step.operator)
    if step.method == "transform":
        smooth = head is None or head.task == "clustering" or step.projects
        return None if smooth else "its translation returns predictions and has no 'transform'"
    if step.method == "score":
        return None
    if head is None:
        return f"its translation returns transformed columns and does not support {step.method!r}"
    if not head.responses:
        return f"its source alone has {step.method!r}, such as answers drawn at random"
    shares = step.method in ("rest_proba", "label_proba")
    wanted = "predict_proba" if shares else step.method
    if wanted in ("features", "votes") or wanted in head.responses:
        return None
    return f"its translation does not support {wanted!r}"


def _chosen(graph: Graph, train: Iterable[str] | None, freeze: Iterable[str] | None) -> set[str]:
    kept = graph.select(as_patterns(freeze or ()), "freeze")
    if train is None:
        chosen = {step.name for step in graph}
        kept |= {step.name for step in graph if step.frozen}
    else:
        chosen = graph.select(as_patterns(train), "train")
        for pattern in as_patterns(train):
            _check_apart(graph, pattern, kept)
            _check_trains(graph, pattern)
    # An operator that occurs several times is frozen everywhere if it is frozen anywhere.
    operators = {id(graph[name].holder) for name in chosen}
    operators -= {id(graph[name].holder) for name in kept}
    return {step.name for step in graph if id(step.holder) in operators}


def _check_apart(graph: Graph, pattern: str, kept: set[str]) -> None:
    """Reject a pattern of steps to train of which nothing is left; freeze may take some of them."""
    named = [step.name for step in graph if step.matches(pattern)]
    if kept.issuperset(named):
        raise ArgumentError(
            f"train and freeze must not name the same steps, but freeze names all of "
            f"train={pattern!r}: {', '.join(map(repr, named))}.\n"
            "Hint: train=[...] alone freezes all others, and freeze=[...] alone trains all others."
        )


def _check_trains(graph: Graph, pattern: str) -> None:
    """Reject a pattern of steps to train all of which stay as fitted because of `through`."""
    named = [step for step in graph if step.matches(pattern)]
    if all(step.through is not None for step in named):
        raise ArgumentError(
            f"train and through must not name the same steps, but through names all of "
            f"train={pattern!r}: {', '.join(repr(step.name) for step in named)}.\n"
            "Hint: a step whose gradient is estimated stays as fitted."
        )


def as_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns of steps, of which one may be given alone."""
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _reached_by_gradients(
    graph: Graph, refusals: dict[str, str | None], splits: SplitRelaxation
) -> set[str]:
    """Steps whose parameters gradients of the loss can reach."""
    answers = {graph.output}
    feeds: set[str] = set()  # inputs of steps that pass gradients on
    for step in reversed(graph.steps):
        if step.name in feeds:
            answers.add(step.name)
        row = step.translation
        smooth = step.name in answers and _answers_smoothly(step)
        # A step without a translation counts as differentiable, so that the error names it.
        obstacle = row is None or refusals[step.name] is not None
        if smooth and (obstacle or _passes(step, splits)):
            feeds.update(step.inputs)
    return {name for name in answers if _answers_smoothly(graph[name])}


def _passes(step: Step, splits: SplitRelaxation) -> bool:
    row = step.translation
    assert row is not None
    return row.is_differentiable(step.operator) or (row.has_splits and splits.soft)


def _answers_smoothly(step: Step) -> bool:
    row = step.translation
    if row is None or row.refuse(step.operator) is not None:
        return True
    head = row.head(step.operator)
    if head is None:
        return True
    if head.task == "clustering":
        return step.method in ("score", "transform")
    return step.method != "predict" or head.task == "regression"


def _count_parameters(step: Step, splits: SplitRelaxation) -> int:
    row = step.translation
    if row is None or not (row.trainable(step.operator) or (row.has_splits and splits.soft)):
        return 0
    module = row.module(step.operator, splits, step.method)
    return sum(p.numel() for p in module.parameters())


def _with_raw_scores(graph: Graph, neural: set[str]) -> set[str]:
    """The neural steps with those whose raw score they need, and what is between both.

    The library of a predictor has other outputs than its raw score, for which it is a module.
    """
    found = set(neural)
    scores = [step for step in graph if step.method == "score"]
    while True:
        needed = {s.name for s in scores if not found.isdisjoint(_names_after(graph, s))} - found
        if not needed:
            return found
        found |= needed | (graph.descendants(needed) & graph.ancestors(*found))


def _names_after(graph: Graph, step: Step) -> set[str]:
    return {consumer.name for consumer in graph.consumers(step.name)}


def _other_places(graph: Graph, trainable: Mapping[str, int]) -> dict[str, str]:
    """Further occurrences of trainable operators, with the occurrence that gradients reach."""
    first: dict[tuple[int, bool], str] = {}
    for name in trainable:
        first.setdefault((id(graph[name].holder), graph[name].projects), name)
    places = {step.name: first.get((id(step.holder), step.projects)) for step in graph}
    return {name: place for name, place in places.items() if place not in (None, name)}


def _translatable_tail(graph: Graph, refusals: dict[str, str | None], neural: set[str]) -> set[str]:
    """Steps that have a module, if all their successors have one too."""
    tail: set[str] = set()
    for step in reversed(graph.steps):
        after = [s.name for s in graph.consumers(step.name)]
        hosted = refusals[step.name] is not None or step.through is not None
        hosted = hosted or (step.name != graph.output and _no_numbers(step) is not None)
        if hosted or not tail.issuperset(after):
            continue
        tail.add(step.name)
    encoded = {
        step.name
        for step in graph
        if step.name in tail and _needs_raw_input(step) and tail.intersection(step.inputs)
    }
    tail -= _upstream(graph, encoded)
    # Columns of a host table, which may be of any type, are selected on the host.
    for step in graph:
        if isinstance(step.operator, Columns) and not (tail | neural).intersection(step.inputs):
            tail.discard(step.name)
    return tail


def _no_numbers(step: Step) -> str | None:
    row = step.translation
    return None if row is None else row.no_numbers(step.operator)


def _reason_of_library(step: Step) -> str | None:
    """Why the operator's own library computes the output of a step that has a translation."""
    row = step.translation
    return None if row is None else row.on_host or row.no_numbers(step.operator)


def _needs_raw_input(step: Step) -> bool:
    row = step.translation
    return row is not None and not row.reads_raw_numbers(step.operator)


def _upstream(graph: Graph, names: set[str]) -> set[str]:
    found: set[str] = set()
    feeds: set[str] = set()
    for step in reversed(graph.steps):
        if step.name in feeds:
            found.add(step.name)
        if step.name in found or step.name in names:
            feeds.update(step.inputs)
    return found


def _why_host(step: Step, chosen: set[str], reached: set[str], refusal: str | None) -> str:
    if refusal is not None:
        return f"runs once, before the first trainable step ({refusal})"
    if reason := _reason_of_library(step):
        return f"runs once: {reason}"
    if step.name not in chosen:
        return "frozen, before the first trainable step"
    if step.name not in reached:
        return "runs once: no gradient reaches it"
    return "runs once: it has no trainable parameters"


def _why_translated(
    step: Step, graph: Graph, neural: set[str], chosen: set[str], reached: set[str]
) -> str:
    if neural.intersection(step.inputs):
        where = "follows a translated step"
    elif step.name == graph.output:
        where = "is the last step"
    else:
        where = "has a module"
    if isinstance(step.through, Estimate):
        return f"{where}; runs in its own library, {step.through.how}"
    if reason := _reason_of_library(step):
        return f"{where}; runs in its own library: {reason}"
    return where if step.name in chosen else f"{where}; frozen"


def _with_place(step: Step, before: str | None) -> str:
    if before is None or isinstance(lookup(type(step.operator)), Expansion):
        return step.reason
    return f"{step.reason}, and it follows the trainable step {before!r}"


def _first_trained_before(graph: Graph) -> dict[str, str | None]:
    """For each step, the first trainable step that it depends on."""
    place = {step.name: number for number, step in enumerate(graph)}
    found: dict[str, str | None] = {}
    for step in graph:
        inputs = [name for name in step.inputs if name in place]
        names = [name for name in inputs if graph[name].status == "trainable"]
        names += [before for name in inputs if (before := found[name]) is not None]
        found[step.name] = min(names, key=place.__getitem__, default=None)
    return found


def _in_the_way(refused: list[Step], graph: Graph) -> list[str]:
    """Steps to freeze so that all refused steps can stay on the host; empty if they cannot."""
    names = {step.name for step in refused}
    if graph.output in names:
        return []
    before = _upstream(graph, names)
    return [s.name for s in graph if s.name in before and s.status == "trainable"]


def _hint(refused: list[Step], graph: Graph) -> str:
    ways = []
    trained = _in_the_way(refused, graph)
    if trained:
        first = refused[0].name
        ways.append(f"freeze the steps before {first!r} (to_torch(pipe, freeze={trained}))")
    estimated = [step.name for step in refused if _may_be_estimated(step, graph)]
    if estimated:
        through = f"through={{{estimated[0]!r}: 'finite-differences'}}"
        ways.append(f"estimate the gradient of {estimated[0]!r} (to_torch(pipe, {through}))")
    ways.append("add a translation: pipegrad.register")
    return ", or ".join(ways) + "."


def _may_be_estimated(step: Step, graph: Graph) -> bool:
    """Whether `through` would serve a step."""
    if step.through is not None or _first_trained_before(graph)[step.name] is None:
        return False
    way: Through = {step.name: "finite-differences"}
    estimated = with_estimates(graph, way, lambda step: False)[step.name].through
    return estimated is not None and estimated.refuse(step.operator) is None
