"""Starts processes of this machine that train together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import distributed, multiprocessing


def run_processes(function: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> None:
    """Call a function in several new processes, whose process group is ready.

    Parameters
    ----------
    function : callable
        A function of a module. The first error of any process ends all of them.
    arguments : tuple
        Its arguments, which are pickled.
    count : int
        Number of processes.

    Raises
    ------
    torch.multiprocessing.ProcessException
        If a process failed.
    """
    with tempfile.TemporaryDirectory(prefix="pipegrad-") as folder:
        # A file, as a free port may be taken before it is used.
        meeting = Path(folder, "group").as_uri()
        multiprocessing.start_processes(  # type: ignore[no-untyped-call]
            _run, (function, arguments, count, meeting), nprocs=count, start_method="spawn"
        )


def _run(
    rank: int, function: Callable[..., Any], arguments: tuple[Any, ...], count: int, meeting: str
) -> None:
    from .workers import begin_group

    begin_group(init_method=meeting, rank=rank, world_size=count)
    try:
        function(*arguments)
    finally:
        distributed.destroy_process_group()
