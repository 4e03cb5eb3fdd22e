"""COCO's panoptic files, each field in turn holding each odd value, and damaged or misplaced PNG files."""

from __future__ import annotations

import functools
import json
import pathlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from ._case import Case, Expected, Numbers
from ._process import run_command
from ._values import DEEP, JSON_VALUES, json_mutants, read_as

__all__ = ["cases"]

GT, DT = "g.json", "d.json"
# By hand: the cat is found with IoU 40 of 50 pixels, the grass exactly: PQ (0.8 + 1) / 2.
RIGHT = {"PQ": 0.9, "SQ": 0.9, "RQ": 1.0}
CATEGORIES = [{"id": 2, "name": "grass", "isthing": 0}, {"id": 1, "name": "cat", "isthing": 1}]
PLACES: list[tuple[int, tuple[str | int, ...], str, tuple[str, ...]]] = [
    (0, ("categories",), "shape", ("categories",)),
    (0, ("categories", 1), "shape", ("categories",)),
    (0, ("categories", 1, "id"), "identifier", ("categor",)),
    (0, ("categories", 1, "name"), "name", ("categories", "name")),
    (0, ("categories", 1, "isthing"), "flag", ("categories", "isthing")),
    (0, ("annotations",), "shape", ("annotations",)),
    (0, ("annotations", 0, "file_name"), "shape", ("file_name|png|file",)),
    (0, ("annotations", 0, "segments_info"), "shape", ("segments_info",)),
    (0, ("annotations", 0, "segments_info", 1, "id"), "identifier", ("segments_info",)),
    (0, ("annotations", 0, "segments_info", 1, "category_id"), "identifier", ("segments_info|categor",)),
    (0, ("annotations", 0, "segments_info", 1, "iscrowd"), "flag", ("segments_info", "iscrowd")),
    (0, ("annotations", 0, "segments_info", 1, "area"), "unread", ()),
    (1, ("annotations", 0), "shape", ("annotations",)),
    (1, ("annotations", 0, "image_id"), "identifier", ("annotations|image", "image_id|image")),
    (1, ("annotations", 0, "file_name"), "shape", ("file_name|png|file",)),
    (1, ("annotations", 0, "segments_info", 1, "id"), "identifier", ("segments_info",)),
    (1, ("annotations", 0, "segments_info", 1, "category_id"), "identifier", ("segments_info|categor",)),
]


def cases() -> Iterator[Case]:
    """Yields all cases of the doors `panoptic` and `png`."""
    sides = _scene()
    yield Case("panoptic/valid", functools.partial(_run, *map(json.dumps, sides)), Expected(numbers=RIGHT, silent=True))
    for side, path, kind, words in PLACES:
        original = functools.reduce(lambda inner, key: inner[key], path, sides[side])
        for name, text in json_mutants(sides[side], path):
            texts = [text if side == one else json.dumps(data) for one, data in enumerate(sides)]
            where = f"panoptic/{('gt', 'dt')[side]} {'.'.join(map(str, path))}/{name}"
            yield Case(where, functools.partial(_run, *texts), _expected(kind, name, original, words))
    for name, (damage, right) in DAMAGES.items():
        for side in ("g", "d"):
            run = functools.partial(_run, *map(json.dumps, sides), damage=damage, side=side)
            refused = (f"{side}/1.png|image 1",)
            yield Case(f"png/{side} {name}", run, Expected(numbers=RIGHT) if right else Expected(refused=refused))
    for name in ("../secret/s.png", "../d/1.png", "{}/g/1.png", "./../../etc/passwd", "..", ".", "", "\\..\\1.png"):
        run = functools.partial(_run_elsewhere, name)
        yield Case(f"png/file_name {name}", run, Expected(refused=("file_name|png|No such|no such|folder|director",)))


def _scene() -> tuple[dict[str, Any], dict[str, Any]]:
    segments = [
        {"id": 2, "category_id": 2, "iscrowd": 0, "area": 50},
        {"id": 1, "category_id": 1, "iscrowd": 0, "area": 40},
    ]
    images = [{"image_id": 1, "file_name": "1.png", "segments_info": segments}]
    return {"categories": CATEGORIES, "annotations": images}, {"annotations": images}


def _maps() -> tuple[np.ndarray, np.ndarray]:
    """Returns truth and prediction: 50 pixels of cat of which 40 are found, 50 of grass."""
    truth = np.repeat([1, 2], 50).reshape(10, 10)
    found = truth.copy()
    found.flat[:10] = 0
    return truth, found


