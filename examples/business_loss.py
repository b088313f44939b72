"""Pipelines tuned for business objectives: monetary costs and differences between groups.

python examples/business_loss.py                          bundled data: bikes, tumors
python examples/business_loss.py --credit credit_g.parquet --adult adult.parquet
                                                          your own tables

Three parts, each over several splits into training and test rows:

1. bikes to provide per hour: a missing one costs 3, an idle one 1;
2. tumors: a missed one costs 10, a false alarm 1 (with --credit: accepting a bad customer costs 5,
   rejecting a good one 1);
3. incomes: what it costs to equalize the predictions for two groups, drawn by --picture FILE.

The fair baseline is not a pipeline that ignores the costs, but one whose predictions are adjusted
afterwards: by a factor on the number of bikes or a threshold on the probability, chosen on the
training rows. Two baselines are adjusted, the fitted pipeline and the one tuned for its own loss.
The table shows how much of the gain the adjustment alone achieves.
"""

from __future__ import annotations

import argparse
import warnings
from importlib.resources import files

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pipegrad as pg
from pipegrad.finetune import losses

MISSING, IDLE = 3.0, 1.0
START, MOVED = "as fitted", "as fitted, adjusted for the costs"
OWN, TUNED = "tuned for its own loss, adjusted", "tuned for the cost"
STRENGTHS = (0.0, 3.0, 10.0, 30.0, 100.0)
Table = dict[str, list[float]]


# Pipelines


def encoded(X: pd.DataFrame, *last: object, numbers: list[str] | None = None) -> Pipeline:
    """Scaled numbers and one-hot categories, followed by the steps ``last``."""
    numbers = list(X.select_dtypes("number")) if numbers is None else numbers
    names = [column for column in X if column not in numbers]
    columns = [(StandardScaler(), numbers)] if numbers else []
    if names:
        columns.append((OneHotEncoder(handle_unknown="ignore", sparse_output=False), names))
    return make_pipeline(make_column_transformer(*columns), *last)


def tuned(pipe: Pipeline, X: pd.DataFrame, y: np.ndarray, loss: object, seed: int) -> object:
    """The pipeline, fine-tuned for a loss; unchanged if that does not help."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        return pg.FineTuner(pipe, loss=loss, random_state=seed).fit(X, y)


# 1. Bikes


def price_of_bikes(score: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Cost per hour, for a pipeline whose score is the logarithm of the number of bikes."""
    short = y - torch.exp(score)
    return MISSING * short.clamp(min=0) + IDLE * (-short).clamp(min=0)


def bill(provided: np.ndarray, y: np.ndarray) -> float:
    """Mean cost per hour."""
    short = y - provided
    return float(np.mean(np.where(short > 0, MISSING * short, -IDLE * short)))


def bikes(splits: int) -> Table:
    """Cost per hour on the test sets."""
    data = pd.read_parquet(str(files("pipegrad.demo") / "bike_sharing_hourly.parquet"))
    X, y = data.drop(columns=["cnt", "dteday"]), data["cnt"].to_numpy(dtype=float)
    numbers = ["temp", "atemp", "hum", "windspeed"]
    pipe = encoded(X, PCA(12), PoissonRegressor(alpha=1e-3, max_iter=500), numbers=numbers)
    factors = np.linspace(0.5, 3, 126)

    def moved(model: object) -> float:
        mean = model.predict(train)
        factor = min(factors, key=lambda f: bill(f * mean, y_train))
        return bill(factor * model.predict(test), y_test)

    found: Table = {}
    for seed in range(splits):
        train, test, y_train, y_test = train_test_split(
            X, y, train_size=3000, test_size=3000, random_state=seed
        )
        fitted = clone(pipe).fit(train, y_train)
        own = tuned(pipe, train, y_train, None, seed)
        money = tuned(pipe, train, y_train, price_of_bikes, seed)
        note(found, START, bill(fitted.predict(test), y_test))
        note(found, MOVED, moved(fitted))
        note(found, OWN, moved(own))
        note(found, TUNED, bill(money.predict(test), y_test))
    return found


# 2. Two classes


