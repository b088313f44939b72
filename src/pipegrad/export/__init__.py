"""Files of pipelines for programs without Python: ONNX."""

from .files import export

__all__ = ["export"]
