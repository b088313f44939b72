"""The paper's Figures 1 and 2 and its Table 1 on a model file of ML.NET.

python examples/mlnet_figures.py                  prints the table and draws docs/mlnet.svg
python examples/mlnet_figures.py .venv-mlnet      also scores the written file with ML.NET itself,
                                                  which `make test-mlnet` installs there
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln

import pipegrad as pg
from pipegrad.graph import INPUT
from pipegrad.graph.display.html import graph_svg

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data" / "mlnet"
ROWS = ("Poisson loss (mean deviance)", "L1 error", "L2 error", "-log p(y)", "p - y log p")


def measure(mean: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The rows of the table for predicted means (n,) and counts (n,)."""
    mean, count = mean.astype(float), count.astype(float)
    kernel = mean - count * np.log(mean)
    least = count - count * np.log(np.maximum(count, 1))
    error = np.abs(mean - count)
    parts = [2 * (kernel - least), error, error**2, kernel + gammaln(count + 1), kernel]
    return np.array([part.mean() for part in parts])


def fit(train: pd.DataFrame, init: str, optim: object, epochs: int) -> pg.PipelineModule:
    """Figure 2 without its last line."""
    torch.manual_seed(0)
    net = pg.to_torch(DATA / "figure1.zip", init=init)
    return net.fit(train, "cnt", optim=optim, epochs=epochs, validation=None)


def score_with_mlnet(folder: str, model: Path, rows: Path) -> np.ndarray:
    """Predictions of ML.NET itself."""
    sys.path.insert(0, str(ROOT / "tests"))
    import mlnet_runtime

    with tempfile.TemporaryDirectory() as temporary:
        jobs, out = Path(temporary) / "jobs.json", Path(temporary) / "out.npz"
        jobs.write_text(json.dumps([[str(model), str(rows), str(out)]]))
        home = Path(folder).resolve()
        command, variables = mlnet_runtime.python_of(home)
        subprocess.run([*command, "run", str(home), str(jobs)], env=variables, check=True)
        with np.load(out) as columns:
            return columns["Score"]


def picture(net: pg.PipelineModule) -> str:
    """The graph of the steps that became modules, as SVG."""
    modules = {step.name for step in net.graph if step.status != "host"}
    wanted = net.graph.ancestors(net.graph.output) & modules
    steps = [
        replace(
            step, inputs=tuple(dict.fromkeys(i if i in modules else INPUT for i in step.inputs))
        )
        for step in net.graph
        if step.name in wanted
    ]
    return graph_svg(replace(net.graph, steps=tuple(steps)))


def main() -> None:
    """Print Table 1, write the tuned model and draw the graph."""
    train, test = (pd.read_parquet(DATA / f"figure1.{part}.parquet") for part in ("train", "test"))
    count = test["cnt"].to_numpy()
    before = pg.to_torch(DATA / "figure1.zip")
    tuned = fit(train, "fitted", torch.optim.LBFGS, 20)
    columns = {
        "ML.NET": before.predict(test),
        "random start": fit(train, "random", torch.optim.LBFGS, 20).predict(test),
        "Adam": fit(train, "fitted", torch.optim.Adam, 50).predict(test),
        "L-BFGS": tuned.predict(test),
    }
    with tempfile.TemporaryDirectory() as folder:
        pg.from_torch(tuned, Path(folder) / "tuned.zip")
        if len(sys.argv) > 1:
            model, rows = Path(folder) / "tuned.zip", DATA / "figure1.test.parquet"
            columns["L-BFGS, by ML.NET"] = score_with_mlnet(sys.argv[1], model, rows)
            gap = np.abs(columns["L-BFGS, by ML.NET"] - columns["L-BFGS"]).max()
            share = gap / columns["L-BFGS"].max()
            print(f"ML.NET and the module differ by at most {share:.0e} of the largest prediction")
    columns["perfect"] = np.maximum(count, 1)
    table = {name: measure(mean, count) for name, mean in columns.items()}
    print(pd.DataFrame(table, index=list(ROWS)).to_string(float_format="{:,.2f}".format))
    (ROOT / "docs" / "mlnet.svg").write_text(picture(before) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
