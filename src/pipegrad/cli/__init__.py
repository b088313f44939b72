"""The command line: ``pipegrad inspect | tune | score | export | diff | supported | demo``."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import PipegradError

_TROUBLE = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process by default.

    Returns
    -------
    int
        The exit status: 0; 1 if ``diff`` has found differences; 2 after an error; 130 after an
        interrupt.
    """
    chosen = _parser().parse_args(arguments)
    if chosen.command == "demo":
        return _demo(chosen.output, chosen.seeds)
    try:
        return _run(chosen)
    except KeyboardInterrupt:
        print("pipegrad: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if chosen.traceback:
            raise
        _tell(error)
        return _TROUBLE


def _run(chosen: argparse.Namespace) -> int:
    from ..report.json_form import finite
    from . import commands

    run: Callable[[argparse.Namespace], commands.Answer] = getattr(commands, chosen.run)
    with warnings.catch_warnings():
        commands.show_warnings()
        answer = run(chosen)
    if chosen.json:
        print(json.dumps(finite(answer.data), indent=2, default=commands.for_json))
    elif isinstance(answer.shown, str):
        print(answer.shown)
    else:
        from rich.console import Console

        Console().print(answer.shown)
    return answer.code


def _tell(error: Exception) -> None:
    known = isinstance(error, PipegradError | OSError | ValueError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    print(f"pipegrad: {text}", file=sys.stderr)
    if not known:
        print("Hint: --traceback shows where it happened.", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipegrad",
        description="Fine-tune fitted pipelines by backpropagation.",
        epilog="Models are .skops files, saved modules, pickles (with --trust-pickle), or files "
        "of LightGBM, XGBoost, CatBoost and ML.NET; data are .parquet, .csv, .arrow or .feather "
        "files.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    general = argparse.ArgumentParser(add_help=False)
    general.add_argument("--json", action="store_true", help="print the result as JSON")
    general.add_argument("--traceback", action="store_true", help="show where an error happened")
    reading = argparse.ArgumentParser(add_help=False, parents=[general])
    reading.add_argument(
        "--trust", nargs="+", default=[], metavar="TYPE", help="types in a skops file to load, too"
    )
    reading.add_argument(
        "--trust-pickle", action="store_true", help="load pickles, which can run any code"
    )

    def command(name: str, run: str, text: str, shared: argparse.ArgumentParser = reading) -> Any:
        added = commands.add_parser(name, help=text, description=f"{text}.", parents=[shared])
        added.set_defaults(run=run)
        return added

    inspect = command("inspect", "show_steps", "show the steps of a model, and what trains and why")
    inspect.add_argument("model", metavar="MODEL")
    _add_tune(command("tune", "tune", "fine-tune a model on a table"))
    score = command("score", "score", "write the predictions of a model for a table")
    score.add_argument("model", metavar="MODEL")
    score.add_argument("data", metavar="DATA")
    score.add_argument("-o", "--output", required=True, metavar="FILE", help="the predictions")
    of_folders = "of a folder as DATA: "
    score.add_argument("--keep", action="append", metavar="COLUMN", help=f"{of_folders}kept column")
    score.add_argument("--processes", type=int, default=1, metavar="N", help=f"{of_folders}number")
    score.add_argument("--overwrite", action="store_true", help=f"{of_folders}replace other files")
    export = command("export", "export_model", "write a model into a file for ONNX or torch")
    export.add_argument("model", metavar="MODEL")
    export.add_argument("output", metavar="FILE", help="the file, which ends in .onnx or .pt2")
    export.add_argument("--data", metavar="DATA", help="rows on which to measure differences")
    export.add_argument("--dtype", choices=["float64", "float32"], help="type of the numbers")
    export.add_argument("--compiled", action="store_true", help="machine code in a .pt2 file")
    diff = command("diff", "diff", "show in which numbers and predictions two models differ")
    diff.add_argument("model", metavar="A")
    diff.add_argument("other", metavar="B")
    diff.add_argument("data", metavar="DATA", nargs="?", help="rows to compare predictions on")
    command("supported", "show_supported", "list the operators of the mapping table", general)
    demo = commands.add_parser("demo", help="run the paper's experiment on public data")
    demo.add_argument("--seeds", type=_positive, default=5, help="number of splits (default 5)")
    demo.add_argument(
        "--output", default="demo-output", help="folder for the files (default demo-output)"
    )
    return parser


def _add_tune(tune: argparse.ArgumentParser) -> None:
    tune.add_argument("model", metavar="MODEL")
    tune.add_argument("data", metavar="DATA", help="a file, or a folder of files")
    tune.add_argument("--label", required=True, metavar="COLUMN", help="the column to predict")
    tune.add_argument("-o", "--output", required=True, metavar="FILE", help="the tuned model")
    tune.add_argument(
        "--report", metavar="FILE", help="what changed and by how much, as .html, .json or .md"
    )
    tune.add_argument("--scoring", metavar="NAME", help="a score of scikit-learn that decides")
    tune.add_argument("--max-seconds", type=float, metavar="S", help="the most time to take")
    tune.add_argument(
        "--processes", type=_positive, metavar="N",
        help="train with N processes on a file or folder that is read in pieces",
    )  # fmt: skip
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default 0)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _demo(folder: str, seeds: int) -> int:
    from ..demo import run

    run(folder, seeds)
    return 0
