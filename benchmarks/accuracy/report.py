"""Writes the page of the study from its results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import figures
import numpy as np
import pandas as pd
from arms import CONTEXT
from figures import CONTROLS, NOISE, WORTH, Goal, Summary
from plots import draw
from templates import TEMPLATES

from data import DATASETS

_CONTROL_WORDS = {
    "search": "random search",
    "wider": "wider bottleneck",
    "last": "last operator only",
    "random": "random initialization",
}


def markdown(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(value: float, digits: int = 1) -> str:
    """Percentage for a table cell, without negative zero; empty for NaN."""
    return "" if np.isnan(value) else f"{round(100 * value, digits) + 0.0:.{digits}f}%"


def goals_table(goals: list[Goal]) -> str:
    words = {True: "reached", False: "**not reached**", None: "not run"}
    return markdown(
        ["loss_target on the evaluation data sets", "result", ""],
        [
            [loss_target.text, loss_target.number, words[loss_target.reached]]
            for loss_target in goals
        ],
    )


def summary_table(found: list[Summary], costs: pd.DataFrame) -> str:
    if not len(costs):
        return "No results."
    head = ["pipeline", "data sets", "runs", "median reduction", "95% interval", "better by 0.5%"]
    head += ["worse by 0.5%", "worst run", "better / worse beyond noise", "Wilcoxon p"]
    head += ["CPU seconds", "multiple of fit time"]
    return markdown(head, [_summary_row(one, costs) for one in found])


def _summary_row(one: Summary, costs: pd.DataFrame) -> list[str]:
    rows = costs[costs.template == one.name]
    if one.name not in TEMPLATES:
        rows = costs if one.name == "all" else costs[costs.template.isin(figures.BOTTLENECKS)]
    low, high = one.interval
    return [
        one.name,
        str(one.sets),
        str(one.runs),
        percent(one.median),
        "" if np.isnan(low) else f"{percent(low)} to {percent(high)}",
        percent(one.better, 0),
        percent(one.worse),
        percent(one.worst),
        f"{one.helped} / {one.harmed}",
        "" if np.isnan(one.p) else f"{one.p:.2g}",
        f"{rows.seconds.median():.1f}",
        f"{rows.times.median():.0f}",
    ]


def controls_table(table: pd.DataFrame) -> str:
    """Shares of runs; a run counts only where the control applies."""
    if not len(table):
        return "No results."
    rows = []
    for name in [*TEMPLATES, "all"]:
        part = table if name == "all" else table[table.template == name]
        if len(part):
            rows.append([name, *(_beside(part, arm) for arm in CONTROLS)])
    head = ["pipeline", *(_CONTROL_WORDS[arm] for arm in CONTROLS)]
    return markdown(head, rows)


def _beside(table: pd.DataFrame, arm: str) -> str:
    runs = figures.compare(table, "finetuned", arm)
    if not len(runs):
        return ""
    at_least = (runs.z >= -NOISE).mean()
    lower = (runs.z > 0).mean()
    return f"{percent(at_least, 0)}, {percent(lower, 0)} ({len(runs)})"


def reference_table(both: pd.DataFrame) -> str:
    rows = [
        [
            row.data,
            row.template,
            _half_of(row.data),
            percent(row.reduction),
            percent(row.reference),
            f"{row.seconds:.1f}",
            f"{row.reference_seconds:.1f}",
        ]
        for row in both.sort_values(["template", "data"]).itertuples()
    ]
    head = ["data", "pipeline", "half", "reduction", "reference", "seconds", "reference"]
    return markdown(head, rows)


def reference_medians(both: pd.DataFrame) -> str:
    rows = []
    for half in figures.HALVES:
        for template, part in figures.half(both, half).groupby("template", sort=False):
            times = (part.seconds / part.reference_seconds).median()
            cells = [percent(part.reduction.median()), percent(part.reference.median())]
            cells += [str((part.reduction >= part.reference).sum()), f"{times:.2f}"]
            rows.append([half, str(template), str(len(part)), *cells])
    head = ["half", "pipeline", "data sets", "median reduction", "reference", "at least as large"]
    head += ["time ratio"]
    return markdown(head, rows)


def by_hand_table(both: pd.DataFrame) -> str:
    """The hand-written portfolio and ours on the same splits."""
    if not len(both):
        return "Not run."
    rows = []
    for half in figures.HALVES:
        for template, part in figures.half(both, half).groupby("template", sort=False):
            medians = part.groupby("data")[["reduction", "by_hand"]].mean().median()
            times = (part.seconds / part.hand_seconds).median()
            better, worse = (part.z > NOISE).sum(), (part.z < -NOISE).sum()
            cells = [percent(medians.reduction), percent(medians.by_hand)]
            harm = (percent((part[c] < -WORTH).mean(), 0) for c in ("reduction", "by_hand"))
            least = (percent(part[c].min()) for c in ("reduction", "by_hand"))
            cells += [*harm, *least, f"{better} / {worse}", f"{times:.2f}"]
            rows.append([half, str(template), str(len(part)), *cells])
    names = ["median reduction", "worse by 0.5%", "worst run"]
    head = ["half", "pipeline", "runs"]
    head += [word for name in names for word in (name, "hand-written")]
    head += ["better / worse than hand-written", "time ratio"]
    return markdown(head, rows)


def context_table(table: pd.DataFrame) -> str:
    """Test losses of the pipelines before and after fine-tuning, and of other kinds of model."""
    ran = figures.random_splits(table[table.loss.notna()])
    losses = ran.groupby(["data", "template", "arm"]).loss.mean()
    rows = []
    for data in DATASETS:
        if data.name not in losses.index.get_level_values("data"):
            continue
        mine = losses[data.name]
        best = {arm: _best(mine, arm) for arm in ("pipeline", "finetuned")}
        models = [mine.get((CONTEXT, arm), np.nan) for arm in ("hist_gradient_boosting", "mlp")]
        told = ["" if np.isnan(loss) else f"{loss:.4g}" for loss in models]
        rows.append([data.name, data.task, best["pipeline"], best["finetuned"], *told])
    head = ["data", "task", "best pipeline", "best fine-tuned", "HistGradientBoosting", "MLP"]
    return markdown(head, rows)


def _best(losses: pd.Series, arm: str) -> str:
    found = {t: loss for (t, a), loss in losses.items() if a == arm}
    if not found:
        return ""
    name = min(found, key=lambda t: found[t])
    return f"{found[name]:.4g} ({name})"


def pairs_table(means: pd.DataFrame) -> str:
    """One row per data set, one column per pipeline."""
    known = means.set_index(["data", "template"])
    names = [name for name in TEMPLATES if (means.template == name).any()]
    rows = []
    for data in DATASETS:
        if not (means.data == data.name).any():
            continue
        cells = [_cell(known, data.name, name) for name in names]
        rows.append([data.name, _half_of(data.name), *cells])
    return markdown(["data", "half", *names], rows)


def _cell(known: pd.DataFrame, data: str, template: str) -> str:
    if (data, template) not in known.index:
        return ""
    row = known.loc[data, template]
    return f"{100 * row.reduction:.1f} ± {100 * row.error:.1f}"


def _half_of(name: str) -> str:
    return "evaluation" if name in figures.EVALUATION else "development"


def worse_table(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Every run that got worse by more than `WORTH`."""
    lost = runs[runs.reduction < -WORTH].sort_values("reduction")
    if not len(lost):
        return f"No run got worse by more than {percent(WORTH)}."
    told = table[table.arm == "finetuned"].set_index(figures.RUN)
    rows = []
    for row in lost.itertuples():
        note = told.loc[(row.data, row.template, row.split)]
        expected = percent(note.gain / note.before) if note.before > 0 else ""
        cells = [row.data, row.template, row.split, _half_of(row.data), percent(row.reduction)]
        rows.append([*cells, f"{row.z:.1f}", note.chosen, expected])
    head = ["data", "pipeline", "split", "half", "reduction", "in standard errors", "selected"]
    return markdown([*head, "estimated gain"], rows)


