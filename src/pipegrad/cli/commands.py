"""What each command does; it returns what is printed, as text and for machines."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, PipegradWarning
from ..export import export
from ..file_writing import check_target
from ..finetune.tuner import FineTuner
from ..inspection import inspect
from ..module import PipelineModule
from ..module_files import SUFFIX, is_module_path
from ..report.results import FORMATS
from ..row_sources import is_row_source, open_rows
from ..scoring import predictions_of
from ..scoring import score as score_table
from ..streaming.processes import run_processes
from ..streaming.workers import Workers
from ..supported import supported, supported_table
from ..translate import from_torch, to_torch
from .differences import different_numbers, different_predictions
from .models import check_model_target, is_estimator_file, read_model, write_model
from .tables import (
    check_table_target,
    inputs_of,
    read_table,
    split_label,
    write_table,
)


class Answer:
    """What a command has found.

    Parameters
    ----------
    shown : object
        What `rich` prints.
    data : object
        The same for ``--json``.
    code : int
        The exit code.
    """

    def __init__(self, shown: Any, data: Any, code: int = 0) -> None:
        self.shown, self.data, self.code = shown, data, code


def show_supported(options: argparse.Namespace) -> Answer:
    """The operators of the mapping table."""
    entries = supported()
    return Answer(supported_table(entries), [asdict(entry) for entry in entries])


def show_steps(options: argparse.Namespace) -> Answer:
    """The steps of a model, with what happens to each and why."""
    steps = inspect(_model(options, options.model))
    data = [
        {
            "name": step.name,
            "operator": step.kind,
            "status": step.status,
            "parameters": step.parameters,
            "reason": step.reason,
        }
        for step in steps
    ]
    return Answer(str(steps), data)


def tune(options: argparse.Namespace) -> Answer:
    """Fine-tune a model on a table, and write the result."""
    started = time.monotonic()
    model = _model(options, options.model)
    check_model_target(options.output, model)
    if options.report:
        check_target(options.report, "a report", FORMATS)
    if options.processes is not None:
        return _tune_in_processes(options)
    tuner = FineTuner(
        _untrained(options, model),
        random_state=options.seed,
        max_seconds=options.max_seconds,
        scoring=options.scoring,
        verbose=int(not options.json),
    )
    X, y, rows = _tuning_data(options, model)
    tuner.fit(X, y)
    _write_tuned(options.output, tuner.estimator_)
    if options.report:
        tuner.report_.save(options.report)
    report = tuner.report_
    data = {
        "improved": tuner.improved_,
        "loss_before": report.before,
        "loss_after": report.after,
        "interval": list(report.interval) if tuner.improved_ else None,
        "rows": rows,
        "seconds": time.monotonic() - started,
        "output": options.output,
    }
    return Answer(f"{report}\n\nWrote {options.output}", data)


def _tune_in_processes(options: argparse.Namespace) -> Answer:
    """Train a fitted model further on a table that is read in pieces, with several processes."""
    for name in ("report", "scoring"):
        if getattr(options, name):
            raise ArgumentError(
                f"--{name} needs all rows in memory, and --processes reads them in pieces.\n"
                f"Hint: leave out --{name} or --processes."
            )
    if not is_row_source(options.data):
        raise FileNotFoundError(f"{options.data}: there is no such file or folder.")
    started = time.monotonic()
    data = run_processes(_train_part, (options,), options.processes)
    data["seconds"] = time.monotonic() - started
    change = f"The validation loss was {data['loss_before']:.6g} and is {data['loss_after']:.6g}."
    if not data["improved"]:
        change = "Training did not improve the model, whose numbers are written unchanged."
    return Answer(f"{change}\n\nWrote {options.output}", data)


def _train_part(options: argparse.Namespace) -> dict[str, Any]:
    """What each process does; the first one writes the model."""
    with warnings.catch_warnings():
        show_warnings()
        model = _model(options, options.model)
        net: PipelineModule = to_torch(model)
        net.fit(
            options.data,
            options.label,
            seed=options.seed,
            max_seconds=options.max_seconds,
            verbose=int(not options.json),
        )
    if Workers.current().first:
        module = options.output.lower().endswith(SUFFIX)
        own = is_estimator_file(options.model, model) and not module
        _write_tuned(options.output, from_torch(net) if own else net)
    best = min(net.history, key=lambda row: row["valid_loss"]) if net.history else {}
    return {
        "improved": best.get("epoch", 0) > 0,
        "loss_before": net.history[0]["valid_loss"] if best else None,
        "loss_after": best.get("valid_loss"),
        "rows": net.history[-1].get("rows") if best else 0,
        "output": options.output,
    }


def show_warnings() -> None:
    """Let warnings of this package appear as lines of the command."""
    warnings.simplefilter("default", PipegradWarning)
    warnings.showwarning = _show_warning


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"pipegrad: {category.__name__}: {message}", file=sys.stderr)


def _tuning_data(options: argparse.Namespace, model: Any) -> tuple[Any, Any, int | None]:
    """Input and targets of the tuner, and the number of rows where it is known.

    A folder stays a path, which the tuner reads in pieces.
    """
    if Path(options.data).is_dir():
        return options.data, options.label, open_rows(options.data).rows
    table = read_table(options.data)
    X, y = split_label(table, options.label, options.data)
    if is_estimator_file(options.model, model):
        return inputs_of(model, X, options.data), y, len(table)
    net: PipelineModule = to_torch(model)
    if hasattr(net, "columns"):
        return table, options.label, len(table)
    return inputs_of(net, X, options.data), y, len(table)


def _untrained(options: argparse.Namespace, model: Any) -> Any:
    """What is tuned: an estimator, or the path of a library's file, which is not fitted anew."""
    own = is_estimator_file(options.model, model) or is_module_path(options.model)
    return model if own else options.model


