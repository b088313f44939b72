"""Does fine-tuning improve pipelines, and is it safe? 20 pipelines, 26 data sets, controls.

    python benchmarks/accuracy/study.py --data DATA --out RESULTS            (4 hours, two cores)
    python benchmarks/accuracy/study.py --data DATA --out RESULTS --small    (10 minutes)
    python benchmarks/accuracy/study.py --out RESULTS --report docs/accuracy-study.md

DATA is a folder of Parquet files (docs/data.md lists the public sources). RESULTS gets one file
for each data set, pipeline and split, so an interrupted study resumes where it stopped. Jobs are
ordered such that a study that is stopped early has covered all data sets. No job starts after
--hours; run the command again to continue. A failure is recorded with its error and does not stop
the study; --retry repeats failed jobs.

Splits: five random ones into 80% training and 20% test rows; if the rows are in chronological
order, one more with the last 20% as the test set. Data sets of more than 12,000 rows are subsampled
once to 12,000. Test rows play no part in model selection. FineTuner gets no setting except its
seed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

# Set before importing any library that reads the number of cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pandas as pd  # noqa: E402
from arms import CONTEXT, Job, run_job, table  # noqa: E402
from templates import TEMPLATES, applies  # noqa: E402

from data import BY_NAME, DATASETS, MOST_ROWS, load  # noqa: E402

SPLITS = ("0", "time", "1", "2", "3", "4")
# By default, "last operator only" and "random weights" run on the splits in CONTROLLED, the search
# and the other kinds of model on those in SEARCHED.
CONTROLLED, SEARCHED = ("0",), ("0", "time", "1")
HOURS, SMALL_HOURS = 3.9, 0.15
SMALL_ROWS = 3_000
SMALL_SETS = (
    "bike_sharing_hourly",
    "randhie",
    "concrete",
    "abalone",
    "wine_quality",
    "california_housing",
    "credit_g",
    "titanic",
    "phoneme",
    "electricity",
    "nursery",
    "sms_spam",
)
SMALL_TEMPLATES = ("linear", "pca", "figure1", "kmeans", "nystroem", "tfidf", CONTEXT)
# Within a split, cheap pipelines come first.
ORDER = (
    "linear",
    "pca",
    "figure1",
    "kmeans",
    "nystroem",
    "tfidf",
    CONTEXT,
    "figure1_full",
    "target_encoding",
    "bins",
    "stacking",
    "leaves",
    "gbdt",
    "splines",
    "discriminant",
    "naive_bayes",
    "nmf",
    "mlp",
    "mlp_full",
    "kernel_pca",
    "svm",
    "gaussian_process",
)


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """All jobs, in the order in which they run."""
    found = []
    for name in options.sets:
        data = BY_NAME[name]
        X, _ = load(data, options.data, 200)
        for template in options.templates:
            if template != CONTEXT and not applies(template, data, X):
                continue
            for split in options.splits:
                if split == "time" and not data.timed:
                    continue
                controls, search = (
                    options.controls == "all" or (options.controls == "some" and split in first)
                    for first in (CONTROLLED, SEARCHED)
                )
                if template != CONTEXT or search:
                    found.append(Job(name, template, split, options.rows, controls, search))
    names = [data.name for data in DATASETS]
    rank = {split: place for place, split in enumerate(SPLITS)}
    return sorted(
        found, key=lambda j: (rank[j.split], ORDER.index(j.template), names.index(j.data))
    )


def done(job: Job, out: Path, retry: bool) -> bool:
    """Whether there is a result; with ``retry``, a result with an error does not count."""
    path = out / job.file
    if not path.exists():
        return False
    return not (retry and (pd.read_parquet(path, columns=["error"]).error != "").any())


def save(results: pd.DataFrame, path: Path) -> None:
    """Write the file atomically."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    results.to_parquet(partial)
    partial.replace(path)


def work(job: Job, folder: Path, out: Path) -> pd.DataFrame:
    """Run one job and save its results or its error."""
    try:
        results = run_job(job, folder)
    except Exception as error:
        results = failed(job, f"{type(error).__name__}: {error}")
    save(results, out / job.file)
    return results.drop(columns="test")


def failed(job: Job, why: str) -> pd.DataFrame:
    note = {"arm": "pipeline", "error": why, "skipped": ""}
    return table(job, [note], BY_NAME[job.data].task)


class Progress:
    """Prints a line for each finished job, with the time left."""

    def __init__(self, count: int, hours: float) -> None:
        self.count, self.ready, self.seconds = count, 0, hours * 3600
        self.began = time.perf_counter()
        self._lock = threading.Lock()

    @property
    def over(self) -> bool:
        return time.perf_counter() - self.began > self.seconds

    def tell(self, job: Job, results: pd.DataFrame) -> None:
        with self._lock:
            self.ready += 1
            spent = time.perf_counter() - self.began
            left = min(spent / self.ready * (self.count - self.ready), self.seconds - spent)
            name = f"{job.data}, {job.template}, split {job.split}"
            print(
                f"{self.ready}/{self.count}  {name}: {_short(results)}; "
                f"{max(left, 0) / 60:.0f} min left",
                flush=True,
            )


