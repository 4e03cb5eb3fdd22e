"""Files of masks: decoded by type and in blocks, they give the same masks, warnings and errors as row by row."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from jaxmap._geometry import _rle as rle
from jaxmap._geometry._rle import Encodings
from jaxmap.io import read_coco_detections, read_coco_ground_truths
from jaxmap.io._coco import result_layout
from jaxmap.io._json_fast import typed_list
from support.mask_codec import random_dense, random_polygon, split_runs

pytest.importorskip("msgspec")

HEIGHT, WIDTH, NUM_IMAGES = 20, 30, 3
BOX = [5, 2, 10, 5]


def compressed(rng: np.random.Generator) -> dict[str, Any]:
    [encoded] = rle.coco_masks(rle.encode_masks(random_dense(rng, HEIGHT, WIDTH)[None]))
    return encoded | {"counts": encoded["counts"].decode()}


def uncompressed(rng: np.random.Generator) -> dict[str, Any]:
    runs, _ = rle.runs_of_masks(rle.encode_masks(random_dense(rng, HEIGHT, WIDTH)[None]))
    return {"size": [HEIGHT, WIDTH], "counts": split_runs(rng, runs.tolist())}


def polygons(rng: np.random.Generator) -> list[list[float]]:
    return [random_polygon(rng, WIDTH) for _ in range(rng.integers(1, 3))]


# A kind that is valid, and one that is not or is rare.
GOOD = {
    "compressed": compressed,
    "uncompressed": uncompressed,
    "polygons": polygons,
    "none": lambda _: None,
    "no pixel": lambda _: {"size": [HEIGHT, WIDTH], "counts": "hb0"},
    "whole numbers": lambda _: {"size": [float(HEIGHT), WIDTH], "counts": "hb0", "more": {}},
    "large": lambda _: {"size": [1 << 16, 3], "counts": [3 << 16]},
    "another size": lambda _: {"size": [3, 2], "counts": "24"},
}
BAD = [
    *({"size": [HEIGHT, WIDTH], "counts": counts} for counts in ("", "hb", "hb0x", "hb0é", "hb1", 9 * "o", None, 7)),
    *({"size": [HEIGHT, WIDTH], "counts": counts} for counts in ([], [-1, 601], [0.5, 599.5], [True, 599], [2**70])),
    *({"size": size, "counts": "hb0"} for size in (None, [], [20], [0, 30], [20, 30.5], ["20", 30], [2**16 + 1, 1])),
    *({"size": size, "counts": "hb0"} for size in ([2**16, 2**16], [2**70, 1], [2**15, 2**15], [-20, -30])),
    {"counts": "hb0"}, {"size": [HEIGHT, WIDTH]}, {}, "hb0", 7, [7], [[]], [[1, 2, 3, 4]], [[0, 0, 1e9, 0, 9, 9]],
]  # fmt: skip


def outcome(folder: pathlib.Path, truth: list[Any], found: list[Any]) -> tuple[Any, list[str]]:
    """Returns what both files give, masks as COCO's objects, or the error; and the warnings."""
    annotations = [
        {"id": row, "image_id": row % NUM_IMAGES, "category_id": 1, "area": 50, "bbox": BOX, "segmentation": one}
        for row, one in enumerate(truth, 1)
    ]
    images = [{"id": image, "height": HEIGHT, "width": WIDTH} for image in range(NUM_IMAGES)]
    dataset = {"images": images, "categories": [{"id": 1}], "annotations": annotations}
    results = [
        {"image_id": row % NUM_IMAGES, "category_id": 1, "score": 0.5, "bbox": BOX}
        | ({} if one is None else {"segmentation": one})
        for row, one in enumerate(found)
    ]
    paths = folder / "gt.json", folder / "dt.json"
    for path, content in zip(paths, (dataset, results), strict=True):
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            table = read_coco_ground_truths(paths[0], iou_type="segm")
            tables: Any = (table, read_coco_detections(paths[1], table, iou_type="segm"))
            tables = [
                (
                    rle.coco_masks(one.masks),
                    one.masks.area.tolist(),
                    one.masks.split.tolist(),
                    one.boxes.tolist(),
                    one.area.tolist(),
                )
                for one in tables
            ]
        except ValueError as error:
            tables = str(error)
    return tables, [str(warning.message) for warning in caught]


@contextlib.contextmanager
def by_rows() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "msgspec", None)  # then its import fails
        yield


@contextlib.contextmanager
def in_pieces(chunk: int, block: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmap.io._json_fast.CHUNK", chunk)
        patch.setattr("jaxmap._geometry._rle._counts.AT_ONCE", block)
        patch.setattr("jaxmap._geometry._rle._masks.AT_ONCE", block)
        yield


@pytest.mark.parametrize("kinds", [["compressed"], ["uncompressed"], ["polygons"], [*GOOD]])
@pytest.mark.parametrize(("chunk", "block"), [(1, 1), (300, 60), (10**6, 10**6)])
def test_masks_of_all_kinds_are_those_of_the_readers_of_rows(
    kinds: list[str], chunk: int, block: int, tmp_path: pathlib.Path
) -> None:
    rng = np.random.default_rng(len(kinds))
    found = [GOOD[kind](rng) for kind in rng.choice(kinds, 40).tolist()]
    truth = [one for one in (GOOD[kind](rng) for kind in rng.choice(kinds, 40).tolist()) if one is not None]
    with by_rows():
        expected = outcome(tmp_path, truth, found)
    assert not isinstance(expected[0], str), expected
    with in_pieces(chunk, block):
        assert outcome(tmp_path, truth, found) == expected


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("kind", ["compressed", "polygons"])
def test_damaged_masks_are_refused_with_the_same_words(kind: str, bad: Any, tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    good = [GOOD[kind](rng) for _ in range(6)]
    damaged = [*good[:3], bad, *good[3:], bad]
    for sides in ((damaged, good), (good, damaged)):
        with by_rows():
            expected = outcome(tmp_path, *sides)
        assert "[3].segmentation" in expected[0], expected
        for chunk, block in ((1, 1), (10**6, 10**6)):
            with in_pieces(chunk, block):
                assert outcome(tmp_path, *sides) == expected


def test_compressed_masks_of_a_file_are_one_column() -> None:
    rng = np.random.default_rng(0)
    masks = [compressed(rng) for _ in range(9)]
    rows = [{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": one} for one in masks]
    with in_pieces(1, 1):
        columns = typed_list(io.BytesIO(json.dumps(rows).encode()), result_layout("segm"))
    assert columns is not None
    assert isinstance(columns["segmentation"], Encodings)
    assert list(columns["segmentation"]) == masks