def time_table(table: pd.DataFrame) -> str:
    runs = figures.compare(table, "finetuned", "pipeline")
    ordered = figures.compare(table, "ordered", "pipeline")
    parts = (runs[runs.split == "time"], ordered, figures.random_splits(runs))
    known = [figures.pairs(some).set_index(["data", "template"]) for some in parts]
    rows = [[*key, *(_cell(some, *key) for some in known)] for key in known[0].index]
    head = ["by time", "by time, time-ordered validation", "at random"]
    return markdown(["data", "pipeline", *head], rows)


def failures_table(table: pd.DataFrame) -> str:
    lost = table[table.error != ""]
    if not len(lost):
        return "None."
    counts = lost.assign(why=lost.error.str.split("\n").str[0].str.slice(0, 160))
    counts = counts.groupby(["template", "arm", "why"], sort=False)
    rows = [[*map(str, key), str(len(r)), ", ".join(r.data.unique())] for key, r in counts]
    return markdown(["pipeline", "arm", "error", "runs", "data"], rows)


def settings_of(folder: Path) -> str:
    path = folder / "study.json"
    if not path.exists():
        return ""
    known = json.loads(path.read_text(encoding="utf-8"))
    versions = ", ".join(f"{n} {v}" for n, v in known.get("versions", {}).items())
    return (
        f"Data sets of more than {known['rows']:,} rows are subsampled to that many. "
        f"Versions: {versions}."
    )


