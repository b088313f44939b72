"""Cost of an epoch with a cached host part, compared with running the whole pipeline each epoch.

The pipeline has one-hot and text steps before a scaler and a linear model. Both kinds of epoch
train the same module with the same optimizer and batches, in alternation; the ratio of the medians
is printed.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pipegrad as pg


def table(rows: int, length: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    words = np.array([f"word{i}" for i in range(2000)])
    X = pd.DataFrame(
        {
            "text": [" ".join(rng.choice(words, length)) for _ in range(rows)],
            "city": rng.choice([f"city{i}" for i in range(200)], rows),
            "kind": rng.choice(list("abcdef"), rows),
            "size": rng.normal(size=rows),
        }
    )
    return X, X["size"].to_numpy() + rng.normal(size=rows)


def epoch(net, encoded, y, optimizer, batch: int) -> None:
    for start in range(0, len(y), batch):
        rows = slice(start, start + batch)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(encoded[rows]), y[rows]).backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=60, help="words per text")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    chosen = parser.parse_args()
    X, y = table(chosen.rows, chosen.words, np.random.default_rng(0))
    steps = make_column_transformer(
        (TfidfVectorizer(), "text"), (OneHotEncoder(), ["city", "kind"]), remainder="passthrough"
    )
    pipe = make_pipeline(steps, StandardScaler(with_mean=False), Ridge()).fit(X, y)
    net = pg.to_torch(pipe)
    target = net.encode_target(y)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    cached = net.encode(X)
    times: dict[str, list[float]] = {"cached": [], "whole pipeline": []}
    for _ in range(chosen.repeats):
        for name, seconds in times.items():
            started = time.perf_counter()
            rows = cached if name == "cached" else net.encode(X)
            epoch(net, rows, target, optimizer, chosen.batch)
            seconds.append(time.perf_counter() - started)
    medians = {name: float(np.median(seconds)) for name, seconds in times.items()}
    ratio = medians["whole pipeline"] / medians["cached"]
    print(
        f"{chosen.rows:,} rows of {chosen.words} words, batch {chosen.batch}, "
        f"{torch.get_num_threads()} threads, medians of {chosen.repeats}: "
        + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())
        + f"; the cached epoch is {ratio:.1f} times faster (loss_target: 5)"
    )


if __name__ == "__main__":
    main()
