"""Where files are opened: every reader gets the bytes of its files from here, unpacked."""

from __future__ import annotations

import gzip
import os
import pathlib
import zlib

__all__ = ["PathLike", "read_bytes"]

PathLike = str | os.PathLike[str]

_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1


def read_bytes(path: PathLike) -> bytes:
    """Returns the content of a file, unpacked."""
    data = pathlib.Path(path).read_bytes()
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:  # a bad header, a cut-off stream, damage inside
            raise ValueError(
                f"{path}: broken gzip data ({error}); the file is damaged or cut off, copy it again."
            ) from error
    return data
