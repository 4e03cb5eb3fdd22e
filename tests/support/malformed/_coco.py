"""COCO's and LVIS's files, each field in turn holding each odd value; the right numbers are pycocotools'."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._case import Case, Expected, Numbers
from ._process import run_command
from ._values import DEEP, JSON_VALUES, MISSING, json_mutants, number_of, read_as

__all__ = ["cases", "numbers_of", "scene"]

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
HUGE = 1e15  # beyond it a coordinate may be refused
LARGE = 4096  # beyond it a polygon may be refused: it lies outside of every image here

GT, DT = "g.json", "d.json"
BOXES = ([50, 50, 20, 20], [10, 10, 30, 20], [60, 10, 30, 30], [10, 60, 25, 25])
FOUND = ([51, 50, 20, 20], [10, 12, 30, 20], [60, 10, 28, 30], [12, 60, 25, 27], [80, 80, 15, 15])


class Place(NamedTuple):
    """A field to put odd values into.

    Attributes:
      side: 0 in the ground truths, 1 in the results.
      path: where.
      kind: of `_values.read_as`.
      words: which a refusal must have beside the file's name.
    """

    side: int
    path: tuple[str | int, ...]
    kind: str
    words: tuple[str, ...]


def cases() -> Iterator[Case]:
    """Yields all cases of the doors `coco`, `segm`, `rle`, `keypoints` and `lvis`."""
    for door, places in PLACES.items():
        yield Case(f"{door}/valid", functools.partial(_run, door, *map(json.dumps, scene(door))), _expected_valid(door))
        for place in places:
            yield from _mutants(door, place)


def scene(door: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns ground truths and results; what will be changed stands second in its list, and its ids are 1."""
    images = [{"id": image, "height": 100, "width": 120, "file_name": f"{image}.jpg"} for image in (2, 1)]
    categories = [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]
    truth = [
        {"id": id_, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for id_, image, category, box in zip((2, 1, 3, 4), (2, 1, 1, 2), (2, 1, 1, 2), BOXES, strict=True)
    ]
    found = [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(
            (2, 1, 1, 2, 1), (2, 1, 1, 2, 1), FOUND, (0.9, 0.8, 0.7, 0.6, 0.75), strict=True
        )
    ]
    if door in ("segm", "rle"):
        for row in truth + found:
            polygon = _polygon(row["bbox"])
            row["segmentation"] = polygon if door == "segm" else _encoded(polygon)
        for row in found:
            del row["bbox"]
    if door == "keypoints":
        for row in truth:
            row |= {"keypoints": _keypoints(row["bbox"], 0), "num_keypoints": 17, "area": 10 * row["area"]}
        for row in found:
            row["keypoints"] = _keypoints(row.pop("bbox"), 1)
    if door == "lvis":
        for image in images:
            image |= {"neg_category_ids": [2, 1], "not_exhaustive_category_ids": []}
        for category in categories:
            category["frequency"] = "f"
    return {"images": images, "categories": categories, "annotations": truth}, found


def _keypoints(box: list[int], moved: int) -> list[int]:
    return [value for point in range(17) for value in (box[0] + 2 * point + moved, box[1] + point, 2)]


def _polygon(box: list[int]) -> list[list[int]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def _encoded(polygon: list[list[float]]) -> dict[str, Any]:
    """Returns the compressed run-length encoding, as results have it."""
    from pycocotools import mask

    [encoded] = mask.frPyObjects(polygon, 100, 120)
    return {"size": [100, 120], "counts": encoded["counts"].decode()}


_OF_IMAGE = ("images|image ids", "id")
_OF_CATEGORY = ("categories|category ids", "id")
_LISTS = [
    Place(0, ("images",), "shape", ("images",)),
    Place(0, ("categories",), "shape", ("categories",)),
    Place(0, ("annotations",), "shape", ("annotations",)),
]
_IDS = [
    Place(0, ("images", 1, "id"), "identifier", _OF_IMAGE),
    Place(0, ("categories", 1, "id"), "identifier", _OF_CATEGORY),
    Place(0, ("annotations", 1, "image_id"), "identifier", ("annotations", "image.id")),
    Place(0, ("annotations", 1, "category_id"), "identifier", ("annotations", "category.id")),
    Place(1, (1, "image_id"), "identifier", ("results", "image.id")),
    Place(1, (1, "category_id"), "identifier", ("results", "category.id")),
]
_OTHERS = [
    Place(0, ("images", 1), "shape", (r"images",)),
    Place(0, ("categories", 1), "shape", (r"categories",)),
    Place(0, ("annotations", 1), "shape", (r"annotations",)),
    Place(1, (1,), "shape", (r"results",)),
    Place(0, ("images", 1, "file_name"), "unread", ()),
    Place(0, ("categories", 1, "name"), "name", (r"categories`?\[1\]", "name")),
    Place(0, ("annotations", 1, "id"), "row id", (r"annotations", "id")),
    Place(0, ("annotations", 1, "area"), "area", (r"annotations`?\[1\]", "area")),
    Place(0, ("annotations", 1, "iscrowd"), "flag", (r"annotations`?\[1\]", "iscrowd")),
    Place(1, (1, "score"), "number", (r"results`?\[1\]", "score")),
]
_TRUE_BOX = Place(0, ("annotations", 1, "bbox"), "shape", (r"annotations`?\[1\]", "bbox"))
_BOXES = [
    _TRUE_BOX,
    Place(0, ("annotations", 1, "bbox", 0), "number", (r"annotations", "bbox")),
    Place(0, ("annotations", 1, "bbox", 2), "number", (r"annotations", "bbox")),
    Place(1, (1, "bbox"), "shape", (r"results`?\[1\]", "bbox")),
    Place(1, (1, "bbox", 1), "number", (r"results", "bbox|box")),
    Place(1, (1, "bbox", 3), "number", (r"results", "bbox|box")),
]
_FIRST_MASKS = [
    Place(0, ("images", 1, "height"), "side", ("height|size",)),
    Place(0, ("annotations", 1, "segmentation"), "shape", (r"annotations`?\[1\]", "segmentation")),
    Place(1, (1, "segmentation"), "shape", (r"results`?\[1\]", "segmentation")),
]
PLACES = {
    "coco": _LISTS + _IDS + _OTHERS + _BOXES,
    "segm": [
        *_FIRST_MASKS,
        Place(0, ("annotations", 1, "segmentation", 0), "shape", (r"annotations`?\[1\]", "segmentation")),
        Place(0, ("annotations", 1, "segmentation", 0, 3), "coordinate", (r"annotations`?\[1\]", "segmentation")),
        Place(1, (1, "segmentation", 0, 4), "coordinate", (r"results`?\[1\]", "segmentation")),
    ],
    "rle": [
        *_FIRST_MASKS,
        Place(0, ("annotations", 1, "segmentation", "size"), "shape", (r"annotations`?\[1\]", "size|segmentation")),
        Place(0, ("annotations", 1, "segmentation", "size", 1), "shape", (r"annotations`?\[1\]", "size|segmentation")),
        Place(0, ("annotations", 1, "segmentation", "counts"), "shape", (r"annotations`?\[1\]", "counts|segmentation")),
        Place(1, (1, "segmentation", "size"), "shape", (r"results`?\[1\]", "size|segmentation")),
        Place(1, (1, "segmentation", "counts"), "shape", (r"results`?\[1\]", "counts|segmentation")),
    ],
    "keypoints": [
        _TRUE_BOX,
        Place(0, ("annotations", 1, "area"), "area", (r"annotations`?\[1\]", "area")),
        Place(0, ("annotations", 1, "num_keypoints"), "optional", (r"annotations`?\[1\]", "num_keypoints")),
        Place(0, ("annotations", 1, "keypoints"), "shape", (r"annotations`?\[1\]", "keypoints")),
        Place(0, ("annotations", 1, "keypoints", 3), "coordinate", (r"annotations`?\[1\]", "keypoints")),
        Place(0, ("annotations", 1, "keypoints", 5), "visibility", (r"annotations`?\[1\]", "keypoints")),
        Place(1, (1, "keypoints"), "shape", (r"results`?\[1\]", "keypoints")),
        Place(1, (1, "keypoints", 4), "coordinate", (r"results`?\[1\]", "keypoints")),
    ],
    "lvis": [
        Place(0, ("images", 1, "neg_category_ids"), "shape", (r"images`?\[1\]", "neg_category_ids")),
        Place(0, ("images", 1, "neg_category_ids", 1), "identifier", (r"images", "neg_category_ids")),
        Place(0, ("images", 1, "not_exhaustive_category_ids"), "shape", (r"images`?\[1\]", "not_exhaustive")),
        Place(0, ("categories", 1, "frequency"), "shape", (r"categories`?\[1\]", "frequency")),
        Place(0, ("annotations", 1, "area"), "area", (r"annotations", "area")),
    ],
}


def _mutants(door: str, place: Place) -> Iterator[Case]:
    sides = scene(door)
    original = functools.reduce(lambda inner, key: inner[key], place.path, sides[place.side])
    where = ".".join(map(str, place.path))
    for name, text in json_mutants(sides[place.side], place.path):
        texts = [text if side == place.side else json.dumps(data) for side, data in enumerate(sides)]
        expected = _expected(door, place, name, original)
        yield Case(f"{door}/{('gt', 'dt')[place.side]} {where}/{name}", functools.partial(_run, door, *texts), expected)


def _expected(door: str, place: Place, name: str, original: Any) -> Expected:
    file = (GT, DT)[place.side]
    words = (file, *place.words)
    if name == DEEP:
        return Expected(
            refused=(file,), numbers=functools.partial(numbers_of, door) if place.kind == "unread" else None
        )
    if name == "5000 digits":
        words = (file,)  # Python's reader of JSON refuses such a number, wherever it stands
    if (door, place.path, name) in ALLOWED:
        return Expected(numbers=functools.partial(numbers_of, door), refused=words)
    if place.path[-1] == "segmentation" and name == "list":
        return Expected(refused=words, warned=("segmentation",))
    if place.path[-1] == "num_keypoints" and (count := number_of(name)) is not None and count == int(count):
        return Expected(numbers=functools.partial(numbers_of, door), refused=words, warned=("num_keypoints",))
    if door == "keypoints" and place.path[-1] == "area" and name in (MISSING, "null"):
        return Expected(refused=words, warned=("area",))
    if (place.path, name) in RIGHT and door in ("coco", "keypoints"):
        value = RIGHT[place.path, name]
        return Expected(numbers=functools.partial(numbers_of, door, place.side, place.path, value), warned=words)
    if door == "lvis" and place.path[-1] == "not_exhaustive_category_ids" and name.startswith("list of "):
        known = [one for one in json.loads(JSON_VALUES[name]) if one in (1, 2)]
        if known:  # others say nothing of this dataset
            return Expected(numbers=functools.partial(_lvis_numbers, tuple(known)))
    kind = {"coordinate": "number", "visibility": "number"}.get(place.kind, place.kind)
    meaning, value = read_as(kind, name, original)
    if meaning == "odd":
        return Expected(refused=words, warned=words)
    if meaning == "either":
        return Expected(numbers=functools.partial(numbers_of, door), refused=words)
    if meaning == "same":
        lenient = name == MISSING or name in ("text 1", "text 001", "text 1.0", "null", "5000 digits")
        warned = words if place.kind == "row id" else None
        refused = words if lenient or name == "5000 digits" or place.path[-1] == "id" else None
        return Expected(numbers=functools.partial(numbers_of, door), refused=refused, warned=warned)
    numbers = functools.partial(numbers_of, door, place.side, place.path, value)
    limit = LARGE if door == "segm" else HUGE
    strict = abs(value) < limit and place.kind != "visibility" and not (place.path[-1] in (2, 3) and value <= 0)
    return Expected(numbers=numbers, refused=None if strict else words, warned=words)


# Odd values that are right in their place after all.
RIGHT: dict[tuple[tuple[str | int, ...], str], Any] = {
    (("annotations",), "list"): [],
    (("images", 1), "object of id"): {"id": 1},
    (("categories", 1), "object of id"): {"id": 1},
    (("annotations", 1, "bbox"), "list of 4"): [1, 2, 3, 4],
    ((1, "bbox"), "list of 4"): [1, 2, 3, 4],
}
# Those that change nothing here: the second image has objects and results of one class alone.
ALLOWED = {
    ("lvis", path, name)
    for path, names in {
        ("images", 1, "neg_category_ids"): ("list", "list of 1", "list of 3", "list of 4", MISSING, "null"),
        ("images", 1, "neg_category_ids", 1): tuple(JSON_VALUES),
        ("images", 1, "not_exhaustive_category_ids"): ("list", MISSING, "null"),
        ("categories", 1, "frequency"): (MISSING, "null"),
    }.items()
    for name in names
}


def _expected_valid(door: str) -> Expected:
    return Expected(numbers=functools.partial(numbers_of, door), silent=True)


def numbers_of(door: str, side: int = 0, path: tuple[str | int, ...] = (), value: Any = None) -> Numbers:
    """Returns pycocotools' numbers of the scene, with another value in a place."""
    return _numbers_of(door, side, path, json.dumps(value))


@functools.cache
def _numbers_of(door: str, side: int, path: tuple[str | int, ...], value: str) -> Numbers:
    from support.oracle import run_pycocotools

    sides = copy.deepcopy(scene(door))
    if path:
        inner: Any = sides[side]
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = json.loads(value)
    if door == "text":  # files of other formats hold no areas
        for row in sides[0]["annotations"]:
            row["area"] = row["bbox"][2] * row["bbox"][3]
    if door == "segm":  # pycocotools wants results encoded
        for row in sides[1]:
            row["segmentation"] = _encoded(row["segmentation"])
    iou_type = {"rle": "segm", "lvis": "bbox", "coco": "bbox", "text": "bbox"}.get(door, door)
    stats = run_pycocotools(*sides, iou_type=iou_type).stats.tolist()
    names = KEYPOINT_NAMES if door == "keypoints" else NAMES
    numbers = dict(zip(names, stats, strict=True))
    return {name: numbers[name] for name in ("AP", "AP50")} if door == "lvis" else numbers


@functools.cache
def _lvis_numbers(not_exhaustive: tuple[int, ...]) -> Numbers:
    """Returns lvis-api's numbers where the annotations of classes are not exhaustive in the second image."""
    from support.lvis_scenes import run_lvis_api

    truth, found = copy.deepcopy(scene("lvis"))
    truth["images"][1]["not_exhaustive_category_ids"] = list(not_exhaustive)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        return run_lvis_api((truth, found), pathlib.Path(folder))


def _run(door: str, ground_truths: str, results: str, folder: pathlib.Path) -> Numbers:
    for name, text in ((GT, ground_truths), (DT, results)):
        (folder / name).write_text(text)
    options = {"segm": ["--iou-type", "segm"], "rle": ["--iou-type", "segm"], "keypoints": ["--iou-type", "keypoints"]}
    return run_command("eval", GT, DT, "--json", "-", *options.get(door, ["--protocol", door]))