def note_of(folder: Path) -> list[str]:
    """The contents of ``notes.md`` in the folder of results: how they were obtained."""
    path = folder / "notes.md"
    return [path.read_text(encoding="utf-8").strip()] if path.exists() else []


def page_of(
    table: pd.DataFrame,
    settings: str,
    plots: list[str],
    reference: pd.DataFrame | None,
    note: Sequence[str] = (),
) -> str:
    runs = figures.compare(table, "finetuned", "pipeline")
    fair = figures.random_splits(runs)
    costs = figures.random_splits(figures.costs(table))
    halves = {name: figures.half(fair, name) for name in figures.HALVES}
    tables = {
        name: summary_table(figures.summaries(part), figures.half(costs, name))
        for name, part in halves.items()
    }
    count = fair[["data", "template"]].drop_duplicates()
    parts = [
        "# Does fine-tuning pay off, and is it safe?",
        f"{len(runs)} runs of `pg.FineTuner` with no setting except its seed: {len(count)} pairs "
        f"of {fair.data.nunique()} data sets and {fair.template.nunique()} pipelines, each on up "
        "to five random splits (80% training, 20% test) and, where rows are in chronological "
        f"order, on one split by time. {settings} Written by `benchmarks/accuracy/study.py`; "
        "`benchmarks/accuracy/templates.py` defines the pipelines, and [data.md](data.md) lists "
        "the sources of the data.",
        "Loss: Poisson deviance for counts, squared error for standardized regression targets, "
        "log loss for classes. The *reduction* of a run is its relative loss reduction, "
        "1 - loss after / loss before, on the test set, against the same pipeline fitted on all "
        "training rows. The library's settings were chosen on one half of the data sets (every "
        "other one in the list of `data.py`), the *development* data sets; the other half are the "
        "*evaluation* data sets. Results on the development half are optimistic.",
        *note,
        goals_table(figures.goals(table, reference)),
        f"![Loss reductions by pipeline]({plots[0]})",
        "## Evaluation data sets, by pipeline",
        "Medians are over means of splits, their 95% confidence intervals from bootstrapping data "
        "sets; percentages better or worse are shares of runs. *Beyond noise*: by more than "
        f"{NOISE:.0f} standard errors of the per-sample differences. *Wilcoxon p*: signed-rank "
        "test over data sets. Times are medians on one thread.",
        tables["evaluation"],
        "## Development data sets, by pipeline",
        tables["development"],
        "## Every run that got worse",
        f"Test loss higher by more than {percent(WORTH)}; all data sets and splits.",
        worse_table(table, runs),
        "## Comparison with controls",
        _CONTROLS_TEXT,
        f"![Fine-tuning against each control]({plots[1]})",
        "Evaluation data sets: share of runs in which fine-tuning is better or within noise, share "
        "in which it is better, and number of runs.",
        controls_table(figures.half(figures.random_splits(table), "evaluation")),
        "Development data sets:",
        controls_table(figures.half(figures.random_splits(table), "development")),
        "## Cost",
        f"![Loss reduction against cost]({plots[2]})",
        _costs_text(costs),
    ]
    if reference is not None:
        both = figures.against_reference(table, reference)
        parts += [
            "## Comparison with a hand-written portfolio",
            _REFERENCE_TEXT,
            reference_medians(both),
        ]
        hand = figures.beside_by_hand(figures.random_splits(table))
        parts += [_BY_HAND_TEXT, by_hand_table(hand), reference_table(both)]
    parts += ["## Comparison with other kinds of model", _CONTEXT_TEXT, context_table(table)]
    if (runs.split == "time").any():
        parts += ["## Split by time", _TIME_TEXT, time_table(table)]
    parts += [
        "## Every pair",
        "Loss reduction in percent: mean over random splits ± standard error of the per-sample "
        "differences.",
        pairs_table(figures.pairs(fair)),
        "## Failed runs",
        failures_table(table),
    ]
    return "\n\n".join(parts) + "\n"


