"""Operations of torch that its exporter does not know, on operators of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """By operation, a function that adds its operators to the graph."""
    return {}
