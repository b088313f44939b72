"""Structured predictors: factorization machines, local deep SVMs, sums of step functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._distances import safe_sqrt
from ._sparse import Block, dense
from .trees.routing import _round_down


class FieldFactorization(Module):
    """A field-aware factorization machine: linear terms and products of latent vectors.

    See Juan, Zhuang, Chin and Lin, *Field-aware factorization machines for CTR prediction*, RecSys
    2016.

    Parameters
    ----------
    linear : Tensor, shape (features,)
        Weight of each feature.
    latent : Tensor, shape (features, fields, k)
        Latent vector of each feature for interactions with each field.
    normalize : bool
        Whether rows are normalized to unit length first.
    """

    def __init__(self, linear: Tensor, latent: Tensor, normalize: bool) -> None:
        super().__init__()
        self.linear = parameter(linear)
        self.latent = parameter(latent)
        self.normalize = normalize

    def forward(self, *fields: Block) -> Tensor:
        """Fields (n, d_f) or (n,) to a score (n,)."""
        blocks = [f[:, None] if f.ndim == 1 else f for f in map(dense, fields)]
        x = torch.cat(blocks, 1)
        if self.normalize:
            size = safe_sqrt((x * x).sum(1, keepdim=True))
            x = x / torch.where(size > 0, size, 1.0)
        sums, own, start = [], x.new_zeros(x.shape[0]), 0
        for f, block in enumerate(blocks):
            part = slice(start, start + block.shape[1])
            start = part.stop
            vectors, values = self.latent[part], x[:, part]
            # Latent vectors for interactions with each field, summed over the features of this one.
            sums.append(torch.einsum("nj,jgk->ngk", values, vectors))
            length = vectors[:, f].square().sum(1)
            own = own + ((sums[f][:, f] ** 2).sum(1) - (values * values) @ length) / 2
        out = x @ self.linear + own
        for f in range(len(blocks)):
            for g in range(f + 1, len(blocks)):
                out = out + (sums[f][:, g] * sums[g][:, f]).sum(1)
        return out

    def reset_parameters(self) -> None:
        """Draw small random values."""
        nn.init.normal_(self.linear, std=0.1)
        nn.init.normal_(self.latent, std=0.1)


class LocalDeepSVM(Module):
    """A local deep SVM: linear scores along the path of a row down a full binary tree.

    A node adds ``tanh(sharpness * (gate @ x + gate_bias)) * (weight @ x + bias)``; the row goes
    to the first child if ``route @ x + route_bias`` is positive. See Jose, Goyal, Aggrwal and
    Varma, *Local deep kernel learning for efficient non-linear SVM prediction*, ICML 2013.

    Parameters
    ----------
    weight, gate : Tensor, shape (nodes, features)
        Weights of the scores and gates of all nodes, level by level.
    bias, gate_bias : Tensor, shape (nodes,)
        Biases of the scores and gates of all nodes.
    route : Tensor, shape (inner nodes, features)
        Weights of the routing functions, which do not train.
    route_bias : Tensor, shape (inner nodes,)
        Biases of the routing functions, which do not train.
    sharpness : float
        Sharpness of the gates.
    """

    route: Tensor
    route_bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        gate: Tensor,
        gate_bias: Tensor,
        route: Tensor,
        route_bias: Tensor,
        sharpness: float,
    ) -> None:
        super().__init__()
        self.weight, self.bias = parameter(weight), parameter(bias)
        self.gate, self.gate_bias = parameter(gate), parameter(gate_bias)
        self.register_buffer("route", route.clone())
        self.register_buffer("route_bias", route_bias.clone())
        self.sharpness = sharpness

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,)."""
        x = dense(x)
        gate = torch.tanh(self.sharpness * (x @ self.gate.T + self.gate_bias))
        scores = gate * (x @ self.weight.T + self.bias)
        with torch.no_grad():
            first = (x @ self.route.T + self.route_bias) > 0
            reached = [torch.ones_like(x[:, 0], dtype=torch.bool)]
            for node in range(self.route.shape[0]):
                reached += [reached[node] & first[:, node], reached[node] & ~first[:, node]]
            path = torch.stack(reached, 1)
        return torch.where(path, scores, 0.0).sum(1)

    def reset_parameters(self) -> None:
        """Draw small random values."""
        for tensor in (self.weight, self.bias, self.gate, self.gate_bias):
            nn.init.normal_(tensor, std=0.1)


class StepFunctions(Module):
    """A generalized additive model of step functions, each of one column; NaN is on the first step.

    Parameters
    ----------
    effects : sequence of Tensor
        Heights of the steps of each function.
    bounds : sequence of Tensor
        Increasing upper bounds of the steps of each function.
    columns : Tensor of int64
        Column of each function.
    bias : Tensor, shape ()
        Constant that is added to the sum.
    dtype : torch.dtype
        Type of the input columns.
    """

    bounds: Tensor
    columns: Tensor

    def __init__(
        self,
        effects: Sequence[Tensor],
        bounds: Sequence[Tensor],
        columns: Tensor,
        bias: Tensor,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.sizes = [len(e) for e in effects]
        pad = nn.utils.rnn.pad_sequence
        wide = pad(list(bounds), batch_first=True, padding_value=torch.inf).contiguous()
        # Rounded down, so that numbers of lower precision stay on the same side of a bound.
        narrow = _round_down(wide, dtype, False)
        self.register_buffer("bounds", torch.where(torch.isfinite(wide), narrow, wide.to(dtype)))
        self.register_buffer("columns", columns)
        self.effects = parameter(torch.cat([e.to(dtype) for e in effects]))
        self.bias = parameter(bias.to(dtype))

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,)."""
        x = dense(x)
        table = x[:, None] if x.ndim == 1 else x
        seen = table.detach().index_select(1, self.columns)
        missing = torch.isnan(seen)
        place = torch.searchsorted(self.bounds, seen.T.contiguous()).T.masked_fill(missing, 0)
        sizes = torch.tensor(self.sizes, device=x.device)
        place = torch.minimum(place, sizes - 1) + (sizes.cumsum(0) - sizes)
        return self.effects[place].sum(1) + self.bias

    def parts(self) -> list[Tensor]:
        """The heights as one tensor for each function."""
        return list(self.effects.split(self.sizes))

    def reset_parameters(self) -> None:
        """Draw small random steps."""
        nn.init.normal_(self.effects, std=0.1)
        nn.init.zeros_(self.bias)
