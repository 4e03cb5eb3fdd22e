"""The table of file formats, which are recognised by the ground truths or named by --format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from .._geometry import geometry_of

if TYPE_CHECKING:
    from ..io import Contents
    from ..protocols import EvaluationProtocol
    from ..types import DetectionTable, GroundTruthTable

__all__ = ["FORMATS", "Format", "recognised"]

Options = Mapping[str, Any]
Readers = tuple[Callable[[str], "GroundTruthTable"], Callable[[str, "GroundTruthTable"], "DetectionTable"]]


class Format(NamedTuple):
    """A file format.

    Attributes:
      title: its name in messages.
      looked_for: what its ground truths are recognised by, for messages.
      options: the options of the command that apply only to this format.
      is_it: whether ground truths have this format, from their path, what a folder or archive of this path holds (None
        for another file), and the protocol; the first match is used.
      readers: returns the two reading functions, from the options of this format and the protocol.
    """

    title: str
    looked_for: str
    options: tuple[str, ...]
    is_it: Callable[[str, Contents | None, EvaluationProtocol], bool]
    readers: Callable[[Options, EvaluationProtocol], Readers]


def recognised(gt: str, protocol: EvaluationProtocol) -> str:
    """Returns the name of the format of ground truths.

    Raises:
      ValueError: if it is a folder or an archive that no format fits.
    """
    contents = _io().contents_of(gt) if _io().is_voc(gt) else None
    for name, one in FORMATS.items():
        if one.is_it(gt, contents, protocol):
            return name
    assert contents is not None  # any other file may be COCO's
    looked_for = "; ".join(f"{one.looked_for} ({name})" for name, one in FORMATS.items())
    raise ValueError(
        f"{gt}: no format fits, it has {contents}; {contents.advice()}; looked for {looked_for}; a format can be named "
        "by --format"
    )


def _io() -> ModuleType:
    """Returns the readers, whose import takes a second, which a misspelt option need not wait for."""
    from .. import io

    return io


def _coco(options: Options, protocol: EvaluationProtocol) -> Readers:
    read = _io().read_lvis_ground_truths if protocol.class_groups else _io().read_coco_ground_truths

    def read_detections(path: str, ground_truths: GroundTruthTable) -> DetectionTable:
        if options["category_ids"] is not None or (_io().is_ultralytics(path) and _has_files(ground_truths)):
            return _predictions(path, ground_truths, options, protocol)
        found: DetectionTable = _io().read_coco_detections(path, ground_truths, iou_type=protocol.iou_type)
        return found

    return partial(read, iou_type=protocol.iou_type), read_detections


def _has_files(ground_truths: GroundTruthTable) -> bool:
    return ground_truths.image_files is not None and any(ground_truths.image_files.tolist())


def _predictions(
    path: str, ground_truths: GroundTruthTable, options: Options, protocol: EvaluationProtocol
) -> DetectionTable:
    """Reads Ultralytics' `predictions.json`."""
    found: DetectionTable = _io().read_ultralytics_detections(
        path, ground_truths, category_ids=options["category_ids"], iou_type=protocol.iou_type
    )
    return found


def _dota(_: Options, __: EvaluationProtocol) -> Readers:
    return _io().read_dota_ground_truths, _io().read_dota_detections


def _is_dota(_: str, contents: Contents | None, protocol: EvaluationProtocol) -> bool:
    return contents is not None and geometry_of(protocol.iou_type).shape.column == "oriented"


def _kitti(options: Options, protocol: EvaluationProtocol) -> Readers:
    if protocol.class_groups and options["difficulty"] is None:
        raise ValueError(f"--protocol {protocol.name} needs --difficulty easy, moderate or hard")
    readers = _io().read_kitti_ground_truths, _io().read_kitti_detections
    return partial(readers[0], **options), partial(readers[1], **options)


def _wider_face(options: Options, _: EvaluationProtocol) -> Readers:
    inclusive = options["faces"] is not None  # as in the benchmark's evaluation
    read_ground_truths = partial(_io().read_wider_face_ground_truths, faces=options["faces"], inclusive=inclusive)
    return read_ground_truths, partial(_io().read_wider_face_detections, inclusive=inclusive)


def _crowdhuman(options: Options, _: EvaluationProtocol) -> Readers:
    given = {name: value for name, value in options.items() if value is not None}
    return partial(_io().read_crowdhuman_ground_truths, **given), _io().read_crowdhuman_detections


def _open_images(options: Options, _: EvaluationProtocol) -> Readers:
    return partial(_io().read_open_images_ground_truths, **options), _io().read_open_images_detections


def _voc(options: Options, _: EvaluationProtocol) -> Readers:
    inclusive = not options["plain_corners"]
    readers = _io().read_voc_ground_truths, _io().read_voc_detections
    return partial(readers[0], inclusive=inclusive), partial(readers[1], inclusive=inclusive)


def _yolo(options: Options, protocol: EvaluationProtocol) -> Readers:
    given = {name: value for name, value in options.items() if value is not None and name != "category_ids"}
    read = partial(_io().read_yolo_ground_truths, iou_type=protocol.iou_type, **given)

    def read_detections(path: str, ground_truths: GroundTruthTable) -> DetectionTable:
        if path.lower().endswith((".json", ".json.gz")):
            return _predictions(path, ground_truths, options, protocol)
        found: DetectionTable = _io().read_yolo_detections(path, ground_truths, iou_type=protocol.iou_type)
        return found

    return read, read_detections


FORMATS = {
    "open-images": Format(
        "Open Images' .csv",
        "a *.csv file",
        ("image_labels", "hierarchy", "class_descriptions"),
        lambda path, contents, _: contents is None and _io().is_open_images(path),
        _open_images,
    ),
    "crowdhuman": Format(
        "CrowdHuman's .odgt",
        "an *.odgt file",
        ("part", "image_sizes"),
        lambda path, contents, _: contents is None and _io().is_crowdhuman(path),
        _crowdhuman,
    ),
    "kitti": Format(
        "KITTI's folders",
        "*.txt files with KITTI's 15 words",
        ("difficulty",),
        lambda _, contents, __: contents is not None and contents.is_kitti(),
        _kitti,
    ),
    "yolo": Format(
        "YOLO's folders",
        "data.yaml, or *.txt files with the lines `class x y width height`",
        ("split", "class_names", "image_sizes", "category_ids"),
        lambda path, contents, _: _io().is_yolo(path, contents),
        _yolo,
    ),
    "wider-face": Format(
        "WIDER FACE's .txt",
        "wider_face_val_bbx_gt.txt",
        ("faces",),
        lambda path, contents, _: contents is None and _io().is_wider_face(path),
        _wider_face,
    ),
    "dota": Format("DOTA's folders", "*.txt files with --iou-type obb", (), _is_dota, _dota),
    "voc": Format(
        "VOC's folders",
        "*.xml files",
        ("plain_corners",),
        lambda _, contents, __: contents is not None and contents.suffixes[".xml"] > 0,
        _voc,
    ),
    "coco": Format("COCO's .json", "a *.json file", ("category_ids",), lambda _, contents, __: contents is None, _coco),
}
