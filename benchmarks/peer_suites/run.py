"""Runs a peer's own tests of scikit-learn estimators against `pipegrad.to_torch`.

The tests are those of hummingbird, sklearn-onnx (skl2onnx) or sk2torch, unchanged, from the source
archive on PyPI. A stand-in takes the place of the peer's `convert`, `convert_sklearn` (with the
ONNX session) or `wrap`, and answers with a pipegrad module. Each answer must first have the type,
shape, dtype and labels of scikit-learn's own; the test then compares the numbers.

Run: python benchmarks/peer_suites/run.py hummingbird [--suite FOLDER] [--itself]
The environment needs pytest and the peer's own dependencies: onnx, onnxruntime,
onnxconverter-common, psutil and dill.

A test does not apply where it fails and concerns the peer's own machinery: by the patterns `RULES`
of each adapter (ONNX operators, the text of graphs, the peer's own errors, converters and
estimators), by backends other than torch, by estimators that are not scikit-learn's, by a skip of
its own, or where scikit-learn itself refuses what the test does, or needs longer than the limit,
before anything is converted.

With --itself, the peer's own converter runs; --among takes the results of a run with pipegrad,
whose tests that apply are counted.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ARCHIVES = {
    "hummingbird": "hummingbird-ml==0.4.12",
    "skl2onnx": "skl2onnx==1.20.0",
    "sk2torch": "sk2torch==1.2.0",
}
ADAPTERS = {"hummingbird": "hummingbird", "skl2onnx": "onnx", "sk2torch": "sk2torch"}
PATTERNS = {
    "hummingbird": "tests/test_sklearn_*.py",
    "skl2onnx": "tests/test_sklearn_*.py",
    "sk2torch": "sk2torch/*_test.py",
}


def main() -> None:
    """Run the tests of a suite and print a summary."""
    options = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        suite = options.suite or _downloaded(options.peer, Path(folder))
        results = Path(options.results or Path(folder) / "results.jsonl").resolve()
        if options.failed:
            _run(options, suite, _failed(options, results), results.with_suffix(".new"))
            _replace(results, results.with_suffix(".new"))
        else:
            _run(options, suite, _files(options, suite), results)
        lines = [json.loads(line) for line in results.read_text().splitlines()]
    if options.among:
        applying = _applying(options.among)
        lines = [line for line in lines if line["test"] in applying]
    report(lines, options.itself, options.show)


def _applying(results: Path) -> set[str]:
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    ended = {name: kind(line)[0] for name, line in _by_test(lines).items()}
    return {name for name, how in ended.items() if how != "not applicable"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=ARCHIVES)
    parser.add_argument(
        "--suite", type=Path, help="the unpacked archive; pip downloads it otherwise"
    )
    parser.add_argument("--files", default="*", help="names of files to run, with wildcards")
    parser.add_argument("--only", default="", help="expression for pytest -k")
    parser.add_argument("--failed", action="store_true", help="run what failed in --results again")
    parser.add_argument("--itself", action="store_true", help="run the peer's own converter")
    parser.add_argument("--among", type=Path, help="results of pipegrad; count the tests they hold")
    parser.add_argument("--limit", type=int, default=120, help="seconds for each test")
    parser.add_argument("--to-torch", default="{}", help="arguments of to_torch, as JSON")
    parser.add_argument("--results", help="a file of JSON lines to add the results to")
    parser.add_argument("--show", action="store_true", help="list the tests that fail")
    return parser.parse_args()


def _downloaded(peer: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, ARCHIVES[peer], "-d", str(folder)], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def _files(options: argparse.Namespace, suite: Path) -> list[Path]:
    files = sorted(suite.resolve().glob(PATTERNS[options.peer]))
    return [file for file in files if file.match(options.files)]


def _failed(options: argparse.Namespace, results: Path) -> list[str]:
    """The tests that failed."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    ended = {name: kind(line, options.itself)[0] for name, line in _by_test(lines).items()}
    return [name for name, how in ended.items() if how in ("refused", "wrong", "other")]


