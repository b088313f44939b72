"""Many configurations at once: the numbers of runs of their own, and what a race keeps."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_friedman1
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.finetune import Configuration, race
from pipegrad.finetune.portfolio import Candidate
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.testing import DATASETS, cases
from pipegrad.training.anchor import Anchor
from pipegrad.training.criterion import Criterion
from pipegrad.training.dataset import EncodedDataset, Loader
from pipegrad.training.optimizers import groups_by_size
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples
from pipegrad.training.schedules import one_cycle
from pipegrad.training.search import batched_module
from pipegrad.training.search.batched_adam import BatchedAdam, train_batched
from pipegrad.training.search.batched_module import BatchedModule, NotBatchable, preserve_state
from pipegrad.training.search.lr_finder import RATES, select_lr
from pipegrad.training.search.successive_halving import _rungs

may_not_help = pytest.mark.filterwarnings("ignore:Training did not lower")
SEVERAL = [
    Configuration(lr=0.02),
    Configuration(lr=0.003, relative=False),
    Configuration(lr=0.01, anchor=0.5),
    Configuration(lr=0.05, train="pca"),
    Configuration(lr=0.05, anchor=0.1, train=("standardscaler", "*regress*")),
]


@pytest.fixture(scope="module")
def numbers():
    return make_friedman1(300, 6, noise=0.3, random_state=0)


@pytest.fixture(scope="module")
def labels():
    X, y = make_classification(
        300, 6, n_informative=4, n_redundant=0, n_classes=3, random_state=0, flip_y=0.1
    )
    return X, np.array(["ant", "bee", "cat"])[y]


def regression():
    return make_pipeline(StandardScaler(), PCA(4), Ridge(alpha=10.0))


def named(pipe):
    """The last step is called regressor."""
    pipe.steps[-1] = ("regressor", pipe.steps[-1][1])
    return pipe


def classification():
    last = LogisticRegression(class_weight="balanced", C=0.01)
    return make_pipeline(StandardScaler(), PCA(4), last)


def halves(X, y):
    return (X[:200], y[:200], None), (X[200:], y[200:], None)


def task_of(pipe, X, y, weight=None):
    train, valid = halves(X, y)
    net = pg.to_torch(pipe.fit(X[:100], y[:100]))
    return TrainingProblem.of(net, Samples(*train[:2], weight), Samples(*valid), Options())


def by_torch(task, one, epochs, batch_size, schedule):
    """A run of its own with torch's Adam; parameters by name."""
    net = copy.deepcopy(task.net)
    chosen = [p for p, c in zip(net.trainable_parameters().values(), one.trained(net)) if c]
    groups = groups_by_size(chosen, one.lr) if one.relative else [{"params": chosen, "lr": one.lr}]
    optimizer = torch.optim.Adam(groups)
    rates = [group["lr"] for group in groups]
    pull = Anchor(chosen, one.anchor) if one.anchor else None
    loader = Loader(task.training, batch_size, np.random.default_rng(3))
    step, total = 0, epochs * len(loader)
    for _ in range(epochs):
        for batch in loader:
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * (schedule(step / total) if schedule else 1.0)
            optimizer.zero_grad()
            loss = task.criterion(net(batch[0]), batch[1], batch.weight)
            (loss if pull is None else loss + pull()).backward()
            optimizer.step()
            step += 1
    return list(net.trainable_parameters().values())


@pytest.mark.parametrize("schedule", [None, one_cycle])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_each_candidate_is_what_a_run_of_its_own_gives(kind, batched, schedule, request):
    X, y = request.getfixturevalue(kind)
    pipe = named(regression() if kind == "numbers" else classification())
    task = task_of(pipe, X, y, np.linspace(0.5, 2.0, 200))
    copies = BatchedModule(task.net, task.criterion)
    copies.try_batched(task.training)
    copies.batched = batched
    with preserve_state(task.net):
        ensemble = BatchedAdam(
            copies, SEVERAL, task.training, 32, 4, np.random.default_rng(3), schedule
        )
        for _ in range(4):
            ensemble.epoch()
    found = copies.unflatten(ensemble.values)
    moved = [(a[0] - start).abs().max() for a, start in zip(found, task.start)]
    assert max(moved) > 0.05
    for place, one in enumerate(SEVERAL):
        for ours, theirs in zip(found, by_torch(task, one, 4, 32, schedule)):
            torch.testing.assert_close(ours[place], theirs.detach(), rtol=1e-10, atol=1e-10)


