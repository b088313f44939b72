"""MLflow: pipelines in its model format, and runs of `FineTuner` that log themselves.

It needs ``pip install 'pipegrad[mlflow]'``. A saved model is a folder of MLflow with a saved module
inside (safetensors, JSON and skops, no pickles), so that `load_model` runs nothing from the file.
"""

from .autologging import autolog
from .models import _load_pyfunc as _load_pyfunc  # MLflow looks for it here, by this name.
from .models import load_model, log_model, save_model

__all__ = ["autolog", "load_model", "log_model", "save_model"]
