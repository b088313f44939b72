"""How objects with tensors go to other processes: as copies, as the estimators of other libraries.

torch moves tensors that `multiprocessing` sends into memory that all processes share, so that one
process that trains a module would change the numbers of all others.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from torch import Tensor, nn

T = TypeVar("T")


def sent_as_copy(kind: type[T]) -> type[T]:
    """Decorate a class whose objects `multiprocessing` sends to other processes as copies.

    A module whose memory is shared already (`torch.nn.Module.share_memory`) stays shared.
    """
    ForkingPickler.register(kind, _reduced)
    return kind


def _reduced(sent: Any) -> Any:
    if any(t.device.type == "cpu" and t.is_shared() for t in _tensors(sent)):
        return sent.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    return pickle.loads, (pickle.dumps(sent),)


def _tensors(sent: Any) -> Iterator[Tensor]:
    if isinstance(sent, nn.Module):
        yield from sent.parameters()
        yield from sent.buffers()
