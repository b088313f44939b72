"""The statistics of the study, from its results.

A pair is a data set and a pipeline; a run is a pair on one split. The reduction of a run is
1 - after / before, with losses on its test set; that of a pair is the mean over its random splits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from templates import BOTTLENECKS, REFERENCE, TEMPLATES

from data import DEVELOPMENT, EVALUATION

# Critical value: a difference of more standard errors is beyond noise.
NOISE = 2.0
# Smallest relative change of the loss that counts as better or worse.
WORTH = 0.005
HALVES = {"evaluation": EVALUATION, "development": DEVELOPMENT}
CONTROLS = ("search", "wider", "last", "random")
_TINY = 1e-12
_RESAMPLES = 2_000
RUN = ["data", "template", "split"]


def read(folder: Path) -> pd.DataFrame:
    """All results in a folder, one row for each arm of each run."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise SystemExit(f"{folder} holds no results; run study.py without --report first.")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def reduction(before: float, after: float) -> float:
    """Relative loss reduction; 0 if both losses are no more than rounding error."""
    if max(before, after) <= _TINY:
        return 0.0
    return 1 - after / max(before, _TINY)


def compare(table: pd.DataFrame, arm: str, other: str) -> pd.DataFrame:
    """Compare two arms run by run.

    Returns
    -------
    DataFrame
        Columns data, template, split, task; ``reduction``, the relative loss reduction of ``arm``
        against ``other``; ``error``, its standard error from the per-sample differences; ``z``, the
        mean difference in standard errors, positive where ``arm`` is better.
    """
    ran = table[table.loss.notna()]
    ours = ran[ran.arm == arm].set_index(RUN)
    theirs = ran[ran.arm == other].set_index(RUN)
    found = []
    for key in ours.index.intersection(theirs.index, sort=False):
        one, two = ours.loc[key], theirs.loc[key]
        gap = np.asarray(two.test, float) - np.asarray(one.test, float)
        error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
        z = gap.mean() / error if error > 0 else 0.0
        change = reduction(two.loss, one.loss)
        found.append((*key, one.task, change, error / max(two.loss, _TINY), z))
    columns = [*RUN, "task", "reduction", "error", "z"]
    return pd.DataFrame(found, columns=columns)


def random_splits(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs.split != "time"]


