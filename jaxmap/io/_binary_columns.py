"""Files that hold results as columns: NumPy's `.npz`, and Parquet, which needs pyarrow.

In: a column for each field of COCO's results, with a value per result: `image_id`, `category_id`, `score`, and `bbox`
(`[N, 4]`), `keypoints` (`[N, 3 P]`) or, only in Parquet, `segmentation`. Out: arrays of equal length; columns that are
no plain numbers have the values of the rows as objects, which the readers of JSON check.

Nothing in such a file is run: pickled objects are refused, and what a file says about its sizes is checked before
memory is allocated.

References: numpy.lib.format; parquet.apache.org; arrow.apache.org/docs/python/parquet.html.
"""

from __future__ import annotations

import io
import math
import os
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..types import HostArray
from ._files import PathLike, check_expansion, open_file
from ._json import Entries
from ._json_fast import Columns, Layout, Reader

__all__ = ["npz_bytes", "parquet_bytes", "read_npz", "read_parquet", "regular_columns"]

Arrays = dict[str, HostArray]

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NUMBERS = "iuf"  # kinds of arrays


def read_npz(path: PathLike, fields: Iterable[str]) -> Arrays:
    """Returns the arrays of an `.npz` file, those among the fields.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, or an array has Python objects, or they differ in length.
    """
    with open_file(path) as file:
        try:
            archive = zipfile.ZipFile(file)
            size, found = os.fstat(file.fileno()).st_size, [name.removesuffix(".npy") for name in archive.namelist()]
            members = {name: archive.getinfo(f"{name}.npy") for name in _wanted(fields, found, path)}
            check_expansion(path, "ZIP", size, sum(one.file_size for one in members.values()))
            if any(one.compress_type not in _COMPRESSIONS for one in members.values()):
                raise _UnreadableError("it is compressed in another way than NumPy's")
            arrays = {name: _array(archive.read(one)) for name, one in members.items()}
        except _ARCHIVE_ERRORS as error:
            raise ValueError(f"{path}: not an .npz file of numbers ({error}); write it again by `np.savez`.") from error
    return _of_one_length(arrays, path)


def read_parquet(path: PathLike, fields: Iterable[str]) -> Arrays:
    """Returns the columns of a Parquet file, those among the fields.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged.
      ImportError: if pyarrow is not installed.
    """
    arrow, parquet = _pyarrow(path)
    with open_file(path) as file:
        try:
            content = parquet.ParquetFile(file)
            size, meta = os.fstat(file.fileno()).st_size, content.metadata
            groups = [meta.row_group(index) for index in range(meta.num_row_groups)]
            unpacked = sum(max(one.total_byte_size, 8 * one.num_rows) for one in groups)
            check_expansion(path, "Parquet", size, unpacked)
            table = content.read(_wanted(fields, content.schema_arrow.names, path))
            return {name: _of_arrow(arrow, table[name].combine_chunks()) for name in table.column_names}
        except (arrow.ArrowException, OSError, UnicodeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path}: not a Parquet file ({reason}); it is damaged, write it again.") from error


def regular_columns(arrays: Arrays, layout: Layout) -> Columns | None:
    """Returns the columns of a layout, as the readers of `Entries` do; None if one is not plain finite numbers."""
    columns = {}
    length = len(next(iter(arrays.values()), ()))
    for field, reader in layout.items():
        column = _ABSENT[reader](length) if field not in arrays and reader in _ABSENT else None
        if field in arrays:
            column = _PLAIN[reader](arrays[field])
        if column is None:
            return None
        columns[field] = column
    return columns


def npz_bytes(results: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the content of an `.npz` file.

    Raises:
      ValueError: if a field is no number or list of as many numbers in all results.
    """
    arrays = {name: np.array([one[name] for one in results]) for name in (results[0] if results else ["image_id"])}
    for name, array in arrays.items():
        if array.dtype.kind not in _NUMBERS:
            raise ValueError(f"`{name}` is not made of numbers, which .npz files need; write .parquet or .jsonl.")
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def parquet_bytes(results: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the content of a Parquet file.

    Raises:
      ImportError: if pyarrow is not installed.
    """
    arrow, parquet = _pyarrow("results")
    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(results), file)
    return file.getvalue()


