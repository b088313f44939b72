"""Time that `import pipegrad` adds to `import torch, sklearn`: at most 0.3 seconds.

python benchmarks/import_time.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

GOAL = 0.3
PROBE = """
import time
import torch, sklearn
start = time.perf_counter()
import pipegrad
print(time.perf_counter() - start)
"""
HEAVY = ("matplotlib", "pandas", "pyarrow", "rich", "skops", "skorch", "torch.onnx")
LOADED = """
import sys
import torch, sklearn
before = set(sys.modules)
import pipegrad
print(*sorted(set(sys.modules) - before))
"""


def ask(code: str) -> str:
    """Output of the code in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Print the added time; return 1 if it exceeds the loss_target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    ask(PROBE)  # the first run reads files from disk and compiles them
    seconds = [float(ask(PROBE)) for _ in range(repeats)]
    added = ask(LOADED).split()
    heavy = [name for name in HEAVY if name in added]
    median, low, high = statistics.median(seconds), min(seconds), max(seconds)
    print(
        f"import pipegrad adds {median:.3f} s (median of {repeats} runs: {low:.3f} to {high:.3f} s)"
    )
    print(f"loss_target: {GOAL} s; {'reached' if median <= GOAL else 'MISSED'}")
    print(f"{len(added)} modules, of which heavy: {', '.join(heavy) or 'none'}")
    return int(median > GOAL)


if __name__ == "__main__":
    sys.exit(main())
