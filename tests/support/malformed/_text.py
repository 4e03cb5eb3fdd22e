"""VOC's, DOTA's, YOLO's, KITTI's and Open Images' files, each word in turn replaced by odd ones.

The right numbers are pycocotools'.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ._case import Case, Expected, Numbers
from ._coco import numbers_of, scene
from ._process import run_command

__all__ = ["DOORS", "cases", "write"]

Rows = list[dict[str, str]]
WIDTH, HEIGHT = 120, 100

WORDS = {
    "empty": "",
    "blank": " ",
    "x": "x",
    "nan": "nan",
    "inf": "inf",
    "-inf": "-inf",
    "1e400": "1e400",
    "400 digits": "9" * 400,
    "-1": "-1",
    "0": "0",
    "1": "1",
    "1.0": "1.0",
    "0.25": "0.25",
    "1e20": "1e20",
    "2^63": str(2**63),
    "underscore": "1_0",
    "arabic digits": "١٢",
    "full width": "\uff11\uff12",
    "hexadecimal": "0x10",
    "decimal comma": "1,5",
    "quoted": '"1"',
    "half quoted": '"1',
    "two words": "1 2",
    "true": "true",
    "null": "null",
    "nul": "\x00",
    "é": "é",
    "escape": "\x1b[31m",
    "tag": "<b/>",
    "entity": "&nothing;",
    "long": "x" * 100_000,
    "tab": "\t",
    "line": "\n",
}


class Place(NamedTuple):
    """A word to replace: in the row that stands second; `path` is its place in COCO's scene.

    Attributes:
      side: 0 in the ground truths, 1 in the results.
      field: of the row.
      words: which a refusal must have.
      path: where the same number stands in COCO's scene, None for words that are no numbers.
      of_number: from the word's number to that one.
    """

    side: int
    field: str
    words: tuple[str, ...]
    path: tuple[Any, ...] | None = None
    of_number: Callable[[float], float] = float


def rows() -> tuple[Rows, Rows]:
    """Returns COCO's scene as words, corners for boxes."""
    truth, found = scene("coco")
    names = {1: "cat", 2: "dog"}

    def words(row: dict[str, Any]) -> dict[str, str]:
        x, y, w, h = row["bbox"]
        corners = zip(("x1", "y1", "x2", "y2"), (x, y, x + w, y + h), strict=True)
        return {"image": f"im{row['image_id']}", "label": names[row["category_id"]]} | {k: str(v) for k, v in corners}

    return (
        [words(row) | {"difficult": "0"} for row in truth["annotations"]],
        [words(row) | {"score": str(row["score"])} for row in found],
    )


def _voc(truth: Rows, found: Rows, folder: pathlib.Path) -> None:
    (folder / "gt").mkdir()
    for image in ("im1", "im2"):
        objects = "".join(
            f"<object><name>{row['label']}</name><difficult>{row['difficult']}</difficult><bndbox>"
            + "".join(f"<{tag}>{row[key]}</{tag}>" for tag, key in zip(_CORNER_TAGS, _CORNERS, strict=True))
            + "</bndbox></object>\n"
            for row in truth
            if row["image"] == image
        )
        text = f"<annotation><filename>{image}.jpg</filename>\n{objects}</annotation>\n"
        (folder / "gt" / f"{image}.xml").write_text(text)
    _write_found(found, folder, "comp4_det_test_", _CORNERS)


def _dota(truth: Rows, found: Rows, folder: pathlib.Path) -> None:
    (folder / "gt").mkdir()
    for image in ("im1", "im2"):
        lines = [
            " ".join([*map(row.get, _QUAD), row["label"], row["difficult"]]) for row in truth if row["image"] == image
        ]
        (folder / "gt" / f"{image}.txt").write_text("imagesource:x\ngsd:1\n" + "\n".join(lines) + "\n")
    _write_found(found, folder, "Task1_", _QUAD)


def _write_found(found: Rows, folder: pathlib.Path, prefix: str, columns: tuple[str, ...]) -> None:
    (folder / "dt").mkdir()
    for label in ("cat", "dog"):
        lines = [" ".join(map(row.get, ("image", "score", *columns))) for row in found if row["label"] == label]
        (folder / "dt" / f"{prefix}{label}.txt").write_text("\n".join(lines) + "\n")


def _open_images(truth: Rows, found: Rows, folder: pathlib.Path) -> None:
    for name, side, extra in (("gt.csv", truth, ("difficult", "IsGroupOf")), ("dt.csv", found, ("score", "Score"))):
        lines = [f"ImageID,LabelName,{extra[1]},XMin,XMax,YMin,YMax"]
        for row in side:
            x1, x2 = (_share(row[key], WIDTH) for key in ("x1", "x2"))
            y1, y2 = (_share(row[key], HEIGHT) for key in ("y1", "y2"))
            lines.append(",".join([row["image"], row["label"], row[extra[0]], x1, x2, y1, y2]))
        (folder / name).write_text("\n".join(lines) + "\n")


