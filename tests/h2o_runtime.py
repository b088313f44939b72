"""Real H2O-3, to train models and to score tables with: what `make test-h2o` compares with.

python tests/h2o_runtime.py install FOLDER                  h2o from PyPI into FOLDER: 800 MB
FOLDER/bin/python tests/h2o_runtime.py train OUT [NAME...]  the models of `all_cases`
FOLDER/bin/python tests/h2o_runtime.py score JOBS.json      [MOJO, table, result], ...
FOLDER/bin/python tests/h2o_runtime.py import JOBS.json     the same, by the server's import_mojo

It needs Java 8 to 17. For each case, `train` writes OUT/NAME.zip, the MOJO that H2O exported, and
OUT/NAME.parquet: the columns that the model reads, and what H2O's scorer for MOJOs
(`EasyPredictModelWrapper` of h2o-genmodel, which h2o.jar contains) answers for these rows, in
columns that begin with "answer:". A row that the scorer refuses has the reason in "answer:error"
and nothing in the other columns. Where H2O's server answers otherwise for the model that it
trained, or for the MOJO that it imported, `train` says so.

`score` writes the same columns anew. The scorer needs no server; `import_mojo` would map new
levels of a category otherwise than the scorer, which turns them into missing values.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# 3.46.0.6 exports MOJOs as open source; 3.46.0.12 wants a commercial licence for that.
PACKAGES = ["h2o==3.46.0.6", "jpype1", "numpy", "pandas", "pyarrow"]
JAVA = 17
# Cases whose files stay as H2O wrote them.
WHOLE = ["glm_gaussian", "glm_multinomial", "gbm_bernoulli", "drf_regression", "dl_tanh",
         "kmeans_mixed", "pca_standardize", "xgb_gaussian", "ensemble_regression"]  # fmt: skip


def install(folder: Path) -> None:
    """A virtual environment with h2o; an error if there is no Java that it runs on."""
    if shutil.which("java") is None:
        sys.exit(f"H2O needs Java {JAVA}: install it, and see that `java` is found.")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or not 8 <= int(found[1]) <= JAVA:
        sys.exit(f"H2O 3.46 needs Java 8 to {JAVA}, got {said.splitlines()[0]}.")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


# -- inside of that environment ----------------------------------------------------------------


def _free_port() -> int:
    """A port that is free, as is the next one, where the nodes of H2O talk."""
    for port in range(54400, 60000, 2):
        with contextlib.suppress(OSError):
            for number in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
            return port
    sys.exit("H2O needs two free ports side by side, and there are none.")


@contextlib.contextmanager
def server() -> Iterator[Any]:
    """H2O, listening to this machine alone; it ends with the block."""
    import h2o

    with tempfile.TemporaryDirectory() as scratch:
        # Servers of one name join each other.
        h2o.init(
            ip="127.0.0.1", port=_free_port(), bind_to_localhost=True, nthreads=1,
            max_mem_size="1g", ice_root=scratch, log_dir=scratch, name=f"pipegrad-{os.getpid()}",
            jvm_custom_args=["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
            strict_version_check=True, verbose=False,
        )  # fmt: skip
        h2o.no_progress()
        warnings.simplefilter("ignore")
        try:
            yield h2o
        finally:
            h2o.cluster().shutdown()


def all_cases() -> dict[str, Any]:
    """What the modules of cases add to the table of them."""
    import h2o_cases
    import h2o_composite_cases  # noqa: F401

    return h2o_cases.CASES


def train(out: Path, names: list[str]) -> None:
    from h2o_tables import Frames

    cases = all_cases()
    out.mkdir(parents=True, exist_ok=True)
    unknown = set(names) - set(cases)
    if unknown:
        sys.exit(f"There are no cases {', '.join(sorted(unknown))}.")
    with server() as h2o:
        at = Frames(h2o)
        for name in names or cases:
            try:
                _train_one(h2o, at, cases[name], out / f"{name}.zip")
            except Exception as error:  # the next cases are still worth knowing
                print(name, "FAILED", f"{type(error).__name__}: {error}"[:2000], flush=True)


def _train_one(h2o: Any, at: Any, case: Any, target: Path) -> None:
    import h2o_answers

    model = case.fitted(at)
    with tempfile.TemporaryDirectory() as scratch:
        _copied(Path(model.download_mojo(scratch)), target, whole=target.stem in WHOLE)
    table = at.test[case.reads]
    answered = h2o_answers.answer(target, table)
    h2o_answers.write(answered, target.with_suffix(".parquet"))
    size = sum(target.with_suffix(kind).stat().st_size for kind in (".zip", ".parquet"))
    print(target.stem, size, flush=True)
    with _told("trained"):
        _compare("trained", model, at.frame(table), answered)
    with _told("imported"):
        _compare("imported", h2o.import_mojo(str(target)), at.frame(table), answered)


def _copied(mojo: Path, target: Path, *, whole: bool) -> None:
    """The MOJO, without the description that no scorer reads and that is most of it."""
    if whole:
        shutil.copy(mojo, target)
        return
    with zipfile.ZipFile(mojo) as given, zipfile.ZipFile(target, "w") as made:
        for entry in given.infolist():
            if "experimental/" not in entry.filename:
                made.writestr(entry, given.read(entry))


@contextlib.contextmanager
def _told(which: str) -> Iterator[None]:
    """Errors of the server are printed: what the scorer says holds."""
    try:
        yield
    except Exception as error:
        told = re.sub(r"^Job with key \S+ failed with an exception: ", "", str(error))
        print(f"  {which} model: {told.splitlines()[0][:150]}", flush=True)


def _compare(which: str, model: Any, frame: Any, answered: Any) -> None:
    import h2o_answers

    # Of a single column, rows without a value would be lost on the way.
    found = model.predict(frame)
    found = found.cbind(frame[:1].set_names(["of row"])).as_data_frame().drop(columns="of row")
    for line in h2o_answers.differences(found, answered):
        print(f"  {which} model: {line}", flush=True)


def score(jobs: list[list[str]]) -> None:
    import pandas as pd

    import h2o_answers

    for mojo, table, result in jobs:
        try:
            given = pd.read_parquet(table)
            given = given[[name for name in given if not name.startswith("answer:")]]
            h2o_answers.write(h2o_answers.answer(Path(mojo), given), Path(result))
        except Exception as error:  # the next jobs are still worth knowing
            Path(f"{result}.error").write_text(f"{type(error).__name__}: {error}")


def score_imported(jobs: list[list[str]]) -> None:
    """Let the server import MOJOs and answer for rows: what Python shows of its answers."""
    import pandas as pd

    import h2o_answers
    import h2o_tables

    with server() as h2o:
        at = h2o_tables.Frames(h2o)
        for mojo, table, result in jobs:
            try:
                given = pd.read_parquet(table)
                found = h2o.import_mojo(mojo).predict(at.frame(given)).as_data_frame()
                answers = found.add_prefix("answer:")
                h2o_answers.write(pd.concat([given, answers], axis=1), Path(result))
            except Exception as error:  # the next jobs are still worth knowing
                Path(f"{result}.error").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "install":
        install(Path(arguments[0]).resolve())
    elif what == "train":
        train(Path(arguments[0]), arguments[1:])
    else:
        answer = {"score": score, "import": score_imported}[what]
        answer(json.loads(Path(arguments[0]).read_text()))
