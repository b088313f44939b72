"""Random numbers of a run: they belong to its thread, and the global states stay as they were."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..losses.composition import Composed
from ..losses.table import Loss
from ..registry import Objective
from ..typing import Estimator

if TYPE_CHECKING:
    from ..losses.composition import LossLike

# Functions of torch that draw from its global generator unless they get another one, and functions
# that take no other one.
_TAKE_A_GENERATOR = {
    *(getattr(torch, name) for name in ("bernoulli", "binomial", "multinomial", "normal")),
    *(getattr(torch, name) for name in ("poisson", "rand", "randint", "randn", "randperm")),
    *(getattr(torch, name) for name in ("_sample_dirichlet", "_standard_gamma")),
    *(getattr(Tensor, name) for name in ("bernoulli", "bernoulli_", "cauchy_", "exponential_")),
    *(getattr(Tensor, name) for name in ("geometric_", "log_normal_", "multinomial", "normal_")),
    *(getattr(Tensor, name) for name in ("random_", "uniform_")),
}
_DRAW_FROM_THE_GLOBAL_ONE = {
    *(getattr(torch, name) for name in ("rand_like", "randint_like", "randn_like")),
    *(getattr(torch, name) for name in ("alpha_dropout", "dropout", "feature_alpha_dropout")),
    *(getattr(torch, name) for name in ("alpha_dropout_", "dropout_", "feature_alpha_dropout_")),
    *(getattr(torch, name) for name in ("feature_dropout", "feature_dropout_", "rrelu", "rrelu_")),
    *(getattr(torch, name) for name in ("gru", "lstm", "rnn_relu", "rnn_tanh")),  # their dropout
    *(getattr(functional, name) for name in ("alpha_dropout", "dropout", "dropout1d", "dropout2d")),
    *(getattr(functional, name) for name in ("dropout3d", "feature_alpha_dropout", "rrelu")),
    *(getattr(functional, name) for name in ("fractional_max_pool2d", "fractional_max_pool3d")),
    *(getattr(functional, name) for name in ("gumbel_softmax", "multi_head_attention_forward")),
    functional.scaled_dot_product_attention,
    *(getattr(nn.init, name) for name in ("kaiming_uniform_", "normal_", "uniform_")),
}
_WIDEST_SEED = 2**32


class _GlobalState:
    """A random state of the process, which the last of several runs at once gives back.

    Parameters
    ----------
    get, put : callable
        Return and set the state.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
        self.get, self.put = get, put
        self.forget()

    def forget(self) -> None:
        """Forget the runs of the parent, whose threads a forked process does not have."""
        self.lock = threading.Lock()
        # Runs are weak references: an interrupt may keep one from ending as it should.
        self._running: WeakSet[_Run] = WeakSet()
        self._before: Any = None

    @contextmanager
    def preserved(self) -> Iterator[bool]:
        """Context of a run; tells whether it is the only one at its beginning."""
        run = _Run()
        with self.lock:
            alone = not self._running
            if alone:
                self._before = self.get()
            self._running.add(run)
        try:
            yield alone
        finally:
            with self.lock:
                self._running.discard(run)
                if not self._running:
                    self.put(self._before)


class _Run:
    """Stands for a run."""


_TORCH = _GlobalState(torch.get_rng_state, torch.set_rng_state)
_NUMPY = _GlobalState(np.random.get_state, np.random.set_state)


@contextmanager
def isolated_rng(
    seed: int | None,
    net: nn.Module,
    loss: LossLike | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    callbacks: Iterable[Any] | None = None,
) -> Iterator[None]:
    """Context of a run whose random numbers of torch depend on the seed alone.

    Code of the user draws from a generator of this run, so that neither runs in other threads nor
    the global generator notice. Nothing else draws random numbers during training.

    Parameters
    ----------
    seed : int, optional
        The seed; with None, numbers continue from the global generator.
    net : Module
        The module; it may contain modules of the user.
    loss, optimizer, callbacks
        What else runs.
    """
    if not _has_code_of_the_user(net, loss, optimizer, callbacks):
        yield
        return
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    with own_generator(seed), _own_state_of(device, seed):
        yield


@contextmanager
def own_generator(seed: int | None = None) -> Iterator[None]:
    """Context in which this thread draws random numbers of torch from a generator of its own.

    Parameters
    ----------
    seed : int, optional
        The seed; with None, the generator is a copy of the global one.
    """
    # Only `torch.manual_seed` and the like can change the global state.
    with _TORCH.preserved(), _OwnGenerator(seed):
        yield


