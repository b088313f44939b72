"""A penalty on differences between groups: its value, its estimates, and what it does."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from pipegrad.finetune import portfolio
from pipegrad.losses import GroupPenalty, Sum, Weighted
from pipegrad.losses.group_penalty import Groups, Penalty, group_codes
from pipegrad.training import trainer
from pipegrad.training.criterion import Criterion, make_criterion

RNG = np.random.default_rng(0)
N = 400
GROUP = np.where(RNG.random(N) < 0.3, "b", "a")
X = np.c_[1.5 * (GROUP == "b") + RNG.normal(size=N), RNG.normal(size=(N, 2))]
Y = (X[:, 0] + X[:, 1] + 0.5 * RNG.normal(size=N) > 0.3).astype(int)
NUMBER = X @ [1.0, 0.5, 0.0] + RNG.normal(size=N) * (1 + (GROUP == "b"))


@pytest.fixture
def short(monkeypatch):
    """Short runs, for tests of what happens around them."""
    monkeypatch.setattr(portfolio, "_MIN_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MAX_STEPS", 60)
    monkeypatch.setattr(portfolio, "_MIN_EPOCHS", 2)
    monkeypatch.setattr(portfolio, "_MAX_EPOCHS", 4)
    monkeypatch.setattr(portfolio, "_MAX_ITERATIONS", 12)


def groups_of(codes, weight=None):
    codes = torch.as_tensor(np.asarray(codes))
    weight = torch.ones(len(codes)).double() if weight is None else torch.as_tensor(weight)
    return Groups.of(codes, weight)


def gap(chance, group=GROUP):
    return abs(chance[group == "b"].mean() - chance[group == "a"].mean())


def variance(values, codes, weight=None):
    """Between the means of groups, weighed by their shares; by hand."""
    values = values.reshape(len(values), -1)
    weight = np.ones(len(values)) if weight is None else weight
    mean, total = np.average(values, axis=0, weights=weight), weight.sum()
    found = 0.0
    for code in np.unique(codes):
        here = codes == code
        own = np.average(values[here], axis=0, weights=weight[here])
        found += weight[here].sum() / total * ((own - mean) ** 2).sum()
    return found


# Its value


@pytest.mark.parametrize("shape", [(60,), (60, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_whole_part_gives_the_variance_between_groups(shape, weighted):
    rng = np.random.default_rng(1)
    q, codes = rng.normal(size=shape), rng.integers(0, 4, 60)
    weight = rng.exponential(size=60) if weighted else None
    groups, penalty = groups_of(codes, weight), Penalty(3.0, lambda score: score)
    score = torch.as_tensor(q)
    wanted = 3 * variance(q, codes, weight)
    assert penalty(score, score, groups).item() == pytest.approx(wanted, rel=1e-10)
    rows = penalty.rows(score, score, groups)
    assert rows.shape == (60,)
    assert rows.mean().item() == pytest.approx(wanted, rel=1e-10)


def test_two_groups_give_the_squared_difference():
    q = torch.tensor([1.0, 2.0, 3.0, 7.0]).double()
    groups = groups_of([0, 0, 0, 1])
    found = Penalty(1.0, None)(q, q, groups)
    assert found.item() == pytest.approx(0.75 * 0.25 * (7 - 2) ** 2)


def test_its_gradient_is_right():
    q = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    groups = groups_of(np.arange(12) % 3, np.linspace(0.5, 2, 12))
    penalty = Penalty(2.0, torch.sigmoid)
    assert torch.autograd.gradcheck(lambda s: penalty(s, s[:, 0], groups), (q,))
    batch = groups[torch.arange(5)]
    assert torch.autograd.gradcheck(lambda s: penalty(s, s[:, 0], batch), (q[:5],))
    assert torch.autograd.gradcheck(lambda s: penalty.rows(s, s[:, 0], groups), (q,))


# Estimates from batches, and of noise


def estimates(q, codes, size, count=3000):
    """Of batches: ours, the plain variance between the groups of a batch; and of all rows."""
    rng = np.random.default_rng(3)
    q, groups, penalty = torch.as_tensor(q), groups_of(codes), Penalty(1.0, None)
    found, plain = np.zeros(count), np.zeros(count)
    for place in range(count):
        index = torch.as_tensor(rng.choice(len(q), size, replace=False))
        found[place] = penalty(q[index], q[index], groups[index])
        plain[place] = variance(q[index].numpy(), codes[index])
    return found, plain, penalty(q, q, groups).item()


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 64])
def test_batches_estimate_the_part_without_bias(size):
    rng = np.random.default_rng(2)
    codes = (rng.random(500) < 0.2).astype(int)  # One in six batches of eight has none of them.
    found, _, whole = estimates(rng.normal(size=500) + 5 * codes + 10, codes, size)
    error = found.std() / np.sqrt(len(found))
    assert found.mean() == pytest.approx(whole, abs=3 * error)
    assert 3 * error < 0.06 * whole


def test_noise_is_no_gap():
    rng = np.random.default_rng(2)
    codes = (rng.random(500) < 0.2).astype(int)
    found, plain, whole = estimates(rng.normal(size=500), codes, 16)
    error = found.std() / np.sqrt(len(found))
    assert found.mean() == pytest.approx(whole, abs=3 * error)
    assert plain.mean() > whole + 20 * error


def test_a_batch_of_one_row_has_no_penalty():
    q = torch.ones(1, requires_grad=True)
    groups = groups_of([0, 1, 1])[torch.tensor([1])]
    found = Penalty(1.0, None)(q, q, groups)
    found.backward()
    assert found.item() == 0
    assert q.grad.item() == 0


def test_rows_carry_the_noise_of_the_penalty():
    """The standard error from the rows of one sample is the spread over many samples."""
    rng, penalty = np.random.default_rng(3), Penalty(1.0, None)
    means, errors = [], []
    for _ in range(400):
        codes = (rng.random(300) < 0.3).astype(int)
        q = torch.as_tensor(rng.normal(size=300) + codes)
        rows = penalty.rows(q, q, groups_of(codes)).numpy()
        means.append(rows.mean())
        errors.append(rows.std() / np.sqrt(300))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)


def test_parts_have_shares_of_their_own():
    groups = groups_of([0, 0, 1, 1, 2], [1.0, 3.0, 2.0, 2.0, 0.0])
    np.testing.assert_allclose(groups.shares, [0.5, 0.5, 0])
    part = groups.part(torch.tensor([0, 2, 3]))
    np.testing.assert_allclose(part.shares, [0.2, 0.8, 0])
    np.testing.assert_allclose(part[torch.tensor([0, 2, 3])].weight.mean(), 1)
    assert part.count == 3


# What is measured


def measured(pipe, y, of):
    net = pg.to_torch(pipe)
    function, _ = make_criterion(GroupPenalty(None, 1.0, of), net.objective, net.head)
    criterion, score = Criterion(function), net(X)
    target, groups = net.encode_target(y), groups_of(group_codes(GROUP, N, ""))
    loss = criterion(score, target, None, groups)
    terms = criterion.terms(score, target, None, groups)
    assert loss.item() == pytest.approx(terms.mean().item(), rel=1e-10)
    base = criterion.rows(score, target)
    return (loss - base.mean()).item(), base.detach().numpy(), score.detach().numpy()


def test_predictions_losses_and_scores_are_compared():
    codes = group_codes(GROUP, N, "")
    pipe = LogisticRegression().fit(X, Y)
    chance = pipe.predict_proba(X)[:, 1]
    found, base, score = measured(pipe, Y, "prediction")
    assert found == pytest.approx(variance(chance, codes))
    assert found == pytest.approx(np.mean(codes) * (1 - np.mean(codes)) * gap(chance) ** 2)
    found, base, score = measured(pipe, Y, "loss")
    assert found == pytest.approx(variance(base, codes))
    found, base, score = measured(pipe, Y, "score")
    assert found == pytest.approx(variance(score, codes))


def test_all_kinds_of_predictors_have_predictions():
    codes = group_codes(GROUP, N, "")
    three = np.digitize(X[:, 0], [-0.5, 0.5])
    pipe = LogisticRegression().fit(X, three)
    assert measured(pipe, three, "prediction")[0] == pytest.approx(
        variance(pipe.predict_proba(X), codes)
    )
    ridge = Ridge().fit(X, NUMBER)
    found = measured(ridge, NUMBER, "prediction")[0]
    assert found == pytest.approx(variance(ridge.predict(X), codes))
    several = np.c_[Y, three]
    tree = DecisionTreeClassifier(max_depth=3).fit(X, several)
    tables = np.hstack(tree.predict_proba(X))
    assert measured(tree, several, "prediction")[0] == pytest.approx(variance(tables, codes))


def test_what_has_no_probability_is_refused():
    net = pg.to_torch(LinearSVC().fit(X, Y))
    with pytest.raises(pg.ArgumentError, match="of='score'"):
        net.fit(X, Y, groups=GROUP, loss=GroupPenalty())
    scaler = pg.to_torch(StandardScaler().fit(X), translate="all")
    with pytest.raises(pg.ArgumentError, match="predicts no numbers"):
        scaler.fit(X, groups=GROUP, loss=GroupPenalty(lambda score, y: score.square().sum(1)))


# What it does


def small_steps(parameters):
    return torch.optim.Adam(parameters, lr=0.02)


@pytest.mark.parametrize(
    ("optim", "batch_size"),
    [(torch.optim.LBFGS, "auto"), (small_steps, 64)],
    ids=["whole", "batch"],
)
def test_training_closes_the_gap(optim, batch_size):
    pipe = LogisticRegression().fit(X, Y)
    net = pg.to_torch(pipe)
    loss = GroupPenalty("log_loss", strength=30.0)
    options = {"optim": optim, "batch_size": batch_size, "epochs": 40, "validation": None}
    net.fit(X, Y, groups=GROUP, loss=loss, **options)
    assert gap(net.predict_proba(X)[:, 1]) < 0.3 * gap(pipe.predict_proba(X)[:, 1])
    # What is recorded is the penalised loss of all rows.
    chance = net.predict_proba(X)[:, 1]
    share = np.mean(GROUP == "b")
    plain = -np.log(np.where(Y == 1, chance, 1 - chance)).mean()
    wanted = plain + 30 * share * (1 - share) * gap(chance) ** 2
    assert min(net.history[:, "train_loss"]) == pytest.approx(wanted, rel=1e-6)


def test_errors_become_equal():
    shift = np.where(GROUP == "b", 2.0, 0.0)
    y = NUMBER + shift * X[:, 2]
    ridge = Ridge().fit(X, y)
    net = pg.to_torch(ridge)
    loss = GroupPenalty("squared_error", strength=1.0, of="loss")
    net.fit(X, y, groups=GROUP, loss=loss, optim=torch.optim.LBFGS, validation=None)

    def errors(model):
        return gap((model.predict(X) - y) ** 2)

    assert errors(net) < 0.7 * errors(ridge)


def test_validation_measures_the_whole_part(monkeypatch):
    monkeypatch.setattr(trainer, "_MEASURED_ROWS", 32)
    net = pg.to_torch(LogisticRegression().fit(X, Y))
    valid = (X[:150], Y[:150], None, GROUP[:150])
    loss = GroupPenalty("log_loss", strength=5.0)
    net.fit(X, Y, groups=GROUP, loss=loss, validation=valid, epochs=2, batch_size=16)
    chance = LogisticRegression().fit(X, Y).predict_proba(X[:150])[:, 1]
    plain = -np.log(np.where(Y[:150] == 1, chance, 1 - chance)).mean()
    wanted = plain + 5 * variance(chance, group_codes(GROUP[:150], None, ""))
    assert net.history[0, "valid_loss"] == pytest.approx(wanted, rel=1e-9)


def test_rows_count_by_their_weight_and_classes_in_the_loss_alone():
    weight = np.random.default_rng(4).integers(1, 4, N)
    pipe = LogisticRegression(class_weight={0: 1.0, 1: 3.0}).fit(X, Y, sample_weight=weight)
    net = pg.to_torch(pipe)
    loss = GroupPenalty(strength=5.0)
    net.fit(X, Y, sample_weight=weight, groups=GROUP, loss=loss, validation=None, epochs=1)
    chance = pipe.predict_proba(X)[:, 1]
    rows = -np.log(np.where(Y == 1, chance, 1 - chance))
    wanted = np.average(rows, weights=weight * np.where(Y == 1, 3, 1))
    wanted += 5 * variance(chance, group_codes(GROUP, N, ""), weight)
    assert net.history[0, "train_loss"] == pytest.approx(wanted, rel=1e-9)
    # A row that counts twice is a row that is there twice.
    again = pg.to_torch(pipe)
    twice = [np.repeat(column, weight, axis=0) for column in (X, Y, GROUP)]
    again.fit(*twice[:2], groups=twice[2], loss=loss, validation=None, epochs=1)
    assert again.history[0, "train_loss"] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"recipe": None, "epochs": 30}])
def test_a_tuner_closes_the_gap(short, settings):
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    tuner = pg.FineTuner(
        pipe, loss=GroupPenalty("log_loss", strength=60.0), random_state=0, **settings
    ).fit(X, Y, groups=GROUP.tolist())
    assert tuner.improved_
    before = gap(pipe.fit(X, Y).predict_proba(X)[:, 1])
    assert gap(tuner.predict_proba(X)[:, 1]) < 0.5 * before
    weights = np.ones(N)
    again = clone(tuner).fit(X, Y, sample_weight=weights, groups=GROUP)
    np.testing.assert_allclose(again.predict_proba(X), tuner.predict_proba(X), rtol=1e-6)


def test_without_strength_nothing_changes(short):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = pg.FineTuner(LogisticRegression(C=1e-3), loss="log_loss", random_state=0).fit(X, Y)
        loss = GroupPenalty("log_loss", strength=0.0)
        tuner = pg.FineTuner(LogisticRegression(C=1e-3), loss=loss, random_state=0)
        tuner.fit(X, Y, groups=GROUP)
    assert tuner.report_.chosen == plain.report_.chosen
    assert tuner.report_.gain == pytest.approx(plain.report_.gain, rel=1e-4)


def test_it_goes_around_other_losses():
    y = np.c_[NUMBER, X[:, 1]]
    pipe = Ridge().fit(X, y)
    net = pg.to_torch(pipe)
    loss = GroupPenalty(Sum((Weighted("squared_error", [1, 3]), 2.0)), 4.0)
    net.fit(X, y, groups=GROUP, loss=loss, validation=None, epochs=1)
    error = (pipe.predict(X) - y) ** 2
    wanted = 2 * ((error[:, 0] + 3 * error[:, 1]) / 4).mean()
    wanted += 4 * variance(pipe.predict(X), group_codes(GROUP, N, ""))
    assert net.history[0, "train_loss"] == pytest.approx(wanted, rel=1e-9)


def test_it_copies_and_pickles():
    tuner = pg.FineTuner(Ridge(), loss=GroupPenalty("huber", 2.0, of="loss"))
    for again in (clone(tuner), pickle.loads(pickle.dumps(tuner))):
        assert again.loss == tuner.loss
    assert repr(tuner.loss) == "GroupPenalty(loss='huber', strength=2.0, of='loss')"


# What is refused, before anything is fitted


def refused(message, groups=GROUP, loss=None):
    loss = GroupPenalty("log_loss") if loss is None else loss
    with pytest.raises(pg.ArgumentError, match=message):
        pg.FineTuner(unfit(), loss=loss).fit(X, Y, groups=groups)
    net = pg.to_torch(LogisticRegression().fit(X, Y))
    with pytest.raises(pg.ArgumentError, match=message):
        net.fit(X, Y, groups=groups, loss=loss)


def unfit():
    return LogisticRegression(C=-1)  # Fitting it would be another error.


def test_groups_must_be_there_where_they_are_used():
    refused("groups= is missing", groups=None)
    refused("does not use groups", loss="log_loss")
    refused("does not use groups", loss=lambda score, y: score.square())
    net = pg.to_torch(LogisticRegression().fit(X, Y))
    with pytest.raises(pg.ArgumentError, match="does not use groups"):
        net.fit(X, Y, groups=GROUP)
    with pytest.raises(pg.ArgumentError, match="validation: groups are missing"):
        net.fit(X, Y, groups=GROUP, loss=GroupPenalty(), validation=(X, Y))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (GROUP[:-1], "one label for each of 400 rows"),
        (np.c_[GROUP, GROUP], "combine several columns into one label"),
        (np.where(np.arange(N) == 7, np.nan, 1.0), "no label in row 7"),
        ([None, *GROUP[1:]], "no label in row 0"),
        (np.ones(N), "all rows are in one group"),
    ],
    ids=["short", "table", "nan", "none", "one"],
)
def test_groups_are_checked(groups, message):
    refused(message, groups=groups)


def test_pandas_marks_of_missing_labels_are_found():
    pd = pytest.importorskip("pandas")
    refused("no label in row 3", groups=pd.Series(GROUP).mask(np.arange(N) == 3).astype("string"))
    codes = group_codes(pd.Series(GROUP, dtype="category"), N, "")
    assert set(codes[GROUP == "a"]).isdisjoint(codes[GROUP == "b"])
    assert group_codes(pd.DataFrame({"sex": GROUP}), N, "").shape == (N,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1}, "must be finite and non-negative"),
        ({"strength": "much"}, "must be finite and non-negative"),
        ({"of": "label"}, "of must be one of 'prediction', 'loss', 'score', got 'label'"),
    ],
)
def test_its_options_are_checked(options, message):
    with pytest.raises(pg.ArgumentError, match=message):
        GroupPenalty("log_loss", **options)


def test_it_is_the_outermost_loss_and_one_of_rows():
    refused("GroupPenalty must be the outermost loss", loss=Sum(GroupPenalty("log_loss")))
    refused("GroupPenalty must be the outermost loss", loss=GroupPenalty(GroupPenalty("log_loss")))
    net = pg.to_torch(LogisticRegression().fit(X, Y))
    with pytest.raises(pg.ArgumentError, match="groups cannot be compared beside it"):
        net.fit(X, Y, groups=GROUP, loss=GroupPenalty(lambda score, y: score.square().mean()))
