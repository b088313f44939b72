"""Power transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ...modules import BoxCox, InverseBoxCox, InverseYeoJohnson, Sequential, YeoJohnson
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation
from .scaling import StandardScaler

_SCALER = StandardScaler()
_FORWARD = {"yeo-johnson": YeoJohnson, "box-cox": BoxCox}
_BACKWARD = {"yeo-johnson": InverseYeoJohnson, "box-cox": InverseBoxCox}


@register("sklearn.preprocessing.PowerTransformer")
class PowerTransformer(SklearnTranslation):
    """lambdas_ become trainable exponents, and the inner scaler a trainable shift and scale."""

    examples = (
        {},
        {"standardize": False},
        Example({"method": "box-cox"}, data="positive"),
        Example({"method": "box-cox", "standardize": False}, data="positive"),
        Example({}, data="missing"),
    )
    missing = True

    def encode(self, operator: Any, X: Any) -> Any:
        X = super().encode(operator, X)
        if operator.method == "box-cox" and np.any(X <= 0):
            raise ValueError(
                "The Box-Cox transformation can only be applied to strictly positive data"
            )
        return X

    def to_torch(self, operator: Any) -> nn.Module:
        links: list[nn.Module] = [_FORWARD[operator.method](to_tensor(operator.lambdas_))]
        if operator.standardize:
            links.append(_SCALER.to_torch(operator._scaler))
        return Sequential(*links)

    def write_back(self, module: Any, operator: Any) -> None:
        operator.lambdas_ = to_array(module.links[0].power, operator.lambdas_)
        if operator.standardize:
            _SCALER.write_back(module.links[1], operator._scaler)

    def inverse(self, operator: Any) -> nn.Module:
        links = [_SCALER.inverse(operator._scaler)] if operator.standardize else []
        return Sequential(*links, _BACKWARD[operator.method](to_tensor(operator.lambdas_)))
