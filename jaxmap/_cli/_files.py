"""The files that several commands read: ground truths, and detections of one detector or several."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._geometry import geometry_of
from ._arguments import protocol_of
from ._formats import FORMATS, recognised
from ._progress import progress_on_terminal

if TYPE_CHECKING:
    from .._evaluation import Evaluation
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
    "COCO annotation file, plain or gzip, or LVIS's with --protocol lvis; YOLO's data.yaml or folder of labels; VOC's "
    "XML files, KITTI's labels, or DOTA's text files with --iou-type obb, in a folder or a tar archive; Open Images' "
    "boxes as .csv; CrowdHuman's .odgt; or wider_face_val_bbx_gt.txt"
)
_DETECTIONS = (
    "COCO results file, as .json, .jsonl, .npz or .parquet, or Ultralytics' predictions.json or folder of labels with"
    " confidences; VOC's comp4_det_test_CLASS.txt, DOTA's Task1_CLASS.txt, or KITTI's or WIDER FACE's results, in a "
    "folder, a tar archive or a quoted pattern; Open Images' detections as .csv; or CrowdDet's for CrowdHuman"
)


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
    _refuse_options_of_others(arguments, None)
    if arguments.demo and (arguments.format or arguments.image_list):
        raise ValueError("--format and --image-list are for GT and DT, and --demo has neither")
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
    from ..io._image_lists import select_images_of_all

    protocol = protocol_of(arguments)
    name = arguments.format or recognised(gt, protocol)
    _refuse_options_of_others(arguments, name)
    options = {option: getattr(arguments, option) for option in FORMATS[name].options}
    read_ground_truths, read_detections = FORMATS[name].readers(options, protocol)
    tell = progress or (lambda stage: None)
    tell(f"reading {gt}")
    ground_truths = read_ground_truths(gt)
    tables = []
    for dt in every_dt:
        tell(f"reading {dt}")
        tables.append(read_detections(dt, ground_truths))
    if arguments.image_list is not None:
        tables, ground_truths = select_images_of_all(tables, ground_truths, arguments.image_list)
    return tables, ground_truths


def _add_options_of_formats(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("file formats").add_argument
    plain = "read the corners of VOC files as points (default: as pixels that count from 1 and include the last)"
    add("--format", choices=sorted(FORMATS), help="format of GT and DT (default: recognised by GT)")
    add("--image-list", metavar="FILE", help="score only the images in a list such as VOC's test.txt or YOLO's val.txt")
    add("--split", metavar="NAME", help="split of YOLO's data.yaml (default: val)")
    add("--class-names", metavar="FILE", help="names of YOLO's classes: a data.yaml, or a text file with one per line")
    meaning = "meaning of `category_id` in Ultralytics' predictions.json (default: found out, or refused if unclear)"
    add("--category-ids", choices=("same", "from-0", "from-1", "coco91"), help=meaning)
    sizes = "sizes of YOLO's images: a .csv with file_name, width and height; of CrowdHuman's: DT, which has them"
    add("--image-sizes", metavar="FILE", help=sizes)
    difficulty = "KITTI's difficulty: ignore other objects, and leave out lower detections (for --protocol kitti)"
    add("--difficulty", choices=("easy", "moderate", "hard"), help=difficulty)
    faces = "WIDER FACE's wider_easy_val.mat, wider_medium_val.mat or wider_hard_val.mat: ignore the faces not in it"
    add("--faces", metavar="FILE", help=faces)
    add("--part", choices=("full", "visible", "head"), help="which box of CrowdHuman's people (default: full)")
    add("--plain-corners", action="store_true", default=None, help=plain)
    add(
        "--image-labels",
        metavar="FILE",
        help="Open Images' image-level labels: further classes that were verified in an image",
    )
    add("--hierarchy", metavar="FILE", help="Open Images' class hierarchy: boxes also count for their parent classes")
    add("--class-descriptions", metavar="FILE", help="names of Open Images' classes; other classes are excluded")


def _refuse_options_of_others(arguments: argparse.Namespace, chosen: str | None) -> None:
    """Refuses an option that does not apply to the format of the files."""
    mine = FORMATS[chosen].options if chosen is not None else ()
    for name in sorted({name for one in FORMATS.values() for name in one.options} - set(mine)):
        if getattr(arguments, name) is not None:
            owners = " and ".join(one.title for one in FORMATS.values() if name in one.options)
            raise ValueError(f"--{name.replace('_', '-')} is for {owners}, which GT is not")


def _needs_two(name: str) -> str:
    return f"{name} needs two files, GT and DT, or --demo (see `jaxmap {name} --help`)"
