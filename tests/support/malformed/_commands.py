"""Command lines: odd values of options, missing files, outputs that cannot be written."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Iterator

from ._case import Case, Expected, Numbers
from ._coco import numbers_of, scene
from ._process import run_command

__all__ = ["cases"]

COMMANDS = ("eval", "explain", "operating-points", "compare-protocols", "report", "panoptic")
# Options of `eval`, with values that each is refused for by its name.
OPTIONS = {
    "--iou-thresholds": (
        "", "x", "nan", "inf", "-1", "0", "1.5", "0.5,", ",", "0.5,0.5", "0.7,0.5", "0:1", "0:1:0", "0:1:-1",
        "1:0:0.1", "0:1:nan", "0:1:1e-12", "0.5:0.95:0.07", "0.5:0.95:0.05:1", "1e400", "0_1", "0.5;0.6",
    ),
    "--max-detections": ("", "x", "0", "-1", "1.5", "nan", "1,", "10,1", "1,1", "9" * 30, "1e2", "1:2"),
    "--area-ranges": (
        "", "x", "a", "a=", "a=1", "a=1:", "a=:1", "a=2:1", "a=nan:1", "a=x:y", "a=0:1,a=0:2", "=0:1", "a=0:1:2",
    ),
    "--iou-type": ("", "x", "masks", "BBOX"),
    "--protocol": ("", "x", "COCO", "coco2017", "voc"),
    "--image-list": ("", "nowhere.txt"),
    "--hierarchy": ("nowhere.json",),
    "--class-descriptions": ("nowhere.csv",),
    "--image-labels": ("nowhere.csv",),
    "--json": ("nowhere/out.json", "in", "/proc/out.json", "/dev/full"),
    "--nonsense": ("1",),
}  # fmt: skip
LINES = {
    "no command": ((), "COMMAND"),
    "unknown command": (("evaluate",), "COMMAND"),
    "three files": (("eval", "g.json", "d.json", "d.json"), "d.json"),
    "one file": (("eval", "g.json"), "two files"),
    "demo and files": (("eval", "--demo", "g.json", "d.json"), "demo"),
    "same file twice": (("eval", "g.json", "g.json"), "g.json"),
    "swapped": (("eval", "d.json", "g.json"), "d.json"),
    "per class in JSON": (("eval", "g.json", "d.json", "--per-class", "--json", "-"), "per-class"),
    "keypoints of boxes": (("eval", "g.json", "d.json", "--iou-type", "keypoints"), "g.json"),
    "masks of boxes": (("eval", "g.json", "d.json", "--iou-type", "segm"), "g.json"),
    "oriented of JSON": (("eval", "g.json", "d.json", "--iou-type", "obb"), "iou.type|obb"),
    "LVIS of COCO": (("eval", "g.json", "d.json", "--protocol", "lvis"), "g.json"),
    "panoptic of COCO": (("panoptic", "g.json", "d.json"), "g.json"),
    "report without a folder": (("report", "g.json", "d.json"), "-o|output"),
    "report into a file": (("report", "g.json", "d.json", "-o", "g.json"), "g.json"),
    "operating points without IoU": (("operating-points", "g.json", "d.json", "--iou", "x"), "iou"),
    "operating points at 0.33": (("operating-points", "g.json", "d.json", "--iou", "0"), "iou"),
}


def cases() -> Iterator[Case]:
    """Yields all cases of the door `command`."""
    right = functools.partial(numbers_of, "coco")
    valid = functools.partial(_run, ("eval", "g.json", "d.json", "--json", "-"))
    yield Case("command/valid", valid, Expected(numbers=right, silent=True))
    for option, values in OPTIONS.items():
        for value in values:
            run = functools.partial(_run, ("eval", "g.json", "d.json", option, value))
            words = value if option == "--json" else option.strip("-").replace("-", ".")
            yield Case(f"command/{option} {value[:12]}", run, Expected(refused=(words,)))
    for name, (line, words) in LINES.items():
        yield Case(f"command/{name}", functools.partial(_run, line), Expected(refused=(words,)))
    for command in COMMANDS:
        for name, line in {
            "no files": (),
            "missing": ("nowhere.json", "nowhere.json"),
            "folder": (".", "."),
            "empty names": ("", ""),
            "null device": ("/dev/null", "/dev/null"),
            "newline": ("a\nb", "c\nd"),
        }.items():
            output = ("-o", "out") if command == "report" else ()
            run = functools.partial(_run, (command, *line, *output))
            yield Case(f"command/{command} {name}", run, Expected(refused=("",)))


def _run(line: tuple[str, ...], folder: pathlib.Path) -> Numbers:
    for name, data in zip(("g.json", "d.json"), scene("coco"), strict=True):
        (folder / name).write_text(json.dumps(data))
    (folder / "in").mkdir()
    return run_command(*line)
