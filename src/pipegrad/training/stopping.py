"""How a callback ends training."""

from __future__ import annotations


class StopTraining(Exception):  # noqa: N818
    """Raised by a callback to end training, with the best parameters so far.

    It may be raised in any hook of a callback. Training then ends as if it had run out of epochs:
    an epoch that was not completed does not count, and the parameters with the lowest validation
    loss are kept. ``EarlyStopping`` of skorch ends training in the same way.

    A `KeyboardInterrupt` (Ctrl-C) ends training, too, and restores the same parameters, but reaches
    the caller.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch.callbacks import Callback
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> from pipegrad.finetune import StopTraining
    >>> class AfterTwoEpochs(Callback):
    ...     def on_epoch_end(self, net, **kwargs):
    ...         if net.history[-1, "epoch"] == 2:
    ...             raise StopTraining
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = 3 * X[:, 0]
    >>> net = pg.to_torch(Ridge(alpha=30).fit(X[:40], y[:40]))
    >>> net = net.fit(X[:40], y[:40], validation=(X[40:], y[40:]), callbacks=[AfterTwoEpochs()])
    >>> net.history[-1, "epoch"]
    2
    """
