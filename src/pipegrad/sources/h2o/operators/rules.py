"""Linear models of the rules that rows satisfy."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...named.operators import Step
from ..mojo import Mojo
from ..plan import Answer, Plan, reads
from .composites import Join, arranged, final, named

_LINEAR, _BOTH = 0, 1


@dataclass
class Conditions:
    """All conditions of some rules; those of a rule refer to them by number.

    Attributes
    ----------
    numeric : list of (int, float, bool, bool)
        Column, bound, whether numbers must be below it, and whether a missing one will do.
    coded : dict of int to list of (set of int, bool)
        By column, the codes that satisfy each condition, and whether a missing one does.
    """

    numeric: list[tuple[int, float, bool, bool]] = field(default_factory=list)
    coded: dict[int, list[tuple[frozenset[int], bool]]] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class Rules(Step):
    """Of each list of rules, the number of the last one that a row satisfies; NaN without one.

    Parameters
    ----------
    conditions : Conditions
        The conditions of all rules.
    rules : list of list of (int, int)
        For each rule, the column (-1 for numbers) and place of its conditions.
    lists : list of list of (int, float)
        For each list, its rules and their numbers.
    levels : dict of int to int
        Number of levels of each categorical column.
    """

    conditions: Conditions = field(repr=False)
    rules: list[list[tuple[int, int]]] = field(repr=False)
    lists: list[list[tuple[int, float]]] = field(repr=False)
    levels: dict[int, int]


@reads("rulefit")
def _rulefit(mojo: Mojo, plan: Plan) -> Answer:
    inside = mojo.children()
    linear = named(mojo, inside, mojo.text("linear_model"))
    kind = mojo.integer("model_type")
    row = plan.row(mojo)
    blocks, width = [], 0
    if kind != _LINEAR:
        operator = _Reader(mojo, linear).rules()
        blocks.append(plan.step(mojo, operator, row, name="rules"))
        width += len(operator.lists)
    if kind in (_LINEAR, _BOTH):
        blocks.append(row)
        width += len(mojo.features)
    found = plan.step(mojo, Join(), *blocks, name="joined") if len(blocks) > 1 else blocks[0]
    places = [-1] * len(linear.features)
    for number in range(len(places)):
        name = mojo.text(f"linear_names_{number}")
        if name not in linear.features or number >= width:
            mojo.fail(f"its linear model lacks the column {name!r:.60}.")
        places[linear.features.index(name)] = number
    found = arranged(mojo, plan, found, places, width)
    return final(mojo, plan, linear, found, len(places))


class _Reader:
    """Reads the rules of each tree."""

    def __init__(self, mojo: Mojo, linear: Mojo) -> None:
        self.mojo = mojo
        self.levels = {
            place: len(mojo.domains[place])
            for place in range(len(mojo.features))
            if place in mojo.domains
        }
        self.domains = {
            name: {level: number for number, level in enumerate(linear.domains[place])}
            for place, name in enumerate(linear.columns)
            if place in linear.domains
        }
        classes = mojo.classes
        self.classes = classes if classes is not None and len(classes) > 2 else None
        self.conditions = Conditions()
        self.all: list[list[tuple[int, int]]] = []

    def rules(self) -> Rules:
        lists: list[list[tuple[int, float]]] = []
        depth, trees = self.mojo.integer("depth"), self.mojo.integer("ntrees")
        if depth < 1 or trees < 1:
            self.mojo.fail("it has no rules.")
        for level in range(depth):
            for tree in range(trees):
                lists += self._tree(f"{level}", f"{tree}")
        for several in (self.all, lists):
            longest = max(map(len, several), default=0)
            self.mojo.archive.fill(longest * len(several), "conditions of rules")
        return Rules(conditions=self.conditions, rules=self.all, lists=lists, levels=self.levels)

    def _tree(self, level: str, tree: str) -> list[list[tuple[int, float]]]:
        """The rules of a tree; for several classes, those of each class."""
        found = []
        for number in range(self.mojo.integer(f"num_rules_M{level}T{tree}")):
            identity = f"{level}_{tree}_{number}"
            found.append((len(self.all), self.mojo.text(f"var_name_rule_id_{identity}")))
            self.all.append(self._rule(identity))
        if self.classes is None:
            return [[(rule, self._number(name, "")) for rule, name in found]]
        lists = []
        for place, label in enumerate(self.classes):
            own = [(rule, name) for rule, name in found if name.endswith(label)]
            if not own:
                self.mojo.fail(f"it has no rules for {label!r:.60}, without which H2O fails.")
            lists.append([(rule, self._number(name, f"C{place}")) for rule, name in own])
        return lists

    def _number(self, name: str, end: str) -> float:
        """The number of a rule among the levels of the linear model's column."""
        column = name.partition("N")[0] + end
        if "N" not in name or column not in self.domains:
            self.mojo.fail(f"its linear model has no column for the rule {name!r:.60}.")
        return float(self.domains[column].get(name, "nan"))

    def _rule(self, identity: str) -> list[tuple[int, int]]:
        count = self.mojo.integer(f"num_conditions_rule_id_{identity}")
        return [self._condition(f"{number}_{identity}") for number in range(count)]

    def _condition(self, identity: str) -> tuple[int, int]:
        """Keep a condition; the column that it compares codes of, or -1, and its place."""
        mojo = self.mojo
        column = mojo.integer(f"feature_index_{identity}")
        if not 0 <= column < len(mojo.features):
            mojo.fail(f"a rule reads column {column} of {len(mojo.features)}.")
        missing = mojo.flag(f"nas_included_{identity}")
        if mojo.integer(f"type_{identity}") == 0:
            return column, self._codes(identity, column, missing)
        bound = mojo.number(f"num_treshold{identity}")
        relation = mojo.integer(f"operator_{identity}")
        if relation not in (0, 1):
            bound, relation = float("nan"), 0  # which no number satisfies
        self.conditions.numeric.append((column, bound, relation == 0, missing))
        return -1, len(self.conditions.numeric) - 1

    def _codes(self, identity: str, column: int, missing: bool) -> int:
        if column not in self.levels:
            self.mojo.fail(f"a rule compares levels of {self.mojo.columns[column]!r:.60}.")
        count = self.mojo.integer(f"cat_treshold_length_{identity}")
        codes = [
            self.mojo.integer(f"cat_treshold_length_{number}_{identity}") for number in range(count)
        ]
        self.mojo.archive.fill(self.levels[column] + 1, "levels of rules")
        several = self.conditions.coded.setdefault(column, [])
        several.append((frozenset(codes), missing))
        return len(several) - 1
