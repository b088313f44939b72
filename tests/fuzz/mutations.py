"""Mutations of files: of bytes, of lines and numbers in texts, and of JSON documents."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random, list[bytes]], bytes]

NUMBERS = (
    *("0", "1", "-1", "2", "3", "-2", "7", "16", "31", "32", "64", "255", "256", "1000", "65536"),
    *("2147483647", "-2147483648", "4294967295", "1000000000", "9223372036854775807"),
    *("99999999999999999999", "0.5", "-0.5", "-0.0", "1e-40", "1e30", "3.5e38", "1e308", "1e400"),
    *("nan", "inf", "-inf", "NaN", "Infinity", "", "x", "1x", "0x10", " 5", "+5", "1 2", "٣"),
)
_INTEGERS = (0, 1, -1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 65535, 2**31 - 1, -(2**31), 10**9)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 5, 17, 255, 10**6, 2**31 - 1, 2**31, -(2**31), 2**63, 10**30),
    *(0.5, -0.5, 1e-40, 1e30, 3.5e38, 1e308, float("nan"), float("inf"), True, False, None),
    *("", "0", "1", "-1", "2", "1000000000", "1E9", "nan", "[1E0]", "[]", "x", "\0", "ü"),
    *([], {}, [0], [[]], {"a": 1}, [1, 2, 3]),
)


# -- bytes ---------------------------------------------------------------------------------------


def flip_bytes(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def overwrite_integer(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    form = rng.choice(("<i", "<i", "<h", "<q", ">i", ">q", "<f", "<d"))
    size = struct.calcsize(form)
    if len(content) < size:
        return content
    place = rng.randrange(len(content) - size + 1)
    place -= place % size if rng.random() < 0.5 else 0
    if form in ("<f", "<d"):
        new = struct.pack(form, rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf"))))
    else:
        old = struct.unpack_from(form, content, place)[0]
        bits = 8 * size
        value = rng.choice((*_INTEGERS, old + 1, old - 1, old * 2, -old))
        value = (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
        new = struct.pack(form, value)
    return content[:place] + new + content[place + size :]


def move_bytes(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    start = rng.randrange(len(content))
    size = rng.choice((1, 2, 4, 8, 64, rng.randrange(1, len(content) + 1)))
    part = content[start : start + size]
    kind = rng.randrange(4)
    if kind == 0:  # delete
        return content[:start] + content[start + size :]
    if kind == 1:  # repeat
        return content[:start] + part + content[start:]
    if kind == 2:  # cut
        return content[:start]
    place = rng.randrange(len(content))
    return content[:place] + part + content[place + size :]


def splice(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


# -- texts ---------------------------------------------------------------------------------------


def change_number(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    for match in sorted(rng.sample(found, min(len(found), rng.choice((1, 1, 1, 2, 3)))),
                        key=lambda m: -m.start()):  # fmt: skip
        new = rng.choice((*NUMBERS, rng.choice(found).group().decode())).encode()
        content = content[: match.start()] + new + content[match.end() :]
    return content


def change_lines(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    lines = content.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 3:
        lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]
    elif kind == 4:
        lines[i] = lines[i].partition(b"=")[0] + b"=" + lines[j].partition(b"=")[2]
    else:
        lines[i] = rng.choice(rng.choice(others).split(b"\n"))
    return b"\n".join(lines)


def change_words(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    lines = content.split(b"\n")
    i = rng.randrange(len(lines))
    words = lines[i].split(b" ")
    j = rng.randrange(len(words))
    kind = rng.randrange(3)
    if kind == 0:
        del words[j]
    elif kind == 1:
        words.insert(j, words[rng.randrange(len(words))])
    else:
        words = words[: j + 1] * rng.choice((1, 2, 3))
    lines[i] = b" ".join(words)
    return b"\n".join(lines)


# -- JSON ----------------------------------------------------------------------------------------


def places(document: Any) -> list[tuple[Any, Any]]:
    """Each container of a document with each of its keys."""
    found, waiting = [], [document]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    return found


def change_document(document: Any, rng: random.Random) -> Any:
    """A document with one to three changes; it may be changed in place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = places(document)
        if not found:
            return rng.choice(_VALUES)
        node, key = rng.choice(found)
        kind = rng.randrange(8)
        if kind == 0:
            del node[key]
        elif kind == 1:
            node[key] = rng.choice(_VALUES)
        elif kind == 2 and isinstance(node, list):
            node.insert(key, node[key])
        elif kind == 3:
            other, where = rng.choice(found)
            node[key] = json.loads(json.dumps(other[where]))
        elif kind == 4 and isinstance(node, dict):
            node[rng.choice(("x", key + "x", key.upper()))] = node.pop(key)
        elif kind == 5 and isinstance(node[key], list):
            del node[key][rng.randrange(len(node[key]) + 1) :]
        else:
            node[key] = _near(node[key], rng)
    return document


def _near(value: Any, rng: random.Random) -> Any:
    """A value of the same kind that is wrong, or only another one."""
    if isinstance(value, bool) or value is None:
        return rng.choice((True, False, None, 0, 1))
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, 0, 2 * value, float(value), str(value)))
    if isinstance(value, float):
        return rng.choice((-value, value * 2, 0.0, 1e30, int(value) if abs(value) < 1e9 else 0))
    if isinstance(value, str):
        return rng.choice((value[:-1], value + "0", value * 2, rng.choice(NUMBERS), value.upper()))
    if isinstance(value, list):
        return rng.choice((value[::-1], value * 2, value[:-1], value[1:], [value], {}))
    return rng.choice(({}, [value], list(value), None))


def mutate_json(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return json.dumps(change_document(json.loads(content), rng)).encode()


def nest(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    depth = rng.choice((100, 5000, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    match = rng.choice(list(_NUMBER.finditer(content)))
    deep = opening * depth + b"1" + closing * depth
    return content[: match.start()] + deep + content[match.end() :]


BYTES: tuple[Mutation, ...] = (flip_bytes, overwrite_integer, move_bytes, splice)
TEXT: tuple[Mutation, ...] = (
    *(change_number, change_number, change_lines, change_words),
    *(flip_bytes, move_bytes, splice),
)
JSON: tuple[Mutation, ...] = (
    *(mutate_json, mutate_json, mutate_json, mutate_json, change_number),
    *(flip_bytes, move_bytes, splice, nest),
)