def half(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    return runs[runs.data.isin(HALVES[name])]


def pairs(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over splits, with the standard error of the mean from per-sample differences."""
    if not len(runs):
        return pd.DataFrame(columns=["data", "template", "task", "reduction", "error", "splits"])
    groups = runs.groupby(["data", "template"], sort=False)
    return pd.DataFrame(
        {
            "task": groups.task.first(),
            "reduction": groups.reduction.mean(),
            "error": groups.error.apply(lambda e: np.sqrt((e**2).sum()) / len(e)),
            "splits": groups.size(),
        }
    ).reset_index()


def bootstrap(means: pd.DataFrame) -> tuple[float, float]:
    """95% bootstrap interval of the median over pairs; data sets are resampled with their pairs."""
    sets = [group.to_numpy(float) for _, group in means.groupby("data").reduction]
    if len(sets) < 2:
        return np.nan, np.nan
    draws = np.random.default_rng(0).integers(len(sets), size=(_RESAMPLES, len(sets)))
    medians = [np.median(np.concatenate([sets[i] for i in draw])) for draw in draws]
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)


def wilcoxon(values: Iterable[float]) -> float:
    """Two-sided p-value of the signed-rank test; data sets without a change are left out."""
    values = np.asarray(list(values), float)
    if np.count_nonzero(values) < 2:
        return np.nan
    return float(stats.wilcoxon(values[values != 0]).pvalue)


@dataclass(frozen=True)
class Summary:
    """Statistics of the runs of one pipeline, or of all. Shares are of runs."""

    name: str
    sets: int
    runs: int
    median: float
    interval: tuple[float, float]
    better: float
    worse: float
    worst: float
    harmed: int
    helped: int
    p: float


def summary(name: str, runs: pd.DataFrame) -> Summary:
    """Median, interval and signed-rank test over data sets; shares over runs."""
    means = pairs(runs)
    sets = means.groupby("data").reduction.mean() if len(means) else pd.Series(dtype=float)
    return Summary(
        name,
        len(sets),
        len(runs),
        float(means.reduction.median()),
        bootstrap(means),
        float((runs.reduction > WORTH).mean()),
        float((runs.reduction < -WORTH).mean()),
        float(runs.reduction.min()),
        int((runs.z < -NOISE).sum()),
        int((runs.z > NOISE).sum()),
        wilcoxon(sets),
    )


def summaries(runs: pd.DataFrame) -> list[Summary]:
    """One for each pipeline, one for those with a bottleneck or kernel step, and one for all."""
    found = [summary(n, runs[runs.template == n]) for n in TEMPLATES if (runs.template == n).any()]
    narrow = runs[runs.template.isin(BOTTLENECKS)]
    return [*found, summary("with a bottleneck or kernel", narrow), summary("all", runs)]


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of fine-tuning and their multiple of the pipeline's fit time, by run."""
    ran = table[table.loss.notna()]
    fit = ran[ran.arm == "pipeline"].set_index(RUN).seconds
    tuned = ran[ran.arm == "finetuned"].set_index(RUN).seconds
    keys = tuned.index.intersection(fit.index, sort=False)
    found = pd.DataFrame({"seconds": tuned[keys], "fit": fit[keys]})
    found["times"] = found.seconds / found.fit.clip(lower=1e-3)
    return found.reset_index()


def against_reference(table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Reduction and seconds of each pair, and those of the reference portfolio."""
    runs = random_splits(compare(table, "finetuned", "pipeline"))
    seconds = random_splits(costs(table)).groupby(["data", "template"]).seconds.mean()
    ours = pairs(runs).merge(seconds.reset_index(), on=["data", "template"])
    theirs = reference.assign(template=reference.pipeline.map(REFERENCE))
    wanted = {"gain_chosen_on_validation": "reference", "seconds_all_three": "reference_seconds"}
    theirs = theirs.rename(columns=wanted)[["data", "template", *wanted.values()]]
    return ours.merge(theirs, on=["data", "template"])


def beside_by_hand(table: pd.DataFrame) -> pd.DataFrame:
    """Reductions and seconds of ours and of the hand-written portfolio, on the same splits.

    The baseline of the hand-written portfolio is the pipeline fitted on the rows it trains on.
    ``z`` compares the two results, as in `compare`.
    """
    hand = table[(table.arm == "by_hand") & table.loss.notna()].set_index(RUN)
    tuned = table[table.arm == "finetuned"].set_index(RUN)
    runs = compare(table, "finetuned", "pipeline").set_index(RUN)
    found = compare(table, "finetuned", "by_hand").set_index(RUN)[["z"]]
    hand, tuned = hand.loc[found.index], tuned.loc[found.index]
    reductions = [reduction(*both) for both in zip(hand.before, hand.loss, strict=True)]
    return found.assign(
        reduction=runs.reduction.loc[found.index],
        by_hand=reductions,
        seconds=tuned.seconds,
        hand_seconds=hand.seconds,
    ).reset_index()


@dataclass(frozen=True)
class Goal:
    """A loss_target, the result, and whether it is reached."""

    text: str
    number: str
    reached: bool | None


def goals(table: pd.DataFrame, reference: pd.DataFrame | None = None) -> list[Goal]:
    """The goals, on the random splits of the evaluation data sets; None: no runs to judge by."""
    table = half(random_splits(table), "evaluation")
    runs = compare(table, "finetuned", "pipeline")
    numbers = runs[(runs.template == "figure1") & runs.task.isin(["count", "regression"])]
    narrow = runs[runs.template.isin(BOTTLENECKS)]
    means = pairs(runs)
    middle = pairs(numbers).reduction.median() if len(numbers) else np.nan
    better = [(some.reduction > WORTH).mean() for some in (narrow, pairs(narrow))]
    worse = [(some.reduction < -WORTH).mean() for some in (runs, means)]
    least = [some.reduction.min() for some in (runs, means)]
    found = [
        _goal(
            "Figure 1 on count and regression tasks: median reduction of at least 25%", middle, 0.25
        ),
        _goal("with a bottleneck or kernel: at least 80% of runs better by 0.5%", *better, 0.8),
        _goal("at most 1% of all runs worse by 0.5%", *worse, 0.01, most=True),
        _goal("no run worse by more than 2%: worst run", *least, -0.02),
    ]
    limits = {"search": 0.8, "last": 0.95, "random": 0.8}
    words = {
        "search": "random search",
        "last": "training the last operator only",
        "random": "random initialization",
    }
    for arm, least_share in limits.items():
        against = compare(table, "finetuned", arm)
        good = against.z > 0 if arm == "random" else against.z >= -NOISE
        how = "better than" if arm == "random" else "better than, or within noise of,"
        text = f"{how} {words[arm]} in at least {least_share:.0%} of runs"
        found.append(_goal(text, good.mean(), least_share))
    return found if reference is None else [*found, *_against(table, reference)]


def _goal(text: str, *values: float, most: bool = False) -> Goal:
    """The first value is by run, the second (if any) by pair; the last one is the limit."""
    value, *others, limit = values
    if np.isnan(value):
        return Goal(text, "not run", None)
    told = f"{value:.1%}" + "".join(f" (by pair {other:.1%})" for other in others)
    return Goal(text, told, bool(value <= limit if most else value >= limit))


def _against(table: pd.DataFrame, reference: pd.DataFrame) -> list[Goal]:
    both = against_reference(table, reference)
    found = []
    for template in REFERENCE.values():
        rows = both[both.template == template]
        text = f"{template}: median reduction at least the reference's"
        if not len(rows):
            found.append(Goal(text, "not run", None))
            continue
        ours, theirs = rows.reduction.median(), rows.reference.median()
        found.append(Goal(text, f"{ours:.1%}, reference {theirs:.1%}", bool(ours >= theirs)))
    if len(both):
        times = float((both.seconds / both.reference_seconds).median())
        text = "median time at most twice the reference's"
        found.append(Goal(text, f"{times:.2f} times", times <= 2))
    found += _beside(table)
    gains = both[(both.template == "nystroem") & (both.reference > 0)]
    missed = list(gains.data[~(gains.reduction > 0)])
    told = f"{len(gains) - len(missed)} of {len(gains)}"
    told += f"; not on {', '.join(missed)}" if missed else ""
    text = "nystroem: better wherever the reference is"
    found.append(Goal(text, told, not missed if len(gains) else None))
    return found


def _beside(table: pd.DataFrame) -> list[Goal]:
    """The same goals against the hand-written portfolio on these splits and this machine."""
    both, found = beside_by_hand(table), []
    for template, rows in both.groupby("template", sort=False):
        means = rows.groupby("data")[["reduction", "by_hand"]].mean().median()
        text = f"{template}: median reduction at least the hand-written one's on the same splits"
        told = f"{means.reduction:.1%}, hand-written {means.by_hand:.1%}"
        found.append(Goal(text, told, bool(means.reduction >= means.by_hand)))
    if len(both):
        times = float((both.seconds / both.hand_seconds).median())
        text = "median time at most twice the hand-written one's on the same machine"
        found.append(Goal(text, f"{times:.2f} times", times <= 2))
    return found
