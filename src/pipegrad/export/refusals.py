"""Steps that a form of files cannot express, with the reason."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

from ..errors import UntranslatableError
from ..glue import Checked, Columns, Concatenate
from ..graph import Step
from ..module import PipelineModule
from ..network import required_translation
from . import boosted_steps, mlnet_steps  # noqa: F401  which fill the tables
from .answers import refused_target
from .host_steps import ENCODERS, LIMITS, NOT_IN_TORCH, TRANSFORMERS, key_of

Form = Literal["onnx", "torch"]

HINT = "leave these steps out of the pipeline, and run them before the file."


def check_steps(net: PipelineModule, form: Form, needed: Set[str], outside: Set[str]) -> None:
    """Reject a pipeline with steps that a file cannot express, with a list of all of them.

    Parameters
    ----------
    net : PipelineModule
        The translated pipeline.
    form : {"onnx", "torch"}
        The form of the file.
    needed : set of str
        Steps that the file has.
    outside : set of str
        Steps whose values are computed outside of the modules, beside those of the host part.
    """
    steps = [step for step in net.graph if step.name in needed]
    found = [
        (s, why_not_outside(s, form) if s.name in outside else why_not(net, s, form)) for s in steps
    ]
    problems = [(step.name, step.kind, reason) for step, reason in found if reason]
    last = net.graph[net.graph.output]
    if last.name in needed and not problems:
        reason = required_translation(last).no_numbers(last.operator) or refused_target(net)
        problems = [(last.name, last.kind, reason)] if reason else []
    if problems:
        raise UntranslatableError(problems, len(net.graph), HINT)


def why_not(net: PipelineModule, step: Step, form: Form) -> str | None:
    """Why a file cannot express a step, or None."""
    if step.name in net.host_part.host:
        return why_not_outside(step, form)
    row = required_translation(step)
    if row.not_exported or step.name not in {name for name, _ in net.host_part.ports}:
        return row.not_exported or None
    if key_of(step) in ENCODERS:
        return _limit(step, form)
    if not row.reads_raw_numbers(step.operator):
        known = row.no_numbers(step.operator) or row.on_host
        return known or "only its own library reads its raw values"
    return None


def why_not_outside(step: Step, form: Form) -> str | None:
    """Why a file cannot express a step outside of the modules, or None."""
    if isinstance(step.operator, Columns | Concatenate | Checked):
        return None
    if step.method == "transform" and key_of(step) in TRANSFORMERS:
        return _limit(step, form)
    row = step.translation
    if row is not None and row.not_exported:
        return row.not_exported
    return step.reason.partition(" (")[2].rstrip(")") or f"{step.reason}, in its own library"


def _limit(step: Step, form: Form) -> str | None:
    """Why a file cannot express a configuration of an operator that it knows, or None."""
    if form == "torch" and key_of(step) in NOT_IN_TORCH:
        return NOT_IN_TORCH[key_of(step)]
    limit = LIMITS.get(key_of(step))
    return None if limit is None else limit(step.operator)
