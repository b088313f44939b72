"""Writes the tables of `rule_study.py` and `null_simulation.py` between the markers of a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from figures import WORTH
from null_simulation import rates_table
from variants import (
    ADAM,
    FASTER,
    ONE_RATE,
    RANDOM,
    RAW,
    RAW_RESET_HEAD,
    RECIPE,
    RELATIVE,
    RESET_HEAD,
    SCALED,
    SHORT,
    SIZE,
    SOLVED,
    WHITENED,
)

from report import markdown, percent

PAIR = ["data", "template", "split"]
COORDINATES = (RAW, SCALED, SIZE, *WHITENED, *SOLVED)
LENGTHS = (SCALED, SHORT)
CYCLES = (ADAM, RELATIVE, ONE_RATE, FASTER)
STARTS = (SCALED, RESET_HEAD, RAW, RAW_RESET_HEAD, RANDOM)
CHOSEN = "best by validation"
_NOTHING = "Not measured."


def reductions(results: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Runs of all pairs in which every strategy of these groups has finished without an error."""
    found = results[results.group.isin(groups) & (results.arm != "")].copy()
    found["reduction"] = 1 - found.after / found.before
    whole = found.groupby(PAIR)
    complete = (whole.arm.transform("nunique") == found.arm.nunique()) & (
        whole.error.transform(lambda errors: (errors == "").all())
    )
    return found[complete]


def chosen(runs: pd.DataFrame) -> pd.DataFrame:
    """The run with the lowest validation loss, for each pair."""
    return runs.loc[runs.groupby(PAIR).valid.idxmin()]


def summary(runs: pd.DataFrame, with_chosen: bool = False) -> str:
    """One row per strategy: median reductions, and how often it is the best by validation."""
    if not len(runs):
        return _NOTHING
    best = chosen(runs)
    arms = list(dict.fromkeys(runs.arm))
    parts = [(arm, runs[runs.arm == arm]) for arm in arms]
    if with_chosen:
        parts.append((CHOSEN, best))
    templates = list(dict.fromkeys(runs.template))
    rows = []
    for arm, part in parts:
        medians = [part[part.template == name].reduction.median() for name in templates]
        seconds = "" if arm == CHOSEN else f"{part.seconds.median():.1f}"
        wins = "" if arm == CHOSEN else str(int((best.arm == arm).sum()))
        cells = [percent(value) for value in [*medians, part.reduction.median()]]
        worse = [percent((part.reduction < -WORTH).mean(), 0), percent(part.reduction.min())]
        rows.append([arm, *cells, *worse, wins, seconds])
    head = ["strategy", *templates, "all", "worse by 0.5%", "worst", "wins", "seconds"]
    caption = (
        f"{_counted(runs)} Median relative reductions of the test loss; *wins*: pairs in which the "
        "strategy has the lowest validation loss; median CPU seconds."
    )
    return f"{caption}\n\n{markdown(head, rows)}"


def among(results: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Runs of these strategies, in their order, on pairs in which all of them have finished."""
    runs = reductions(results[results.arm.isin(arms)], ["variants"])
    rank = {name: place for place, name in enumerate(arms)}
    return runs.sort_values("arm", key=lambda found: found.map(rank), kind="stable")


def members(results: pd.DataFrame) -> str:
    """Result of the best by validation, without each of the recipe's candidates and with others."""
    # The solver does not take sparse columns, so including it would lose pairs.
    runs = reductions(results[~results.arm.isin(SOLVED)], ["variants"])
    if not len(runs):
        return _NOTHING
    others = [arm for arm in dict.fromkeys(runs.arm) if arm not in RECIPE]
    sets = {"all five": set(RECIPE)}
    sets |= {f"without {name}": set(RECIPE) - {name} for name in RECIPE}
    sets |= {f"with {name}": {*RECIPE, name} for name in others}
    sets[f"{ONE_RATE} instead of {ADAM}"] = (set(RECIPE) - {ADAM}) | {ONE_RATE}
    rows = []
    for name, arms in sets.items():
        some = runs[runs.arm.isin(arms)]
        found = chosen(some).reduction
        seconds = some.groupby(PAIR).seconds.sum().median()
        cells = [percent(found.mean(), 2), percent(found.median(), 2)]
        cells += [percent((found < -WORTH).mean(), 0), percent(found.min())]
        rows.append([name, *cells, f"{seconds:.1f}"])
    head = ["candidates", "mean reduction", "median", "worse by 0.5%", "worst", "total seconds"]
    return f"{_counted(runs)}\n\n{markdown(head, rows)}"


def _counted(runs: pd.DataFrame) -> str:
    pairs, templates = len(runs[PAIR].drop_duplicates()), runs.template.nunique()
    return f"{pairs} pairs of {runs.data.nunique()} data sets and {templates} pipelines."


def every_pair(results: pd.DataFrame) -> str:
    """Reductions of the recipe's candidates by pair, with the standard error of the test loss."""
    runs = among(results, RECIPE)
    arms = list(dict.fromkeys(runs.arm))
    rows = []
    for (template, data), part in runs.groupby(["template", "data"], sort=False):
        known = part.set_index("arm")
        noise = (known.noise / known.before).median()
        values = [f"{100 * known.reduction[arm] + 0.0:.1f}" for arm in arms]
        rows.append([data, template, *values, f"{100 * noise:.1f}"])
    return markdown(["data", "pipeline", *arms, "±"], rows)


def anchors(results: pd.DataFrame) -> str:
    return summary(reductions(results, ["anchors"]))


TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "portfolio": lambda results: summary(among(results, RECIPE), with_chosen=True),
    "members": members,
    "coordinates": lambda results: summary(among(results, COORDINATES)),
    "lengths": lambda results: summary(among(results, LENGTHS)),
    "starts": lambda results: summary(among(results, STARTS)),
    "cycles": lambda results: summary(among(results, CYCLES)),
    "steps": lambda results: summary(reductions(results, ["steps"])),
    "anchors": anchors,
    "rate": lambda results: summary(reductions(results, ["rate"])),
    "pairs": every_pair,
    "chance": lambda _: rates_table(),
}


def filled(text: str, tables: dict[str, str]) -> str:
    """The page, with each table between the markers of its name."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        text = pattern.sub(lambda _, t=table: f"{start}\n\n{t}\n\n{end}", text)  # noqa: B023
    return text


def write(results: pd.DataFrame, page: Path) -> None:
    """Update the tables that the page has markers for; tables without results stay unchanged."""
    text = page.read_text(encoding="utf-8")
    wanted = [name for name in TABLES if f"<!-- {name} -->" in text]
    tables = {name: TABLES[name](results) for name in wanted}
    tables = {name: table for name, table in tables.items() if table != _NOTHING}
    page.write_text(filled(text, tables), encoding="utf-8")
    failed = results[results.error != ""]
    print(f"{page}: {', '.join(tables)}; {len(failed)} runs with an error")
