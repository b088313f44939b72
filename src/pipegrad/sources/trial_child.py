"""The child process of `trial_load`: loads one model file within limits and says how it went.

It is run as a script, and imports nothing of pipegrad, since torch would take longer to import than
any model takes to load. Standard input holds a line of JSON and the content of the file.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any


def set_limits(seconds: float, memory: int) -> None:
    """Limit the processor time and the address space, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {"RLIMIT_CORE": 0, "RLIMIT_CPU": int(seconds), "RLIMIT_AS": int(memory)}
    for name, limit in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        try:
            resource.setrlimit(kind, (limit, hard))
        except (ValueError, OSError):
            continue  # macOS limits no address space.


def answer(task: dict[str, Any], content: bytes) -> str:
    """Load the file, and say "loaded" or why not."""
    try:
        script = runpy.run_path(task["script"])
        # An import of what sys.modules maps to None fails, as if it were not installed.
        sys.modules.update(dict.fromkeys(script.get("LEFT_OUT", ())))
        script["load"](content, task["suffix"])
    except MemoryError:
        return "out of memory"
    except Exception as error:
        if "bad_alloc" in str(error):
            return "out of memory"
        return f"refused: {' '.join(str(error).split()) or type(error).__name__}"
    return "loaded"


def main() -> None:
    """Read the task, and write the answer as the last line of standard output."""
    line, content = sys.stdin.buffer.readline(), sys.stdin.buffer.read()
    task = json.loads(line)
    sys.path[:] = task["path"]
    set_limits(task["seconds"], task["memory"])
    print(f"\n{answer(task, content)}".encode("ascii", "replace").decode(), flush=True)
    os._exit(0)  # The destructors of a damaged model may crash.


if __name__ == "__main__":
    main()
