"""The files that several commands read: a table of formats, which are recognised by the ground truths."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .._geometry import geometry_of
from ._arguments import progress_on_terminal, protocol_of

if TYPE_CHECKING:
    from .._evaluation import Evaluation
    from ..protocols import EvaluationProtocol
    from ..types import DetectionTable, GroundTruthTable

__all__ = [
    "add_inputs",
    "add_inputs_to_check",
    "add_several_inputs",
    "evaluate_inputs",
    "read_inputs",
    "read_several_inputs",
]

_GROUND_TRUTHS = (
    "COCO annotation file, plain or gzip, or LVIS's with --protocol lvis; VOC's XML files, or DOTA's text files with "
    "--iou-type obb, in a folder or a tar archive; or Open Images' boxes as .csv"
)
_DETECTIONS = (
    "COCO results file; VOC's comp4_det_test_CLASS.txt, or DOTA's Task1_CLASS.txt, in a folder, a tar archive or a "
    "quoted pattern; or Open Images' detections as .csv"
)

Readers = tuple[Callable[[str], "GroundTruthTable"], Callable[[str, "GroundTruthTable"], "DetectionTable"]]


class Format(NamedTuple):
    """A file format.

    Attributes:
      options: the options of the command that apply only to this format.
      is_it: whether a path of ground truths, under a protocol, has this format; the first match is used.
      readers: returns the two reading functions, from the arguments, the options of this format and the protocol.
    """

    options: tuple[str, ...]
    is_it: Callable[[str, EvaluationProtocol], bool]
    readers: Callable[[dict[str, Any], EvaluationProtocol], Readers]


def add_inputs(command: argparse.ArgumentParser) -> None:
    """Adds the two input files, or `--demo` in their place."""
    add = command.add_argument
    add("ground_truths", metavar="GT", nargs="?", help=_GROUND_TRUTHS)
    add("detections", metavar="DT", nargs="?", help=_DETECTIONS)
    add("--demo", action="store_true", help="score a made-up scene in place of GT and DT")
    _add_options_of_formats(command)


def evaluate_inputs(arguments: argparse.Namespace, iou_threshold: float | None = None) -> Evaluation:
    """Reads the two files and scores them under the protocol of the arguments, at one IoU threshold if it is given."""
    from .._evaluation import evaluate

    protocol = protocol_of(arguments)
    if iou_threshold is not None:
        protocol = protocol.customize(iou_thresholds=[iou_threshold])
    progress = progress_on_terminal()
    detections, ground_truths = read_inputs(arguments, progress)
    return evaluate(detections, ground_truths, protocol=protocol, progress=progress)


def add_several_inputs(command: argparse.ArgumentParser) -> None:
    """Adds one file of ground truths and two or more of detections, which `read_several_inputs` reads."""
    add = command.add_argument
    add("ground_truths", metavar="GT", help=_GROUND_TRUTHS)
    add("detections", metavar="DT", nargs="+", help=f"two or more: {_DETECTIONS}")
    _add_options_of_formats(command)


def add_inputs_to_check(command: argparse.ArgumentParser) -> None:
    """Adds one file of ground truths and at most one of detections, which `read_several_inputs` reads as a list."""
    add = command.add_argument
    add("ground_truths", metavar="GT", help=_GROUND_TRUTHS)
    add("detections", metavar="DT", nargs="?", type=lambda path: [path], default=[], help=_DETECTIONS)
    _add_options_of_formats(command)


def read_inputs(
    arguments: argparse.Namespace, progress: Callable[[str], None] | None
) -> tuple[DetectionTable, GroundTruthTable]:
    """Reads the two files, or makes the demo scene."""
    gt, dt, protocol = arguments.ground_truths, arguments.detections, protocol_of(arguments)
    if gt is not None and not arguments.demo:
        if dt is None:
            raise ValueError(_needs_two(arguments.name))
        [detections], ground_truths = _read(gt, [dt], arguments, progress)
        return detections, ground_truths
    _refuse_options_of_others(arguments, None, _formats())
    if not arguments.demo:
        raise ValueError(_needs_two(arguments.name))
    if gt is not None:
        raise ValueError("--demo makes its own scene: leave out GT and DT")
    if geometry_of(protocol.iou_type).shape.column != "boxes":
        raise ValueError(f"--demo makes only boxes, which cannot be compared by {protocol.iou_type}: name GT and DT")
    from ..io import demo_scene

    return demo_scene()


def read_several_inputs(
    arguments: argparse.Namespace, progress: Callable[[str], None] | None
) -> tuple[list[DetectionTable], GroundTruthTable]:
    """Reads the ground truths once, and each file of detections."""
    return _read(arguments.ground_truths, arguments.detections, arguments, progress)


def _read(
    gt: str, every_dt: Sequence[str], arguments: argparse.Namespace, progress: Callable[[str], None] | None
) -> tuple[list[DetectionTable], GroundTruthTable]:
    protocol, formats = protocol_of(arguments), _formats()
    title = next(title for title, one in formats.items() if one.is_it(gt, protocol))
    _refuse_options_of_others(arguments, title, formats)
    options = {name: getattr(arguments, name) for name in formats[title].options}
    read_ground_truths, read_detections = formats[title].readers(options, protocol)
    tell = progress or (lambda stage: None)
    tell(f"reading {gt}")
    ground_truths = read_ground_truths(gt)
    tables = []
    for dt in every_dt:
        tell(f"reading {dt}")
        tables.append(read_detections(dt, ground_truths))
    return tables, ground_truths


def _add_options_of_formats(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("file formats").add_argument
    plain = "read the corners of VOC files as points (default: as pixels that count from 1 and include the last)"
    add("--image-list", metavar="FILE", help="score only the images in a list such as VOC's test.txt")
    add("--plain-corners", action="store_true", default=None, help=plain)
    add(
        "--image-labels",
        metavar="FILE",
        help="Open Images' image-level labels: further classes that were verified in an image",
    )
    add("--hierarchy", metavar="FILE", help="Open Images' class hierarchy: boxes also count for their parent classes")
    add("--class-descriptions", metavar="FILE", help="names of Open Images' classes; other classes are excluded")


def _formats() -> dict[str, Format]:
    """Returns all formats by their name in messages."""
    from .. import io

    def open_images(options: dict[str, Any], _: EvaluationProtocol) -> Readers:
        return partial(io.read_open_images_ground_truths, **options), io.read_open_images_detections

    def dota(options: dict[str, Any], _: EvaluationProtocol) -> Readers:
        return partial(io.read_dota_ground_truths, **options), io.read_dota_detections

    def voc(options: dict[str, Any], _: EvaluationProtocol) -> Readers:
        image_list, inclusive = options["image_list"], not options["plain_corners"]
        read = partial(io.read_voc_ground_truths, image_list=image_list, inclusive=inclusive)
        return read, partial(io.read_voc_detections, inclusive=inclusive)

    def coco(_: dict[str, Any], protocol: EvaluationProtocol) -> Readers:
        read = io.read_lvis_ground_truths if protocol.class_groups else io.read_coco_ground_truths
        return partial(read, iou_type=protocol.iou_type), partial(io.read_coco_detections, iou_type=protocol.iou_type)

    def is_dota(path: str, protocol: EvaluationProtocol) -> bool:
        # both formats come in folders and archives
        return io.is_voc(path) and geometry_of(protocol.iou_type).shape.column == "oriented"

    return {
        "Open Images' .csv": Format(
            ("image_labels", "hierarchy", "class_descriptions"), lambda path, _: io.is_open_images(path), open_images
        ),
        "DOTA's folders": Format(("image_list",), is_dota, dota),
        "VOC's folders": Format(("image_list", "plain_corners"), lambda path, _: io.is_voc(path), voc),
        "COCO's .json": Format((), lambda path, _: True, coco),
    }


def _refuse_options_of_others(arguments: argparse.Namespace, title: str | None, formats: dict[str, Format]) -> None:
    """Refuses an option that does not apply to the format of the files."""
    mine = formats[title].options if title is not None else ()
    for name in sorted({name for one in formats.values() for name in one.options} - set(mine)):
        if getattr(arguments, name) is not None:
            owners = " and ".join(title for title, one in formats.items() if name in one.options)
            raise ValueError(f"--{name.replace('_', '-')} is for {owners}, which GT is not")


def _needs_two(name: str) -> str:
    return f"{name} needs two files, GT and DT, or --demo (see `jaxmap {name} --help`)"
