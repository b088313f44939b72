"""The demo runs, its bounds hold, and what it writes loads again."""

from io import StringIO

import numpy as np
import pytest
import skops.io
from rich.console import Console

from pipegrad.cli import main
from pipegrad.demo import load_bikes, make_figure1, run
from pipegrad.demo.figure1 import CATEGORIES, run_seed

ROWS = slice(0, 50)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("demo")
    console = Console(record=True, width=100, file=StringIO())
    return folder, run(folder, seeds=2, console=console), console.export_text()


@pytest.mark.slow
def test_fine_tuning_reaches_the_bounds(result) -> None:
    _, runs, _ = result
    mean = {c: np.mean([r.scores[c][0] for r in runs]) for c in runs[0].scores}
    assert mean["fine-tuned"] <= 0.6 * mean["original"]
    assert mean["fine-tuned"] < mean["random weights"]


@pytest.mark.slow
def test_rounding_does_not_grow(result) -> None:
    X, y = load_bikes()
    noise = np.random.default_rng(0)
    numeric = X.columns.difference(CATEGORIES)
    moved = X.astype(dict.fromkeys(numeric, float))
    moved[numeric] *= 1 + 1e-12 * noise.standard_normal((len(X), len(numeric)))
    scores = run_seed(moved, y, 0).scores
    for column, before in result[1][0].scores.items():
        np.testing.assert_allclose(scores[column], before, rtol=1e-10, err_msg=column)


def test_module_and_source_agree_before_and_after(result) -> None:
    _, runs, _ = result
    assert max(r.gap_before for r in runs) < 1e-9
    assert max(r.gap_after for r in runs) < 1e-9


def test_it_prints_the_graph_and_the_table(result) -> None:
    _, _, text = result
    for part in ("poissonregressor", "Table 1", "Poisson loss", "L1 error", "L2 error", "random"):
        assert part in text


def test_the_tuned_pipeline_loads_and_predicts(result) -> None:
    folder, runs, _ = result
    path = folder / "figure1.skops"
    loaded = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    X, _ = load_bikes()
    np.testing.assert_array_equal(loaded.predict(X[ROWS]), runs[0].tuned.predict(X[ROWS]))
    assert type(loaded) is type(make_figure1())


def test_the_learning_curves_are_drawn(result) -> None:
    folder, runs, _ = result
    assert (folder / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    for curves in (r.curves for r in runs):
        assert all(np.isfinite(curve).all() for curve in curves.values())
        assert min(curves["fine-tuned"]) < curves["fine-tuned"][0]


def test_the_data_are_those_of_the_repository() -> None:
    X, y = load_bikes()
    assert X.shape == (17379, 12)
    assert y.sum() == 3292679


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["supported"]) == 0
    assert "sklearn.decomposition.PCA" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["demo", "--seeds", "0"])
