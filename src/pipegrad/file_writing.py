"""Files that are replaced as a whole: a reader finds the old content or the new, never a part.

`write_file` and `replacement` write beside the target and rename at the end. A full disk, a killed
process or a second writer of the same path leaves the target as it was, and the next write removes
what a killed one left behind. Writers hold a lock on their unfinished file, which is how others
know that it is not a leftover.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import ArgumentError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SCRATCH = "pipegrad-"
# Age in seconds from which an unfinished file is a leftover where files cannot be locked.
_ABANDONED = 24 * 3600


def files_library(name: str, what: str) -> Any:
    """A module of the extra ``files``.

    Parameters
    ----------
    name : str
        Dotted name of the module.
    what : str
        What requires it, for the error.

    Raises
    ------
    ArgumentError
        If its package is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        raise ArgumentError(
            f"{what} requires {package}.\nHint: pip install 'pipegrad[files]'."
        ) from error


def check_target(path: Any, content: str, suffixes: tuple[str, ...] = ()) -> Path:
    """The path of a file that can be written.

    Parameters
    ----------
    path : str or path
        Path given by the user.
    content : str
        What the file will hold, for the errors ("a report").
    suffixes : tuple of str
        Allowed endings of the name, in lower case; any if empty.

    Raises
    ------
    ArgumentError
        If the path is none, ends differently, lies in no folder, or is that of a folder, a device
        or a file that must not be changed.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ArgumentError(f"path must be the name of a file, got {path!r:.80}.")
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        raise ArgumentError(f"{target}: the file of {content} must end in {' or '.join(suffixes)}.")
    real, mode = _checked_place(target, "a file", "no file")
    if mode is None:
        return target
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise ArgumentError(f"{target} is {kind}.\nHint: give the path of a file.")
    if not os.access(real, os.W_OK):
        raise ArgumentError(f"{target} is write-protected.")
    return target


def _checked_place(path: Path, kind: str, made: str) -> tuple[Path, int | None]:
    """Where a path leads, and the mode of what is there; an error if nothing can be made there."""
    try:
        real = _real(path)
        folder = real.parent.is_dir()
        mode = os.stat(real).st_mode if real.exists() else None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ArgumentError(f"{str(path)!r:.120} is not the name of {kind}: {why}.") from error
    if not folder:
        raise ArgumentError(f"{path}: there is no folder {str(real.parent)!r}.")
    if not os.access(real.parent, os.W_OK):
        raise ArgumentError(f"{path}: {made} can be made in {str(real.parent)!r}.")
    return real, mode


def write_file(path: Any, content: bytes, private: bool = False) -> None:
    """Write a file completely or not at all.

    The file keeps its permissions, and a symbolic link its target.

    Parameters
    ----------
    path : str or path
        File to write; its folder exists.
    content : bytes
        The whole content.
    private : bool
        Whether a new file is for its owner alone.

    Raises
    ------
    OSError
        If the content was not written, or cannot be read back; the old file is unchanged then.
    """
    with replacement(path, private) as partial:
        write_checked(partial, content)


def write_checked(path: Path, content: bytes) -> None:
    """Write into an unfinished file, and read it back."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != content:
        raise incomplete(path)


def incomplete(path: Any) -> OSError:
    """The error for a file whose content is not what was written into it."""
    code = errno.EIO
    with suppress(OSError):
        if shutil.disk_usage(Path(path).parent).free < 1 << 20:
            code = errno.ENOSPC
    return OSError(code, f"{os.strerror(code)}: the new file is incomplete, the old one unchanged")


@contextmanager
def replacement(path: Any, private: bool = False) -> Iterator[Path]:
    """An unfinished file that takes the place of ``path`` if the block ends without an error.

    Parameters
    ----------
    path : str or path
        File to replace or to create.
    private : bool
        Whether a new file is for its owner alone.

    Yields
    ------
    Path
        An empty file in the same folder, with the same suffix.
    """
    target = _real(Path(path))
    _remove_leftovers(target)
    before = os.stat(target) if target.exists() else None
    partial, lock = _unfinished(target, 0o666 if before is None and not private else 0o600)
    try:
        yield partial
        _finish(partial, before)
        os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    finally:
        if lock is not None:
            os.close(lock)
    _sync(target.parent)


def check_folder_target(path: Any, content: str, replaceable: Callable[[Path], bool]) -> Path:
    """The path of a folder that can be written or replaced.

    Parameters
    ----------
    path : str or path
        Path given by the user.
    content : str
        What the folder will hold, for the errors ("a saved module").
    replaceable : callable
        Whether a folder that is there may be replaced.

    Raises
    ------
    ArgumentError
        If the path is none, lies in no folder, or is that of something else.
    """
    if not Path(path).name:
        raise ArgumentError(f"path must be the name of a folder, got {str(path)!r:.80}.")
    real, mode = _checked_place(Path(path), "a folder", "nothing")
    folder = mode is not None and stat.S_ISDIR(mode)
    if os.path.lexists(real) and not (folder and replaceable(real)):
        kind = "a folder" if folder else "a file"
        raise ArgumentError(
            f"{path} is {kind} that does not hold {content}.\nHint: give a new name, or remove it."
        )
    return Path(path)


