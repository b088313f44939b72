"""Tune the settings of fine-tuning with Optuna, and prune unpromising trials.

A skorch callback reports the validation loss of each epoch to the trial and prunes it when Optuna
decides so; a pruned run leaves the module unchanged.

Run: pip install pipegrad[optuna], then python examples/optuna_search.py
"""

from __future__ import annotations

import argparse
from typing import Any

import optuna
from sklearn.datasets import make_friedman1
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

import pipegrad as pg


class ReportToTrial(Callback):
    """Reports the validation loss of each epoch; raises `optuna.TrialPruned` to prune the trial.

    Parameters
    ----------
    trial : optuna.Trial
        The trial that this run belongs to.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        epoch = net.history[-1, "epoch"]
        self.trial.report(net.history[-1, "valid_loss"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"pruned after epoch {epoch}")


def search(
    trials: int = 20, epochs: int = 30
) -> tuple[optuna.Study, dict[int, pg.PipelineModule], float]:
    """Return the study, the trained modules by trial, and the loss before training."""
    X, y = make_friedman1(1200, 8, noise=0.5, random_state=0)
    X, held, y, held_y = train_test_split(X, y, test_size=400, random_state=0)
    nets: dict[int, pg.PipelineModule] = {}

    def objective(trial: optuna.Trial) -> float:
        components = trial.suggest_int("components", 2, 6)
        pipe = make_pipeline(StandardScaler(), PCA(components), Ridge()).fit(X, y)
        net = pg.to_torch(pipe)
        net.fit(
            X,
            y,
            validation=(held, held_y),
            epochs=epochs,
            lr=trial.suggest_float("lr", 1e-4, 0.3, log=True),
            anchor=trial.suggest_float("anchor", 1e-4, 1.0, log=True),
            callbacks=[ReportToTrial(trial)],
        )
        nets[trial.number] = net
        return min(net.history[:, "valid_loss"])

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=3),
    )
    study.optimize(objective, n_trials=trials)
    before = nets[study.best_trial.number].history[0, "valid_loss"]
    return study, nets, before


def main() -> None:
    parser = argparse.ArgumentParser(description="Tune the settings of fine-tuning with Optuna.")
    parser.add_argument("--trials", type=int, default=20)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, nets, before = search(parser.parse_args().trials)
    states = [trial.state.name for trial in study.trials]
    print(f"{states.count('COMPLETE')} trials were completed, {states.count('PRUNED')} pruned")
    print(f"validation loss {before:.4g} before, {study.best_value:.4g} after, with")
    for name, value in study.best_params.items():
        print(f"  {name} = {value:.4g}")
    print(pg.from_torch(nets[study.best_trial.number]))


if __name__ == "__main__":
    main()
