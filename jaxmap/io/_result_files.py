"""Files of COCO's results to columns, and the same results to files.

In: a list of objects as JSON, one object per line (`.jsonl`), or columns (`.npz`, `.parquet`). Out: the columns of a
layout, equal for all of these, with the same errors. The suffix decides, apart from that of a compressed file.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._outputs import write_output
from ._binary_columns import npz_bytes, parquet_bytes, read_npz, read_parquet, regular_columns
from ._files import PathLike, opened
from ._json import Entries, parse_json, parse_json_lines
from ._json_fast import Columns, Layout, typed_lines, typed_list

__all__ = ["read_result_columns", "result_columns", "write_results"]

_LINES = (".jsonl", ".ndjson")
_PACKED = (".gz", ".bz2", ".xz")
_BINARY = {".npz": read_npz, ".parquet": read_parquet}


def read_result_columns(path: PathLike, layout: Layout) -> Columns:
    """Returns the columns of a results file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it does not have its format, or differs from the layout.
      ImportError: if a `.parquet` file is read without pyarrow.
    """
    suffix, source = _suffix(path), str(path)
    if suffix in _BINARY:
        arrays = _BINARY[suffix](path, layout)
        columns = regular_columns(arrays, layout)
        if columns is None:
            lists = [column.tolist() for column in arrays.values()]
            rows = [dict(zip(arrays, row, strict=True)) for row in zip(*lists, strict=True)]
            columns = result_columns(rows, layout, source)
        return columns
    typed, parse = (typed_lines, parse_json_lines) if suffix in _LINES else (typed_list, parse_json)
    with opened(path) as file:
        columns = typed(file, layout)
        if columns is None:
            file.seek(0)
            columns = result_columns(parse(file.read(), path), layout, source)
        return columns


def result_columns(data: Any, layout: Layout, source: str) -> Columns:
    """Returns the columns of parsed results."""
    if not isinstance(data, list):
        hint = "; give the rows of a table by `.to_dict('records')`" if hasattr(data, "to_dict") else ""
        if isinstance(data, Mapping):
            lengths = {name: len(value) for name, value in data.items() if isinstance(value, list)}
            if {"images", "categories"} <= data.keys():
                hint = "; it looks like a ground-truth file, so the two may be swapped"
            elif {"image_id", "category_id"} <= data.keys():
                hint = "; put a list around the one result"
            elif lengths:
                hint = f"; save only the list under its `{max(lengths, key=lengths.__getitem__)}`"
        raise ValueError(
            f"{source}: results must be a list of objects with `image_id`, `category_id`, `score` and a "
            f"shape, got a {type(data).__name__}{hint}."
        )
    entries = Entries(items=data, name="results", source=source)
    return {field: read(entries, field) for field, read in layout.items()}


def write_results(path: PathLike, results: Sequence[Mapping[str, Any]]) -> pathlib.Path:
    """Writes results to a file, which `read_coco_detections` reads as the same numbers, bit for bit.

    Args:
      path: the file, whose suffix says how: `.json`; `.jsonl`, one object per line; `.npz`, boxes or keypoints as NumPy
        arrays, or `.parquet` (needs pyarrow), as columns, which are read several times faster.
      results: the results, all with the same fields, as `to_coco_results` returns.

    Returns:
      The path.

    Raises:
      ValueError: if it has another suffix, or an `.npz` file would need other columns than numbers, as of masks.
      ImportError: if a `.parquet` file is written without pyarrow.
      OSError: if the file cannot be written.

    Example:
      >>> write_results("results.txt", [])
      Traceback (most recent call last):
      ValueError: results.txt: results are written to .json, .jsonl, .npz and .parquet files; choose one of these.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in _WRITERS:
        *most, last = _WRITERS
        raise ValueError(f"{path}: results are written to {', '.join(most)} and {last} files; choose one of these.")
    return write_output(path, _WRITERS[suffix](results))


def _suffix(path: PathLike) -> str:
    """Returns the suffix of a file in lower case, without that of its compression."""
    *others, last = ["", *pathlib.PurePath(os.fspath(path)).suffixes]
    return (others[-1] if last.lower() in _PACKED and others else last).lower()


_WRITERS: dict[str, Callable[[Sequence[Mapping[str, Any]]], str | bytes]] = {
    ".json": json.dumps,
    ".jsonl": lambda results: "".join(f"{json.dumps(one)}\n" for one in results),
    ".npz": npz_bytes,
    ".parquet": parquet_bytes,
}