@contextmanager
def isolated_numpy_rng(seed: int | None) -> Iterator[None]:
    """Context in which the global generator of NumPy depends on the seed, and then is as before.

    Threads share this generator. Where several of them use the context, the first one seeds it.
    """
    with _NUMPY.preserved() as alone:
        if alone:
            np.random.seed(None if seed is None else seed % _WIDEST_SEED)  # noqa: NPY002
        yield


def seeded(estimator: Estimator, generator: np.random.RandomState | None) -> Estimator:
    """Give an estimator seeds where it would draw from the global generator, and return it.

    Parameters
    ----------
    estimator : estimator
        It is changed in place, and so are the estimators that it contains.
    generator : RandomState, optional
        Draws the seeds; without it, nothing changes.
    """
    if generator is not None:
        from sklearn.preprocessing import TargetEncoder

        parameters = estimator.get_params(deep=True)
        for name, value in sorted(parameters.items()):
            path, _, last = name.rpartition("__")
            if value is None and last == "random_state":
                owner = parameters[path] if path else estimator
                # scikit-learn 1.5 takes no seed where nothing is shuffled.
                if not isinstance(owner, TargetEncoder) or owner.shuffle:
                    estimator.set_params(**{name: generator.randint(np.iinfo(np.int32).max)})
    return estimator


class _OwnGenerator(TorchFunctionMode):
    """Gives functions that draw random numbers in main memory a generator of their own."""

    def __init__(self, seed: int | None) -> None:
        super().__init__()
        self.generator = torch.Generator()
        if seed is None:
            self.generator.set_state(torch.get_rng_state())
        else:
            self.generator.manual_seed(int(seed))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if given.get("generator") is None and _in_main_memory(args, given):
            if func in _TAKE_A_GENERATOR:
                return func(*args, **{**given, "generator": self.generator})
            if func in _DRAW_FROM_THE_GLOBAL_ONE:
                return self._in_place_of_the_global_one(func, args, given)
        return func(*args, **given)

    def _in_place_of_the_global_one(
        self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]
    ) -> Any:
        # Without modes of this kind around this one, which the function would ask again.
        with _TORCH.lock, torch._C.DisableTorchFunction():
            kept = torch.get_rng_state()
            try:
                torch.set_rng_state(self.generator.get_state())
                result = func(*args, **given)
                self.generator.set_state(torch.get_rng_state())
            finally:
                torch.set_rng_state(kept)
        return result


def _in_main_memory(args: tuple[Any, ...], given: dict[str, Any]) -> bool:
    device = given.get("device")
    if device is not None:
        return torch.device(device).type == "cpu"
    tensors = (value for value in (*args, *given.values()) if isinstance(value, Tensor))
    return all(tensor.device.type == "cpu" for tensor in tensors)


@contextmanager
def _own_state_of(device: torch.device, seed: int | None) -> Iterator[None]:
    """Seed the generator of a GPU within the context, and restore its state afterwards."""
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.callback(torch.cuda.set_rng_state, torch.cuda.get_rng_state(device), device)
            if seed is not None:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(int(seed))
        yield


def _has_code_of_the_user(
    net: nn.Module,
    loss: LossLike | None,
    optimizer: torch.optim.Optimizer | None,
    callbacks: Iterable[Any] | None,
) -> bool:
    """Whether code that is neither of this package nor of torch runs, which may draw numbers."""
    if callbacks or not _is_own(loss):
        return True
    if optimizer is not None:
        hooks = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
        if any(hooks) or not type(optimizer).__module__.startswith(("torch.optim", "pipegrad.")):
            return True
    return any(_is_foreign(part) for part in net.modules())


def _is_own(loss: LossLike | None) -> bool:
    if isinstance(loss, Composed):
        return all(_is_own(part) for part in loss.parts)
    return loss is None or isinstance(loss, str | Objective | Loss)


def _is_foreign(part: nn.Module) -> bool:
    known = type(part).__module__.startswith(("pipegrad.", "torch.nn.modules.container"))
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
    return not known or any(hooks) or any(p._backward_hooks for p in part.parameters(False))


if hasattr(os, "register_at_fork"):
    for _state in (_TORCH, _NUMPY):
        os.register_at_fork(after_in_child=_state.forget)
