"""Every writer replaces its file as a whole: on a full disk, when killed, beside other writers."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import pipegrad as pg
from pipegrad.array_cache import cached_arrays
from pipegrad.demo import figure1
from pipegrad.errors import PipegradWarning
from pipegrad.file_writing import replacement, scratch_folder, write_file
from pipegrad.report.results import Report
from pipegrad.testing import DATASETS, perturb

Writer = Callable[[Path], Any]
MLNET = Path(__file__).parent / "data" / "mlnet" / "fasttree_binary.zip"


@cache
def boosted(name: str) -> pg.PipelineModule:
    X, y = DATASETS["missing"]()
    if name == "lightgbm":
        lightgbm = pytest.importorskip("lightgbm")
        model = lightgbm.LGBMRegressor(n_estimators=40, n_jobs=1, verbose=-1).fit(X, y)
    elif name == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        model = xgboost.XGBRegressor(n_estimators=40, n_jobs=1).fit(X, y)
    else:
        catboost = pytest.importorskip("catboost")
        quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
        model = catboost.CatBoostRegressor(iterations=40, **quiet).fit(X, y)
    net = pg.to_torch(model)
    perturb(net)
    return net


@cache
def mlnet() -> pg.PipelineModule:
    net = pg.to_torch(MLNET)
    perturb(net)
    return net


@cache
def demo_run() -> Any:
    run = figure1.Run.__new__(figure1.Run)
    curve = np.linspace(2.0, 1.0, 20).tolist()
    object.__setattr__(run, "curves", {"fine-tuned": curve, "random weights": curve})
    object.__setattr__(run, "tuned", make_pipeline(Ridge()).fit(np.eye(3), np.arange(3.0)))
    return run


def picture(path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure1.draw([demo_run()], path.parent)


def pipeline_file(path: Path) -> None:
    pytest.importorskip("skops")
    figure1.save(demo_run(), path.parent)


def cache_entry(path: Path) -> None:
    rows = np.arange(30_000.0).reshape(-1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PipegradWarning)
        cached_arrays(path.parent, path.stem, len(rows), lambda: {"x": rows})


WRITERS: dict[str, Writer] = {
    "model.zip": lambda path: pg.from_torch(mlnet(), path),
    "model.txt": lambda path: pg.from_torch(boosted("lightgbm"), path),
    "model.ubj": lambda path: pg.from_torch(boosted("xgboost"), path),
    "xgboost.json": lambda path: pg.from_torch(boosted("xgboost"), path),
    "model.cbm": lambda path: pg.from_torch(boosted("catboost"), path),
    "catboost.json": lambda path: pg.from_torch(boosted("catboost"), path),
    "report.html": lambda path: Report(None, "nothing was tried").save(path),
    "learning_curves.png": picture,
    "figure1.skops": pipeline_file,
    "c0ffee.safetensors": cache_entry,
    "net.safetensors": lambda path: mlnet().save(path),
}
CACHED = "c0ffee.safetensors"
OLD = b"a good file" * 500

needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork") or os.environ.get("OMP_NUM_THREADS") != "1",
    reason="forks its writers, which works with OMP_NUM_THREADS=1 alone, as in make test",
)


@pytest.fixture(params=list(WRITERS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Writer, bytes]:
    """A path with an old file, the writer, and what it writes."""
    path, write = tmp_path / "files" / request.param, WRITERS[request.param]
    path.parent.mkdir()
    write(path)
    new = path.read_bytes()
    path.write_bytes(OLD)
    return path, write, new


def in_child(work: Callable[[], None], until: float | None = None) -> int:
    """Run in a fork and return its exit status; killed after ``until`` seconds if given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Threads that wait do no harm.
        child = os.fork()
    if child == 0:
        gc.freeze()  # What the parent left may have threads, which are not here to be ended.
        try:
            work()
            os._exit(0)
        except OSError:
            os._exit(3)
        except BaseException:
            os._exit(4)
    if until is not None:
        time.sleep(until)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_new(path: Path, new: bytes) -> bool:
    """Whether the file is whole; what holds a time or a random name is recognised by its size."""
    now = path.read_bytes()
    return now == new or (now[:4] == new[:4] and now[-2:] == new[-2:] and len(now) == len(new))


