"""The cache on disk: arrays alone, private, checked, and never in the way of the work."""

from __future__ import annotations

import os
import pickle
import stat
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import pipegrad as pg
from pipegrad import array_cache
from pipegrad.array_cache import cached_arrays

pd = pytest.importorskip("pandas")

RAN: list[str] = []


class Evil:
    def __reduce__(self) -> Any:
        return RAN.append, ("code",)


def words(rows: int = 60) -> tuple[pg.PipelineModule, Any]:
    """A module whose host part makes a dense and a sparse block, and its input."""
    table = pd.DataFrame(
        {
            "color": np.array(["red", "green", "blue"])[np.arange(rows) % 3],
            "note": np.array(["a b", "b c c", "d"])[np.arange(rows) % 3],
        }
    )
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["color"]),
        (TfidfVectorizer(token_pattern="."), "note"),
    )
    source = make_pipeline(columns, Ridge()).fit(table, np.arange(rows) % 5)
    return pg.to_torch(source), table


def dense(encoded: Any) -> list[np.ndarray]:
    blocks = encoded.blocks.values()
    return [(b if hasattr(b, "numpy") else b.to_dense()).numpy() for b in blocks]


def entry(folder: Path) -> Path:
    (found,) = (path for path in folder.rglob("*") if path.is_file())
    return found


def test_entries_are_private_arrays_that_replace_the_host_part(tmp_path, monkeypatch):
    net, X = words()
    folder = tmp_path / "new" / "cache"
    first = net.encode(X, cache=folder)
    path = entry(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setattr(type(net.host_part), "run", None)  # From now on, only the cache answers.
    for one, two in zip(dense(first), dense(net.encode(X, cache=folder)), strict=True):
        assert np.array_equal(one, two)
        assert one.dtype == two.dtype


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil()))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _of_three_rows(path: Path) -> None:
    net, X = words()
    net.encode(X[:3], cache=path.parent / "other")
    other = entry(path.parent / "other")
    path.write_bytes(other.read_bytes())
    other.unlink()


def _writable_by_others(path: Path) -> None:
    path.chmod(0o666)


def _link(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    precious = path.parent.parent / "precious"
    precious.write_bytes(content)
    path.symlink_to(precious)


@pytest.mark.parametrize(
    "spoil", [_pickled, _cut, _empty, _of_three_rows, _writable_by_others, _link]
)
def test_a_strange_entry_is_dropped_and_made_again(tmp_path, spoil, monkeypatch):
    net, X = words()
    folder = tmp_path / "cache"
    wanted = dense(net.encode(X, cache=folder))
    path = entry(folder)
    good = path.read_bytes()
    spoil(path)
    runs, run = [], type(net.host_part).run

    def counted(*arguments: Any) -> Any:
        runs.append(1)
        return run(*arguments)

    monkeypatch.setattr(type(net.host_part), "run", counted)
    for _ in range(2):
        for one, two in zip(wanted, dense(net.encode(X, cache=folder)), strict=True):
            assert np.array_equal(one, two)
    assert len(runs) == 1
    assert not RAN
    assert not path.is_symlink()
    assert path.read_bytes() == good
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (tmp_path / "precious").exists() or (tmp_path / "precious").read_bytes() == good


def test_no_changed_byte_goes_unnoticed(tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "y": sparse.csr_matrix([[0, 1], [2, 0]])}
    cached_arrays(tmp_path, "c0ffee", 2, lambda: arrays)
    path = entry(tmp_path)
    good, noticed = path.read_bytes(), 0
    for place in range(len(good)):
        spoiled = bytearray(good)
        spoiled[place] ^= 1
        path.write_bytes(spoiled)
        try:
            found = array_cache.read_arrays(path, "c0ffee", 2)
        except array_cache.UnusableEntryError:
            noticed += 1
            continue
        assert list(found) == ["x", "y"], place
        assert np.array_equal(found["x"], arrays["x"]), place
        assert (found["y"] != arrays["y"]).nnz == 0, place
    assert noticed > 0.9 * len(good)  # Spaces that fill up the header mean nothing.


def test_an_entry_depends_on_the_versions(tmp_path, monkeypatch):
    net, X = words()
    net.encode(X, cache=tmp_path)
    monkeypatch.setattr(sklearn, "__version__", "0.1")
    net.encode(X, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("cache", [5, True, "", "  ", b"folder", 1.5, ["a"], "a\0b"])
def test_what_names_no_folder_is_refused_before_any_work(cache):
    net, X = words()
    before = net.state_dict()
    with pytest.raises(pg.ArgumentError, match="cache must be the path of a folder"):
        net.encode(X, cache=cache)
    with pytest.raises(pg.ArgumentError, match="cache must be the path of a folder"):
        net.fit(X, np.zeros(60), epochs=1, cache=cache)
    assert all((before[name] == value).all() for name, value in net.state_dict().items())


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    net, X = words()
    with pytest.raises(pg.ArgumentError, match="is a file"):
        net.encode(X, cache=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("fault", ["folder", "full"])
def test_where_nothing_can_be_written_the_work_goes_on_and_says_so_once(
    tmp_path, monkeypatch, fault
):
    net, X = words()
    folder = tmp_path / "cache"
    if fault == "folder":
        (tmp_path / "file").write_text("")
        folder = tmp_path / "file" / "cache"
    else:

        def full(place: int) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr("os.fsync", full)
    wanted = dense(net.encode(X))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            for one, two in zip(wanted, dense(net.encode(X, cache=folder)), strict=True):
                assert np.array_equal(one, two)
    assert [type(w.message) for w in seen] == [pg.errors.PipegradWarning]
    assert "nothing is cached" in str(seen[0].message)
    assert fault == "folder" or not list(folder.iterdir())


def test_training_reads_the_cache(tmp_path):
    table = np.array([["a"], ["b"], ["c"]] * 20, dtype=object)
    y = np.tile([0, 1, 0], 20)
    source = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, y)
    options = {"epochs": 3, "validation": None, "seed": 0}
    plain = pg.to_torch(source).fit(table, y, **options)
    for _ in range(2):
        cached = pg.to_torch(source).fit(table, y, cache=tmp_path, **options)
        assert np.array_equal(plain.predict_proba(table), cached.predict_proba(table))


def test_without_safetensors_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    net = pg.to_torch(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    with pytest.raises(pg.ArgumentError, match=r"requires safetensors.\nHint: .*pipegrad\[files\]"):
        net.encode([[2.0]], cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