def _short(results: pd.DataFrame) -> str:
    arms = results.set_index("arm")
    errors = [f"{arm}: {e.splitlines()[0]:.100}" for arm, e in arms.error.items() if e]
    if errors:
        return "ERROR " + "; ".join(errors)
    if "finetuned" not in arms.index:
        return ", ".join(f"{arm} {loss:.4g}" for arm, loss in arms.loss.items())
    before, after = arms.loss["pipeline"], arms.loss["finetuned"]
    change = f"{after / before - 1:+.1%}" if before > 0 else "no loss"
    return f"{before:.4g} -> {after:.4g} ({change}), {arms.seconds['finetuned']:.1f} s"


def run_all(
    jobs: Sequence[Job], folder: Path, out: Path, processes: int, progress: Progress
) -> None:
    """Run jobs in parallel; with 0 processes, one after the other in this process."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    if not processes:
        _drain(waiting, progress, lambda job: work(job, folder, out))
        return
    threads = [
        threading.Thread(target=_serve, args=(waiting, folder, out, progress), daemon=True)
        for _ in range(processes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _drain(
    waiting: queue.SimpleQueue[Job], progress: Progress, run: Callable[[Job], pd.DataFrame]
) -> None:
    while not progress.over:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        progress.tell(job, run(job))


def _serve(waiting: Any, folder: Path, out: Path, progress: Progress) -> None:
    """Run jobs in a worker process; if a job kills it, a new one replaces it."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, mp_context=context)

    def run(job: Job) -> pd.DataFrame:
        nonlocal executor
        try:
            return executor.submit(work, job, folder, out).result()
        except BrokenProcessPool:
            executor.shutdown(wait=False)
            executor = ProcessPoolExecutor(1, mp_context=context)
            results = failed(job, "the worker process died; it may have run out of memory")
            save(results, out / job.file)
            return results

    _drain(waiting, progress, run)
    executor.shutdown()


def remember(options: argparse.Namespace) -> None:
    """Record the settings shared by all results of a folder; reject results with other settings."""
    import sklearn
    import torch

    import pipegrad

    path = options.out / "study.json"
    settings = {"rows": options.rows}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["rows"] != options.rows:
            raise SystemExit(
                f"{options.out} holds results on at most {known['rows']} rows, not "
                f"{options.rows}.\nHint: choose another folder with --out."
            )
        return
    versions = {m.__name__: m.__version__ for m in (pipegrad, sklearn, torch)}
    settings |= {"versions": versions, "python": platform.python_version()}
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--small", action="store_true", help="fewer rows, sets, pipelines: 10 min")
    parser.add_argument("--sets", nargs="+", choices=list(BY_NAME), metavar="NAME")
    parser.add_argument("--templates", nargs="+", choices=[*TEMPLATES, CONTEXT], metavar="NAME")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, metavar="SPLIT")
    parser.add_argument("--rows", type=int, help="maximum number of rows of a data set")
    parser.add_argument(
        "--controls",
        choices=("none", "some", "all"),
        default="some",
        help="run the controls on no, some or all splits",
    )
    parser.add_argument("--jobs", type=int, default=2, help="worker processes; 0: run in this one")
    parser.add_argument("--hours", type=float, help="no new job starts after this time")
    parser.add_argument("--retry", action="store_true", help="repeat failed jobs")
    parser.add_argument("--report", type=Path, help="write this page from existing results instead")
    parser.add_argument("--reference", type=Path, help="gains of the reference portfolio, as TSV")
    options = parser.parse_args(given)
    small = options.small
    options.sets = options.sets or (SMALL_SETS if small else list(BY_NAME))
    options.templates = options.templates or (SMALL_TEMPLATES if small else ORDER)
    options.splits = options.splits or (SPLITS[:1] if small else SPLITS)
    options.rows = options.rows or (SMALL_ROWS if small else MOST_ROWS)
    options.hours = options.hours or (SMALL_HOURS if small else HOURS)
    if not options.report:
        if options.data is None:
            parser.error("--data must name the folder of Parquet files; see docs/data.md.")
        missing = [n for n in options.sets if not (options.data / f"{n}.parquet").exists()]
        if missing:
            parser.error(f"{options.data} has no file for {', '.join(missing)}; see docs/data.md.")
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = arguments(given)
    if options.report:
        from report import write

        write(options.out, options.report, options.reference)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    remember(options)
    every = jobs_of(options)
    jobs = [job for job in every if not done(job, options.out, options.retry)]
    print(f"{len(jobs)} of {len(every)} jobs to do, at most {options.hours:g} hours", flush=True)
    progress = Progress(len(jobs), options.hours)
    run_all(jobs, options.data, options.out, options.jobs, progress)
    left = len(jobs) - progress.ready
    if left:
        print(f"{left} jobs are left; run the command again to continue.", flush=True)


if __name__ == "__main__":
    main()