def _yolo(truth: Rows, found: Rows, folder: pathlib.Path) -> None:
    """Writes centres and sizes; a number that is odd in the corners is written where the size stands."""
    (folder / "sizes.csv").write_text(f"file_name,width,height\nim1.jpg,{WIDTH},{HEIGHT}\nim2.jpg,{WIDTH},{HEIGHT}\n")
    (folder / "names.txt").write_text("cat\ndog\n")
    numbers = {"cat": "0", "dog": "1"}
    for name, side in (("gt", truth), ("dt", found)):
        (folder / name).mkdir()
        for image in dict.fromkeys(row["image"] for row in side):
            lines = []
            for row in side:
                if row["image"] == image:
                    sides = [_centre(row["x1"], row["x2"], WIDTH), _centre(row["y1"], row["y2"], HEIGHT)]
                    label = numbers.get(row["label"], row["label"])
                    words = [label, *(one[0] for one in sides), *(one[1] for one in sides)]
                    lines.append(" ".join([*words, *([row["score"]] if name == "dt" else [])]))
            with contextlib.suppress(OSError, ValueError):  # no file can have such a name
                (folder / name / f"{image}.txt").write_text("\n".join(lines) + "\n")


def _kitti(truth: Rows, found: Rows, folder: pathlib.Path) -> None:
    for name, side in (("gt", truth), ("dt", found)):
        (folder / name).mkdir()
        for image in dict.fromkeys(row["image"] for row in side):
            rows = [row for row in side if row["image"] == image]
            words = [[row["label"], *"000", *map(row.get, _CORNERS), *"0000000", row.get("score", "")] for row in rows]
            with contextlib.suppress(OSError, ValueError):  # no file can have such a name
                (folder / name / f"{image}.txt").write_text("\n".join(map(" ".join, words)) + "\n")


def _centre(first: str, last: str, side: int) -> tuple[str, str]:
    """Returns centre and size as shares; an odd last corner as it is, in place of the size."""
    if not (last.isascii() and last.isdigit() and len(last) in (2, 3)):
        return repr(int(first) / side), last
    return repr((int(first) + int(last)) / 2 / side), repr((int(last) - int(first)) / side)


def _share(word: str, side: int) -> str:
    """Returns the share of the side that a whole number of pixels is; an odd word as it is."""
    return repr(int(word) / side) if word.isascii() and word.isdigit() and len(word) in (2, 3) else word


_CORNERS = ("x1", "y1", "x2", "y2")
_CORNER_TAGS = ("xmin", "ymin", "xmax", "ymax")
_QUAD = ("x1", "y1", "x2", "y1", "x2", "y2", "x1", "y2")

_TRUE_X2 = Place(0, "x2", ("xmax|x2|XMax|not valid XML|line", "gt"), ("annotations", 1, "bbox", 2), lambda v: v - 10)
_FOUND_Y2 = Place(1, "y2", ("y2|y3|YMax|line", "dt"), (1, "bbox", 3), lambda v: v - 12)
_PLACES = [
    Place(0, "label", ("name|class|line|XML", "gt")),
    Place(0, "difficult", ("difficult|IsGroupOf|line|XML", "gt")),
    _TRUE_X2,
    Place(1, "image", ("image|ImageID|line", "dt")),
    Place(1, "score", ("score|Score|line", "dt"), (1, "score")),
    _FOUND_Y2,
]
DOORS = {
    "voc": (_voc, ("gt", "dt", "--protocol", "coco", "--plain-corners"), _PLACES),
    "dota": (_dota, ("gt", "dt", "--iou-type", "obb"), _PLACES),
    "openimages": (
        _open_images,
        ("gt.csv", "dt.csv", "--protocol", "coco"),
        [
            *_PLACES[:2],
            _TRUE_X2._replace(of_number=lambda v: v * WIDTH - 10),
            *_PLACES[3:5],
            _FOUND_Y2._replace(of_number=lambda v: v * HEIGHT - 12),
            Place(1, "label", ("class|label|LabelName|line", "dt")),
        ],
    ),
    "yolo": (
        _yolo,
        ("gt", "dt", "--protocol", "coco", "--image-sizes", "sizes.csv", "--class-names", "names.txt"),
        [
            *(Place(side, "label", ("class|line", name)) for side, name in enumerate(("gt", "dt"))),
            Place(0, "x2", ("line", "gt")),
            Place(1, "image", ("image|line", "dt")),
            Place(1, "score", ("confidence|line", "dt"), (1, "score")),
            Place(1, "y2", ("line", "dt")),
        ],
    ),
}
DOORS["kitti"] = (
    _kitti,
    ("gt", "dt", "--protocol", "coco"),
    [
        Place(0, "label", ("class|line", "gt")),
        Place(1, "label", ("class|line", "dt")),
        _TRUE_X2._replace(words=("line", "gt")),
        Place(1, "image", ("image|line", "dt")),
        Place(1, "score", ("score|line", "dt"), (1, "score")),
        _FOUND_Y2._replace(words=("line", "dt")),
    ],
)
_IN_LABELS = ("0", "1", "1.0", "0.25", "-1")  # words that are numbers, which a place may or may not accept


