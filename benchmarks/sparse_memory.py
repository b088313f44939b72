"""Peak memory of fine-tuning on sparse text features.

TF-IDF (host) -> linear model, and TF-IDF (host) -> TruncatedSVD -> linear model, 100,000 features:
a dense matrix of rows x features would take 9 GB in float64. Each pipeline runs in a separate
process, whose peak resident memory is read before and after training.

    python benchmarks/sparse_memory.py --data FOLDER   # FOLDER/newsgroups20.parquet: text, group
    python benchmarks/sparse_memory.py                 # synthetic texts of the same size
"""

import argparse
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ROWS, WORDS, FEATURES, GROUPS = 11_314, 180, 100_000, 20


def texts(folder: str | None):
    if folder:
        import pandas as pd

        table = pd.read_parquet(Path(folder) / "newsgroups20.parquet")
        # The posts are sorted by group.
        table = table[table["split"] == "train"].sample(frac=1, random_state=0)
        return table["text"].tolist(), table["group"].to_numpy()
    rng = np.random.default_rng(0)
    y = rng.integers(GROUPS, size=ROWS)
    words = rng.zipf(1.25, size=(ROWS, WORDS)) % 150_000 + y[:, None] * (
        rng.random((ROWS, WORDS)) < 0.2
    )
    return [" ".join(f"w{w}" for w in row) for row in words], y


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, folder: str | None, epochs: int) -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    import pipegrad as pg

    X, y = texts(folder)
    steps = [TfidfVectorizer(max_features=FEATURES, ngram_range=(1, 2), sublinear_tf=True)]
    if name == "svd":
        steps.append(TruncatedSVD(100, random_state=0))
    steps.append(SGDClassifier(loss="log_loss", alpha=1e-5, random_state=0))
    fit, held = slice(0, int(0.8 * len(X))), slice(int(0.8 * len(X)), None)
    pipe = make_pipeline(*steps).fit(X[fit], y[fit])
    features = len(pipe[0].vocabulary_)
    fitted = megabytes()
    net = pg.to_torch(pipe)
    gap = abs(net.decision_function(X[held]) - pipe.decision_function(X[held])).max()
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        net.fit(X[fit], y[fit], validation=(X[held], y[held]), epochs=epochs)
    seconds = (time.perf_counter() - started) / epochs
    peak = megabytes()
    count = sum(p.numel() for p in net.trainable_parameters().values())
    dense = len(X[fit]) * features * 8 / 2**20
    before, after = (m.score(X[held], y[held]) for m in (pipe, pg.from_torch(net)))
    print(
        f"{name:>6}: {len(X[fit]):,} x {features:,}, {count:,} trainable parameters; "
        f"peak {fitted:,.0f} MB after the fit, {peak:,.0f} MB after fine-tuning "
        f"(+{peak - fitted:,.0f}; a dense matrix: {dense:,.0f} MB); {seconds:.1f} s per epoch; "
        f"largest difference from scikit-learn {gap:.1e}; accuracy {before:.3f} -> {after:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with newsgroups20.parquet")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", choices=["linear", "svd"])
    chosen = parser.parse_args()
    if chosen.only:
        measure(chosen.only, chosen.data, chosen.epochs)
        return
    for name in ("linear", "svd"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", name], check=True)


if __name__ == "__main__":
    main()
