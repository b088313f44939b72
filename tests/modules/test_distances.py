"""Distances: values, gradients and their second derivatives."""

import pytest
import torch

from pipegrad.modules._distances import Distances, distances, squared_distances

# Of torch.func about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def plain(x, points):
    return (x[:, None] - points).square().sum(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("squared", [True, False])
def test_gradients_are_those_of_the_definition(dtype, squared):
    generator = torch.Generator().manual_seed(0)
    x, points, weight = (
        torch.randn(size, generator=generator, dtype=dtype) for size in ((20, 3), (4, 3), (20, 4))
    )
    found = []
    own = squared_distances if squared else distances
    for function in (own, plain if squared else lambda x, points: plain(x, points).sqrt()):
        inputs = [x.clone().requires_grad_(), points.clone().requires_grad_()]
        values = function(*inputs)
        found.append((values, *torch.autograd.grad((values * weight).sum(), inputs)))
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected)
        assert own.dtype == dtype


def test_second_derivatives():
    generator = torch.Generator().manual_seed(0)
    x, points = (
        torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True)
        for size in ((5, 3), (4, 3))
    )
    assert torch.autograd.gradgradcheck(squared_distances, (x, points))
    assert torch.autograd.gradgradcheck(distances, (x, points))


def test_a_row_on_a_center_has_no_gradient():
    layer = Distances(torch.zeros(1, 2, dtype=torch.float64))
    x = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    assert layer.centers.grad.abs().sum() == x.grad.abs().sum() == 0


def test_missing_values_spread():
    x = torch.tensor([[float("nan"), 1.0]], requires_grad=True)
    values = distances(x, torch.zeros(2, 2))
    values.sum().backward()
    assert values.isnan().all()
    assert x.grad.isnan().all()


def test_values_do_not_depend_on_gradients():
    generator = torch.Generator().manual_seed(0)
    layer = Distances(torch.randn(4, 3, generator=generator))
    x = torch.randn(20, 3, generator=generator)
    with torch.no_grad():
        expected = layer(x)
    assert torch.equal(layer(x), expected)


def test_many_sets_of_centers_at_once():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    sets = torch.randn(6, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def loss(points):
        return distances(x, points).sum()

    (batched,) = torch.autograd.grad(torch.vmap(loss)(sets).sum(), sets)
    inside = torch.vmap(torch.func.grad(loss))(sets)
    (alone,) = torch.autograd.grad(sum(loss(points) for points in sets), sets)
    torch.testing.assert_close(batched, alone)
    torch.testing.assert_close(inside, alone)


@pytest.mark.parametrize("function", [distances, squared_distances])
@pytest.mark.parametrize("moving", [0, 1])
def test_forward_mode_agrees_with_reverse_mode(function, moving):
    torch.manual_seed(0)
    given = [torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)]
    given[1][0] = given[0][0]

    def call(values):
        return function(*[values if i == moving else one for i, one in enumerate(given)])

    there = torch.func.jacfwd(call)(given[moving])
    assert torch.allclose(there, torch.func.jacrev(call)(given[moving]), atol=1e-13)
    assert (there != 0).any()
    total = lambda values: call(values).exp().sum()  # noqa: E731
    curvature = torch.func.hessian(total)(given[moving])
    twice = torch.func.jacrev(torch.func.jacrev(total))(given[moving])
    assert torch.allclose(curvature, twice, atol=1e-12)


def test_squared_distances_of_equal_rows_have_a_curvature():
    point = torch.ones(1, 3, dtype=torch.float64)
    curvature = torch.func.hessian(lambda row: squared_distances(row[None], point).sum())(point[0])
    assert torch.allclose(curvature, 2 * torch.eye(3, dtype=torch.float64), atol=1e-13)
