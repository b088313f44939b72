"""The progress display during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from skorch import NeuralNet
from skorch.callbacks import Callback

from .deadline import Deadline

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


class ShowStages:
    """A line with the current stage of a long fit and the time left, once that is estimated.

    Parameters
    ----------
    console : rich Console, optional
        Console for the output; standard error by default.

    Attributes
    ----------
    ends : float, optional
        When the fit will end by the last estimate, in seconds of `Deadline.clock`.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.ends: float | None = None
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            _TimeLeft(self),
        )
        self._progress = Progress(*columns, console=console or Console(stderr=True))
        self._task = self._progress.add_task("", total=None)

    def tell(self, stage: str) -> None:
        """Show a stage."""
        self._progress.update(self._task, description=stage, refresh=True)

    def expect(self, seconds: float) -> None:
        """Show that the fit will end in so many seconds."""
        self.ends = Deadline.clock() + seconds

    def __enter__(self) -> ShowStages:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


class _TimeLeft(ProgressColumn):
    """The estimated time left."""

    def __init__(self, stages: ShowStages) -> None:
        super().__init__()
        self.stages = stages

    def render(self, task: Task) -> Text:
        if self.stages.ends is None:
            return Text("")
        left = max(0.0, self.stages.ends - Deadline.clock())
        minutes, seconds = divmod(round(left), 60)
        return Text(f"about {minutes}:{seconds:02d} left")


def _losses(row: Mapping[str, float]) -> str:
    names = {"train_loss": "train", "valid_loss": "validation"}
    return "  ".join(f"{label} {row[key]:.5g}" for key, label in names.items() if key in row)
