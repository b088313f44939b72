"""Writes small ML.NET model files from nothing, for what no saved model shows."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np


class BlockWriter:
    """A block under construction: numbers in order, strings by index."""

    def __init__(self, signature, loader, version=0x00010001):
        self.signature, self.loader, self.version = signature, loader, version
        self.body, self.strings = bytearray(), []

    def i4(self, *values):
        self.body += struct.pack(f"<{len(values)}i", *values)
        return self

    def u1(self, *values):
        self.body += bytes(values)
        return self

    def f4(self, *values):
        self.body += np.array(values, dtype="<f4").tobytes()
        return self

    def f8(self, *values):
        self.body += np.array(values, dtype="<f8").tobytes()
        return self

    def raw(self, data):
        self.body += data
        return self

    def text(self, *values):
        for value in values:
            if value not in self.strings:
                self.strings.append(value)
            self.i4(self.strings.index(value))
        return self

    def bytes(self):
        characters = [s.encode("utf-16-le") for s in self.strings]
        ends = np.cumsum([len(c) for c in characters], dtype="<i8").tobytes()
        text = b"".join(characters)
        name = "Somewhere, Version=1.0.0.0".encode("utf-16-le")
        start = 0x100
        table = start + len(self.body) if self.strings else 0
        chars = table + len(ends) if self.strings else 0
        assembly = start + len(self.body) + len(ends) + len(text)
        tail = assembly + len(name)
        header = struct.pack(
            "<8s2I6q8s2I24s24s2qqI",
            b"ML\0MODEL", 0x00010002, 0x00010002, start, len(self.body), table, len(ends), chars,
            len(text), self.signature.replace(" ", "\0").encode(), self.version, self.version,
            self.loader.encode(), b"", tail, tail + 8, assembly, len(name),
        )  # fmt: skip
        blocks = [header.ljust(start, b"\0"), bytes(self.body), ends, text, name, b"LEDOM\0LM"]
        return b"".join(blocks)


def schema(columns):
    """An empty table with these (name, codec) columns."""
    contents = b""
    for name, codec in columns:
        for text in (name, codec):
            contents += bytes([len(text)]) + text.encode()
            contents += b"\0" if text is codec else b""
        contents += b"\x01\x01" + struct.pack("<2q", 0, 0)
    tail = 0x100 + len(contents)
    head = struct.pack("<8s5qi", b"CML\0DVB\0", 1 << 48, 1 << 48, 0x100, tail, 0, len(columns))
    return head.ljust(0x100, b"\0") + contents + b"\0BVD\0LMC"


def chain(columns, steps):
    """A model file: raw columns, and for each step a dict of folder to block."""
    top = BlockWriter("XF CHAIN", "TransformerChain").i4(len(steps), *[7] * len(steps))
    entries = {"Schema": schema(columns), "TransformerChain/Model.key": top.bytes()}
    for i, blocks in enumerate(steps):
        for folder, block in blocks.items():
            path = f"TransformerChain/Transform_{i:03d}/{folder}".rstrip("/")
            entries[f"{path}/Model.key"] = block.bytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in entries.items():
            out.writestr(name, data)
    return file.getvalue()


def concatenation(name, parts):
    """A step that joins columns."""
    block = BlockWriter("CONCAT F", "ConcatTransform", 0x00010003).i4(1).text(name).i4(len(parts))
    for part in parts:
        block.text(part).i4(-1)
    return {"": block}
