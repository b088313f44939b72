"""Small model files that state large numbers, or refer to one thing many times."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import pipegrad as pg
from mlnet_files import BlockWriter, chain, concatenation
from pipegrad.modules import SparseRows
from pipegrad.sources.mlnet._random import kernel_frequencies
from pipegrad.sources.mlnet.model import read_model
from pipegrad.sources.zip_archive import Archive

NAMES = ["a", "b", "c"]
RAW = [(name, "Single") for name in NAMES]
ROWS = pd.DataFrame(np.arange(12.0, dtype=np.float32).reshape(4, 3) / 3, columns=NAMES)
TEXTS = ROWS.assign(t=["x", "y", "x", "z"])


def made(*steps, raw=RAW):
    return read_model(Archive(chain(raw, [concatenation("F", NAMES), *steps])))


def expression(source, *inputs):
    block = BlockWriter("EXPRTRNF", "ExprTransform").i4(1, len(inputs)).text(*inputs)
    return {"": block.text(source, "out").i4(-1, *[8] * len(inputs))}


def value(source, *inputs):
    return pg.to_torch(made(expression(source, *inputs))).columns(ROWS)["out"]


# -- expressions -----------------------------------------------------------------------------------


def doublings(count):
    defined = ", ".join(f"v{i}=v{i - 1}+v{i - 1}" for i in range(1, count))
    return f"x => with(v0=x+x, {defined}; v{count - 1})"


def test_a_shared_definition_is_one_operation():
    model = made(expression(doublings(100), "a"))
    net = pg.to_torch(model)
    program = next(m.program for m in net.modules() if hasattr(m, "program"))
    assert len(program) == 101
    wanted = ROWS["a"].to_numpy() * np.float32(2.0**100)
    np.testing.assert_array_equal(net.columns(ROWS)["out"], wanted)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(again.columns(ROWS)["out"], wanted)
    x = torch.ones(3, requires_grad=True)
    net.step_module(net.graph.columns["out"])(x).sum().backward()
    assert (x.grad == 2.0**100).all()
    assert len(repr(net)) + len(net.graph.to_json()) < 10_000


def test_equal_parts_of_a_formula_are_one_operation():
    net = pg.to_torch(made(expression("(x, y) => (x+y)*(x+y) - sqrt(x+y)", "a", "b")))
    program = next(m.program for m in net.modules() if hasattr(m, "program"))
    assert [operation[0] for operation in program].count("add") == 1


def test_long_formulas_are_computed():
    terms = " + ".join(["x"] * 2000)
    np.testing.assert_allclose(value(f"x => {terms}", "a"), ROWS["a"] * 2000, rtol=1e-4)
    nested = value("x => with(y=x; with(z=y+y, y=z; y+z+with(z=x; z)))", "a")
    np.testing.assert_allclose(nested, ROWS["a"] * 5, rtol=1e-6)


def test_unused_definitions_are_neither_computed_nor_checked():
    net = pg.to_torch(made(expression("x => with(y=not(x), z=exp(x); x + 1f)", "a")))
    program = next(m.program for m in net.modules() if hasattr(m, "program"))
    assert [operation[0] for operation in program] == ["input", "number", "add"]


def test_one_text_for_many_columns_counts_each_time():
    block = BlockWriter("EXPRTRNF", "ExprTransform").i4(1000)
    source = "x => " + "+".join(["x"] * 400)
    for i in range(1000):
        block.strings += [] if i else ["a", source, "out"]
        block.i4(1, 0, 1, 2, -1, 8)
    archive = Archive(chain(RAW, [{"": block}]))
    archive.objects = 100_000
    with pytest.raises(pg.ModelFileError, match="defines more than"):
        read_model(archive)


# -- hashes ----------------------------------------------------------------------------------------


def hashed(bits, bag=0, source="t"):
    keys = BlockWriter("HASHTRNS", "HashTransform", 0x00010002).i4(1).text("k", source)
    ones = BlockWriter("KEY2VECT", "KeyToVectorTransform", 0x00010002).i4(1).text("h", "k")
    return {"": keys.i4(bits, 7).u1(0)}, {"": ones.u1(bag)}


def with_texts(*steps):
    return made(*steps, raw=[*RAW, ("t", "TextSpan")])


def test_wide_hashes_are_sparse_columns():
    found = pg.to_torch(with_texts(*hashed(23))).columns(TEXTS)
    assert sparse.issparse(found["h"])
    assert found["h"].shape == (4, 1 << 23)
    assert found["h"].dtype == np.float32
    np.testing.assert_array_equal(found["h"].indices, found["k"] - 1)
    assert found["h"].sum() == 4
    narrow = pg.to_torch(with_texts(*hashed(10))).columns(TEXTS)
    assert isinstance(narrow["h"], np.ndarray)
    np.testing.assert_array_equal(narrow["h"].argmax(1), narrow["k"] - 1)


def test_sparse_columns_stay_sparse_on_their_way():
    fill = BlockWriter("NAREP TF", "X", 0x00010002).i4(1).text("r", "h").u1(6).raw(b"Single")
    steps = *hashed(22), {"": fill.u1(0).f4(0.5)}, concatenation("G", ["r", "F"])
    found = pg.to_torch(with_texts(*steps)).columns(TEXTS)
    assert found["G"].shape == (4, (1 << 22) + 3)
    np.testing.assert_array_equal(found["G"][:, -3:].toarray(), ROWS.to_numpy())


def row_norm(out, source):
    block = BlockWriter("GCNORMAF", "X", 0x00010003).i4(1).text(out, source)
    return {"": block.u1(0, 0).f4(1.0)}


def test_steps_that_need_dense_rows_are_bounded():
    with pytest.raises(pg.ModelFileError, match="more than 4,194,304 numbers in each row"):
        with_texts(*hashed(23), row_norm("n", "h"))
    few = pg.to_torch(with_texts(*hashed(12), row_norm("n", "h"), expression("x => x+1f", "n")))
    assert few.columns(TEXTS)["out"].sum() == 4 * ((1 << 12) + 1)


def test_predictors_that_need_dense_rows_say_how_much_memory():
    rows = SparseRows(torch.arange(31), torch.zeros(30, dtype=torch.int64), torch.ones(30), 1 << 23)
    with pytest.raises(
        MemoryError, match=r"30 rows of 8,388,608 sparse columns would need 1.01 GB"
    ):
        rows.to_dense()
    assert rows.take(slice(0, 2)).to_dense().shape == (2, 1 << 23)


def test_columns_cannot_double_for_ever():
    steps = [concatenation("F0", ["F", "F"])]
    steps += [concatenation(f"F{i}", [f"F{i - 1}"] * 4) for i in range(1, 12)]
    with pytest.raises(pg.ModelFileError, match=r"such as 'F\d+', have more than"):
        made(*steps)


# -- numbers that a file does not store ------------------------------------------------------------


def vector(size):
    return BlockWriter("LINEAR2C", "X", 0x00020001).i4(4).f4(0.0).i4(size, 1, 0, 1).f4(1.0)


def ensemble(width, count):
    block = BlockWriter("TLC OVA ", "X").i4(4).u1(0).i4(count)
    parts = {f"Model/SubPredictor_{i:03d}": vector(width) for i in range(count)}
    step = BlockWriter("MC  PRED", "X", 0x00010002).text("h", "y", "Score", "PredictedLabel")
    return {"": step, "Model": block, **parts}


def centers(width, count):
    block = BlockWriter("KMEANS  ", "X", 0x00010002).i4(4, count, width)
    for _ in range(count):
        block.i4(1, 0).f4(1.0)
    return {"": BlockWriter("CLUSPRED", "X").text("h"), "Model": block}


@pytest.mark.parametrize("wide", [ensemble, centers])
def test_sparse_weights_are_counted_as_the_dense_ones_they_become(wide):
    few = with_texts(*hashed(12), wide(1 << 12, 6))
    assert pg.to_torch(few).predict(TEXTS).shape == (4,)
    with pytest.raises(pg.ModelFileError, match="GB for numbers that the file does not store"):
        with_texts(*hashed(23), wide(1 << 23, 10))


def test_tables_of_bounds_are_counted_with_their_padding():
    inner = BlockWriter("BIN NORM", "X").i4(4, 3)
    for count in (1, 1, 40_000_000 // 4096):
        inner.i4(count).f4(*np.arange(1.0, count), np.inf)
    outer = BlockWriter("NORMALZR", "X", 0x00010002).i4(1).text("N", "F").u1(1, 9).i4(1, 3)
    files = {"": outer, "Normalizer_000": BlockWriter("BINNORMF", "X").u1(0)}
    files["Normalizer_000/BinNormalizer"] = inner
    assert pg.to_torch(made(files)).columns(ROWS)["N"].shape == (4, 3)
    shapes = BlockWriter("GAM REGP", "X", 0x00010002).i4(20_001, 3).f8(0.0)
    for count in [4000] + [1] * 20_000:
        shapes.i4(count).f8(*[1.0] * count)
    shapes.f8(*np.arange(4000.0)).f8(*[1.0] * 20_000).i4(20_001)
    for i in range(20_001):
        shapes.i4(0, i)
    step = {"": BlockWriter("REG PRED", "X").text("F"), "Model": shapes}
    with pytest.raises(pg.ModelFileError, match="GB for numbers"):
        made(step)


def dropped(*ranges, source="F"):
    first, last = zip(*ranges, strict=True)
    block = BlockWriter("DROPSLOT", "X").i4(1).text("D", source)
    return {"": block.i4(len(ranges), *first, *last)}


@pytest.mark.parametrize(
    ("ranges", "kept"),
    [
        ([(1, 1)], [0, 2]),
        ([(0, 0), (2, 9)], [1]),
        ([(0, 1), (1, 1), (0, 0)], [2]),
        ([(5, 2**31 - 1)], [0, 1, 2]),
        ([(0, 2**31 - 1)], []),
    ],
)
def test_ranges_of_slots(ranges, kept):
    found = pg.to_torch(made(dropped(*ranges))).columns(ROWS)["D"]
    np.testing.assert_array_equal(found, ROWS.to_numpy()[:, kept])


def test_many_ranges_of_many_slots():
    steps = *hashed(22), dropped(*[(0, 1 << 22)] * 20_000, (1, 3), source="h")
    assert pg.to_torch(with_texts(*steps)).graph.columns
    with pytest.raises(pg.ModelFileError, match="wrong order"):
        made(dropped((2, 1)))


def test_names_and_terms_that_repeat_count_each_time():
    long = BlockWriter("COPYCOLT", "X").i4(2000)
    long.strings.append("n" * 100_000)
    for _ in range(4000):
        long.i4(0)
    with pytest.raises(pg.ModelFileError, match="defines more than"):
        made({"": long})
    vocabulary = BlockWriter("TERM MAN", "X", 0x00010002).i4(1).u1(0).i4(20_000)
    vocabulary.strings.append("n" * 50_000)
    for _ in range(20_000):
        vocabulary.i4(0)
    terms = BlockWriter("TERMTRNF", "X", 0x00010003).i4(1).text("k", "t").u1(0)
    with pytest.raises(pg.ModelFileError, match="defines more than"):
        with_texts({"": terms, "Vocabulary": vocabulary})


def test_selected_columns_that_repeat_are_bounded():
    places = BlockWriter("CHSCOLIF", "X").u1(0).i4(30_000, *[0] * 30_000)
    with pytest.raises(pg.ModelFileError, match="more than 20000 columns"):
        made({"": places})
    names = BlockWriter("SELCOLST", "X").u1(1, 1, 0).i4(30_000)
    names.strings.append("a")
    for _ in range(30_000):
        names.i4(0)
    with pytest.raises(pg.ModelFileError, match="more than 20000 columns"):
        made({"": names})


def test_many_columns_take_time_in_proportion():
    raw = [(f"c{i}", "Single") for i in range(1500)]
    copies = BlockWriter("COPYCOLT", "X").i4(1500)
    copies.strings = [f"d{i}" for i in range(1500)] + [name for name, _ in raw]
    for i in range(1500):
        copies.i4(i, 1500 + i)
    joined = concatenation("F", [f"d{i}" for i in range(0, 1500, 100)])
    net = pg.to_torch(read_model(Archive(chain(raw, [{"": copies}, joined]))))
    table = {name: np.arange(2, dtype=np.float32) for name, _ in raw}
    assert len(net.columns(table)) == 1501
    del table["c100"]
    assert set(net.columns(table)) == {f"d{i}" for i in range(1500) if i != 100}


def test_columns_of_types_without_numbers():
    copies = BlockWriter("COPYCOLT", "X").i4(1).text("when", "date")
    net = pg.to_torch(made({"": copies}, raw=[*RAW, ("date", "DateTime")]))
    with pytest.raises(pg.ArgumentError, match="Column 'date' holds DateTime, which is not supp"):
        net.columns(ROWS.assign(date=0))


# -- random numbers --------------------------------------------------------------------------------


def one_by_one(state, count):
    """The definition of the generator, a number at a time."""
    a, b, c, d = (int(s) for s in state)
    out, every = [], 0xFFFFFFFF
    for _ in range(count):
        a = (((a & 0xFFFFFFFE) << 12) & every) ^ ((((a << 13) & every) ^ a) >> 19)
        b = (((b & 0xFFFFFFF8) << 4) & every) ^ ((((b << 2) & every) ^ b) >> 25)
        c = (((c & 0xFFFFFFF0) << 17) & every) ^ ((((c << 3) & every) ^ c) >> 11)
        d = (1664525 * d + 1013904223) & every
        out.append(a ^ b ^ c ^ d)
    return np.array(out, dtype=np.uint32)


def test_random_numbers_are_drawn_in_blocks():
    state = np.array([70_000, 2**32 - 5, 123_456_789, 17], dtype=np.uint32)
    bits = one_by_one(state, 40_000)
    wanted = np.tan(np.pi * ((bits[:39_000] >> 9) / 2**23 - 0.5)).astype(np.float32)
    drawn, phases = kernel_frequencies(state, 39, 1000, "laplacian", 1.0, False)
    np.testing.assert_allclose(drawn.ravel(), wanted, rtol=1e-6)
    wanted = ((bits[39_000:] >> 9) / 2**23 - 0.5) * np.pi
    np.testing.assert_allclose(phases, wanted, rtol=1e-6)


def test_kernel_maps_of_a_small_file_are_bounded():
    def kernel(count):
        block = BlockWriter("RFF FUNC", "X", 0x00010002).i4(count)
        for i in range(count):
            block.text(f"r{i}", "F")
        generators = {}
        for i in range(count):
            block.i4(3, 1_000_000).u1(1).i4(4, 1, 2, 3, 4)
            generators[f"MatrixGenerator{i}"] = BlockWriter("RND GAUS", "X").i4(4).f4(1.0)
        return {"": block, **generators}

    with pytest.raises(pg.ModelFileError, match="GB for numbers"):
        made(kernel(3))