def test_steps_that_do_not_train_stay_to_the_bit(numbers):
    task = task_of(regression(), *numbers)
    found = train_batched(
        task.net, task.criterion, task.training, task.validating,
        [Configuration(train="pca"), Configuration()], 64, 2, np.random.default_rng(0),
    )  # fmt: skip
    names = list(task.net.trainable_parameters())
    same = [torch.equal(a, b) for a, b in zip(found[0].parameters, task.start)]
    assert same == ["pca" not in name for name in names]
    assert not any(torch.equal(a, b) for a, b in zip(found[1].parameters, task.start))


class OneRate(Candidate):
    """Adam with the same rate for all parameters."""

    def optimizer(self, parameters, lengths=()):
        return torch.optim.Adam(parameters, lr=1e-2)


def test_together_gives_what_candidates_give_alone(labels):
    task = task_of(classification(), *labels)
    generator = np.random.default_rng(0)
    configurations = [Configuration(), Configuration(relative=False)]
    found = train_batched(
        task.net, task.criterion, task.training, task.validating,
        configurations, 32, 3, generator, one_cycle,
    )  # fmt: skip
    now = list(task.net.trainable_parameters().values())
    assert all(torch.equal(p, start) for p, start in zip(now, task.start))
    candidates = Candidate("", "relative", 32, 3), OneRate("", "adam", 32, 3)
    for ours, candidate in zip(found, candidates):
        alone = task.run(candidate)
        assert ours.losses.shape == (4, 100)
        assert ours.scores.shape == (4, 100, 3)
        np.testing.assert_allclose(ours.losses, np.stack(alone.losses_), rtol=1e-10)
        np.testing.assert_allclose(ours.scores, np.stack(alone.scores_), rtol=1e-5, atol=1e-6)
        trained = alone.history[1:, "train_loss"]
        np.testing.assert_allclose(ours.train_losses, trained, rtol=1e-10)
        for mine, theirs in zip(ours.parameters, task.net.trainable_parameters().values()):
            torch.testing.assert_close(mine, theirs.detach(), rtol=1e-10, atol=1e-12)


def refusing(score, target):
    """Squares, after a question that no batched module can answer."""
    if bool((score > 1e9).any()):
        raise OverflowError
    return (score - target).square()


def test_what_cannot_be_batched_takes_turns_with_the_same_result(numbers):
    X, y = numbers
    pipe = regression().fit(X[:100], y[:100])
    configurations = [Configuration(lr=rate) for rate in (0.001, 0.01, 0.03, 0.1)]
    options = {"validation": (X[200:], y[200:]), "epochs": 4, "seed": 1}
    losses = {True: lambda score, target: (score - target).square(), False: refusing}
    found = {}
    for batched, loss in losses.items():
        net = pg.to_torch(pipe)
        found[batched] = race(net, X[:200], y[:200], configurations, loss=loss, **options), net
        assert found[batched][0].batched is batched
    (fast, one), (slow, other) = found[True], found[False]
    assert fast.why == ""
    assert "data-dependent control flow" in slow.why
    assert [r.epochs for r in fast.results] == [r.epochs for r in slow.results]
    np.testing.assert_allclose([r.loss for r in fast.results], [r.loss for r in slow.results])
    np.testing.assert_allclose(one.predict(X), other.predict(X))
    assert "all at once" in str(fast)
    assert "one after the other (RuntimeError" in str(slow)


def test_a_batched_module_that_gives_other_numbers_is_noticed(numbers, monkeypatch):
    task = task_of(regression(), *numbers)
    right = BatchedModule._gradient_together
    monkeypatch.setattr(
        BatchedModule,
        "_gradient_together",
        lambda *given: (right(*given)[0], right(*given)[1] * 1.001),
    )
    copies = BatchedModule(task.net, task.criterion)
    with pytest.raises(NotBatchable, match="other numbers"):
        copies.try_batched(task.training)
    assert not copies.batched


def total(score, target):
    return (score - target).square().mean()


def test_a_loss_that_is_one_number(numbers):
    X, y = numbers
    net = pg.to_torch(regression().fit(X[:100], y[:100]))
    rates = [Configuration(lr=0.03), Configuration(lr=0.01)]
    found = race(net, X[:200], y[:200], rates, loss=total, validation=(X[200:], y[200:]), epochs=3)
    assert found.batched
    reached = np.mean((net.predict(X[200:]) - y[200:]) ** 2)
    assert found.best.loss == pytest.approx(reached, rel=1e-3)  # parts differ in size by a row