@contextmanager
def folder_replacement(path: Any) -> Iterator[Path]:
    """An unfinished folder that takes the place of ``path`` if the block ends without an error.

    Where the system can, the two folders are exchanged at once; elsewhere, a process that is killed
    in between leaves the old one beside, and never a part of the new one.

    Parameters
    ----------
    path : str or path
        Folder to replace or to create.

    Yields
    ------
    Path
        An empty folder beside it.
    """
    target = _real(Path(path))
    _remove_leftovers(target)
    partial, lock = _unfinished_folder(target)
    try:
        yield partial
        _sync(partial)
        _put_in_place(partial, target)
    finally:
        # What is there now is the old folder, or an unfinished one.
        shutil.rmtree(partial, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    _sync(target.parent)


def _unfinished_folder(target: Path) -> tuple[Path, int | None]:
    while True:
        partial = target.with_name(f"{_stem(target)}{secrets.token_hex(8)}.part")
        partial.mkdir()
        claimed, lock = _claimed(partial)
        if claimed:
            return partial, lock


def _put_in_place(new: Path, target: Path) -> None:
    """Move a folder to a name; the folder that has this name takes the other one."""
    with suppress(OSError):  # Another writer may have made the target in the meantime.
        if not target.exists():
            os.rename(new, target)
            return
    if _exchanged(new, target):
        return
    aside = new.with_name(f"{_stem(target)}{secrets.token_hex(8)}.old")
    os.rename(target, aside)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    import ctypes

    at, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(at, os.fsencode(one), at, os.fsencode(other), exchange) == 0)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for intermediate files; those of killed processes are removed."""
    _remove_scratch()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        claimed, lock = _claimed(folder)
        if claimed:
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _real(path: Path) -> Path:
    """The file that a symbolic link stands for; OSError if links form a circle."""
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def _unfinished(target: Path, mode: int) -> tuple[Path, int | None]:
    """A new file beside the target, and the lock that marks it as being written."""
    while True:
        name = f"{_stem(target)}{secrets.token_hex(8)}.part{target.suffix[:20]}"
        partial = target.with_name(name)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        claimed, lock = _claimed(partial)
        if claimed:
            return partial, lock


def _stem(target: Path) -> str:
    """What the unfinished files of a target begin with; short even if its name is long."""
    return f".{sha256(os.fsencode(target.name)).hexdigest()[:12]}."


def _finish(partial: Path, before: os.stat_result | None) -> None:
    """Flush the file to the disk, and give it the owner and the permissions of the old one."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    if before is None:
        return
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(partial, before.st_uid, before.st_gid)
    os.chmod(partial, stat.S_IMODE(before.st_mode))


def _sync(folder: Path) -> None:
    """Flush the new name to the disk, where folders can be flushed."""
    with suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of a file or folder; None where nothing can be locked.

    Raises
    ------
    BlockingIOError
        If another one holds the lock.
    """
    if fcntl is None:
        return None
    place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(place)
        raise
    except OSError:  # Some network file systems have no locks.
        os.close(place)
        return None
    return place


def _claimed(path: Path) -> tuple[bool, int | None]:
    """Whether a new file is its maker's, and its lock.

    Another writer can take it for a leftover, and remove it, before it is locked.
    """
    try:
        lock = _locked(path)
    except OSError:
        return False, None
    if lock is None:
        return True, None
    with suppress(OSError):
        if os.path.samestat(os.fstat(lock), os.lstat(path)):
            return True, lock
    os.close(lock)
    return False, None


def _remove_leftovers(target: Path) -> None:
    """Remove the unfinished files of writers of the target that no longer run."""
    own = rf"{re.escape(_stem(target))}[0-9a-f]{{16}}\.part.*"
    earlier = rf"\.{re.escape(target.name)}\.\d+\.part"
    pattern = re.compile(f"(?:{own})|(?:{earlier})")
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            is_file = entry.is_file(follow_symlinks=False)
            is_folder = entry.is_dir(follow_symlinks=False)
            name = entry.name
            if (is_file and pattern.fullmatch(name)) or (is_folder and re.fullmatch(own, name)):
                _remove_dead(Path(entry.path))


def _remove_scratch() -> None:
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            known = re.fullmatch(rf"{_SCRATCH}[a-z0-9_]{{8}}", entry.name)
            if known and entry.is_dir(follow_symlinks=False) and _is_own(entry):
                _remove_dead(Path(entry.path))


def _is_own(entry: os.DirEntry[str]) -> bool:
    return not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()


def _remove_dead(path: Path) -> None:
    """Remove a file or folder that nobody holds."""
    try:
        lock = _locked(path)
    except OSError:
        return  # It is being written, or another writer removed it.
    try:
        if lock is None and time.time() - path.stat().st_mtime < _ABANDONED:
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    except OSError:
        return
    finally:
        if lock is not None:
            os.close(lock)
