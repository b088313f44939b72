"""Does fine-tuning pay, and does it do no harm? Twelve pipelines on 26 data sets, with controls.

    python benchmarks/accuracy/study.py --data DATA --out RESULTS            (4 hours, two cores)
    python benchmarks/accuracy/study.py --data DATA --out RESULTS --small    (10 minutes)
    python benchmarks/accuracy/study.py --out RESULTS --report docs/accuracy-study.md

DATA is a folder of Parquet files (docs/data.md says where the same public data come from). Each
data set, pipeline and split is a file in RESULTS: the study goes on where it stopped, and jobs are
in such an order that one that was stopped early has seen all data sets. No new job starts after
--hours; calling it again goes on. What fails is noted with its error and stops nothing; --retry
runs it again.

Rows: 80% train, 20% test, at random five times; where rows are in order of time, also the last 20%
test. Data sets of more than 12,000 rows are cut to 12,000, drawn at random once. Test rows have no
part in any choice. FineTuner gets no setting but its seed.
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

# Before anything loads a library that counts cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pandas as pd  # noqa: E402
from arms import CONTEXT, Job, run_job, table  # noqa: E402
from templates import TEMPLATES, applies  # noqa: E402

from data import BY_NAME, DATASETS, MOST_ROWS, load  # noqa: E402

SPLITS = ("0", "time", "1", "2", "3", "4")
# Fine-tuning of the last operator and random weights on the first of these, the search and the
# models beside it on the second ones; on all if asked for.
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
# Cheap ones first within a split.
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
)


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """What is to be done, in order."""
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
    """Whether there is a result; one with an error counts unless it is to be tried again."""
    path = out / job.file
    if not path.exists():
        return False
    return not (retry and (pd.read_parquet(path, columns=["error"]).error != "").any())


def save(results: pd.DataFrame, path: Path) -> None:
    """Write the whole file or none."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    results.to_parquet(partial)
    partial.replace(path)


def work(job: Job, folder: Path, out: Path) -> pd.DataFrame:
    """Run one job and keep its results, or its error."""
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
    """A line for each job that is done, with the time left."""

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
    """Run jobs side by side; 0 processes: in this one, one after the other."""
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
    """One process that does jobs; if a job ends it, a new one takes its place."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, mp_context=context)

    def run(job: Job) -> pd.DataFrame:
        nonlocal executor
        try:
            return executor.submit(work, job, folder, out).result()
        except BrokenProcessPool:
            executor.shutdown(wait=False)
            executor = ProcessPoolExecutor(1, mp_context=context)
            results = failed(job, "the process ended without a word; memory may be short")
            save(results, out / job.file)
            return results

    _drain(waiting, progress, run)
    executor.shutdown()


def remember(options: argparse.Namespace) -> None:
    """Note the settings that all results of a folder share; refuse to mix others with them."""
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
                f"{options.rows}.\nHint: name another folder with --out."
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
    parser.add_argument("--rows", type=int, help="largest number of rows of a data set")
    parser.add_argument(
        "--controls",
        choices=("none", "some", "all"),
        default="some",
        help="on no, some or all splits",
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side; 0: in this")
    parser.add_argument("--hours", type=float, help="after which no new job starts")
    parser.add_argument("--retry", action="store_true", help="run again what ended in an error")
    parser.add_argument("--report", type=Path, help="write a page instead")
    parser.add_argument("--reference", type=Path, help="gains of another portfolio, as TSV")
    options = parser.parse_args(given)
    small = options.small
    options.sets = options.sets or (SMALL_SETS if small else list(BY_NAME))
    options.templates = options.templates or (SMALL_TEMPLATES if small else ORDER)
    options.splits = options.splits or (SPLITS[:1] if small else SPLITS)
    options.rows = options.rows or (SMALL_ROWS if small else MOST_ROWS)
    options.hours = options.hours or (SMALL_HOURS if small else HOURS)
    if not options.report:
        if options.data is None:
            parser.error("--data names the folder of Parquet files; see docs/data.md.")
        missing = [n for n in options.sets if not (options.data / f"{n}.parquet").exists()]
        if missing:
            parser.error(f"{options.data} lacks {', '.join(missing)}; see docs/data.md.")
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
        print(f"{left} jobs are left; call it again to go on.", flush=True)


if __name__ == "__main__":
    main()
