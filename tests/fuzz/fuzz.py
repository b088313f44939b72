"""Fuzzes the readers of files: every mutant is read right, or refused with a clear error.

    python tests/fuzz/fuzz.py --seconds 60            all formats, one minute together
    python tests/fuzz/fuzz.py xgboost.ubj --count 100000 --seed 3
    python tests/fuzz/fuzz.py xgboost.ubj --show 4711 --out mutant.ubj

Each mutant is read in a forked child with 5 seconds and 2 GB. What ends the child, takes too long,
raises anything but pipegrad's own errors, or answers differently than the library that the file
belongs to is a failure; the exit status is the number of formats with failures.
"""

from __future__ import annotations

import os

# Forks of a process survive OpenMP with one thread alone; set before anything imports it.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from forks import outcomes, until
from formats import FORMATS, Format, difference, largest, mutant

import pipegrad as pg

GOOD = ("refused", "no module", "same answers", "read", "no answers of the library")


@dataclass
class Result:
    """What became of the mutants of a format."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        total = sum(self.counts.values())
        parts = [f"{kind} {count}" for kind, count in self.counts.most_common()]
        return f"{total} mutants in {self.seconds:.0f} s: {', '.join(parts)}"


def outcome(kind: Format, content: bytes) -> str:
    """What becomes of one file; it is among `GOOD`, or begins with the kind of the failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _outcome(kind, content)


def _outcome(kind: Format, content: bytes) -> str:
    try:
        net = kind.read(content)
    except pg.UntranslatableError:
        return "no module"
    except (pg.ModelFileError, pg.ArgumentError) as error:
        return "refused" if str(error) else "unclear: an error without a text"
    except BaseException as error:
        return f"unclear: {_described(error)}"
    if kind.answers is None or net is None:
        return "read"
    try:
        rows, wanted = kind.answers(content)
    except Exception:
        return "no answers of the library"
    try:
        different = difference(net.predict(rows), wanted, largest(net))
    except BaseException as error:
        return f"no answers: {_described(error)}"
    return f"differs: {different}" if different else "same answers"


def _described(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error!s:.120}"


def fuzz(name: str, seed: int, numbers: Iterable[int]) -> Result:
    """Read the mutants of a format with these numbers."""
    kind, result, start = FORMATS[name], Result(), time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seeds = kind.seeds()
    for content in seeds:
        found = outcome(kind, content)
        if found not in ("same answers", "read", "no module"):
            result.failures.append((-1, f"a valid file: {found}"))

    def run(number: int) -> str:
        return outcome(kind, mutant(kind, seeds, name, seed, number))

    for number, found in outcomes(numbers, run):
        result.counts[found.partition(":")[0]] += 1
        if found not in GOOD:
            result.failures.append((number, found))
    result.seconds = time.monotonic() - start
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("formats", nargs="*", help=f"some of {', '.join(FORMATS)}; default all")
    parser.add_argument("--seconds", type=float, default=60, help="for all formats together")
    parser.add_argument("--count", type=int, help="mutants of each format, instead of seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, help="write one mutant instead, and say what it does")
    parser.add_argument("--out", type=Path, default=Path("mutant"))
    chosen = parser.parse_args()
    unknown = set(chosen.formats) - set(FORMATS)
    if unknown:
        parser.error(f"unknown format {', '.join(sorted(unknown))}")
    names = chosen.formats or list(FORMATS)
    if chosen.show is not None:
        return show(names[0], chosen)
    failed = 0
    for name in names:
        numbers: Any = range(chosen.count) if chosen.count else until(chosen.seconds / len(names))
        result = fuzz(name, chosen.seed, numbers)
        print(f"{name}: {result}", flush=True)
        for number, found in result.failures[:20]:
            print(f"  --seed {chosen.seed} --show {number}: {found}", flush=True)
        failed += bool(result.failures)
    return failed


def show(name: str, chosen: argparse.Namespace) -> int:
    kind = FORMATS[name]
    content = mutant(kind, kind.seeds(), name, chosen.seed, chosen.show)
    chosen.out.write_bytes(content)
    print(f"{chosen.out}: {len(content)} bytes", flush=True)
    print(outcome(kind, content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
