"""Fast answers to raw rows in Python."""

from .compiled import CompiledPipeline, compile  # noqa: A004

__all__ = ["CompiledPipeline", "compile"]
