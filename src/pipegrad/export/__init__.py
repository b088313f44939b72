"""Files of pipelines that answer without pipegrad: ONNX, and programs of torch."""

from .files import export

__all__ = ["export"]
