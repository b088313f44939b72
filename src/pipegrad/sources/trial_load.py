"""Loads a model file in a child process first, where a crash, a hang or its appetite does no harm.

The child runs `trial_child.py`, which imports the library and nothing of pipegrad.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path

from ..errors import ModelFileError
from ..file_writing import scratch_folder

_CHILD = Path(__file__).with_name("trial_child.py")
_SECONDS = 60
_MEMORY = 3 << 30
# A larger file may take more: seconds for each byte, and bytes for each of its own.
_SECONDS_PER_BYTE, _MEMORY_PER_BYTE = 1e-6, 40
_MOST_KNOWN = 1000
_HINT = ".\nHint: to_torch(path, trusted=True) loads a file that you trust without limits."

_known: OrderedDict[bytes, None] = OrderedDict()
_lock = threading.Lock()


def try_loading(content: bytes, suffix: str, name: str, library: str, script: Path) -> None:
    """Load a file in a child process with limits of time and memory, once for each content.

    Parameters
    ----------
    content : bytes
        The file.
    suffix : str
        Its ending.
    name : str
        Its path, for errors.
    library : str
        Name of the library, for errors.
    script : Path
        Python file with a function ``load(content, suffix)``, which imports the library, loads the
        file and predicts, and perhaps with ``LEFT_OUT``, names of packages that the library must
        not import.

    Raises
    ------
    ModelFileError
        If the library raises, crashes, or needs more time or memory than a file of this size may.
    """
    key = sha256(f"{script}\0{suffix}\0".encode() + content).digest()
    with _lock:
        if key in _known:
            return
    problem = _problem(content, suffix, script)
    if problem:
        raise ModelFileError(f"{name}: {library} {problem}")
    with _lock:
        _known[key] = None
        if len(_known) > _MOST_KNOWN:
            _known.popitem(last=False)


def _problem(content: bytes, suffix: str, script: Path) -> str:
    """What goes wrong in the child process; "" if nothing does."""
    if not sys.executable:
        return f"cannot be tried in another process here, as the path of Python is unknown{_HINT}"
    seconds = _SECONDS + _SECONDS_PER_BYTE * len(content)
    limits = {"seconds": seconds, "memory": _MEMORY + _MEMORY_PER_BYTE * len(content)}
    task = {"path": sys.path, "script": str(script), "suffix": suffix, **limits}
    command = [sys.executable, "-I", "-X", "faulthandler=0", str(_CHILD)]
    given = json.dumps(task).encode() + b"\n" + content
    try:
        # A child that crashes leaves its temporary files behind, so that it gets a folder for them.
        with scratch_folder() as folder:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                timeout=2 * seconds,
                env=_environment(folder),
            )
    except subprocess.TimeoutExpired:
        return f"has not read it after {2 * seconds:.0f} seconds{_HINT}"
    except OSError as error:
        return f"cannot be tried in another process: {error}{_HINT}"
    return _verdict(done, seconds)


def _environment(folder: Path) -> dict[str, str]:
    """The environment of the child: threads are of no use to it, and each reserves memory."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))}


def _verdict(done: subprocess.CompletedProcess[bytes], seconds: float) -> str:
    answer = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if done.returncode == 0 and answer == "loaded":
        return ""
    if answer.startswith("refused: "):
        return f"refuses it: {answer[len('refused: ') :]:.300}."
    if answer == "out of memory":
        return f"needs more memory for it than a file of this size may take{_HINT}"
    if -done.returncode == getattr(signal, "SIGXCPU", None):
        return f"has not read it after {seconds:.0f} seconds{_HINT}"
    if done.returncode < 0:
        return f"crashes on it ({signal.Signals(-done.returncode).name})."
    return f"crashes on it (exit status {done.returncode})."