@pytest.mark.parametrize("halving", [True, False])
def test_the_best_of_all_epochs_is_kept(numbers, halving):
    X, y = numbers
    net = pg.to_torch(regression().fit(X[:100], y[:100]))
    rates = [Configuration(lr=10.0**power) for power in (-3, -2, -1, 0, 1)]
    held = (X[200:], y[200:])
    found = race(net, X[:200], y[:200], rates, validation=held, epochs=8, halving=halving)
    losses = [result.loss for result in found.results]
    assert [result.kept for result in found.results] == [one == min(losses) for one in losses]
    assert min(losses) < found.before
    assert np.mean((net.predict(X[200:]) - held[1]) ** 2) == pytest.approx(found.best.loss)
    assert pg.from_torch(net).predict(X) == pytest.approx(net.predict(X))
    epochs = sorted(result.epochs for result in found.results)
    assert epochs == ([2, 2, 4, 8, 8] if halving else [8] * 5)
    assert all(0 < result.best_epoch <= result.epochs for result in found.results)
    table = str(found).splitlines()
    assert table[3].startswith(str(found.best.configuration))
    assert [line.endswith("yes") for line in table[3:8]] == [True] + [False] * 4


def test_survivors_go_on_as_if_alone(numbers):
    X, y = numbers
    pipe = regression().fit(X[:100], y[:100])
    rates = [Configuration(lr=rate) for rate in (1e-4, 0.03, 1e-3, 0.1, 1e-5, 0.05, 1e-2, 1e-6)]
    options = {"validation": (X[200:], y[200:]), "epochs": 8}
    many = race(pg.to_torch(pipe), X[:200], y[:200], rates, **options)
    left = [r for r in many.results if r.epochs == 8]
    assert len(left) == 2
    few = race(pg.to_torch(pipe), X[:200], y[:200], [r.configuration for r in left], **options)
    np.testing.assert_allclose([r.loss for r in left], [r.loss for r in few.results], rtol=1e-10)


def test_where_nothing_helps_the_module_stays_to_the_bit(numbers):
    X, y = numbers
    net = pg.to_torch(regression().fit(X, y)).eval()
    before = copy.deepcopy(net.state_dict())
    wild = [Configuration(lr=1e3), Configuration(lr=1e200, relative=False)]
    found = race(net, X, y, wild, validation=(X, y), epochs=3)
    assert found.best is None
    assert not any(result.kept for result in found.results)
    assert all(torch.equal(now, before[name]) for name, now in net.state_dict().items())
    assert not net.training
    assert all(p.grad is None for p in net.parameters())


def test_one_that_goes_astray_takes_no_other_with_it(numbers):
    X, y = numbers
    pipe = regression().fit(X[:100], y[:100])
    options = {"validation": (X[200:], y[200:]), "epochs": 4, "halving": False}
    good = Configuration(lr=0.02)
    both = [Configuration(lr=1e300, relative=False), good]
    found = race(pg.to_torch(pipe), X[:200], y[:200], both, **options)
    alone = race(pg.to_torch(pipe), X[:200], y[:200], [good], **options)
    assert math.isnan(found.results[0].loss)
    assert found.results[0].epochs == 1
    assert found.results[1].loss == pytest.approx(alone.results[0].loss, rel=1e-12)
    assert "nan" in str(found)


def test_without_rows_that_validate_the_training_rows_decide(numbers):
    X, y = numbers
    net = pg.to_torch(regression().fit(X[:100], y[:100]))
    found = race(net, X, y, [Configuration()], validation=None, epochs=2)
    assert np.mean((net.predict(X) - y) ** 2) == pytest.approx(found.best.loss)


def test_weights_and_shares(labels):
    X, y = labels
    pipe = classification().fit(X, y)
    weight = np.where(y == "ant", 3.0, 1.0)
    with pytest.warns(pg.PipegradWarning, match="validation rows may be rows"):
        plain = race(pg.to_torch(pipe), X, y, [Configuration()], validation=0.3, epochs=2)
    with pytest.warns(pg.PipegradWarning, match="validation rows may be rows"):
        weighted = race(
            pg.to_torch(pipe), X, y, [Configuration()], validation=0.3, epochs=2,
            sample_weight=weight,
        )  # fmt: skip
    assert plain.before != pytest.approx(weighted.before)


