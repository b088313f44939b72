"""Tables in pieces: what opens, and what is refused with the name of the file."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

import pipegrad as pg
from pipegrad.row_sources import is_row_source, open_rows
from pipegrad.streaming.row_hashes import is_below, row_hashes

TABLE = pa.table({"x": np.arange(10.0), "n": np.arange(10), "t": list("abcdefghij")})


def rows_of(source, columns=("x", "n"), size=3):
    batches = [b for p in source.pieces for b in source.batches(p, columns, size)]
    assert all(batch.num_rows <= size for batch in batches)
    return pa.Table.from_batches(batches).to_pydict()


WANTED = {"x": TABLE["x"].to_pylist(), "n": TABLE["n"].to_pylist()}


def test_row_groups_are_pieces(tmp_path):
    parquet.write_table(TABLE, tmp_path / "a.parquet", row_group_size=4)
    source = open_rows(tmp_path / "a.parquet")
    assert [piece.rows for piece in source.pieces] == [4, 4, 2]
    assert source.rows == 10
    assert rows_of(source) == WANTED


def test_parts_of_paths_are_columns(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        parquet.write_table(TABLE, tmp_path / f"year={year}" / "a.parquet")
    source = open_rows(str(tmp_path))
    found = rows_of(source, ("year", "x"))
    assert found["year"] == [2023] * 10 + [2024] * 10
    assert found["x"] == WANTED["x"] * 2


@pytest.mark.parametrize("suffix", [".csv", ".arrow", ".feather"])
def test_other_files(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    frame = TABLE.to_pandas()
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_feather(path)
    assert rows_of(open_rows(path)) == WANTED


def test_other_machines(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    with files.open("/tables/a.parquet", "wb") as file:
        parquet.write_table(TABLE, file, row_group_size=4)
    assert rows_of(open_rows("memory://tables")) == WANTED
    assert rows_of(open_rows("memory://tables/a.parquet")) == WANTED
    files.rm("/tables", recursive=True)


def test_objects(tmp_path):
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    assert rows_of(open_rows(dataset.dataset(tmp_path / "a.parquet"))) == WANTED
    assert rows_of(open_rows(dataset.dataset(TABLE))) == WANTED
    assert rows_of(open_rows(TABLE.to_batches(4))) == WANTED
    assert rows_of(open_rows(TABLE.to_reader(4))) == WANTED
    frames = (TABLE.to_pandas().iloc[i : i + 5] for i in (0, 5))
    assert rows_of(open_rows(frames)) == WANTED
    dicts = [{"x": np.arange(10.0), "n": np.arange(10)}]
    assert rows_of(open_rows(iter(dicts))) == WANTED


def test_an_iterator_is_read_once():
    source = open_rows(iter(TABLE.to_batches(4)))
    assert rows_of(source) == WANTED
    with pytest.raises(pg.ArgumentError, match="read already"):
        rows_of(source)


def test_numbers_have_the_widest_type_of_all_files(tmp_path):
    for name, kind in (("a", "int32"), ("b", "int64"), ("c", "float64")):
        own = pa.table({"x": pa.array([1, 2]).cast(kind)})
        parquet.write_table(own, tmp_path / f"{name}.parquet")
    source = open_rows(str(tmp_path))
    assert source.schema.field("x").type == pa.float64()
    assert rows_of(source, ["x"])["x"] == [1.0, 2.0] * 3


@pytest.mark.parametrize(
    "value", [TABLE.to_pandas(), np.zeros((3, 2)), [[1, 2]], "abc", ["a", "b"]]
)
def test_what_is_in_memory_is_no_source(value):
    assert not is_row_source(value)


# -- refusals ------------------------------------------------------------------------------


def test_a_file_that_lacks_a_column_is_named(tmp_path):
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    parquet.write_table(TABLE.drop(["n"]), tmp_path / "b.parquet")
    with pytest.raises(pg.ArgumentError, match=r"b\.parquet has no column 'n'"):
        open_rows(str(tmp_path)).check(["x", "n"])


def test_a_file_with_another_type_is_named(tmp_path):
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    own = TABLE.set_column(0, "x", pa.array(list("abcdefghij")))
    parquet.write_table(own, tmp_path / "b.parquet")
    with pytest.raises(pg.ArgumentError, match=r"b\.parquet has the column 'x' as string"):
        open_rows(str(tmp_path)).check(["x"])


def test_a_damaged_row_group_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    big = pa.table({"x": np.random.default_rng(0).normal(size=4000)})
    parquet.write_table(big, path, row_group_size=1000, compression="zstd")
    content = bytearray(path.read_bytes())
    place = parquet.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content[place : place + 500] = b"\xff" * 500
    path.write_bytes(bytes(content))
    source = open_rows(path)
    with pytest.raises(pg.ArgumentError, match=r"a\.parquet, row group 2 cannot be read after 0"):
        rows_of(source, ["x"], 500)


def test_a_damaged_file_is_named(tmp_path):
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(pg.ArgumentError, match=r"b\.parquet is not read as Parquet"):
        open_rows(str(tmp_path))


def test_folders_without_tables(tmp_path):
    with pytest.raises(pg.ArgumentError, match="has no table in it"):
        open_rows(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        open_rows(str(tmp_path / "none"))
    (tmp_path / "a.csv").write_text("x\n1\n")
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    with pytest.raises(pg.ArgumentError, match="several formats: csv, parquet"):
        open_rows(str(tmp_path))


# -- hashes --------------------------------------------------------------------------------


def hashed(frame, **options):
    (batch,) = pa.Table.from_pandas(frame, preserve_index=False).to_batches()
    return row_hashes(batch, list(frame.columns), **options)


def test_hashes_depend_on_each_value_and_on_nothing_else():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=50),
            "t": rng.choice(["a", "b"], 50),
            "b": rng.random(50) < 0.5,
            "d": [date(2024, 1, 1 + i % 20) for i in range(50)],
        }
    )
    own = hashed(frame)
    assert len(set(own)) == 50
    order = rng.permutation(50)
    assert (hashed(frame.iloc[order]) == own[order]).all()
    assert (hashed(frame.assign(t=frame["t"].astype("category"))) == own).all()
    assert not (hashed(frame, seed=1) == own).any()
    for name, other in (("x", 0.5), ("t", "c"), ("d", date(2020, 1, 1))):
        changed = frame.copy()
        changed.loc[7, name] = other
        assert (hashed(changed) != own).nonzero()[0].tolist() == [7]


def test_hashes_are_uniform():
    hashes = hashed(pd.DataFrame({"x": np.arange(200_000)}))
    for share in (0.01, 0.2, 0.5):
        assert is_below(hashes, share).mean() == pytest.approx(share, rel=0.05)
    assert is_below(hashes, 1.0).mean() > 0.9999
