"""A folder of a model file that contains a block."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ...errors import ModelFileError
from ..zip_archive import Archive
from .binary import Block

_DEEPEST = 16


@dataclass(frozen=True)
class Node:
    """A folder of the archive that contains a block.

    Parameters
    ----------
    archive : Archive
        The file.
    path : str
        The folder.
    file : str
        Name of the block in it.
    """

    archive: Archive = field(repr=False)
    path: str
    file: str = "Model.key"

    @cached_property
    def block(self) -> Block:
        """The block in the folder."""
        return Block.read(self.archive, f"{self.path}/{self.file}")

    def has(self, name: str) -> bool:
        """Whether a file or a folder with a block has this name."""
        inner = f"{self.path}/{name}"
        return f"{inner}/Model.key" in self.archive or inner in self.archive

    def child(self, name: str) -> Node:
        """A subfolder."""
        if self.path.count("/") > _DEEPEST:
            raise self.archive.fail("its folders are nested too deeply.")
        path = f"{self.path}/{name}" if self.path else name
        binary = f"{path}/Model.key" not in self.archive and f"{path}/Model.bin" in self.archive
        return Node(self.archive, path, "Model.bin" if binary else "Model.key")

    def unsupported_error(self) -> ModelFileError:
        """An error for a block of unsupported kind."""
        kind = f"{self.block.loader} [{self.block.signature.strip()}]"
        return self.archive.fail(f"{self.path!r} holds {kind}, which is not supported.")