def cases() -> Iterator[Case]:
    """Yields all cases of the doors `voc`, `dota`, `openimages`, `yolo` and `kitti`."""
    for door, (_, _, places) in DOORS.items():
        yield Case(
            f"{door}/valid", functools.partial(_run, door, None, ""), Expected(numbers=_right(door), silent=True)
        )
        for place in places:
            for name, word in WORDS.items():
                run = functools.partial(_run, door, place, word)
                yield Case(f"{door}/{('gt', 'dt')[place.side]} {place.field}/{name}", run, _expected(door, place, name))


def write(door: str, folder: pathlib.Path, place: Place | None = None, word: str = "") -> tuple[str, ...]:
    """Writes a door's files and returns the words of the command that reads them."""
    sides = rows()
    if place is not None:
        sides[place.side][1][place.field] = word
    writer, arguments, _ = DOORS[door]
    writer(*sides, folder)
    return arguments


def _run(door: str, place: Place | None, word: str, folder: pathlib.Path) -> Numbers:
    return run_command("eval", *write(door, folder, place, word), "--json", "-")


def _right(door: str, *change: Any) -> Callable[[], Numbers]:
    """Returns pycocotools' numbers; areas are not pixels in Open Images' files, and every object is small."""

    def numbers() -> Numbers:
        right = numbers_of("text", *change)
        return {name: right[name] for name in ("AP", "AP50", "AP75", "AR10")} if door == "openimages" else right

    return numbers


def _expected(door: str, place: Place, name: str) -> Expected:
    words = place.words
    if door == "yolo" and place.path is None:
        return Expected(numbers=dict if place.field == "image" or name in _IN_LABELS else None, refused=words)
    if door == "kitti" and place.field == "image":
        return Expected(numbers=dict, refused=words)
    if place.field == "label" and place.side == 0:  # a name may be any; an object of another class is found by none
        return Expected(numbers=dict, refused=words, warned=("class|no file|ignored",))
    if place.field == "difficult":
        known = (
            {"0": 0, "1": 1}
            | ({"1.0": 1, "-1": 0} if door == "openimages" else {})
            | ({"empty": 0} if door != "openimages" else {})
        )
        if name in known:
            return Expected(numbers=_flagged(door, known[name]), refused=words if name not in ("0", "1") else None)
        if door in ("dota", "openimages") and name in (
            "0.25",
            "1e20",
            "2^63",
            "1.0",
            "two words",
            "blank",
            "tab",
            "line",
            "-1",
            "quoted",
        ):
            return Expected(numbers=dict, refused=words)
        return Expected(refused=words, numbers=_flagged(door, 0) if name in ("blank", "tab", "line") else None)
    value = {"-1": -1.0, "0": 0.0, "1": 1.0, "1.0": 1.0, "0.25": 0.25}.get(name)
    if door == "dota" and place.path is not None and (value is not None or name == "two words"):
        return Expected(
            numbers=dict, refused=words
        )  # corners of another order are a quadrilateral; a class may have blanks
    if place.path is not None and value is not None:
        right = _right(door, place.side, place.path, place.of_number(value))
        return Expected(
            numbers=right, refused=words if place.field != "score" else None, warned=("negative|width|height",)
        )
    if place.path is not None and name in ("1e20", "2^63"):
        return Expected(numbers=dict, refused=words)
    if place.path is not None and name == "quoted" and door == "openimages":  # a CSV file may quote its numbers
        return Expected(numbers=_right(door, place.side, place.path, place.of_number(1.0)), refused=words)
    if (
        place.field in ("label", "image") and door == "openimages"
    ):  # it leaves out what it does not know, with a warning
        return Expected(refused=words, warned=("ignored",))
    return Expected(refused=words)


def _flagged(door: str, flag: int) -> Callable[[], Numbers]:
    """Returns what is right where the object is difficult: it is ignored, like an object of no area range."""
    if not flag:
        return _right(door)
    if door == "openimages":
        return _right(door, 0, ("annotations", 1, "iscrowd"), 1)
    return lambda: {}
