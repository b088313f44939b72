"""The progress display during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from skorch import NeuralNet
from skorch.callbacks import Callback

if TYPE_CHECKING:
    from ..typing import Features, Targets
    from .dataset import EncodedDataset


class ShowProgress(Callback):
    """A progress line with the epoch, the losses and the remaining time.

    Parameters
    ----------
    epochs : int
        Maximum number of epochs.
    console : rich Console, optional
        Console for the output; standard error by default.
    """

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.epochs = epochs
        self.console = console

    def on_train_begin(
        self, net: NeuralNet, X: Features = None, y: Targets = None, **kwargs: object
    ) -> None:
        self.progress_ = Progress(
            TextColumn("epoch {task.completed}/{task.total}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("at most"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console or Console(stderr=True),
        )
        self.task_ = self.progress_.add_task("", total=self.epochs)
        self.progress_.start()

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: EncodedDataset | None = None,
        dataset_valid: EncodedDataset | None = None,
        **kwargs: object,
    ) -> None:
        self.progress_.update(self.task_, advance=1, description=_losses(net.history[-1]))

    def on_train_end(
        self, net: NeuralNet, X: Features = None, y: Targets = None, **kwargs: object
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the terminal, also after an error."""
        if hasattr(self, "progress_"):
            self.progress_.stop()
            del self.progress_


def _losses(row: Mapping[str, float]) -> str:
    names = {"train_loss": "train", "valid_loss": "validation"}
    return "  ".join(f"{label} {row[key]:.5g}" for key, label in names.items() if key in row)