def test_global_randomness_is_left_alone(numbers):
    X, y = numbers
    net = pg.to_torch(regression().fit(X, y))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    race(net, X, y, [Configuration()], validation=(X, y), epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_single_precision(numbers):
    X, y = numbers
    net = pg.to_torch(regression().fit(X[:100], y[:100])).float()
    rates = [Configuration(lr=0.01), Configuration(lr=0.03)]
    found = race(net, X[:200], y[:200], rates, validation=(X[200:], y[200:]), epochs=3)
    assert found.batched
    assert found.best is not None
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_texts_and_trees(numbers):
    texts = [f"{a} {b} boat" for a in ("red", "green", "big") for b in ("bus", "fish", "tree")] * 8
    y = np.array(["red" in text for text in texts])
    pipe = make_pipeline(TfidfVectorizer(), TruncatedSVD(3), LogisticRegression(C=0.01))
    rates = [Configuration(lr=0.01), Configuration(lr=0.03)]
    net = pg.to_torch(pipe.fit(texts, y))
    found = race(net, texts, y, rates, validation=(texts, y), epochs=2)
    assert found.batched
    assert found.best is not None
    X, y = numbers
    pipe = make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=5))
    pipe.fit(X[:200], y[:200])
    for trees in ("leaves", "soft"):
        net = pg.to_torch(pipe, trees=trees)
        before = copy.deepcopy(net.state_dict())
        found = race(net, X[:200], y[:200], rates, validation=(X[200:], y[200:]), epochs=2)
        assert found.batched == (trees == "leaves")
        assert found.best is not None
        assert any(not torch.equal(now, before[name]) for name, now in net.state_dict().items())


@pytest.mark.slow
def test_every_row_of_scikit_learn_runs_batched():
    """Those behind a trained step as well; a row that cannot is no error, but worth knowing."""
    tried, refused = 0, []
    for case in [case for case in cases("sklearn.*") if case.number == 0]:
        X, _ = case.data()
        nets = [case.module()[1]]
        if isinstance(X, np.ndarray) and X.dtype.kind == "f":
            nets.append(behind_a_scaler(case))
        for net in nets:
            if net is None or not net.trainable_parameters():
                continue
            encoded = net.encode(X)
            if not isinstance(net(encoded), torch.Tensor):
                continue  # Sparse columns are no scores.
            copies = BatchedModule(
                net, Criterion(lambda s, t: s.reshape(len(s), -1).square().sum(1))
            )
            tried += 1
            try:
                with preserve_state(net):
                    copies.try_batched(EncodedDataset(encoded, None, None, np.arange(len(encoded))))
            except NotBatchable as error:
                refused.append(f"{case}: {error}")
    assert tried > 150
    # Its modified weights are found for one set of neighbors at a time; the race goes on without.
    refused = [told for told in refused if not told.startswith("LocallyLinearEmbedding")]
    assert not refused


def behind_a_scaler(case):
    X, y = case.data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pipe = make_pipeline(StandardScaler(), case.fitted().__class__(**case.example.params))
            return pg.to_torch(pipe.fit(X, y))
        except (pg.PipegradError, ValueError, TypeError):
            return None


def test_parameters_that_two_modules_share():
    X, y = DATASETS["regression"]()
    net = pg.to_torch(make_pipeline(StandardScaler(), StandardScaler(), Ridge()).fit(X, y))
    first, second = net.steps["standardscaler-1"], net.steps["standardscaler-2"]
    second.shift = first.shift
    task = TrainingProblem.of(net, Samples(X, y), Samples(X, y), Options())
    both = [Configuration(), Configuration(lr=0.1)]
    generator = np.random.default_rng(3)
    found = train_batched(
        net, task.criterion, task.training, task.validating, both, 16, 1, generator
    )
    assert second.shift is first.shift
    for one, ours in zip(both, found):
        for mine, theirs in zip(ours.parameters, by_torch(task, one, 1, 16, None), strict=True):
            torch.testing.assert_close(mine, theirs.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("count", "epochs", "expected"),
    [
        (1, 10, {}),
        (2, 10, {}),
        (3, 10, {5: 2}),
        (8, 20, {5: 4, 10: 2}),
        (16, 20, {3: 8, 5: 4, 10: 2}),
        (8, 3, {2: 4}),
        (8, 1, {}),
    ],
)
def test_rungs(count, epochs, expected):
    assert _rungs(count, epochs) == expected


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        ([], "configurations is empty"),
        ([0.1], "must contain Configuration objects, got 0.1"),
        ([Configuration(lr=0)], "lr must be a positive number, got 0"),
        ([Configuration(lr="auto")], "lr must be a positive number, got 'auto'"),
        ([Configuration(anchor=-1)], "anchor must be a non-negative number, got -1"),
        ([Configuration(train="pc")], "train='pc' names no step"),
    ],
)
def test_wrong_configurations(numbers, configurations, message):
    X, y = numbers
    net = pg.to_torch(regression().fit(X, y))
    with pytest.raises(pg.ArgumentError, match=message):
        race(net, X, y, configurations)


