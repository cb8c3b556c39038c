"""The class of a pickled model, read from the pickle's opcodes: nothing is unpickled, as that could run any code."""

from __future__ import annotations

import bz2
import lzma
import pickletools
import zlib
from collections.abc import Callable

SUFFIXES = (".joblib", ".pkl", ".pickle", ".sav")
READ_BYTES = 64 * 1024  # [ours] of a pickle's beginning: the class of the whole object is named first

_NOT_CLASSES = {"copyreg", "copy_reg", "builtins", "__builtin__", "functools", "collections"}
# How a compressed file begins, as joblib writes it -> how its beginning is decompressed. LZ4 needs a library.
_COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda data: zlib.decompressobj(wbits=31).decompress(data, READ_BYTES),
    b"x": lambda data: zlib.decompressobj().decompress(data, READ_BYTES),
    b"BZ": lambda data: bz2.BZ2Decompressor().decompress(data, READ_BYTES),
    b"\xfd7zXZ": lambda data: lzma.LZMADecompressor(memlimit=2**27).decompress(data, READ_BYTES),
    b"]\x00": lambda data: lzma.LZMADecompressor(memlimit=2**27).decompress(data, READ_BYTES),
}


def class_in(first: bytes) -> str:
    """The first class that a pickle names, with its module; an empty string if that cannot be seen.

    ``first`` is the beginning of the file.
    """
    for magic, decompress in _COMPRESSIONS.items():
        if first.startswith(magic):
            try:
                first = decompress(first)
            except (zlib.error, lzma.LZMAError, OSError, EOFError):
                return ""
            break
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(first):
            if opcode.name == "GLOBAL":
                texts = str(argument).split(" ", 1)
            elif isinstance(argument, str):
                texts.append(argument)
                continue
            elif opcode.name != "STACK_GLOBAL":
                continue
            if len(texts) >= 2 and texts[-2].partition(".")[0] not in _NOT_CLASSES:
                return ".".join(texts[-2:])
    except Exception:  # joblib puts the bytes of arrays between opcodes, and anything may be in a damaged file
        pass
    return ""
