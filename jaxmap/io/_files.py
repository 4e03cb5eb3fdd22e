"""The only place where files are opened: readers get file names and unpacked content from here.

Only regular files are opened, and standard input for the path `-`: devices and pipes without an end would hang. Packed
data that expands beyond a limit is refused before it fills the memory, and so is an archive without its end marker: the
files that are cut off would be missing silently.

References: RFC 1952, 2.3.1; POSIX pax, ustar interchange format.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import pathlib
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from .._progress import counted

__all__ = ["PathLike", "check_expansion", "files_in", "is_archive", "names_in", "open_file", "opened", "read_bytes"]

PathLike = str | os.PathLike[str]

_STANDARD_INPUT = "-"

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_OTHERS = {b"PK\x03\x04": "a ZIP archive", b"PK\x05\x06": "a ZIP archive", b"\x28\xb5\x2f\xfd": "packed by zstd"}

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

# Unpacked data may have `_ALWAYS_ALLOWED` bytes, or `_MAX_RATIO` bytes per packed byte. Annotations have ratios of 5 to
# 20, long runs of equal rows 100.
_ALWAYS_ALLOWED = 1 << 28
_MAX_RATIO = 200
_STEP = 1 << 20  # packed bytes at once after the first stream, because each stream copies the rest of them
_HEAD = 1 << 14  # packed bytes that contain the first block of an archive


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


def _bzip2() -> Any:
    import bz2  # Python may be built without it

    return bz2.BZ2Decompressor()


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor()


class _Packer(NamedTuple):
    """A compression format: its name, and how to unpack a stream."""

    name: str
    stream: Callable[[], Any]


_PACKERS = {
    b"\x1f\x8b": _Packer("gzip", _gzip),
    b"BZh": _Packer("bzip2", _bzip2),
    b"\xfd7zXZ\x00": _Packer("xz", _xz),
}


def read_bytes(path: PathLike) -> bytes:
    """Returns the unpacked content of a file, or of standard input for the path `-`.

    Raises:
      OSError: if there is no such file, or it cannot be read; the error has the file name.
      ValueError: if it is not a regular file, or its content cannot be unpacked.
    """
    with opened(path) as content:
        return content.read()


@contextlib.contextmanager
def opened(path: PathLike) -> Iterator[BinaryIO]:
    """Opens the unpacked content of a file, or of standard input for the path `-`, to read it in parts or twice.

    Raises:
      OSError: if there is no such file, or it cannot be read; the error has the file name.
      ValueError: if it is not a regular file, or its content cannot be unpacked.
    """
    try:
        if os.fspath(path) == _STANDARD_INPUT:
            yield io.BytesIO(_unpacked(path, _standard_input()))
            return
        with open_file(path) as file:
            head = file.read(_HEAD)
            file.seek(0)
            yield io.BytesIO(_unpacked(path, file.read())) if _is_packed(head) else file
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise
    except MemoryError as error:
        raise OSError(errno.ENOMEM, "does not fit into memory", os.fspath(path)) from error


def is_archive(path: PathLike) -> bool:
    """Returns True for a tar archive, plain or packed, by its name or its first bytes; it may be damaged."""
    try:
        if not os.path.isfile(path):
            return False
        if os.fspath(path).lower().endswith(_ARCHIVES):
            return True
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    packer = _packer(head)
    if packer is not None:
        try:
            head = packer.stream().decompress(head, tarfile.BLOCKSIZE)
        except Exception:  # each format has its own error
            return False
    with contextlib.suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
        return True
    return False


def names_in(source: PathLike) -> list[str]:
    """Returns the names of the files in a folder or a tar archive, on any level, without hidden ones.

    Raises:
      OSError: if a part of it cannot be read.
      ValueError: if an archive is damaged or cut off.
    """
    if is_archive(source):
        return [name for name, _ in _archived(source, "", read=False)]
    return _names_below(source)


def files_in(source: PathLike, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the files of a folder, a tar archive or a pattern, or of one file, sorted by name.

    Args:
      source: the folder, archive, pattern or file. Links are followed.
      suffix: the suffix of the files in a folder or an archive, in lower case.

    Raises:
      OSError: if nothing has that name, or a part of it cannot be read.
      ValueError: if a file is not a regular file, or an archive is damaged or cut off.
    """
    if os.path.isdir(source):
        paths = [name for name in _names_below(source) if name.lower().endswith(suffix)]
    elif is_archive(source):
        yield from _archived(source, suffix)
        return
    elif matches := [] if os.path.lexists(source) else glob.glob(os.fspath(source)):
        found = map(pathlib.Path, matches)
        paths = [str(one) for one in sorted(found) if not one.is_dir() and not one.name.startswith(".")]
    else:
        paths = [os.fspath(source)]
    for path in counted(paths, "files", len(paths)):
        yield path, read_bytes(path)


def _names_below(folder: PathLike) -> list[str]:
    """Returns the files in a folder and its subfolders, sorted by path."""
    found, seen = [], set()

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [one for one in folders if os.path.realpath(os.path.join(place, one)) not in seen]
        found += [pathlib.Path(place, name) for name in names if not name.startswith(".")]
    return list(map(str, sorted(found)))


