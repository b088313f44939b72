"""Statements of SQLTransformer: what is parsed, what is refused, and values at the edges."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import torch

import pipegrad as pg
from pipegrad.modules import ExpressionProgram
from pipegrad.sources.named.programs import NotServedError
from pipegrad.sources.spark.sql import parse
from pipegrad.sources.spark.sql_formula import formula
from pipegrad.sources.spark.sql_values import evaluate

INF, NAN = np.inf, np.nan


def value(text, **columns):
    """The value of an expression for columns of one row."""
    _, [(name, program, inputs)] = parse(f"SELECT *, {text} AS made FROM __THIS__")
    assert name == "made"
    return evaluate(program, [np.array(columns[n]) for n in inputs], 1).tolist()[0]


def cell(thing):
    return np.array([thing], dtype=object)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a + 1 * 2 - 3", 0.0), ("-(a) * -2", 2.0), ("(a + 1) * 2", 4.0), ("a - 1 - 1", -1.0),
        ("2 * 3 % 4 + a", 3.0), ("a = 1 AND a < 2 OR a > 5", True), ("NOT a = 1 OR a = 1", True),
        ("a / 0", None), ("a % 0", None), ("0.0D / a", 0.0), ("a BETWEEN 0 AND 1 AND a = 1", True),
        ("CASE a WHEN 2 THEN 5 END", None), ("a IN (2, NULL)", None), ("a IN (1, NULL)", True),
        ("NULL", None), ("NULL + a", None), ("a <=> NULL", False), ("NULL IS NULL", True),
        ("coalesce(NULL, a, 2)", 1.0), ("greatest(NULL, a)", 1.0), ("ln(a - 1)", None),
        ("log10(a - 2)", None), ("sqrt(a - 2)", NAN), ("pow(a - 1, -1)", INF),
        ("exp(a * 1e4)", INF),
        ("round(a * 2.675D, 2)", 2.68), ("round(a * -0.5D)", -1.0), ("floor(-a / 2)", -1),
        ("int(a * -1.9D)", -1), ("`a` + __THIS__.a", 2.0), ("'x' = \"x\" AND a = 1", True),
        ("1.0 - 0.9 = 0.1 AND a = 1", True), ("1.0D - 0.9D = 0.1D OR a = 2", False),
    ],
)  # fmt: skip
def test_values(text, wanted):
    with np.errstate(all="raise"):
        found = value(text, a=[1.0])
    assert found == wanted or (wanted != wanted and found != found)
    assert type(found) is type(wanted)


def test_values_of_null_columns():
    for text, wanted in [
        ("n > 0", None), ("n > 0 AND false", False), ("n > 0 OR true", True), ("NOT n > 0", None),
        ("if(n > 0, 1, 2)", 2), ("n + 1", None), ("isnan(n)", False), ("concat(c, n)", None),
        ("nanvl(n, 1)", None), ("nullif(n, n)", None), ("CAST(n AS string)", None),
        ("greatest(n, n)", None), ("abs(n)", None), ("n IN (1, 2)", None), ("length(c)", 1),
    ]:  # fmt: skip
        assert value(text, n=cell(None), c=cell("x")) == wanted, text


def test_types_are_those_of_spark():
    def kind(text, **columns):
        return type(value(text, **columns))

    whole, wide = np.array([7], dtype=np.int32), np.array([7])
    assert value("n / 2", n=whole) == 3.5
    assert kind("n % 2", n=whole) is int
    assert value("CAST(n + 1 AS string)", n=wide) == "8"
    assert value("CAST(n + 1D AS string)", n=wide) == "8.0"
    assert value("CAST(d * 2 AS string)", d=cell(Decimal("1.50"))) == "3.00"
    assert value("d + 0.25", d=cell(Decimal("1.50"))) == Decimal("1.75")
    with pytest.raises(pg.ArgumentError, match="quotients of types"):
        value("d / 3", d=cell(Decimal("1.50")))
    with pytest.raises(pg.ArgumentError, match="fit into int"):
        value("n * 2", n=np.array([2**30], dtype=np.int32))
    with pytest.raises(pg.ArgumentError, match="fit into long"):
        value("n * n", n=np.array([2**40]))
    with pytest.raises(pg.ArgumentError, match=r"comparisons of types .* got text, int"):
        value("c = 1", c=cell("a"))
    with pytest.raises(pg.ArgumentError, match=r"conditions of types .* got long"):
        value("if(n, 1, 2)", n=wide)
    with pytest.raises(pg.ArgumentError, match="got float, int"):
        value("s * 2", s=np.array([1.5], dtype=np.float32))
    with pytest.raises(pg.ArgumentError, match="not with vectors"):
        value("x + 1", x=np.zeros((1, 2)))
    with pytest.raises(pg.ArgumentError, match="columns of one type"):
        value("x + 1", x=np.array(["a", 1], dtype=object))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT *, u + 1 FROM __THIS__", "without a name"),
        ("SELECT * FROM __THIS__ WHERE u > 0", "after the table"),
        ("SELECT *, sum(u) OVER () AS s FROM __THIS__", "calls sum"),
        ("SELECT *, u AS v FROM other", "where '__THIS__' is expected"),
        ("SELECT u[0] AS v FROM __THIS__", "not known"),
        ("SELECT u.v AS w FROM __THIS__", "reads a part"),
        ("SELECT u AS select FROM __THIS__", "where a name is expected"),
        ("SELECT *, cast(u AS date) AS v FROM __THIS__", "casts to 'date'"),
        ("SELECT *, pow(u) AS v FROM __THIS__", "calls pow for 1"),
        ("SELECT *, CASE u END AS v FROM __THIS__", "CASE without a WHEN"),
        ("SELECT *, 99999999999999999999 AS v FROM __THIS__", "no bigint"),
        ("SELECT *, 'it''s' AS v FROM __THIS__", "without a name, 'it'"),
        ("SELECT *, u --1\n AS v FROM __THIS__", "has a comment"),
        ("SELECT *, u /* 1 */ AS v FROM __THIS__", "has a comment"),
        ("DELETE", "where 'SELECT' is expected"),
        ("", "has 'nothing' where"),
        ("SELECT " + "(" * 500 + "u", "nested too deeply"),
        ("SELECT " + "+" * 9_000 + "u AS v FROM other", "where '__THIS__'"),
        ("SELECT " + "u" * 20_000, "longer than"),
    ],
)
def test_other_statements_are_refused(statement, reason):
    with pytest.raises(NotServedError, match=reason):
        parse(statement)


FORMULAS = [
    "a + b * 2", "a / b", "a % b", "a > b", "a = b AND b >= 0", "a <> 0 OR b = 1", "NOT a > 0",
    "if(a > b, a, -b)", "coalesce(a, b)", "greatest(a, b)", "least(a, b)", "ln(a)", "log1p(a)",
    "log10(b)", "sqrt(abs(a))", "exp(a) - expm1(b)", "pow(a, 2)", "a IS NULL", "b IS NOT NULL",
    "nullif(a, b)", "CASE WHEN a > 1 THEN 1 WHEN a > 0 THEN b END", "a BETWEEN 0 AND b",
    "greatest(a, a)", "CAST(a * 1.5D AS int)", "NULL AND a > 0", "true OR a > 0", "tanh(a)",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_of_torch_agree(text):
    """NaN stands for null on both sides of a module."""
    values = [-2.5, -1.0, 0.0, 0.5, 1.0, 3.0, None]
    pairs = [(a, b) for a in values for b in values]
    columns = {
        name: np.array([pair[i] for pair in pairs], dtype=object) for i, name in enumerate("ab")
    }
    _, [(_, program, inputs)] = parse(f"SELECT *, {text} AS made FROM __THIS__")
    exact = evaluate(program, [columns[n] for n in inputs], len(pairs))
    module = ExpressionProgram(formula(program)).double()
    blocks = [torch.tensor(columns[n].astype(float)) for n in inputs]
    found = module(*blocks).numpy()
    np.testing.assert_allclose(found, exact.astype(float), rtol=1e-12)


def test_formulas_without_numbers_are_refused():
    _, [(_, program, _)] = parse("SELECT upper(a) AS b FROM __THIS__")
    with pytest.raises(NotServedError, match="computes upper"):
        formula(program)


def test_a_selection_may_take_the_name_of_what_it_drops():
    whole, columns = parse("select u + 1 u, v, `w x` as w from __THIS__ ;")
    assert not whole
    assert [(name, inputs) for name, _, inputs in columns] == [
        ("u", ["u"]), ("v", ["v"]), ("w", ["w x"]),
    ]  # fmt: skip