# -- a full disk ---------------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize("room", ["none", "half", "all but a byte"])
def test_a_full_disk_never_costs_the_old_file(written, room):
    path, write, new = written
    bytes_left = {"none": 0, "half": len(new) // 2, "all but a byte": len(new) - 1}[room]

    def on_full_disk() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left))
        write(path)

    status = in_child(on_full_disk)
    # The cache goes on without its entry; its old entry was of no use.
    if path.name == CACHED:
        assert status == 0
        assert not path.exists()
    else:
        assert status == 3
        assert path.read_bytes() == OLD
    assert [p.name for p in path.parent.iterdir()] == ([path.name] if path.exists() else [])
    write(path)
    assert is_new(path, new)


@pytest.mark.parametrize("name", ["model.ubj", "model.cbm", "model.zip", "report.html"])
def test_what_cannot_be_read_back_replaces_nothing(tmp_path, monkeypatch, name):
    path, write = tmp_path / name, WRITERS[name]
    path.write_bytes(OLD)
    read = Path.read_bytes

    def bad_disk(self: Path) -> bytes:
        content = read(self)
        return content[:-1] + b"?" if ".part" in self.name else content

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", bad_disk)
        with pytest.raises(OSError, match="the old one unchanged"):
            write(path)
    assert path.read_bytes() == OLD
    assert [p.name for p in tmp_path.iterdir()] == [name]


# -- killed writers ------------------------------------------------------------------------------


def kill_at(event: str, path: Path) -> None:
    """Kill this process at an event of Python that concerns the folder of a path."""

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name == event and str(arguments[0]).startswith(str(path.parent)):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@needs_fork
def test_a_killed_writer_leaves_the_old_file_or_the_new(written):
    path, write, new = written

    def forever() -> None:
        while True:
            if path.name == CACHED:
                path.unlink(missing_ok=True)
            write(path)

    random_moments = random.Random(path.name)
    for _ in range(6):
        in_child(forever, until=random_moments.uniform(0, 0.06))
        torn = path.exists() and path.read_bytes() != OLD and not is_new(path, new)
        assert not torn
    path.write_bytes(OLD)
    write(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@needs_fork
@pytest.mark.parametrize("event", ["open", "os.chmod", "os.rename"])
def test_a_writer_killed_between_write_and_replace_leaves_the_old_file(written, event):
    path, write, new = written
    if path.name == CACHED:
        pytest.skip("an old entry that is of no use is removed first")

    def killed() -> None:
        kill_at(event, path)
        write(path)

    assert in_child(killed) == -signal.SIGKILL
    assert path.read_bytes() == OLD
    assert event != "os.rename" or len(list(path.parent.iterdir())) == 2
    write(path)
    assert is_new(path, new)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def whole_folder(path: Path) -> bool:
    """Whether a module can be loaded; an error otherwise."""
    return type(pg.load(path)) is type(mlnet())


@needs_fork
def test_a_killed_writer_of_a_folder_leaves_the_old_one_or_the_new(tmp_path):
    path, random_moments = tmp_path / "net", random.Random(0)
    mlnet().save(path)

    def forever() -> None:
        while True:
            mlnet().save(path)

    for _ in range(8):
        in_child(forever, until=random_moments.uniform(0, 0.06))
        assert whole_folder(path)
    mlnet().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def at_once(works: list[Callable[[], None]]) -> None:
    """Run functions in threads, none of which may fail."""
    errors = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_threads_write_one_folder(tmp_path):
    def work() -> None:
        for _ in range(5):
            mlnet().save(tmp_path / "net")

    at_once([work] * 4)
    assert whole_folder(tmp_path / "net")
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


@needs_fork
def test_scratch_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def killed() -> None:
        with scratch_folder() as folder:
            (folder / "model.json").write_text("{}")
            os.kill(os.getpid(), signal.SIGKILL)

    in_child(killed)
    (tmp_path / "pipegrad-notes").mkdir()
    (left,) = tmp_path.glob("pipegrad-????????")
    with scratch_folder() as one, scratch_folder() as two:
        assert not left.exists()
        assert one.exists()
        assert two.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["pipegrad-notes"]


def test_what_earlier_versions_left_is_removed(tmp_path):
    for name in (".model.zip.123.part", ".other.zip.123.part", "model.zip.part"):
        (tmp_path / name).write_text("left")
    write_file(tmp_path / "model.zip", b"new")
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [".other.zip.123.part", "model.zip", "model.zip.part"]


# -- several writers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["model.zip", "model.ubj", "model.txt", "report.html", "net.safetensors"]
)
def test_threads_write_one_path(tmp_path, name):
    path, write = tmp_path / name, WRITERS[name]
    write(path)
    new = path.read_bytes()

    def work() -> None:
        for _ in range(5):
            write(path)
            assert is_new(path, new)

    at_once([work] * 4)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_threads_never_mix_their_contents(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([letter]) * 50_000 for letter in b"abcd"]

    def work(content: bytes) -> None:
        for _ in range(20):
            write_file(path, content)
            assert path.read_bytes() in contents

    at_once([partial(work, content) for content in contents])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# -- what is kept --------------------------------------------------------------------------------


