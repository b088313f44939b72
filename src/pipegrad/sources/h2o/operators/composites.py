"""Models that combine what the models inside of them answer."""

from __future__ import annotations

from dataclasses import dataclass

from ...named.operators import ChooseColumns, Derive, Step
from ..mojo import Mojo
from ..plan import Answer, Plan, reads, refused


@dataclass(eq=False, kw_only=True)
class Join(Step):
    """The columns of several steps side by side."""


@dataclass(eq=False, kw_only=True)
class BoundedLogOdds(Step):
    """Log-odds of probabilities, not beyond those that H2O takes for certain."""


@reads("stackedensemble")
def _ensemble(mojo: Mojo, plan: Plan) -> Answer:
    inside = mojo.children()
    count, classes = mojo.integer("base_models_num", 0), mojo.integer("n_classes")
    transform = mojo.text("metalearner_transform", "NONE")
    if transform not in ("NONE", "Logit"):
        mojo.fail(f"metalearner_transform {transform!r:.40} is not known.")
    width = classes if classes > 2 else 1
    if classes < 1 or count < 1 or count * width > _MOST_SCORES:
        mojo.fail(f"it has {count} base models of {classes} classes.")
    scores: dict[str, str] = {}
    blocks, places, taken = [], [], 0
    for number in range(count):
        # The metalearner may ignore a model, which the file then lacks: its places hold zeros.
        name = mojo.text(f"base_model{number}", "")
        if name and name not in scores:
            scores[name] = _score(mojo, plan, named(mojo, inside, name), classes)
        if name:
            blocks.append(scores[name])
        places += [taken + place if name else -1 for place in range(width)]
        taken += width if name else 0
    if not blocks:
        mojo.fail("it has no base models.")
    found = plan.step(mojo, Join(), *blocks, name="base models")
    found = arranged(mojo, plan, found, places, taken)
    if transform == "Logit" and classes > 1:
        found = plan.step(mojo, BoundedLogOdds(), found, name="log-odds")
    metalearner = named(mojo, inside, mojo.text("metalearner"))
    if len(metalearner.features) < len(places):
        why = "its metalearner was trained without base models that answer all rows alike"
        raise refused(mojo, f"{why}, and reads other models in their places")
    return final(mojo, plan, metalearner, found, len(places))


_MOST_SCORES = 50_000


def named(mojo: Mojo, inside: dict[str, Mojo], name: str) -> Mojo:
    """The model of a name among those inside."""
    if name not in inside:
        mojo.fail(f"it has no model {name!r:.80} inside.")
    return inside[name]


def _score(mojo: Mojo, plan: Plan, base: Mojo, classes: int) -> str:
    """The step with what an ensemble takes of the answer of a base model."""
    _require_columns(mojo, base)
    if base.integer("n_classes") != classes or base.classes != mojo.classes:
        mojo.fail(f"its base model {base.prefix!r:.80} has other classes.")
    answer = plan.read(base)
    if classes == 1:
        return next(iter(answer.columns.values()))
    if not answer.shares:
        mojo.fail(f"its base model {base.prefix!r:.80} does not classify.")
    if classes == 2:
        return plan.step(base, Derive(what="second"), answer.shares, name="score")
    return answer.shares


def _require_columns(mojo: Mojo, inner: Mojo) -> None:
    """Refuse an inner model that reads other columns, or other levels, than the outer one.

    H2O hands the numbers of the outer model's levels to the inner one.
    """
    places = {name: place for place, name in enumerate(mojo.features)}
    for number, name in enumerate(inner.features):
        if name not in places:
            mojo.fail(f"{inner.prefix!r:.80} reads the column {name!r:.60}, which it lacks.")
        if inner.domains.get(number) != mojo.domains.get(places[name]):
            mojo.fail(f"{inner.prefix!r:.80} knows other levels of the column {name!r:.60}.")


def arranged(mojo: Mojo, plan: Plan, found: str, places: list[int], width: int) -> str:
    """The step with some of the columns of a step, in another order if need be."""
    if places == list(range(width)):
        return found
    return plan.step(mojo, ChooseColumns(places=places), found, name="columns")


def final(mojo: Mojo, plan: Plan, last: Mojo, found: str, width: int) -> Answer:
    """The answer of the model that reads what the others gave."""
    if mojo.has("offset_column"):
        raise refused(mojo, "it has offsets, for which the scorer of H2O fails")
    if len(last.features) != width:
        mojo.fail(f"{last.prefix!r:.80} reads {len(last.features)} columns instead of {width}.")
    if last.integer("n_classes") != mojo.integer("n_classes") or last.classes != mojo.classes:
        mojo.fail(f"{last.prefix!r:.80} has other classes.")
    plan.give(last, found, last.features)
    return plan.read(last)


@reads("pipeline")
def _pipeline(mojo: Mojo, plan: Plan) -> Answer:
    inside = mojo.children()
    main_name = mojo.text("main_model")
    main = named(mojo, inside, main_name)
    answers: dict[str, Answer] = {}
    made: dict[str, str] = {}
    for number in range(mojo.integer("generated_column_count", 0)):
        source = mojo.text(f"generated_column_model_{number}")
        column = mojo.text(f"generated_column_name_{number}")
        if source == main_name or column not in main.features or column in made:
            mojo.fail(f"it makes a column {column!r:.60} that its main model does not read.")
        if source not in answers:
            inner = named(mojo, inside, source)
            _require_columns(mojo, inner)
            answers[source] = plan.read(inner)
        place = mojo.integer(f"generated_column_index_{number}", 0)
        columns = _answered(inside[source], answers[source])
        if not 0 <= place < len(columns):
            mojo.fail(f"model {source!r:.60} has no answer number {place}.")
        made[column] = columns[place]
    own = tuple(name for name in main.features if name not in made)
    if not set(own) <= set(mojo.features):
        mojo.fail("its main model reads columns that it lacks.")
    blocks = [*([plan.row(mojo, own)] if own else []), *made.values()]
    given = [*own, *made]
    found = plan.step(mojo, Join(), *blocks, name="joined")
    places = [given.index(name) for name in main.features]
    found = arranged(mojo, plan, found, places, len(given))
    return final(mojo, plan, main, found, len(places))


def _answered(inner: Mojo, answer: Answer) -> list[str]:
    """The steps with what H2O's scorer calls the raw answer of a model, in its order."""
    columns = list(answer.columns.values())
    if answer.shares:
        return columns[: inner.integer("n_classes") + 1]
    single = inner.text("category", "") in ("Regression", "Clustering")
    return columns[:1] if single else columns
