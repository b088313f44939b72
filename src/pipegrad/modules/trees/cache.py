"""A value computed from a tensor and kept until the tensor changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Cache:
    """The last value that was computed from a tensor.

    It belongs to no state: copies and pickles of a module start with an empty one, and views of a
    module share it. Threads may use it at the same time, since an entry is replaced as a whole.
    """

    def __init__(self) -> None:
        self._entry: tuple[Tensor, Hashable, Any] | None = None

    def value(self, tensor: Tensor, key: Hashable, make: Callable[[], T]) -> T:
        """The value for this very tensor and an equal key, which ``make`` computes if need be."""
        entry = self._entry
        if entry is not None and entry[0] is tensor and entry[1] == key:
            return entry[2]
        made = make()
        if not _ends_with_a_transform(made):
            self._entry = tensor, key, made
        return made

    def __reduce__(self) -> tuple[type[Cache], tuple[()]]:
        return Cache, ()


def _ends_with_a_transform(value: Any) -> bool:
    """Whether a tensor belongs to a transform of `torch.func`, after which it is no tensor."""
    return isinstance(value, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value)