def _expected(kind: str, name: str, original: Any, words: tuple[str, ...]) -> Expected:
    if name in (DEEP, "5000 digits"):
        return Expected(refused=("json",), numbers=RIGHT if kind in ("unread", "name") else None)
    meaning, value = read_as(kind, name, original)
    if words == ("categories",) and name == "object of id":  # all else of a category may be missing
        return Expected(numbers=RIGHT, refused=words)
    if meaning == "odd":
        return Expected(refused=words, warned=words)
    if meaning == "value" and value != original:  # another flag: a crowd is not found, a category is another kind
        return Expected(numbers={} if "isthing" in words else {"RQ": 1.0}, refused=words)
    return Expected(
        numbers=RIGHT,
        refused=words if meaning == "either" or name in ("null", "missing", "text 1", "text 001", "text 1.0") else None,
    )


def _write(folder: pathlib.Path, ground_truths: str, predictions: str) -> None:
    for name, text, segments in zip((GT, DT), (ground_truths, predictions), _maps(), strict=True):
        (folder / name).write_text(text)
        images = folder / name.removesuffix(".json")
        images.mkdir()
        _save(images / "1.png", segments)


def _save(path: pathlib.Path, segments: np.ndarray) -> None:
    colours = np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=-1)
    Image.fromarray(colours.astype(np.uint8)).save(path)


def _run(
    ground_truths: str,
    predictions: str,
    folder: pathlib.Path,
    damage: Callable[[pathlib.Path], None] | None = None,
    side: str = "g",
) -> Numbers:
    _write(folder, ground_truths, predictions)
    if damage is not None:
        damage(folder / side / "1.png")
    return run_command("panoptic", GT, DT, "--json", "-")


def _run_elsewhere(name: str, folder: pathlib.Path) -> Numbers:
    """The right image, but not where it may be."""
    truth, found = _scene()
    truth["annotations"] = [truth["annotations"][0] | {"file_name": name.replace("{}", str(folder))}]
    _write(folder, json.dumps(truth), json.dumps(found))
    (folder / "secret").mkdir()
    _save(folder / "secret" / "s.png", _maps()[0])
    return run_command("panoptic", GT, DT, "--json", "-")


def _cut(eighths: int, path: pathlib.Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * eighths // 8])


def _flip(place: float, path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0xFF
    path.write_bytes(data)


def _bomb(width: int, height: int, path: pathlib.Path) -> None:
    """Writes a small file whose header claims a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3 * width + 1) * min(height, 16))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def _convert(mode: str, path: pathlib.Path) -> None:
    with Image.open(path) as image:
        image.convert(mode).save(path, format="PNG")


def _save_as(kind: str, path: pathlib.Path) -> None:
    with Image.open(path) as image:
        image.save(path, format=kind)


def _resize(path: pathlib.Path) -> None:
    _save(path, np.repeat([1, 2], 60).reshape(10, 12))


# What is done to a PNG file, and whether the right number may still come.
DAMAGES: dict[str, tuple[Callable[[pathlib.Path], object], bool]] = {
    **{f"cut at {eighths}/8": (functools.partial(_cut, eighths), False) for eighths in range(8)},
    **{f"flipped at {place}": (functools.partial(_flip, place), False) for place in (0.0, 0.1, 0.2, 0.3, 0.5, 0.6)},
    "60000 x 60000": (functools.partial(_bomb, 60_000, 60_000), False),
    "40000 x 4000": (functools.partial(_bomb, 40_000, 4_000), False),
    "0 x 0": (functools.partial(_bomb, 0, 0), False),
    "2^27 wide": (functools.partial(_bomb, 2**27, 1), False),
    "grey": (functools.partial(_convert, "L"), False),
    "palette": (functools.partial(_convert, "P"), False),
    "one bit": (functools.partial(_convert, "1"), False),
    "with alpha": (functools.partial(_convert, "RGBA"), True),
    "as JPEG": (functools.partial(_save_as, "JPEG"), False),
    "as GIF": (functools.partial(_save_as, "GIF"), False),
    "text": (lambda path: path.write_text("no image"), False),
    "missing": (lambda path: path.unlink(), False),
    "folder": (lambda path: (path.unlink(), path.mkdir()), False),
    "another size": (_resize, False),
    "JSON": (lambda path: path.write_text(JSON_VALUES["object"]), False),
}
