"""Runs cases in forked children with limits, and says of each case what became of it."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator

SECONDS, MEMORY = 5, 2 << 30


def outcomes(
    cases: Iterable[int], run: Callable[[int], str], batch: int = 200
) -> Iterator[tuple[int, str]]:
    """What ``run(case)`` returned for each case, or how the child ended: "crash: ...", "hang".

    Parameters
    ----------
    cases : iterable of int
        The cases, in order.
    run : callable
        Runs one case in a child process, which has `SECONDS` for it and `MEMORY` bytes beyond what
        this process uses.
    batch : int
        Number of cases that a child runs before the next one takes over.
    """
    waiting: list[int] = []
    for case in cases:
        waiting.append(case)
        if len(waiting) == batch:
            yield from _of_batch(waiting, run)
            waiting = []
    yield from _of_batch(waiting, run)


def _of_batch(cases: list[int], run: Callable[[int], str]) -> Iterator[tuple[int, str]]:
    while cases:
        done = 0
        child, lines = _started(cases, run)
        with os.fdopen(lines, encoding="utf-8") as answers:
            for line in answers:
                yield cases[done], json.loads(line)
                done += 1
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if done < len(cases):
            yield cases[done], "hang" if status == -signal.SIGALRM else f"crash: {_name(status)}"
            done += 1
        cases = cases[done:]


def _name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _started(cases: list[int], run: Callable[[int], str]) -> tuple[int, int]:
    """A child that writes a line of JSON for each case, and the end of its pipe."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Threads that wait do no harm.
        child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    gc.freeze()  # What the parent left may have threads, which are not here to be ended.
    try:
        os.close(reading)
        faulthandler.disable()  # pytest's would describe each crash that is looked for.
        _limit_memory()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for case in cases:
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            answer = run(case)
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.write(writing, json.dumps(answer).encode() + b"\n")
    finally:
        os._exit(0)


def _limit_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def until(seconds: float) -> Iterator[int]:
    """Whole numbers from zero until the time is over."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield number
        number += 1