class Decision:
    """Cost-sensitive decisions between two classes.

    Parameters
    ----------
    missed, needless : float
        Cost of a false negative and of a false positive; the second class is the positive one.
    """

    def __init__(self, missed: float, needless: float) -> None:
        self.missed, self.needless = missed, needless

    def __call__(self, score: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Expected cost if decisions were sampled from the predicted probabilities; smooth."""
        p = torch.sigmoid(score)
        return torch.where(y == 1, self.missed * (1 - p), self.needless * p)

    def bill(self, y: np.ndarray, decided: np.ndarray) -> float:
        """Mean cost per row."""
        missed, needless = (y == 1) & (decided == 0), (y == 0) & (decided == 1)
        return float(np.mean(self.missed * missed + self.needless * needless))


def decisions(
    X: pd.DataFrame, y: np.ndarray, cost: Decision, components: int, splits: int
) -> Table:
    """Cost per row on the test sets."""
    last = LogisticRegression(max_iter=1000)
    weighted = clone(last).set_params(class_weight={0: cost.needless, 1: cost.missed})
    pipe, heavy = (encoded(X, PCA(components), one) for one in (last, weighted))
    scorer = make_scorer(cost.bill, greater_is_better=False)
    edge = cost.needless / (cost.needless + cost.missed)
    found: Table = {}
    for seed in range(splits):
        train, test, y_train, y_test = train_test_split(
            X, y, test_size=0.4, stratify=y, random_state=seed
        )
        fitted = clone(pipe).fit(train, y_train)
        moved = TunedThresholdClassifierCV(pipe, scoring=scorer, cv=5).fit(train, y_train)
        own = tuned(pipe, train, y_train, None, seed)
        money = tuned(pipe, train, y_train, cost, seed)
        decided = {
            START: fitted.predict(test),
            MOVED: fitted.predict_proba(test)[:, 1] > edge,
            "as fitted, cross-validated threshold": moved.predict(test),
            "fitted with class_weight": clone(heavy).fit(train, y_train).predict(test),
            OWN: own.predict_proba(test)[:, 1] > edge,
            TUNED: money.predict(test),
        }
        for name, answer in decided.items():
            note(found, name, cost.bill(y_test, answer))
    return found


# 3. Groups


def made_incomes(rows: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A synthetic census: work and family status differ by sex, and so does income."""
    rng = np.random.default_rng(seed)
    sex = np.where(rng.random(rows) < 0.33, "female", "male")
    woman = sex == "female"
    work = np.where(rng.random(rows) < np.where(woman, 0.6, 0.25), "office", "craft")
    work = np.where(rng.random(rows) < np.where(woman, 0.1, 0.25), "manager", work)
    age = rng.integers(18, 70, rows)
    school = np.clip(np.round(rng.normal(10, 2.5, rows)), 1, 16)
    hours = np.clip(rng.normal(np.where(woman, 36, 42), 10, rows), 5, 80)
    married = rng.random(rows) < np.where(woman, 0.25, 0.6)
    score = 0.35 * (school - 10) + 0.04 * (hours - 40) - 0.0015 * (age - 48) ** 2 + 1.6 * married
    score += 1.0 * (work == "manager") - 2.0
    X = pd.DataFrame({"age": age, "school": school, "hours": hours, "work": work})
    X["married"] = np.where(married, "yes", "no")
    y = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(int)
    return X, y, sex


def real_incomes(path: str, rows: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The census table of 1994, without the columns for sex and sample weights."""
    data = pd.read_parquet(path).sample(rows, random_state=0).reset_index(drop=True)
    y = data["income"].str.contains(">").to_numpy().astype(int)
    return data.drop(columns=["income", "sex", "fnlwgt"]), y, data["sex"].to_numpy()


def gap(p: np.ndarray, group: np.ndarray) -> float:
    """Absolute difference between the mean predictions of two groups."""
    first, second = (p[group == one].mean() for one in np.unique(group))
    return float(abs(first - second))


def close(
    net: pg.PipelineModule,
    X: pd.DataFrame,
    y: np.ndarray,
    group: np.ndarray,
    strength: float,
    validation: tuple[object, ...],
) -> None:
    """Train with a penalty on the gap; the module is unchanged if that does not help."""
    loss = losses.GroupPenalty("log_loss", strength)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        net.fit(
            X,
            y,
            groups=group,
            loss=loss,
            optim=torch.optim.LBFGS,
            validation=validation,
            epochs=10,
        )


def trade(X: pd.DataFrame, y: np.ndarray, group: np.ndarray, splits: int) -> np.ndarray:
    """Gap and log loss on the test sets, (splits, strengths, 2)."""
    pipe = encoded(X, LogisticRegression(max_iter=1000))
    found = np.zeros((splits, len(STRENGTHS), 2))
    for seed in range(splits):
        train, test = train_test_split(np.arange(len(y)), test_size=0.4, random_state=seed)
        train, valid = train_test_split(train, test_size=0.25, random_state=seed)
        fitted = clone(pipe).fit(X.iloc[train], y[train])
        for place, strength in enumerate(STRENGTHS):
            net = pg.to_torch(fitted)
            if strength:
                valid_rows = (X.iloc[valid], y[valid], None, group[valid])
                close(net, X.iloc[train], y[train], group[train], strength, valid_rows)
            p = net.predict_proba(X.iloc[test])[:, 1]
            found[seed, place] = gap(p, group[test]), log_loss(y[test], p)
    return found


def draw(found: np.ndarray, path: str) -> None:
    """The trade-off curve: gap against loss."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "pipegrad"
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    gaps, added = found[:, :, 0], found[:, :, 1] - found[:, :1, 1]
    x, y = gaps.mean(0), added.mean(0)
    axes.errorbar(x, y, added.std(0), gaps.std(0), "o-", color="#1f5fa8", ecolor="#8fb0d6")
    for place, strength in enumerate(STRENGTHS):
        label = f"strength {strength:g}" if strength else "as fitted"
        shift = (7, 5) if place else (-16, -14)
        axes.annotate(label, (x[place], y[place]), shift, textcoords="offset points", fontsize=8)
    axes.set_xlabel("difference between the groups' mean predictions")
    axes.set_ylabel("added log loss")
    axes.set_title("held-out rows", fontsize=10)
    axes.set_xlim(0, 1.25 * x.max())
    axes.set_ylim(-0.15 * y.max(), 1.15 * y.max())
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    plt.close(figure)


# Tables


def note(table: Table, name: str, value: float) -> None:
    table.setdefault(name, []).append(value)


def show(title: str, table: Table) -> None:
    """Means over splits, and the share of the saving that each baseline achieves."""
    print(f"\n{title}")
    costs = {name: np.array(values) for name, values in table.items()}
    for name, values in costs.items():
        change = (values / costs[START] - 1).mean()
        print(f"  {name:42s} {values.mean():8.3f} ± {values.std():6.3f}   {change:+7.1%}")
    whole = (costs[START] - costs[TUNED]).mean()
    for name in (MOVED, OWN):
        share = (costs[START] - costs[name]).mean() / whole
        saved = costs[name] - costs[TUNED]
        noise = saved.std(ddof=1) / np.sqrt(len(saved)) if len(saved) > 1 else np.nan
        print(
            f"  '{name}' alone gives {share:.0%} of the saving; tuning for the cost saves another "
            f"{saved.mean():.3f} ± {noise:.3f} (standard error)."
        )


def main(arguments: list[str] | None = None) -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--credit", help="German credit data with a column 'bad', as Parquet")
    parser.add_argument("--adult", help="census data with columns 'income' and 'sex', as Parquet")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--picture", help="file for the figure of the third part")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)

    show(
        f"Bikes: cost per hour ({MISSING:g} per missing bike, {IDLE:g} per idle one)",
        bikes(given.splits),
    )
    if given.credit:
        data = pd.read_parquet(given.credit)
        X, y = data.drop(columns="bad"), data["bad"].to_numpy()
        cost, components, title = Decision(5, 1), 10, "Credit: cost per customer (5 to 1)"
    else:
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        y = 1 - y.to_numpy()  # One for malignant.
        cost, components, title = Decision(10, 1), 2, "Tumors: cost per patient (10 to 1)"
    show(title, decisions(X, y, cost, components, given.splits))

    incomes = real_incomes(given.adult, 6000) if given.adult else made_incomes(6000)
    found = trade(*incomes, given.splits)
    print("\nIncomes: difference between the mean predictions of two groups, and log loss")
    for strength, mean, spread in zip(STRENGTHS, found.mean(0), found.std(0), strict=True):
        print(
            f"  strength {strength:5g}   gap {mean[0]:.3f} ± {spread[0]:.3f}   "
            f"loss {mean[1]:.4f} ± {spread[1]:.4f}"
        )
    if given.picture:
        draw(found, given.picture)


if __name__ == "__main__":
    main()