def _write_tuned(path: str, tuned: Any) -> None:
    if not isinstance(tuned, PipelineModule):
        write_model(path, tuned)
    elif path.lower().endswith(SUFFIX):
        tuned.save(path)
    else:
        from_torch(tuned, path)


def score(options: argparse.Namespace) -> Answer:
    """Write the predictions of a model for a table."""
    model = _model(options, options.model)
    if Path(options.data).is_dir():
        return _score_folder(options, model)
    check_table_target(options.output)
    table = read_table(options.data)
    found = predictions_of(*_predictor(options.model, model, table, options.data))
    write_table(options.output, found)
    data = {"rows": len(found), "columns": list(found), "output": options.output}
    return Answer(f"Wrote {len(found)} rows to {options.output}", data)


def _score_folder(options: argparse.Namespace, model: Any) -> Answer:
    predictor = model if is_estimator_file(options.model, model) else to_torch(model)
    done = score_table(
        predictor,
        options.data,
        options.output,
        keep=options.keep or (),
        processes=options.processes,
        overwrite=options.overwrite,
        verbose=1,
    )
    data = {"rows": done.rows, "files": len(done.files), "output": options.output}
    earlier = f"; {done.skipped} files were there already" if done.skipped else ""
    return Answer(f"Wrote {done.rows} rows to {options.output}{earlier}", data)


def export_model(options: argparse.Namespace) -> Answer:
    """Write a model into a file that answers without pipegrad."""
    model = _model(options, options.model)
    rows = None
    if options.data:
        rows = inputs_of(model, read_table(options.data), options.data)
    compiled = options.compiled
    path = export(model, options.output, dtype=options.dtype, rows=rows, compiled=compiled)
    return Answer(f"Wrote {path}", {"output": str(path)})


def diff(options: argparse.Namespace) -> Answer:
    """Show in which numbers two models differ, and how their predictions do."""
    paths = (options.model, options.other)
    models = [_model(options, path) for path in paths]
    numbers = different_numbers(*models)
    data: dict[str, Any] = {"numbers": numbers}
    lines = [_line(entry) for entry in numbers] or ["The numbers of both models are the same."]
    if options.data:
        table = read_table(options.data)
        pairs = [
            _predictor(path, model, table, options.data)
            for path, model in zip(paths, models, strict=True)
        ]
        data["predictions"] = found = different_predictions(pairs[0][0], pairs[1][0], pairs[0][1])
        lines += ["", f"{found['different']} of {found['rows']} predictions differ"]
        if "largest" in found:
            lines[-1] += f", by at most {found['largest']:.3g} (mean {found['mean']:.3g})"
    differ = bool(numbers) or bool(data.get("predictions", {}).get("different"))
    return Answer("\n".join(lines), data, code=int(differ))


def _model(options: argparse.Namespace, path: str) -> Any:
    return read_model(path, options.trust, options.trust_pickle)


def _predictor(path: str, model: Any, table: Any, name: str) -> tuple[Any, Any]:
    """What predicts, and its input."""
    if is_estimator_file(path, model):
        return model, inputs_of(model, table, name)
    net: PipelineModule = to_torch(model)
    return net, _rows_for(net, table, name)


def _rows_for(net: PipelineModule, table: Any, name: str) -> Any:
    """A table as a module takes it; those with columns of their own find them themselves."""
    return table if hasattr(net, "columns") else inputs_of(net, table, name)


def _line(entry: dict[str, Any]) -> str:
    if entry["kind"] == "changed":
        return (
            f"{entry['name']}: by at most {entry['largest']:.3g} "
            f"({100 * entry['relative']:.3g}% of its largest value)"
        )
    if entry["kind"] == "shape":
        shapes = " and ".join(str(tuple(shape)) for shape in entry["shapes"])
        return f"{entry['name']}: of shapes {shapes}"
    return f"{entry['name']}: {entry['kind']}"


def for_json(value: Any) -> Any:
    """Numbers of NumPy as those of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