def test_wrong_arguments(numbers):
    X, y = numbers
    net = pg.to_torch(regression().fit(X, y), freeze=["pca"])
    with pytest.raises(pg.ArgumentError, match="train='pca' names no step that the module trains"):
        race(net, X, y, [Configuration(train="pca")])
    for options in ({"epochs": 0}, {"batch_size": 0}, {"validation": 2}, {"seed": "a"}):
        with pytest.raises(pg.ArgumentError, match=next(iter(options))):
            race(net, X, y, [Configuration()], **options)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(pg.ArgumentError, match="Nothing to train"):
        race(net, X, y, [Configuration()])


# -- lr="auto" -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_rate_is_searched_and_told(numbers):
    X, y = numbers
    pipe = make_pipeline(StandardScaler(), Nystroem(n_components=20, random_state=0), Ridge())
    pipe.fit(X[:200], y[:200])
    held = {"validation": (X[200:], y[200:]), "epochs": 20}
    found = pg.to_torch(pipe).fit(X[:200], y[:200], lr="auto", **held)
    usual = pg.to_torch(pipe).fit(X[:200], y[:200], **held)
    rate = found.history[0]["lr"]
    assert rate in RATES
    assert found.history[0, "valid_loss"] == usual.history[0, "valid_loss"]
    assert min(found.history[:, "valid_loss"]) < min(usual.history[:, "valid_loss"])
    # The run is the usual one at another rate.
    optim = lambda parameters: torch.optim.Adam(groups_by_size(parameters, rate))  # noqa: E731
    same = pg.to_torch(pipe).fit(X[:200], y[:200], optim=optim, **held)
    np.testing.assert_allclose(
        found.history[:, "valid_loss"], same.history[:, "valid_loss"], rtol=1e-8
    )


@may_not_help
@pytest.mark.parametrize(
    "options", [{"validation": None}, {"optim": torch.optim.RMSprop}, {"anchor": 0.1}]
)
def test_a_rate_for_other_settings(numbers, options):
    X, y = numbers
    net = pg.to_torch(regression().fit(X[:100], y[:100]))
    net.fit(X[:200], y[:200], lr="auto", epochs=2, **{"validation": (X[200:], y[200:]), **options})
    assert net.history[0]["lr"] in RATES


@may_not_help
def test_a_rate_for_soft_trees_serves_the_refit_too(numbers):
    X, y = numbers
    pipe = make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=5))
    net = pg.to_torch(pipe.fit(X[:200], y[:200]), trees="soft")
    net.fit(X[:200], y[:200], lr="auto", epochs=3, validation=(X[200:], y[200:]))
    assert net.history[0]["lr"] in RATES
    assert len(net.history) > 4


@pytest.mark.parametrize(
    "optim", [torch.optim.LBFGS, torch.optim.SGD, lambda p: torch.optim.Adam(p)]
)
def test_no_rate_is_searched_for_what_has_none(numbers, optim):
    X, y = numbers
    net = pg.to_torch(regression().fit(X, y))
    with pytest.raises(pg.ArgumentError, match="lr='auto' with optim"):
        net.fit(X, y, lr="auto", optim=optim)
    with pytest.raises(pg.ArgumentError, match="'auto' or None"):
        net.fit(X, y, lr="fast")


def test_smaller_rates_win_ties():
    generator = np.random.default_rng(0)
    rows = np.full((len(RATES), 400), 2.0) + generator.normal(size=400)
    rows[6] -= 1.0
    assert select_lr(rows) == 6
    rows[5] -= 1.0 + 0.01 * generator.normal(size=400)
    rows[6] -= 1e-5
    assert select_lr(rows) == 5
    rows[3] = rows[5]  # as good, but far smaller than the best
    assert select_lr(rows) == 5
    rows[5, 0] = np.nan
    assert select_lr(rows) == 6
    assert select_lr(np.full((len(RATES), 4), np.inf)) == 0


def test_the_search_sees_few_rows(numbers, monkeypatch):
    from pipegrad.training.search import lr_finder

    seen = []
    real = batched_module.BatchedModule.measure

    def watched(self, values, rows):
        seen.append(len(rows))
        return real(self, values, rows)

    monkeypatch.setattr(lr_finder, "_STEPS", 5)
    monkeypatch.setattr(lr_finder, "_JUDGES", 40)
    monkeypatch.setattr(batched_module.BatchedModule, "measure", watched)
    X, y = numbers
    net = pg.to_torch(regression().fit(X[:100], y[:100]))
    net.fit(X[:200], y[:200], lr="auto", batch_size=16, epochs=2, validation=(X[200:], y[200:]))
    assert seen == [40, 80, 40]  # at the start; the 80 rows that train; after the epoch