class _UnreadableError(Exception):
    """An array that is damaged, or has something else than numbers or text."""


# Damage shows as any of these: a wrong place in the file is an OSError, what is not supported a RuntimeError.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, UnicodeError, OverflowError, struct.error,
    KeyError, _UnreadableError,
)  # fmt: skip


def _array(data: bytes) -> HostArray:
    """Returns an array from the content of an `.npy` file."""
    file = io.BytesIO(data)
    try:
        shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        if dtype.hasobject or dtype.names or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
            raise ValueError("an array has objects, or another size than its shape says")
        values = np.frombuffer(data, dtype, math.prod(shape), file.tell())
        return values.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, KeyError) as error:
        raise _UnreadableError(str(error)) from error


def _wanted(fields: Iterable[str], names: Sequence[str], path: PathLike) -> list[str]:
    """Returns the fields that a file has; a file without columns has no results."""
    wanted = [field for field in fields if field in names]
    if names and not wanted:
        raise ValueError(f"{path}: must have the columns {', '.join(fields)}, got {reprlib.repr(sorted(names))}.")
    return wanted


def _of_one_length(arrays: Arrays, path: PathLike) -> Arrays:
    shapes = {name: array.shape for name, array in arrays.items()}
    if not all(shapes.values()) or len({shape[0] for shape in shapes.values()}) > 1:
        raise ValueError(f"{path}: all arrays must have one value per result, got the shapes {shapes}.")
    return arrays


def _of_arrow(arrow: Any, column: Any) -> HostArray:
    """Returns a column of numbers, or of lists of numbers of one length, as an array; any other as its objects."""
    kind, types = column.type, arrow.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    flat = column.flatten() if is_list else column
    numbers = types.is_integer(flat.type) or types.is_floating(flat.type)
    if numbers and not column.null_count and not flat.null_count:
        values: HostArray = flat.to_numpy(zero_copy_only=False)
        if not is_list:
            return values
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) == 1:
            return values.reshape(len(column), -1)
    objects = np.empty(len(column), object)
    objects[:] = column.to_pylist()
    return objects


def _pyarrow(path: PathLike) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f'{path}: Parquet files need pyarrow, which is not installed: pip install "jaxmap[parquet]"'
        ) from error
    return pyarrow, pyarrow.parquet


def _integers(array: HostArray) -> HostArray | None:
    fits = array.ndim == 1 and (array.dtype.kind == "i" or (array.dtype.kind == "u" and array.dtype.itemsize < 8))
    return array.astype(np.int64) if fits else None


def _finite(array: HostArray) -> HostArray | None:
    plain = array.dtype.kind in _NUMBERS and array.dtype.itemsize <= 8 and np.isfinite(array).all()
    return array.astype(np.float64) if plain else None


def _scores(array: HostArray) -> HostArray | None:
    return _finite(array) if array.ndim == 1 else None


def _boxes(array: HostArray) -> HostArray | None:
    return _finite(array) if array.ndim == 2 and array.shape[1] == 4 else None


def _keypoints(array: HostArray) -> HostArray | None:
    fits = array.ndim == 2 and array.shape[1] and not array.shape[1] % 3
    return numbers.reshape(len(array), -1, 3) if fits and (numbers := _finite(array)) is not None else None


_PLAIN: dict[Reader, Callable[[HostArray], Any]] = {
    Entries.identifiers: _integers,
    Entries.numbers_or_ones: _scores,
    Entries.boxes: _boxes,
    Entries.keypoints: _keypoints,
    Entries.segmentations_or_none: np.ndarray.tolist,
    Entries.names: np.ndarray.tolist,
}
_ABSENT: dict[Reader, Callable[[int], Any]] = {
    Entries.numbers_or_ones: np.ones,
    Entries.segmentations_or_none: lambda length: [None] * length,
    Entries.names: lambda length: [None] * length,
}