def _replace(results: Path, newer: Path) -> None:
    """Put newer results of tests in the place of those that a file holds."""
    lines = [json.loads(line) for line in newer.read_text().splitlines()]
    again = {line["test"] for line in lines}
    old = [json.loads(line) for line in results.read_text().splitlines()]
    lines = [line for line in old if line["test"] not in again] + lines
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    newer.unlink()


def _run(options: argparse.Namespace, suite: Path, tests: list[Any], results: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = suite.resolve() / Path(PATTERNS[options.peer]).parent
        paths = [HERE, HERE.parents[1] / "src", suite.resolve(), folder]
        names = [str(suite.resolve() / test) for test in tests]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PEER_SUITE": ADAPTERS[options.peer],
            "PEER_RESULTS": str(results),
            "PEER_LIMIT": str(options.limit),
            "PEER_ITSELF": "1" if options.itself else "0",
            "PEER_OPTIONS": options.to_torch,
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider"]
        command += ["--tb=no", "--no-header", "-W", "ignore", "--rootdir", str(suite.resolve())]
        command += ["-k", options.only] if options.only else []
        subprocess.run([*command, *names], cwd=scratch, env=environment, check=False)


# -- the summary -------------------------------------------------------------------------------


def kind(line: dict[str, Any], itself: bool = False) -> tuple[str, str]:
    """How a test ended: "passed", "not applicable", "refused", "wrong" or "other", and why."""
    events = line["events"]
    machinery = [what for name, what in events if name == "machinery"]
    if machinery:
        return "not applicable", machinery[0]
    if line["outcome"] == "skipped":
        return "not applicable", "skipped by the suite"
    if line["outcome"] == "passed":
        if itself or any(name == "translated" for name, _ in events):
            return "passed", ""
        return "not applicable", "converts nothing"
    refused = [what for name, what in events if name == "refused"]
    if refused:
        return "refused", refused[0]
    if line["machinery"] and not line["error"].startswith("WrongAnswerError"):
        return "not applicable", line["machinery"]
    if line["error"].startswith("ModuleNotFoundError"):
        return "not applicable", "needs a package: " + line["error"][:80]
    if not itself and not events:
        slow = line["error"].startswith("_TooLongError")
        return "not applicable", "scikit-learn itself " + (
            "takes too long" if slow else f"refuses: {line['error'][:80]}"
        )
    if line["error"].startswith(("WrongAnswerError", "AssertionError", "OnnxRuntimeAssertion")):
        return "wrong", line["error"].splitlines()[0][:160]
    return "other", line["error"].splitlines()[0][:160]


def report(lines: list[dict[str, Any]], itself: bool, show: bool) -> None:
    """Print how many tests passed, failed and did not apply, with the reasons."""
    groups: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    tests = _by_test(lines)
    for line in tests.values():
        group, why = kind(line, itself)
        groups[group][why] += 1
        if show and group in ("refused", "wrong", "other"):
            print(f"{group}: {line['test']}\n    {_short(why)}\n    {line['place']}")
    applies = sum(
        sum(reasons.values()) for name, reasons in groups.items() if name != "not applicable"
    )
    print(f"\n{sum(groups['passed'].values())} of {applies} tests that apply pass")
    for name in ("wrong", "other", "refused", "not applicable"):
        print(f"\n{name}: {sum(groups[name].values())}")
        for why, count in groups[name].most_common():
            print(f"  {count:4d}  {_short(why)}")
    noted = collections.Counter(_inexact(line) for line in tests.values())
    print(f"\ndiffer by more than 1e-9 of the largest number: {len(tests) - noted.pop('', 0)}")
    for what, count in noted.most_common() if show else ():
        print(f"  {count:4d}  {what}")


def _by_test(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One result for each test; one whose parts have results of their own passes if all do."""
    tests: dict[str, dict[str, Any]] = {}
    for line in lines:
        before = tests.get(line["test"])
        failed = before is not None and before["outcome"] == "failed"
        tests[line["test"]] = before if failed else line
    return tests


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def _inexact(line: dict[str, Any]) -> str:
    names = (what.split(":")[0] for name, what in line["events"] if name == "inexact")
    return next(names, "")


if __name__ == "__main__":
    main()
