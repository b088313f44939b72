"""Predictions for tables of any size, from files to files."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .errors import ArgumentError
from .file_writing import replacement
from .finetune.tuner import FineTuner
from .loading import load
from .module import PipelineModule
from .module_files import is_module_path
from .named import NamedPipeline
from .row_sources import Piece, RowSource, open_rows
from .serving import CompiledPipeline
from .sources.arrow import columns_of_source, rows_of_source
from .translate import to_torch

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Device = Literal["auto", "cpu", "cuda", "mps"]

# Rows that are scored at once.
_ROWS = 1 << 16
_MARK = b"pipegrad"


@dataclass(frozen=True)
class ScoringSummary:
    """What `score` did.

    Attributes
    ----------
    rows : int
        Number of rows that were scored.
    seconds : float
        Time that it took.
    files : list of Path
        The files with the predictions, in the order of the rows.
    skipped : int
        How many of them were there already.
    """

    rows: int
    seconds: float
    files: list[Path]
    skipped: int


def score(
    model: Any,
    rows: Any,
    folder: str | os.PathLike[str],
    *,
    keep: Sequence[str] = (),
    processes: int = 1,
    device: Device | None = None,
    overwrite: bool = False,
    verbose: int = 0,
) -> ScoringSummary:
    """Write the predictions for a table of any size as Parquet.

    Each piece of the table, such as a row group of a file, gives one file; the names of the files
    have the order of the pieces, and the rows within keep theirs. A call that was interrupted goes
    on when it is repeated: files that are complete stay.

    Parameters
    ----------
    model : estimator, PipelineModule, FineTuner, CompiledPipeline or path
        What predicts. A path is that of a model which `pipegrad.to_torch` or `pipegrad.load` takes.
    rows : path, data set or iterable of batches
        The table: a file or a folder of Parquet, Arrow or CSV, also on other machines
        (``s3://...``), a ``pyarrow.dataset``, a Delta table, or record batches.
    folder : str or path
        Folder of the predictions; it is made if it does not exist.
    keep : sequence of str
        Columns of the table that are written beside the predictions, such as a key.
    processes : int
        Number of processes that score pieces side by side.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Where a module computes; "auto" takes a GPU where there is one. By default it stays where
        it is.
    overwrite : bool
        Whether files of another model or table may be replaced.
    verbose : int
        With 1, a progress line shows rows per second and the time left.

    Returns
    -------
    ScoringSummary
        The files, and the number of rows.

    Raises
    ------
    ArgumentError
        If columns are missing, the folder has predictions of other rows or of another model, or a
        piece cannot be read; files that are complete by then stay, and the same call goes on.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> import pipegrad as pg
    >>> table = pd.DataFrame({"x": [0.0, 1.0, 2.0], "key": [7, 8, 9]})
    >>> line = LinearRegression().fit(table[["x"]], [1.0, 3.0, 5.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_parquet(f"{folder}/rows.parquet")
    ...     done = pg.score(line, f"{folder}/rows.parquet", f"{folder}/out", keep=["key"])
    ...     print(pd.read_parquet(f"{folder}/out").round(6).to_string(index=False))
     key  prediction
       7         1.0
       8         3.0
       9         5.0
    """
    began = time.perf_counter()
    if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
        raise ArgumentError(f"processes must be a positive integer, got {processes!r}.")
    source = open_rows(rows)
    predictor = _predictor(model, device)
    columns = _columns(predictor, source, list(keep))
    source.check(list(dict.fromkeys([*columns, *keep])))
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"folder must be the path of a folder; {str(target)!r} is a file.")
    target.mkdir(parents=True, exist_ok=True)
    scorer = _Scorer(predictor, tuple(columns), tuple(keep))
    tasks = _tasks(source, target, scorer.digest())
    waiting = [task for task in tasks if not task.is_done(overwrite)]
    _check_folder(target, tasks, overwrite)
    total = 0
    with ExitStack() as opened:
        show = opened.enter_context(_progress(source, tasks, waiting)) if verbose else None
        for count in _scored(scorer, source, rows, waiting, processes):
            total += count
            if show is not None:
                show(count)
    files = [task.path for task in tasks]
    return ScoringSummary(total, time.perf_counter() - began, files, len(tasks) - len(waiting))


# -- what is scored ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Task:
    """A piece of the table, and the file of its predictions."""

    number: int
    path: Path
    mark: str

    def is_done(self, overwrite: bool) -> bool:
        """Whether the file is complete, and of this model and piece."""
        if not self.path.exists():
            return False
        if _mark_of(self.path) == self.mark:
            return True
        if overwrite:
            return False
        raise ArgumentError(
            f"{self.path} has predictions of another model or of other rows.\n"
            "Hint: give another folder, or overwrite=True."
        )


def _tasks(source: RowSource, folder: Path, digest: str) -> list[_Task]:
    width = max(6, len(str(len(source.pieces))))
    return [
        _Task(
            number,
            folder / f"part-{number:0{width}}.parquet",
            sha256(f"{digest}\0{piece.place}\0{piece.identity}\0{piece.rows}".encode()).hexdigest(),
        )
        for number, piece in enumerate(source.pieces)
    ]


def _mark_of(path: Path) -> str:
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path).metadata or {}
    except Exception:  # Whatever else lies there.
        return ""
    return metadata.get(_MARK, b"").decode(errors="replace")


def _check_folder(folder: Path, tasks: list[_Task], overwrite: bool) -> None:
    """Reject, or remove, further files of predictions, which would be read with the new ones."""
    own = {task.path for task in tasks}
    others = [path for path in sorted(folder.glob("*.parquet")) if path not in own]
    if others and not overwrite:
        raise ArgumentError(
            f"{folder} has files of other predictions, such as {others[0].name}.\n"
            "Hint: give another folder, or overwrite=True."
        )
    for path in others:
        path.unlink()


def _predictor(model: Any, device: Device | None) -> Any:
    if isinstance(model, str | os.PathLike):
        model = load(model) if is_module_path(os.fspath(model)) else to_torch(model)
    if isinstance(model, FineTuner):
        model = model.estimator_
    if not hasattr(model, "predict"):
        raise ArgumentError(f"model must have predict, got {type(model).__name__}.")
    if device is None:
        return model
    if not isinstance(model, PipelineModule):
        raise ArgumentError(
            f"device={device!r} is for modules, and {type(model).__name__} is none.\n"
            "Hint: pipegrad.to_torch(model)."
        )
    return deepcopy(model).to(_device(device))


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _columns(predictor: Any, source: RowSource, keep: list[str]) -> list[str]:
    """The columns that the predictor reads."""
    names = source.names
    if hasattr(predictor, "input_columns"):
        if not isinstance(predictor, NamedPipeline) and not _knows_names(predictor):
            names = [name for name in names if name not in keep]
        return list(predictor.input_columns(names))
    own = _estimator_of(predictor)
    if not _knows_names(own):
        names = [name for name in names if name not in keep]
    return columns_of_source(own, names)


def _estimator_of(predictor: Any) -> Any:
    return predictor.module.source if isinstance(predictor, CompiledPipeline) else predictor


def _knows_names(model: Any) -> bool:
    return getattr(model, "feature_names_in_", None) is not None


@dataclass(frozen=True)
class _Scorer:
    """The predictor with the columns that it reads and those that are kept."""

    predictor: Any
    columns: tuple[str, ...]
    keep: tuple[str, ...]

    def digest(self) -> str:
        """A text that differs if the predictions may."""
        from joblib import hash as hash_of

        found = self.predictor
        if isinstance(found, CompiledPipeline):
            found = found.module
        if isinstance(found, PipelineModule):
            numbers = {k: v.detach().cpu().numpy() for k, v in found.state_dict().items()}
            found = (numbers, found.graph.to_json())
        try:
            return f"{hash_of(found)}{self.columns}{self.keep}"
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ArgumentError(
                f"model must be an object that can be pickled, got {type(found).__name__}: {error}."
            ) from error

    def table(self, batch: pa.RecordBatch) -> pa.Table:
        """The predictions of some rows, beside the columns that are kept."""
        import pyarrow as pa

        features = batch.select(list(self.columns))
        if hasattr(self.predictor, "input_of_arrow"):
            X = self.predictor.input_of_arrow(features)
        else:
            X = rows_of_source(_estimator_of(self.predictor), features)
        kept = batch.select(list(self.keep))
        if isinstance(self.predictor, NamedPipeline):
            rows = self.predictor.kept_rows(X)
            if rows is not None:
                X, kept = X.iloc[rows], kept.take(pa.array(rows))
        found = pa.Table.from_pandas(predictions_of(self.predictor, X), preserve_index=False)
        columns = dict(zip(self.keep, kept.columns, strict=True))
        columns |= dict(zip(found.column_names, found.columns, strict=True))
        return pa.table(columns)

    def write(self, source: RowSource, piece: Piece, task: _Task) -> int:
        """Score a piece; return its number of rows."""
        from pyarrow import parquet

        names = list(dict.fromkeys([*self.columns, *self.keep]))
        total = 0
        with replacement(task.path) as partial, ExitStack() as opened:
            writer: Any = None
            for batch in source.batches(piece, names, _ROWS):
                table = self._scored(piece, batch, total)
                if writer is None:
                    schema = table.schema.with_metadata({_MARK: task.mark.encode()})
                    writer = opened.enter_context(parquet.ParquetWriter(partial, schema))
                writer.write_table(table.cast(schema))
                total += batch.num_rows
            if writer is None:
                # A piece without rows has a file as well, so that it is known to be done.
                import pyarrow as pa

                schema = pa.schema([], metadata={_MARK: task.mark.encode()})
                parquet.write_table(pa.table({}, schema=schema), partial)
        return total

    def _scored(self, piece: Piece, batch: pa.RecordBatch, start: int) -> pa.Table:
        try:
            return self.table(batch)
        except Exception as error:  # Of the predictor, whatever it is.
            raise ArgumentError(
                f"{piece.place}, rows from {start:,} on: {error}\n"
                "Hint: files that are complete stay; the same call goes on after the last of them."
            ) from error


def predictions_of(model: Any, X: Any) -> pd.DataFrame:
    """A column "prediction", and "probability_CLASS" for each class where the model has them."""
    import pandas as pd

    found = np.asarray(model.predict(X))
    if found.ndim == 1 or found.shape[1] == 1:
        table = {"prediction": found.reshape(len(found))}
    else:
        table = {f"prediction_{i}": found[:, i] for i in range(found.shape[1])}
    shares = model.predict_proba(X) if hasattr(model, "predict_proba") else None
    if isinstance(shares, np.ndarray) and shares.ndim == 2:
        names = getattr(model, "classes_", range(shares.shape[1]))
        table |= {f"probability_{name}": shares[:, i] for i, name in enumerate(names)}
    return pd.DataFrame(table)


# -- in one process or in several ----------------------------------------------------------

_SENT: tuple[_Scorer, RowSource] | None = None


def _scored(
    scorer: _Scorer, source: RowSource, rows: Any, tasks: list[_Task], processes: int
) -> Iterator[int]:
    """The number of rows of each piece, as it is done."""
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            yield scorer.write(source, source.pieces[task.number], task)
        return
    try:
        content = pickle.dumps((scorer, rows))
    except Exception as error:
        raise ArgumentError(
            f"processes={processes} sends the model and the table to other processes, which cannot "
            f"be done: {error}.\nHint: processes=1."
        ) from error
    # Forked processes would inherit the locks of threads that they do not have.
    context = multiprocessing.get_context("spawn")
    count = min(processes, len(tasks))
    with ProcessPoolExecutor(count, context, _receive, (content,)) as pool:
        futures: list[Future[int]] = [pool.submit(_score_task, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise ArgumentError(
                "A process ended before it was done, perhaps for lack of memory.\n"
                "Hint: files that are complete stay; the same call goes on, with fewer processes="
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _receive(content: bytes) -> None:
    global _SENT
    import torch

    torch.set_num_threads(1)
    scorer, rows = pickle.loads(content)
    _SENT = (scorer, open_rows(rows))


def _score_task(task: _Task) -> int:
    assert _SENT is not None
    scorer, source = _SENT
    return scorer.write(source, source.pieces[task.number], task)


def _progress(source: RowSource, tasks: list[_Task], waiting: list[_Task]) -> Any:
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    counts = [source.pieces[task.number].rows for task in waiting]
    total = None if None in counts else sum(count or 0 for count in counts)

    @contextmanager
    def shown() -> Iterator[Any]:
        bar = Progress(
            TextColumn("{task.completed:,.0f} rows"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(stderr=True),
        )
        began = time.perf_counter()
        with bar:
            task = bar.add_task("", total=total, pace="")

            def add(count: int) -> None:
                bar.advance(task, count)
                seen = bar.tasks[0].completed
                bar.update(task, pace=f"{seen / (time.perf_counter() - began):,.0f} rows/s")

            yield add

    return shown()