def test_permissions_and_links_are_kept(tmp_path):
    real, link = tmp_path / "real.ubj", tmp_path / "link.ubj"
    real.write_bytes(OLD)
    real.chmod(0o640)
    link.symlink_to("real.ubj")
    pg.from_torch(boosted("xgboost"), link)
    assert link.is_symlink()
    assert real.read_bytes() != OLD
    assert real.stat().st_mode & 0o777 == 0o640
    pg.from_torch(boosted("xgboost"), tmp_path / "new.ubj")
    (tmp_path / "plain").write_text("")
    same = tmp_path / "plain"
    assert (tmp_path / "new.ubj").stat().st_mode == same.stat().st_mode


def test_a_link_to_a_file_that_does_not_exist_yet_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.zip").symlink_to("there/model.zip")
    pg.from_torch(mlnet(), tmp_path / "link.zip")
    assert (tmp_path / "there" / "model.zip").stat().st_size


def test_names_of_every_length_are_written(tmp_path):
    path = tmp_path / f"{'m' * 250}.zip"
    pg.from_torch(mlnet(), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("write", [WRITERS["model.zip"], WRITERS["model.ubj"]])
def test_paths_that_name_no_file_are_refused_before_any_work(tmp_path, write, monkeypatch):
    suffix = ".zip" if write is WRITERS["model.zip"] else ".ubj"
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"circle{suffix}").symlink_to(f"circle{suffix}")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    write(tmp_path / f"warm{suffix}")
    monkeypatch.setattr("pipegrad.translate.written_back", None)
    for name, match in [
        (f"folder{suffix}", "is a folder"),
        (f"circle{suffix}", "not the name of a file"),
        (f"pipe{suffix}", "no regular file"),
        (f"missing/model{suffix}", "there is no folder"),
        (f"{'m' * 252}{suffix}", "not the name of a file"),
        (f"a\0b{suffix}", "not the name of a file"),
        ("model.bin", "must end in"),
        ("model", "must end in"),
    ]:
        with pytest.raises(pg.ArgumentError, match=match):
            write(tmp_path / name)
    for bad in (5, "", b"model.zip", ["model.zip"]):
        with pytest.raises(pg.ArgumentError, match="path must be"):
            write(bad)
    net = pg.to_torch(make_pipeline(FunctionTransformer(), Ridge()).fit(np.eye(3), np.arange(3.0)))
    with pytest.raises(pg.ArgumentError, match="no model file format"):
        pg.from_torch(net, tmp_path / "model.zip")


def test_an_error_inside_leaves_nothing(tmp_path):
    def interrupted() -> None:
        with replacement(tmp_path / "file") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("protected", ["file", "folder"])
def test_what_must_not_be_changed_is_refused_before_any_work(
    tmp_path, monkeypatch, exists, protected
):
    path = tmp_path / "model.zip"
    if exists:
        path.write_bytes(OLD)
    closed = path if protected == "file" else tmp_path
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != closed)
    if protected == "file" and not exists:
        pg.from_torch(mlnet(), path)
        return
    with pytest.raises(pg.ArgumentError, match=r"write-protected|no file can be made"):
        pg.from_torch(mlnet(), path)
    assert path.exists() == exists
