"""Coordinates scaled by curvature: what the estimate is, and L-BFGS in them."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import pipegrad as pg
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.training import scaled_lbfgs
from pipegrad.training.optimizers import magnitude
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples
from pipegrad.training.scaled_lbfgs import ScaledLBFGS, fisher_scales


def task_of(pipe, X, y, **options):
    net = pg.to_torch(pipe.fit(X, y))
    return TrainingProblem.of(net, Samples(X, y), None, Options(**options))


def measured(task, parameters=None, seed=0):
    parameters = parameters or list(task.net.trainable_parameters().values())
    return fisher_scales(task.net, task.criterion, task.training, parameters, seed)


def exact(task):
    """The inverse root of the mean of squared gradients, row by row."""
    parameters = list(task.net.trainable_parameters().values())
    total = [0.0] * len(parameters)
    for place in task.training.index:
        encoded, target = task.training.batch(place[None])
        loss = task.criterion.rows(task.net(encoded), target).sum()
        for number, found in enumerate(torch.autograd.grad(loss, parameters)):
            total[number] += float(found.square().mean())
    return [(one / len(task.training)) ** -0.5 for one in total]


@pytest.fixture
def classes():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 5)) * np.array([1, 10, 0.1, 3, 1])
    y = (X[:, 0] + X[:, 1] / 10 + draw.logistic(size=60) > 0).astype(int)
    pipe = make_pipeline(StandardScaler(), PCA(3), LogisticRegression())
    return task_of(pipe, X, y)


def test_the_estimate_is_the_mean_of_squared_gradients(classes, monkeypatch):
    monkeypatch.setattr(scaled_lbfgs, "_PROBES", 1500)
    np.testing.assert_allclose(measured(classes), exact(classes), rtol=0.05)


def test_few_signs_are_enough_for_a_scale(classes):
    ratio = np.array(measured(classes)) / exact(classes)
    assert ((ratio > 0.6) & (ratio < 1.6)).all()


def test_it_is_exact_where_rows_do_not_share_numbers():
    # Each row has a coefficient of its own, so that no signs can mix their gradients.
    y = np.array([1.0, -2.0, 4.0, 0.5])
    task = task_of(Ridge(alpha=1.0, fit_intercept=False), np.eye(4), y)
    assert measured(task) == pytest.approx(exact(task), rel=1e-12)
    assert measured(task) != pytest.approx([1.0])


def test_only_some_rows_are_measured(monkeypatch):
    X, y = np.ones((100, 1)), np.zeros(100)
    y[::10] = 7.0
    task = task_of(Ridge(alpha=1.0, fit_intercept=False), X, y)
    every = measured(task)
    monkeypatch.setattr(scaled_lbfgs, "_ROWS", 10)
    assert measured(task)[0] < 0.5 * every[0]  # every tenth row: those with large gradients


def test_the_signs_follow_the_seed_and_disturb_nobody(classes):
    state = torch.get_rng_state()
    first = measured(classes, seed=1)
    assert measured(classes, seed=1) == first
    assert measured(classes, seed=2) != first
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in classes.net.parameters())


def test_what_gets_no_gradient_keeps_its_own_size(classes):
    spare = nn.Parameter(torch.tensor([3.0, 3.0]))
    parameters = [spare, *classes.net.trainable_parameters().values()]
    assert measured(classes, parameters)[0] == 3.0
    assert measured(classes, parameters)[1:] == measured(classes)


def test_where_nothing_is_to_be_learned_there_is_no_curvature():
    # An exact fit: the gradient of its squared error is zero, and that of its root infinite.
    X = np.eye(3)
    task = task_of(LinearRegression(fit_intercept=False), X, np.array([2.0, 2.0, 2.0]))
    with torch.no_grad():
        for p in task.net.trainable_parameters().values():
            p.fill_(2.0)
    assert measured(task) == [2.0]
    task.criterion.function = lambda score, y: (score - y).abs().flatten().sqrt()
    assert measured(task) == [2.0]


def test_a_loss_of_all_rows_gives_sizes():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(50, 3))
    mean = lambda score, y: (score - y).square().mean()  # noqa: E731
    task = task_of(Ridge(), X, 5 * X[:, 0] + 1, loss=mean)
    assert measured(task) == [magnitude(p) for p in task.net.trainable_parameters().values()]


# L-BFGS


def two(values=(1.0, 2.0, 3.0, 4.0)):
    """Two parameters of different shapes."""
    values = torch.tensor(values, dtype=torch.float64)
    return [nn.Parameter(values[:1].clone()), nn.Parameter(values[1:, None].clone())]


def bowl(first, second):
    """No quadratic, and not separable."""
    u, v = first.sum(), second.flatten()
    return (u - 1) ** 4 + (u * v[0] - 2) ** 2 + (v - 5).square().sum() / 50 + (v[1] - u).cosh()


def steps(optimizer, parameters, function, rounds=(1, 2, 5)):
    """Values after each round, and how often the function was asked."""
    asked, found = [], []

    def closure():
        for p in parameters:
            p.grad = None
        loss = function()
        loss.backward()
        asked.append(loss.item())
        return loss

    for iterations in rounds:
        for group in optimizer.param_groups:
            group.update(max_iter=iterations, max_eval=2 * iterations + 4)
        optimizer.step(closure)
        found.append(torch.cat([p.detach().flatten() for p in parameters]))
    return torch.stack(found), asked


def test_unit_lengths_are_plain_lbfgs():
    mine, theirs = two(), two()
    plain = torch.optim.LBFGS(theirs, line_search_fn="strong_wolfe")
    expected, asked = steps(plain, theirs, lambda: bowl(*theirs))
    found, again = steps(ScaledLBFGS(mine, [1.0, 1.0]), mine, lambda: bowl(*mine))
    assert len(again) == len(asked)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_lengths_are_another_choice_of_units():
    """The very iterates of L-BFGS on coordinates, of which the parameters are a function."""
    starts, lengths, mine = two(), (0.1, 30.0), two()
    units = [nn.Parameter(torch.zeros_like(p)) for p in starts]
    place = lambda: [  # noqa: E731
        p.detach() + s * u for p, s, u in zip(starts, lengths, units)
    ]
    plain = torch.optim.LBFGS(units, line_search_fn="strong_wolfe")
    coordinates, asked = steps(plain, units, lambda: bowl(*place()))
    found, again = steps(ScaledLBFGS(mine, lengths), mine, lambda: bowl(*mine))
    scale = torch.tensor([0.1, 30.0, 30.0, 30.0], dtype=torch.float64)
    start = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert len(again) == len(asked)
    torch.testing.assert_close(found, start + scale * coordinates, rtol=1e-9, atol=1e-12)


def test_scaled_coordinates_save_iterations():
    draw = torch.Generator().manual_seed(0)
    mix = torch.randn(12, 12, generator=draw, dtype=torch.float64) / 12**0.5
    units = (1e-3, 1e3)

    def needed(make):
        parts = [nn.Parameter(torch.zeros(6, dtype=torch.float64)) for _ in units]

        def function():
            scaled = torch.cat([p / unit for p, unit in zip(parts, units)])
            return (mix @ scaled - 1).square().mean()

        _, asked = steps(make(parts), parts, function, rounds=(60,))
        low = [place for place, loss in enumerate(asked) if loss < 1e-3]
        return low[0] if low else 1000

    scaled = needed(lambda parts: ScaledLBFGS(parts, units))
    plain = needed(lambda parts: torch.optim.LBFGS(parts, line_search_fn="strong_wolfe"))
    assert scaled < 40
    assert plain > 3 * scaled


def test_what_no_loss_asks_for_stays():
    parameters = [*two(), nn.Parameter(torch.tensor([9.0], dtype=torch.float64))]
    optimizer = ScaledLBFGS(parameters, [0.5, 2.0, 3.0])
    found, asked = steps(optimizer, parameters, lambda: bowl(*parameters[:2]))
    assert asked[-1] < asked[0]
    assert (found[:, -1] == 9.0).all()


def test_settings_of_the_group_are_heard():
    parameters = two()
    optimizer = ScaledLBFGS(parameters, [1.0, 1.0])
    assert len(optimizer.param_groups) == 1
    _, once = steps(optimizer, parameters, lambda: bowl(*parameters), rounds=(1,))
    _, often = steps(ScaledLBFGS(p := two(), [1.0, 1.0]), p, lambda: bowl(*p), rounds=(20,))
    assert len(once) < len(often)
    still = two()
    optimizer = ScaledLBFGS(still, [1.0, 1.0])
    optimizer.param_groups[0]["lr"] = 0.0
    found, _ = steps(optimizer, still, lambda: bowl(*still), rounds=(1,))
    assert found[0].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_gradients_are_there_where_they_are_turned_off_outside():
    parameters = two()
    with torch.no_grad():
        optimizer = ScaledLBFGS(parameters, [1.0, 1.0])
        for group in optimizer.param_groups:
            group.update(max_iter=5, max_eval=10)

        def closure():
            for p in parameters:
                p.grad = None
            loss = bowl(*parameters)
            loss.backward()
            return loss

        before = bowl(*parameters).item()
        optimizer.step(closure)
        assert bowl(*parameters).item() < before
