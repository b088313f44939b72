"""The command line: ``pipegrad demo``, ``pipegrad supported``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process by default.

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="pipegrad", description="Make fitted pipelines differentiable."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the paper's experiment on public data")
    demo.add_argument("--seeds", type=_positive, default=5, help="number of splits (default 5)")
    demo.add_argument(
        "--output", default="demo-output", help="folder for the files (default demo-output)"
    )
    commands.add_parser("supported", help="the operators of the mapping table")
    chosen = parser.parse_args(arguments)
    if chosen.command == "demo":
        return _demo(chosen.output, chosen.seeds)
    return _supported()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _demo(folder: str, seeds: int) -> int:
    from .demo import run

    run(folder, seeds)
    return 0


def _supported() -> int:
    from rich.console import Console

    from .supported import supported, supported_table

    Console().print(supported_table(supported()))
    return 0
