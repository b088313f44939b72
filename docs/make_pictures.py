"""Draw the pictures of the documentation: `make docs`."""

from __future__ import annotations

import warnings
from pathlib import Path

import pipegrad as pg
from pipegrad.demo.figure1 import load_bikes, make_figure1
from pipegrad.report.html import graph_svg

HERE = Path(__file__).parent


def main() -> None:
    """Write `graph.svg`: the paper's Figure 1, with what becomes of each step."""
    X, y = load_bikes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = make_figure1().fit(X[:2300], y[:2300])
    picture = graph_svg(pg.inspect(pipe).graph)
    (HERE / "graph.svg").write_text(picture + "\n", encoding="utf-8")
    print(f"{HERE.name}/graph.svg: {len(picture):,} characters")


if __name__ == "__main__":
    main()
