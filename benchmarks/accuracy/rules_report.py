"""Tables of `rules.py` and `chance.py`, written between the markers of a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from chance import rates_table
from figures import WORTH
from report import markdown, percent
from ways import (
    ADAM,
    ANEW,
    FASTER,
    ONE_RATE,
    RANDOM,
    RAW,
    RAW_ANEW,
    RECIPE,
    RELATIVE,
    SCALED,
    SHORT,
    SIZE,
    SOLVED,
    WHITENED,
)

PAIR = ["data", "template", "split"]
COORDINATES = (RAW, SCALED, SIZE, *WHITENED, *SOLVED)
LENGTHS = (SCALED, SHORT)
CYCLES = (ADAM, RELATIVE, ONE_RATE, FASTER)
STARTS = (SCALED, ANEW, RAW, RAW_ANEW, RANDOM)
CHOSEN = "the best by validation"
_NOTHING = "Not measured."


def cuts(results: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """Runs without an error, of pairs in which every way of these groups has ended."""
    found = results[results.group.isin(groups) & (results.arm != "")].copy()
    found["cut"] = 1 - found.after / found.before
    whole = found.groupby(PAIR)
    complete = (whole.arm.transform("nunique") == found.arm.nunique()) & (
        whole.error.transform(lambda errors: (errors == "").all())
    )
    return found[complete]


def chosen(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each pair the run with the lowest loss of the rows that validate."""
    return runs.loc[runs.groupby(PAIR).valid.idxmin()]


def summary(runs: pd.DataFrame, with_chosen: bool = False) -> str:
    """A row for each way: median cuts, and how often it is the best by validation."""
    if not len(runs):
        return _NOTHING
    best = chosen(runs)
    ways = list(dict.fromkeys(runs.arm))
    parts = [(way, runs[runs.arm == way]) for way in ways]
    if with_chosen:
        parts.append((CHOSEN, best))
    templates = list(dict.fromkeys(runs.template))
    rows = []
    for way, part in parts:
        medians = [part[part.template == name].cut.median() for name in templates]
        seconds = "" if way == CHOSEN else f"{part.seconds.median():.1f}"
        first = "" if way == CHOSEN else str(int((best.arm == way).sum()))
        cells = [percent(value) for value in [*medians, part.cut.median()]]
        worse = [percent((part.cut < -WORTH).mean(), 0), percent(part.cut.min())]
        rows.append([way, *cells, *worse, first, seconds])
    head = ["strategy", *templates, "all", "worse by 0.5%", "worst", "first", "seconds"]
    told = (
        f"{_counted(runs)} Median relative reductions of the test loss; *first*: pairs in which "
        "the strategy has the lowest validation loss of these; median CPU seconds."
    )
    return f"{told}\n\n{markdown(head, rows)}"


def among(results: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Runs of these ways, in their order, on pairs in which all of them have ended."""
    runs = cuts(results[results.arm.isin(arms)], ["ways"])
    rank = {name: place for place, name in enumerate(arms)}
    return runs.sort_values("arm", key=lambda found: found.map(rank), kind="stable")


def members(results: pd.DataFrame) -> str:
    """What the best by validation is worth without one of the recipe's, and with another."""
    # A solver takes no sparse columns, so that pairs would be lost to it.
    runs = cuts(results[~results.arm.isin(SOLVED)], ["ways"])
    if not len(runs):
        return _NOTHING
    others = [arm for arm in dict.fromkeys(runs.arm) if arm not in RECIPE]
    sets = {"the five": set(RECIPE)}
    sets |= {f"without {name}": set(RECIPE) - {name} for name in RECIPE}
    sets |= {f"with {name}": {*RECIPE, name} for name in others}
    sets[f"{ONE_RATE} in place of {ADAM}"] = (set(RECIPE) - {ADAM}) | {ONE_RATE}
    rows = []
    for name, arms in sets.items():
        some = runs[runs.arm.isin(arms)]
        found = chosen(some).cut
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
    """Cuts of the recipe's own by pair, with the noise of the test rows."""
    runs = among(results, RECIPE)
    ways = list(dict.fromkeys(runs.arm))
    rows = []
    for (template, data), part in runs.groupby(["template", "data"], sort=False):
        known = part.set_index("arm")
        noise = (known.noise / known.before).median()
        values = [f"{100 * known.cut[way] + 0.0:.1f}" for way in ways]
        rows.append([data, template, *values, f"{100 * noise:.1f}"])
    return markdown(["data", "pipeline", *ways, "±"], rows)


def anchors(results: pd.DataFrame) -> str:
    return summary(cuts(results, ["anchors"]))


TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "portfolio": lambda results: summary(among(results, RECIPE), with_chosen=True),
    "members": members,
    "coordinates": lambda results: summary(among(results, COORDINATES)),
    "lengths": lambda results: summary(among(results, LENGTHS)),
    "starts": lambda results: summary(among(results, STARTS)),
    "cycles": lambda results: summary(among(results, CYCLES)),
    "steps": lambda results: summary(cuts(results, ["steps"])),
    "anchors": anchors,
    "rate": lambda results: summary(cuts(results, ["rate"])),
    "pairs": every_pair,
    "chance": lambda _: rates_table(),
}


def filled(text: str, tables: dict[str, str]) -> str:
    """The page with each table between the markers that name it."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        text = pattern.sub(lambda _, t=table: f"{start}\n\n{t}\n\n{end}", text)  # noqa: B023
    return text


def write(results: pd.DataFrame, page: Path) -> None:
    """Make the tables that the page has markers for; one without results stays as it is."""
    text = page.read_text(encoding="utf-8")
    wanted = [name for name in TABLES if f"<!-- {name} -->" in text]
    tables = {name: TABLES[name](results) for name in wanted}
    tables = {name: table for name, table in tables.items() if table != _NOTHING}
    page.write_text(filled(text, tables), encoding="utf-8")
    failed = results[results.error != ""]
    print(f"{page}: {', '.join(tables)}; {len(failed)} runs with an error")
