"""The child process in which a library reads a file first: what it may not do to the user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import pipegrad as pg
from pipegrad.sources import trial_load
from pipegrad.sources.files import ModelFile, load_checked
from pipegrad.sources.trial_load import try_loading

limited = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as on Linux")


def script(folder: Path, body: str) -> Path:
    path = folder / "load.py"
    path.write_text(f"import os, sys, time\ndef load(content, suffix):\n    {body}\n")
    return path


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("os.abort()", r"crashes on it \(SIGABRT\)"),
        ("os.kill(os.getpid(), 11)", r"crashes on it \(SIGSEGV\)"),
        ("os._exit(7)", r"crashes on it \(exit status 7\)"),
        ("raise ValueError('wrong\\nmagic \\u2603')", r"refuses it: wrong magic \?\."),
        ("raise KeyError", "refuses it: KeyError"),
        pytest.param("bytearray(9 << 30)", "needs more memory", marks=limited),
        # On a busy machine, the time is over before that of the processor is.
        pytest.param("while True: pass", r"has not read it after [12] seconds", marks=limited),
        ("time.sleep(60)", "has not read it after 2 seconds"),
    ],
)
def test_what_goes_wrong_in_the_child_is_one_error_here(tmp_path, monkeypatch, body, match):
    monkeypatch.setattr(trial_load, "_SECONDS", 1)
    with pytest.raises(pg.ModelFileError, match=f"a.bin: Library {match}"):
        try_loading(b"content", ".bin", "a.bin", "Library", script(tmp_path, body))


def test_a_child_that_crashes_leaves_no_files(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)  # It is read from the environment again.
    body = "import tempfile; open(tempfile.mkdtemp() + '/model', 'w').write('x'); os.abort()"
    with pytest.raises(pg.ModelFileError, match="SIGABRT"):
        try_loading(b"content", ".bin", "a.bin", "Library", script(tmp_path, body))
    assert not list((tmp_path / "temporary").iterdir())


def test_each_content_is_tried_once(tmp_path):
    calls = tmp_path / "calls"
    counts = script(tmp_path, f"open({str(calls)!r}, 'a').write(suffix + content.decode())")
    for content in (b"one", b"one", b"two", b"one"):
        try_loading(content, ".bin", "a.bin", "Library", counts)
    assert calls.read_text() == ".binone.bintwo"


def test_what_the_child_prints_does_no_harm(tmp_path):
    noisy = script(
        tmp_path, "print('refused: no'); os.write(1, b'crash'); os.write(2, b'x' * 10**6)"
    )
    try_loading(b"content", ".bin", "a.bin", "Library", noisy)


def test_the_child_knows_the_paths_and_not_the_folder(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the folder was run')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "library_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    try_loading(b"c", ".bin", "a.bin", "Library", script(tmp_path, "import library_of_mine, json"))


def test_without_python_nothing_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(pg.ModelFileError, match=r"cannot be tried[^$]*trusted=True"):
        try_loading(b"other", ".bin", "a.bin", "Library", script(tmp_path, "pass"))


@pytest.mark.parametrize("trusted", [False, True])
def test_the_library_sees_the_bytes_that_were_checked(tmp_path, trusted):
    path, seen = tmp_path / "model.bin", []

    def check(content: bytes, suffix: str, name: str) -> None:
        seen.append(content)
        path.write_bytes(b"another file")

    def load(file: ModelFile) -> bytes:
        return file.content

    path.write_bytes(b"a file")
    arguments = (
        ModelFile.read(path),
        "Library",
        check,
        load,
        script(tmp_path, "assert len(content) == 6"),
    )
    assert load_checked(*arguments, trusted) == b"a file"
    assert seen == [b"a file"]


def test_a_trusted_file_is_checked_and_not_tried(tmp_path, monkeypatch):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit([[0.0], [1.0]] * 9, [0.0, 1.0] * 9)
    model.save_model(tmp_path / "model.json")
    monkeypatch.setattr(sys, "executable", "")
    pg.to_torch(tmp_path / "model.json", trusted=True)
    with pytest.raises(pg.ModelFileError, match="cannot be tried"):
        pg.to_torch(tmp_path / "model.json")
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"left_children":[1', '"left_children":[0'))
    with pytest.raises(pg.ModelFileError, match="left_children"):
        pg.to_torch(tmp_path / "model.json", trusted=True)
    with pytest.raises(pg.ArgumentError, match="trusted must be True or False"):
        pg.to_torch(tmp_path / "model.json", trusted="yes")


@pytest.mark.parametrize("suffix", [".txt", ".json", ".ubj", ".cbm", ".zip"])
def test_what_is_no_file_is_refused(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"empty{suffix}").write_bytes(b"")
    with pytest.raises(pg.ModelFileError, match="is a folder"):
        pg.to_torch(tmp_path / f"folder{suffix}")
    with pytest.raises(pg.ModelFileError, match=r"empty\.\w+: "):
        pg.to_torch(tmp_path / f"empty{suffix}")
    with pytest.raises(FileNotFoundError):
        pg.to_torch(tmp_path / f"missing{suffix}")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(pg.ModelFileError, match="no regular file"):
            pg.to_torch(tmp_path / f"pipe{suffix}")
    with (tmp_path / f"large{suffix}").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(pg.ModelFileError, match="bytes are more than"):
        pg.to_torch(tmp_path / f"large{suffix}")
