"""What candidates that train together may differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import ArgumentError
from ...partition import as_patterns
from ..optimizers import LEARNING_RATE, is_number

if TYPE_CHECKING:
    from ...network import PipelineNetwork


@dataclass(frozen=True)
class Configuration:
    """Settings for training with Adam.

    Parameters
    ----------
    lr : float
        Learning rate.
    relative : bool
        Whether ``lr`` is a share of each parameter's own size (rounded to powers of four), as
        `PipelineNetwork.fit` has it by default, or the same for all parameters.
    anchor : float
        Strength of the pull towards the start; see `pipegrad.finetune.fit`.
    train : str or tuple of str, optional
        Patterns of the steps that train, among those that the module trains; None: all.

    Examples
    --------
    >>> from pipegrad.finetune import Configuration
    >>> print(Configuration(lr=0.003, anchor=0.1))
    lr=0.003, relative, anchor=0.1
    """

    lr: float = LEARNING_RATE
    relative: bool = True
    anchor: float = 0.0
    train: str | tuple[str, ...] | None = None

    def check(self) -> None:
        """Reject invalid values."""
        if not (is_number(self.lr) and self.lr > 0):
            raise ArgumentError(f"Configuration: lr must be a positive number, got {self.lr!r}.")
        if not (is_number(self.anchor) and self.anchor >= 0):
            raise ArgumentError(
                f"Configuration: anchor must be a non-negative number, got {self.anchor!r}."
            )

    def trained(self, net: PipelineNetwork) -> list[bool]:
        """Whether each of the module's trainable parameters trains here."""
        names = net.trainable_parameters()
        if self.train is None:
            return [True] * len(names)
        steps = net.graph.select(as_patterns(self.train), "Configuration: train")
        prefixes = tuple(f"steps.{c.key}." for c in net.plan if c.step.name in steps)
        found = [name.startswith(prefixes) for name in names]
        if not any(found):
            raise ArgumentError(
                f"Configuration: train={self.train!r} names no step that the module trains.\n"
                "Hint: pipegrad.inspect."
            )
        return found

    def __str__(self) -> str:
        parts = [f"lr={self.lr:.4g}"] + ["relative"] * self.relative
        if self.anchor:
            parts.append(f"anchor={self.anchor:.4g}")
        if self.train is not None:
            parts.append(
                "train=" + (self.train if isinstance(self.train, str) else "+".join(self.train))
            )
        return ", ".join(parts)