_CONTROLS_TEXT = (
    "*Random search*: hyperparameters of all steps of the same pipeline, sampled for as long as "
    "fine-tuning took, the defaults among them, scored on a held-out fifth of the training rows "
    "and refitted on all; bottleneck sizes range from half to twice the default "
    "(`benchmarks/accuracy/search_spaces.py`). *Wider bottleneck*: the same pipeline with twice as "
    "many components, centers or bins. *Last operator only*: `FineTuner(train=[...])`; it does not "
    "apply where nothing else is trainable. *Random initialization*: the same network from "
    '`to_torch(init="random")`, trained for as long by L-BFGS and by Adam; the better one on a '
    "held-out fifth of the training rows counts. Costly controls ran on the first splits only."
)
_REFERENCE_TEXT = (
    "Three hand-written training strategies (full-batch L-BFGS, one-cycle Adam, relative rates), "
    "the best one selected by validation loss; results from one other split of at most 12,000 "
    "rows, on another machine."
)
_BY_HAND_TEXT = (
    "The same three strategies on the splits and the machine of this study (`by_hand` in "
    "`benchmarks/accuracy/variants.py`); their baseline is the pipeline fitted on the same "
    "training rows. *Better / worse*: runs in which the two test losses differ beyond noise."
)
_CONTEXT_TEXT = (
    "Mean test losses. The best pipeline is selected by these same test losses, which is slightly "
    "optimistic; the other models have scikit-learn's default settings, the MLP early stopping."
)
_TIME_TEXT = (
    "The last 20% of the rows are the test set. Loss reduction in percent ± standard error; "
    "*time-ordered validation*: `FineTuner(cv=TimeSeriesSplit(5))`."
)


def _costs_text(costs: pd.DataFrame) -> str:
    low, middle, high = costs.seconds.quantile([0.1, 0.5, 0.9])
    times = costs.times.quantile([0.1, 0.5, 0.9])
    return (
        "CPU seconds of fine-tuning on one thread, including fits of the pipeline itself: "
        f"median {middle:.1f}, 80% between {low:.1f} and {high:.1f}. As a multiple of the "
        f"pipeline's fit time: median {times[0.5]:.0f}, 80% between {times[0.1]:.0f} and "
        f"{times[0.9]:.0f}."
    )


def write(results: Path, page: Path, reference: Path | None = None) -> None:
    """Write the page and its plots; print the goals."""
    table = figures.read(results)
    other = None if reference is None else pd.read_csv(reference, sep="\t")
    plots = draw(table, page)
    names = [plot.name for plot in plots]
    text = page_of(table, settings_of(results), names, other, note_of(results))
    page.write_text(text, encoding="utf-8")
    words = {True: "yes", False: "NO", None: "-"}
    for loss_target in figures.goals(table, other):
        print(f"{words[loss_target.reached]:>3}  {loss_target.text}: {loss_target.number}")
    print(f"{page}: {table[figures.RUN].drop_duplicates().shape[0]} runs")