def open_file(path: PathLike) -> BinaryIO:
    """Opens a regular file, to read a part of it.

    Raises:
      OSError: if there is no such file, or it cannot be read.
      ValueError: if it is not a regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a zero byte, or a character that the file system does not support
        raise ValueError(f"{os.fspath(path)!r}: no file can have this name ({error}).") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, but a file was expected", os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise ValueError(f"{path}: is {kind}, but a regular file was expected; write - to read standard input.")
    return open(path, "rb")


def _standard_input() -> bytes:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise ValueError("-: there is no standard input; name a file.")
    with contextlib.suppress(OSError, ValueError):  # a Python stream may have no file descriptor
        if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
            stream = None
    if stream is None:
        raise ValueError("-: standard input is a terminal or a device; redirect a file or a pipe to it.")
    data: bytes = stream.read()
    if not data:
        raise ValueError("-: standard input is empty; it can only be read once, so only one of the files can be -.")
    return data


def _packer(head: bytes) -> _Packer | None:
    return next((packer for magic, packer in _PACKERS.items() if head.startswith(magic)), None)


def _is_packed(head: bytes) -> bool:
    return head.startswith((*_PACKERS, *_OTHERS))


def _unpacked(path: PathLike, data: bytes) -> bytes:
    """Returns unpacked data; data that is not packed is returned unchanged."""
    packer = _packer(data)
    if packer is None:
        kind = next((kind for magic, kind in _OTHERS.items() if data.startswith(magic)), None)
        if kind is not None:
            raise ValueError(
                f"{path}: is {kind}, which is not supported; unpack it, and name the file or folder inside."
            )
        return data
    limit, size = _limit(len(data)), 0
    stream, pieces, start, step = packer.stream(), [], 0, len(data)
    while start < len(data) and size <= limit:
        chunk = data[start : start + step]
        if stream.eof:  # another stream may follow, and zeros may fill the last block
            padding = len(chunk) - len(chunk.lstrip(b"\0"))
            start, chunk = start + padding, chunk[padding:]
            if not chunk:
                continue
            stream = packer.stream()
        try:
            pieces.append(stream.decompress(chunk, limit + 1 - size))
        except Exception as error:  # each format has its own error
            raise _broken(path, packer, error) from error
        start += len(chunk) - len(stream.unused_data)
        size += len(pieces[-1])
        step = _STEP
    check_expansion(path, packer.name, len(data), size)
    if not stream.eof:
        raise _broken(path, packer, "the end is missing")
    return b"".join(pieces)


def check_expansion(path: PathLike, packer: str, packed: int, unpacked: int) -> None:
    """Refuses data that unpacks to more bytes than annotations plausibly do.

    Raises:
      ValueError: if it does.
    """
    limit = _limit(packed)
    if unpacked > limit:
        raise ValueError(
            f"{path}: {packed} bytes of {packer} data unpack to more than {limit}, which is not plausible for "
            f"annotations; unpack the file first if it is intended."
        )


def _broken(path: PathLike, packer: _Packer, why: Any) -> ValueError:
    return ValueError(f"{path}: broken {packer.name} data ({why}); the file is damaged or cut off, copy it again.")


def _limit(num_bytes: int) -> int:
    return max(_ALWAYS_ALLOWED, _MAX_RATIO * num_bytes)


def _archived(path: PathLike, suffix: str, *, read: bool = True) -> list[tuple[str, bytes]]:
    """Returns name and content of the files in a tar archive, sorted by name."""
    with _stream(path) as content:
        try:
            with tarfile.open(fileobj=content, mode="r:") as archive:
                members = _members(archive, content, suffix)
                return sorted((f"{path}/{one.name}", _member(archive, one) if read else b"") for one in members)
        # A link may point to nothing (KeyError) or to itself (RecursionError), and a number may be invalid.
        except (tarfile.TarError, EOFError, OSError, KeyError, RecursionError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: broken archive ({error}); it is damaged or cut off, copy it again.") from error


def _stream(path: PathLike) -> BinaryIO:
    """Returns an unpacked archive as a seekable stream."""
    with open_file(path) as file:
        packed = _packer(file.read(8)) is not None
    return io.BytesIO(read_bytes(path)) if packed else open_file(path)


def _members(archive: tarfile.TarFile, content: BinaryIO, suffix: str) -> list[tarfile.TarInfo]:
    """Returns the files with a suffix in a complete archive."""
    members, size, limit = [], 0, _limit(content.seek(0, os.SEEK_END))
    for one in archive:
        if one.size < 0:  # older versions of Python would loop forever
            raise tarfile.ReadError(f"{one.name!r} has a negative size")
        name = pathlib.PurePath(one.name).name
        if name.lower().endswith(suffix) and not name.startswith(".") and not one.isdir():
            members.append(one)
            size += one.size
    content.seek(archive.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile reads a broken header as the end
        raise tarfile.ReadError("its end marker is missing")
    if size > limit:  # holes
        raise tarfile.ReadError(f"its files have more than {limit} bytes")
    return members


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name!r} is not a file")
    return file.read()
