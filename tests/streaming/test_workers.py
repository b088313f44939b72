"""Training with several processes, compared with one."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import worker_runs
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from worker_runs import BatchHook, Raises

from pipegrad.finetune import StopTraining
from pipegrad.streaming import stream_fit
from pipegrad.streaming.processes import _run, run_processes
from pipegrad.streaming.row_hashes import is_below, row_hashes

ROWS, NAMES = 4000, [f"x{i}" for i in range(5)]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(ROWS, 5)) * [1, 3, 0.2, 10, 1], columns=NAMES)
    score = table.x0 - table.x1 / 3 + np.sin(2 * table.x2) + rng.normal(size=ROWS)
    table["kind"] = rng.choice(["a", "b", "c"], size=ROWS)
    table["label"] = np.where(score > 0, "yes", "no")
    table["weight"] = rng.uniform(0.5, 2, size=ROWS)
    return table


@pytest.fixture(scope="module")
def place(frame, tmp_path_factory):
    """A folder of files of uneven size, and one whose second file is for validation alone."""
    path = tmp_path_factory.mktemp("tables")
    for name in ("uneven", "held"):
        (path / name).mkdir()
    ends = [0, 100, 350, 1500, 1600, ROWS]
    for number, (start, stop) in enumerate(pairwise(ends)):
        rows = frame.iloc[start:stop]
        rows.to_parquet(path / "uneven" / f"part-{number}.parquet", row_group_size=400)
    groups = [f"group {i}" for i in range(200)]
    held = is_below(row_hashes(arrow(pd.DataFrame({"group": groups})), ["group"]), 0.2)
    kept = [group for group, low in zip(groups, held, strict=True) if not low]
    first, second = frame.iloc[:3000].copy(), frame.iloc[3000:].copy()
    first["group"] = np.resize(kept, len(first))
    second["group"] = groups[int(held.argmax())]
    first.to_parquet(path / "held" / "a.parquet")
    second.to_parquet(path / "held" / "b.parquet")
    return path


def arrow(table):
    import pyarrow as pa

    return pa.Table.from_pandas(table, preserve_index=False).to_batches()[0]


def runs_of(frame, place, cache):
    steps = (StandardScaler(), PCA(3, random_state=0), LogisticRegression(C=0.01))
    numbers = make_pipeline(*steps).fit(frame[NAMES][:300], frame["label"][:300])
    columns = make_column_transformer((StandardScaler(), NAMES), (OneHotEncoder(), ["kind"]))
    mixed = make_pipeline(columns, LogisticRegression(C=0.01))
    mixed.fit(frame[[*NAMES, "kind"]][:300], frame["label"][:300])
    uneven = {"pipe": numbers, "folder": str(place / "uneven")}
    lbfgs = {"optim": torch.optim.LBFGS}
    return {
        "adam": {**uneven, "sample_weight": "weight"},
        "lbfgs": {**uneven, **lbfgs, "sample_weight": "weight"},
        "anchor": {**uneven, "anchor": 0.1, "validation": None},
        "no rows": {**uneven, "folder": str(place / "held"), "groups": "group"},
        "no rows, lbfgs": {**uneven, **lbfgs, "folder": str(place / "held"), "groups": "group"},
        "rate": {**uneven, "lr": "auto"},
        "any seed": {**uneven, "seed": None, "epochs": 2},
        "cache": {"pipe": mixed, "folder": str(place / "uneven"), "cache": str(cache)},
        "no folder": {"pipe": mixed, "folder": str(place / "uneven"), "epochs": 1},
        "checkpoint": {**uneven, "checkpoint": f"{cache}-checkpoint", "checkpoint_seconds": 0},
        "limit": {**uneven, "epochs": 100_000, "patience": None, "max_seconds": 1.0},
        "limit, lbfgs": {
            **uneven, **lbfgs, "epochs": 100_000, "patience": None, "max_seconds": 1.0,
        },
        "no time": {**uneven, "max_seconds": 1e-6},
    }  # fmt: skip


def ends_of(runs):
    """Runs that something ends early, in one of the processes or in all."""
    adam, lbfgs = runs["adam"] | {"epochs": 30}, runs["lbfgs"] | {"epochs": 30}
    error = ValueError("no more")
    return {
        "stop": {**adam, "hooks": [Raises("on_epoch_end", StopTraining(), rank=1)]},
        "stop at once": {**adam, "hooks": [Raises("on_train_begin", StopTraining(), 1, 1)]},
        "stop in a batch": {**adam, "hooks": [BatchHook(StopTraining(), rank=1, after=30)]},
        "stop, lbfgs": {**lbfgs, "hooks": [BatchHook(StopTraining(), rank=0)]},
        "interrupt": {**adam, "hooks": [Raises("on_epoch_end", KeyboardInterrupt(), rank=1)]},
        "fault": {**adam, "hooks": [BatchHook(error, rank=1, after=30)]},
        "fault, lbfgs": {**lbfgs, "hooks": [Raises("on_epoch_begin", error, rank=0)]},
        "file": {**adam, "break_unit": 1},
        "file, lbfgs": {**lbfgs, "break_unit": 0},
        "options": {**adam, "by_rank": [{"patience": 2}, {"patience": 3}, {"patience": 2}]},
        "rows": {**adam, "by_rank": [{}, {"groups": "weight"}, {}]},
        "again": {**adam, "epochs": 2},
    }


ALIKE = (
    "adam",
    "lbfgs",
    "anchor",
    "no rows",
    "no rows, lbfgs",
    "rate",
    "cache",
    "no folder",
    "checkpoint",
)


def results(count, function, *arguments, folder):
    run_processes(function, (*arguments, str(folder)), count)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(count)]


@pytest.fixture(scope="module")
def alone(frame, place, tmp_path_factory):
    kept, stream_fit.IN_MEMORY = stream_fit.IN_MEMORY, 0
    try:
        runs = runs_of(frame, place, tmp_path_factory.mktemp("cache"))
        return {name: worker_runs.run(**runs[name]) for name in ALIKE}
    finally:
        stream_fit.IN_MEMORY = kept


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def several(request, frame, place, tmp_path_factory):
    path = tmp_path_factory.mktemp("several")
    runs = runs_of(frame, place, path / "cache")
    runs |= ends_of(runs)
    if request.param == 3:
        runs = {name: run for name, run in runs.items() if "no rows" not in name}
    return results(request.param, worker_runs.run_all, runs, folder=path)


def test_several_processes_learn_what_one_learns(alone, several):
    for name in set(several[0]) & set(ALIKE):
        for found in several:
            told = found[name]
            assert not told["error"], name
            for key in ("train", "valid"):
                if told[key][0] is not None:
                    assert told[key] == pytest.approx(alone[name][key], rel=1e-6), (name, key)
            assert told["rows"] == alone[name]["rows"]
            assert told["rate"] == alone[name]["rate"]


def test_all_end_with_the_same_numbers(several):
    for name, first in several[0].items():
        for found in several[1:]:
            for one, other in zip(first["parameters"], found[name]["parameters"], strict=True):
                np.testing.assert_array_equal(one, other, err_msg=name)
            assert found[name]["train"] == first["train"]


def test_each_row_is_seen_once_in_an_epoch(alone, several):
    for name in ("adam", "anchor", "cache"):
        together = np.concatenate([found[name]["hashes"] for found in several])
        found, counts = np.unique(together, return_counts=True)
        np.testing.assert_array_equal(found, np.unique(alone[name]["hashes"]))
        assert set(counts) == {3}  # epochs
        assert all(len(one[name]["hashes"]) for one in several)


def test_a_process_without_rows_trains_with_the_others(several):
    if "no rows" in several[0]:
        sizes = [len(found["no rows"]["hashes"]) for found in several]
        assert sizes[0] == 3 * 3000 or sizes[1] == 3 * 3000
        assert min(sizes) == 0


def test_processes_share_the_work_of_the_cache(several):
    for name in ("cache", "no folder"):
        written = [set(found[name]["written"]) for found in several]
        assert all(written)
        assert sum(map(len, written)) == len(set.union(*written))


def test_the_time_limit_ends_all(several):
    for name in ("limit", "limit, lbfgs"):
        for found in several:
            assert not found[name]["error"]
            assert found[name]["limit"]
            assert found[name]["seconds"] < 4
            assert len(found[name]["train"]) == len(several[0][name]["train"])
        assert "max_seconds" in several[0][name]["warnings"][-1]
    assert "left no time" in several[0]["no time"]["warnings"][-1]


def test_the_first_process_alone_warns(several):
    assert several[0]["adam"]["warnings"]
    assert not any(told["warnings"] for found in several[1:] for told in found.values())


def test_what_ends_one_process_ends_all(several):
    for found in several:
        assert [told["error"] for name, told in found.items() if "stop" in name] == [""] * 4
        assert len(found["stop"]["train"]) == 4
        assert len(found["stop at once"]["train"]) == 1
        assert 1 < len(found["stop in a batch"]["train"]) < 31
        assert found["interrupt"]["error"].startswith("KeyboardInterrupt")
        assert len(found["interrupt"]["train"]) == 4
        assert not found["again"]["error"]
    for name, rank in (("fault", 1), ("fault, lbfgs", 0), ("file", 1), ("file, lbfgs", 0)):
        told = [found[name]["error"] for found in several]
        own, others = told[rank], told[:rank] + told[rank + 1 :]
        assert own.split(": ")[1][:9] in ("no more", "this file")
        for other in others:
            assert other.startswith(f"ArgumentError: Worker {rank} failed, so that all ended: ")
            assert own.split("\n")[0] in other


def test_processes_that_would_do_different_things_are_refused(several):
    for found in several:
        assert "Worker 1 trains with other options than worker 0" in found["options"]["error"]
        assert "Worker 1 finds other files or columns" in found["rows"]["error"]


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others(frame, place, tmp_path):
    run = runs_of(frame, place, None)["adam"]
    arguments = (run["pipe"], run["folder"], str(tmp_path))
    (tmp_path / "group").mkdir()
    # Nothing ends the other process but itself.
    start = torch.multiprocessing.get_context("spawn").Process
    started = [
        start(target=_run, args=(rank, worker_runs.run_and_die, arguments, 2, tmp_path / "group"))
        for rank in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=120)
    assert [process.exitcode for process in started] == [0, 1]
    told = pickle.loads((tmp_path / "0.pickle").read_bytes())
    assert "Worker 0 lost the others" in told["error"]
    assert "keeps what it learned from the first" in told["error"]
    assert told["seconds"] < 60
    fitted = [p.detach().numpy() for p in worker_runs.pg.to_torch(run["pipe"]).parameters()]
    changed = [not np.array_equal(a, b) for a, b in zip(fitted, told["parameters"], strict=True)]
    assert any(changed)


@pytest.mark.slow
def test_a_script_of_torchrun(alone, frame, place, tmp_path):
    run = runs_of(frame, place, None)["adam"]
    (tmp_path / "pipe").write_bytes(pickle.dumps(run["pipe"]))
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(worker_runs.__file__).parent)!r})\n"
        "import worker_runs\nworker_runs.run_in_script(*sys.argv[1:])\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [script, tmp_path / "pipe", run["folder"], tmp_path]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) for rank in range(2)]
    assert [told["rank"] for told in found] == [0, 1]
    assert [told["error"] for told in found] == ["", ""]
    assert found[0]["train"] == found[1]["train"]
    together = np.concatenate([told["hashes"] for told in found])
    assert set(np.unique(together, return_counts=True)[1]) == {3}
