"""What importing the package loads."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import sklearn, torch
before = set(sys.modules)
import pipegrad
print(*sorted(set(sys.modules) - before))
"""


def test_what_is_heavy_waits_until_it_is_needed():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pipegrad" in loaded
    heavy = {"matplotlib", "pandas", "pyarrow", "rich", "skops", "skorch", "sklearn.linear_model"}
    heavy |= {"catboost", "lightgbm", "xgboost", "onnx", "onnxscript", "onnxruntime", "mlflow"}
    assert not loaded & heavy
    assert not loaded & {"pipegrad.sources.sklearn", "pipegrad.mlflow", "pipegrad.testing"}
