"""Forward derivatives of functions with a backward pass of their own."""

from __future__ import annotations

import pytest
import torch

from pipegrad.modules._base import clamp_at_zero, clamp_between
from pipegrad.modules._bessel import bessel_k, matern_height

# Of torch.func about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

X = torch.tensor([-2.0, 0.3, 0.7, 4.0], dtype=torch.float64)
FUNCTIONS = {
    "clamp at zero": (clamp_at_zero, X),
    "clamp between": (lambda x: clamp_between(x, -1.0, 1.0), X),
    "Bessel": (lambda x: bessel_k(1.3, x), X.abs()),
    "Matérn": (lambda x: matern_height(1.7, x), X.abs()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_derivatives_are_those_of_differences(name):
    function, x = FUNCTIONS[name]
    _, slope = torch.func.jvp(function, (x,), (torch.ones_like(x),))
    change = (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
    assert torch.allclose(slope, change, rtol=1e-8)
