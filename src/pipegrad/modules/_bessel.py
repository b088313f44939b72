"""Modified Bessel functions of the second kind, with gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Nodes of the trapezoidal rule, and how many of them are computed together.
_NODES, _TOGETHER = 176, 16
# How far below its largest value the integrand is left out, as a logarithm.
_DEPTH = 45.0


def bessel_k(order: float, x: Tensor) -> Tensor:
    """The modified Bessel function of the second kind, of any real order.

    It is the integral of ``exp(-x cosh t) cosh(order t)`` over positive t, on which the trapezoidal
    rule converges faster than any power of its step (Trefethen and Weideman, *The exponentially
    convergent trapezoidal rule*, 2014).

    Parameters
    ----------
    order : float
        Order.
    x : Tensor
        Positive numbers of any shape.

    Returns
    -------
    Tensor
        Values with the shape of ``x``.
    """
    result: Tensor = _BesselK.apply(x, abs(order))
    return result


def matern_height(nu: float, x: Tensor) -> Tensor:
    """``2 ** (1 - nu) / gamma(nu) * x ** nu * bessel_k(nu, x)``, the Matérn kernel of distances.

    Parameters
    ----------
    nu : float
        Smoothness.
    x : Tensor
        Positive distances in units of the kernel.

    Returns
    -------
    Tensor
        Values with the shape of ``x``.
    """
    result: Tensor = _MaternHeight.apply(x, nu)
    return result


class _BesselK(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, order: float) -> Tensor:
        return _integral(order, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        x, ctx.order = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        slope = bessel_k(ctx.order - 1, x) + bessel_k(ctx.order + 1, x)
        return -0.5 * grad * slope, None


class _MaternHeight(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, nu: float) -> Tensor:
        scaled, peak = _scaled(nu, x.double())
        # The power, which may vanish, and the function, which may be infinite, in one.
        height = torch.exp(nu * (torch.log(x.double()) + peak)) * scaled
        return (2 ** (1 - nu) / math.gamma(nu) * height).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        x, ctx.nu = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        # The derivative of x ** nu * K(nu, x), without the difference of large numbers near zero.
        factor = 2 ** (1 - ctx.nu) / math.gamma(ctx.nu)
        return -grad * factor * x**ctx.nu * bessel_k(ctx.nu - 1, x), None


def _scaled(order: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """The function divided by ``exp(order * peak)``, and the peak of the integrand."""
    peak = torch.asinh(order / x)
    end = peak
    for _ in range(4):
        height = (_DEPTH + order * end) / x
        end = torch.log1p(height + torch.sqrt(height * (height + 2)))
    start = (peak - _DEPTH / order).clamp(min=0) if order else peak
    step = (end - start) / _NODES
    nodes = step[..., None] * torch.arange(_TOGETHER, dtype=x.dtype, device=x.device)
    # Exponential functions of a sum are products of those of few numbers.
    up, fast = torch.exp(nodes), torch.exp(order * nodes)
    total = torch.zeros_like(x)
    for first in range(0, _NODES, _TOGETHER):
        t = (start + first * step)[..., None]
        rise, wave = torch.exp(t), torch.exp(order * (t - peak[..., None]))
        back = torch.exp(-order * (t + peak[..., None]))
        cosine = 0.5 * (rise * up + 1 / (rise * up))
        terms = torch.exp(-x[..., None] * cosine) * 0.5 * (wave * fast + back / fast)
        if first == 0:
            total = total - 0.5 * terms[..., 0]
        total = total + terms.sum(-1)
    return total * step, peak


def _integral(order: float, x: Tensor) -> Tensor:
    """The function itself, by the trapezoidal rule."""
    scaled, peak = _scaled(order, x.double())
    return (scaled * torch.exp(order * peak)).to(x.dtype)
