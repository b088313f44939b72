"""GLRM of H2O: weights follow Java's random numbers and the order of rows; files that lie."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest
from test_h2o import answers_of, mojo

import pipegrad as pg
from pipegrad.sources.h2o.java_random import JavaRandoms, strict_log


def test_random_numbers_are_those_of_java():
    """What java.util.Random gives for the seeds 42, 7 and -3."""
    randoms, rows = JavaRandoms(np.array([42, 7], dtype=np.int64)), np.array([0, 1])
    big = (1 << 30) + 1  # half of Java's numbers are drawn again
    drawn = [randoms.below(rows, np.array([100, b])) for b in (2, 3, 4, 5, big, big, big, big)]
    of_42, of_7 = np.transpose(drawn).tolist()
    assert of_42[:5] == [30, 63, 48, 84, 70]
    assert of_7 == [1, 2, 2, 4, 747989380, 1053566254, 755731200, 259278708]
    normal = JavaRandoms(np.array([42, -3], dtype=np.int64)).gaussians(4)
    assert normal[0, 0] == 1.1419053154730547
    expected = [
        "-0x1.4d1f5b5107989p+0",
        "-0x1.ac44e7e9b5ee8p-1",
        "0x1.c341c521c1be3p-3",
        "-0x1.26efcae385926p+0",
    ]
    assert [value.hex() for value in normal[1].tolist()] == expected


def test_logarithms_are_within_one_place():
    values = np.random.default_rng(0).random(1000)
    np.testing.assert_allclose(strict_log(values), np.log(values), rtol=3e-16)


def test_rows_are_numbered_from_the_first_of_each_table():
    net, (given, expected) = pg.to_torch(mojo("glrm_numbers")), answers_of("glrm_numbers")
    whole, first = net.columns(given)["Arch1"], net.columns(given[:7])["Arch1"]
    np.testing.assert_array_equal(first, whole[:7])
    np.testing.assert_array_equal(net.columns(given)["Arch1"], whole)
    later = net.columns(given[7:])["Arch1"]
    assert not np.allclose(later, whole[7:])
    assert len(expected) == len(whole)


def test_many_rows_are_numbered_through_all_parts(monkeypatch):
    net, (given, expected) = pg.to_torch(mojo("glrm_categories")), answers_of("glrm_categories")
    monkeypatch.setattr("pipegrad.sources.h2o.low_rank._CHUNK", 100)
    np.testing.assert_allclose(net.columns(given)["Arch2"], expected["Arch2"], rtol=1e-9)


def with_file(name, path, entry, old, new):
    """A MOJO with other bytes in one of its files."""
    with zipfile.ZipFile(mojo(name)) as given, zipfile.ZipFile(path, "w") as made:
        for one in given.namelist():
            content = given.read(one)
            if one == entry:
                assert old in content
                content = content.replace(old, new, 1)
            made.writestr(one, content)
    return path


LIES = {
    "size": ("model.ini", b"ncolX = 2", b"ncolX = 3"),
    "many": ("model.ini", b"ncolY = 10", b"ncolY = 99999999"),
    "negative": ("model.ini", b"nrowY = 2", b"nrowY = -2"),
    "offsets": ("model.ini", b"catOffsets = [0, 4, 7]", b"catOffsets = [0, 5, 7]"),
    "levels": ("model.ini", b"category = [4, 3,", b"category = [4, -3,"),
    "order": ("model.ini", b"[4, 3, 0, 1, 2]", b"[0, 3, 4, 1, 2]"),
    "twice": ("model.ini", b"[4, 3, 0, 1, 2]", b"[4, 4, 0, 1, 2]"),
    "scales": ("model.ini", b"norm_mul = [", b"norm_mul = [1.0, "),
    "seed": ("model.ini", b"seed = 1", b"seed = 9999999999999999999"),
    "regularizer": ("model.ini", b"regularizationX = None", b"regularizationX = Some"),
    "loss": ("losses", b"Categorical", b"Other"),
    "number of losses": ("losses", b"Categorical\n", b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_files_that_lie_are_refused(lie, tmp_path):
    with pytest.raises(pg.ModelFileError):
        pg.to_torch(with_file("glrm_categories", tmp_path / "lie.zip", *LIES[lie]))


@pytest.mark.parametrize("loss", ["Periodic(7)", "Quadratic"])
def test_losses_that_the_scorer_fails_for_are_refused(loss, tmp_path):
    path = with_file(
        "glrm_categories", tmp_path / "loss.zip", "losses", b"Categorical", loss.encode()
    )
    with pytest.raises(pg.UntranslatableError, match="scorer of H2O"):
        pg.to_torch(path)


def test_seeds_have_all_numbers_of_java(tmp_path):
    """Rows go on beyond the largest seed with the smallest one."""
    path = with_file(
        "glrm_numbers", tmp_path / "s.zip", "model.ini", b"seed = 1", b"seed = 9223372036854775807"
    )
    row = pd.DataFrame({"u": [0.5] * 3, "v": [1.0] * 3, "w": [2.0] * 3})
    assert np.isfinite(pg.to_torch(path).columns(row)["Arch1"]).all()
