"""YOLO's label files to tables: one text file per image, with the class and the shape of an object in each line.

In: lines of numbers, which are fractions of the width and height of the image:

- a box: `class x y width height`, with x and y of its centre;
- a polygon: `class x1 y1 x2 y2 x3 y3 ...`, also the four corners of an oriented box.

Detections are as Ultralytics' `save_txt=True, save_conf=True` writes them, with the confidence as last number. Ground
truths come with `data.yaml` and images, or a table of their sizes. Out: tables, boxes in xywh in pixels.

All arithmetic is in float64: a box of an image W x H begins at `(x - width / 2) W` and is `width W` wide, and likewise
for y. The box of a polygon goes from the least to the largest of its `x W` and `y H`. Nothing is rounded or clipped.

References: Ultralytics data/utils.py, `verify_image_label`; engine/results.py, `Results.save_txt`. Deviation: in a file
with boxes and polygons, Ultralytics reads the numbers of a box as two corners of a polygon; here they are a box.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._geometry import GEOMETRIES, geometry_of
from .._geometry._oriented import oriented_hull
from .._geometry._rle import mask_boxes, masks_of_segmentations
from ..types import DetectionTable, GroundTruthTable, HostArray, Ints
from ._dota import quads_to_oriented
from ._files import PathLike
from ._image_sizes import names_in_table, sizes_in_table, sizes_of_files
from ._json import first_few
from ._lines import image_name
from ._text_files import files_of_images, warn_of_inverted
from ._yolo_dataset import ClassNames, Files, find_files, names_of_classes
from ._yolo_rows import Kind, Rows, read_label_files

__all__ = ["read_yolo_detections", "read_yolo_ground_truths"]

_COLUMNS = ("boxes", "masks", "oriented")
_OUTSIDE = 0.01  # as Ultralytics: a larger coordinate is a mistake, most often pixels
_FAR_OUTSIDE = 1.0  # of detections, which other writers do not clip


def read_yolo_ground_truths(
    source: PathLike,
    *,
    split: str = "val",
    class_names: ClassNames | None = None,
    image_sizes: PathLike | None = None,
    iou_type: str = "bbox",
) -> GroundTruthTable:
    """Reads YOLO annotations: the objects of every image, and images without a label file, which have none.

    The id of an image is its file name without suffix. Images are those that `data.yaml` names; of a folder `labels`,
    those in it and in the folder `images` in its place; without such images, those in the table of sizes. A line that
    repeats another line of its file is dropped with a warning, as in Ultralytics.

    Args:
      source: `data.yaml` (needs PyYAML), with `names` (a list, or a mapping from number to name) or `nc`, the `path` of
        the dataset, and its splits, each a folder of images, a .txt file that lists images, or a list of these; a
        folder with such a file; or a folder or tar archive of label files.
      split: the split of `data.yaml`.
      class_names: the names of classes, if `source` does not say them: a `data.yaml`, a text file with one name per
        line, or the names. Without any, classes are named by their numbers.
      image_sizes: a CSV file with `file_name`, `width` and `height`. Without it, the headers of the images are read
        (needs Pillow).
      iou_type: what will be compared: boxes, masks (lines must be polygons) or `obb` (four corners).

    Returns:
      One row per line, images in the order of their ids; `ids` number the lines of an image from 0. Areas are those of
      the boxes, masks or oriented boxes.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if a line is invalid, or a class or the size of an image is not known; the message names the file,
        line and field.
      ImportError: if Pillow or PyYAML are needed and not installed.
    """
    kind = Kind(False, _column_of(iou_type), _OUTSIDE)
    files = find_files(source, split)
    names = files.class_names if class_names is None else names_of_classes(class_names)
    image_ids, image_files, sizes = _images(files, source, image_sizes)
    place_of = {image_id: place for place, image_id in enumerate(image_ids.tolist())}
    labelled = np.array([place_of[image_id] for image_id in files.labels], np.int64)
    rows = read_label_files(list(files.labels.values()), sizes[labelled], names, kind, str(source))
    if not len(rows.labels):
        raise ValueError(f"{source}: none of the {len(files.labels)} label files has an object.")
    if names is None:
        names = {number: str(number) for number in range(int(rows.labels.max()) + 1)}
    warn_of_inverted(source, rows.boxes[:, :2], rows.boxes[:, :2] + rows.boxes[:, 2:])
    class_ids, image_index = np.array(list(names)), labelled[rows.file]
    shapes = _shapes(rows, sizes[image_index], kind, f"{source}: object")
    return GroundTruthTable(
        image_index=image_index,
        labels=np.searchsorted(class_ids, rows.labels),
        crowd=np.zeros(len(image_index), bool),
        ignore=np.zeros(len(image_index), bool),
        ids=_numbers_within(rows.file),
        image_ids=image_ids,
        image_files=image_files,
        image_sizes=sizes,
        class_ids=class_ids,
        class_names=tuple(names.values()),
        **shapes,
    )


def read_yolo_detections(
    detections: PathLike, ground_truths: GroundTruthTable, *, iou_type: str = "bbox"
) -> DetectionTable:
    """Reads YOLO detections: one text file per image, as Ultralytics' `save_txt=True, save_conf=True` writes them.

    An image without a file has no detections. If no line has a confidence, all scores are 1.

    Args:
      detections: a folder or tar archive with the files, a pattern, or one file.
      ground_truths: the ground truths, which define the images, their sizes and the classes.
      iou_type: what will be compared: boxes, masks (lines must be polygons) or `obb` (four corners).

    Returns:
      One row per line, files in the order of their names; `ids` number the rows.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is invalid, or an image or class is not in the ground truths; the message names the file,
        line and field.
    """
    kind = Kind(True, _column_of(iou_type), _FAR_OUTSIDE)
    if ground_truths.image_sizes is None:
        raise ValueError("`ground_truths` have no `image_sizes`, which the fractions in YOLO's files need.")
    files, images = files_of_images(detections, ground_truths)
    numbers = [int(one) for one in ground_truths.class_ids.tolist()]
    names = dict(zip(numbers, ground_truths.class_names, strict=True))
    rows = read_label_files(files, ground_truths.image_sizes[images], names, kind, str(detections))
    unscored = np.isnan(rows.scores)
    if unscored.any() and not unscored.all():
        name, _ = files[rows.file[unscored.argmax()]]
        raise ValueError(f"{name}: lines without a confidence, which others have; write all with `save_conf=True`.")
    image_index = images[rows.file]
    return DetectionTable(
        image_index=image_index,
        labels=np.searchsorted(ground_truths.class_ids, rows.labels),
        scores=np.where(unscored, 1.0, rows.scores),
        ids=np.arange(len(image_index)),
        **_shapes(rows, ground_truths.image_sizes[image_index], kind, f"{detections}: object"),
    )


def _column_of(iou_type: str) -> str:
    column = geometry_of(iou_type).shape.column
    if column not in _COLUMNS:
        known = [name for name in GEOMETRIES if geometry_of(name).shape.column in _COLUMNS]
        raise ValueError(f"`iou_type` must be one of {known} for YOLO's files, got {iou_type!r}.")
    return column


def _images(files: Files, source: PathLike, table: PathLike | None) -> tuple[HostArray, HostArray, Ints]:
    """Returns the ids `[I]`, files `[I]` and sizes `[I, 2]` of the images."""
    images = dict(files.images)
    if table is not None and not any(images.values()):  # the table alone says which images there are
        images |= {image_name(name): name for name in names_in_table(table)}
    if not images:
        raise ValueError(f"{source}: neither images nor label files in it; is it the right folder?")
    ids = sorted(images)
    image_ids, image_files = np.array(ids), np.array([images[one] for one in ids], object)
    if table is not None:
        return image_ids, image_files, sizes_in_table(table, image_ids)
    without = [one for one in ids if images[one] is None]
    if without or files.in_archive:
        what = f"no image for {len(without)} of {len(ids)} label files, {first_few(np.array(without))}"
        raise ValueError(
            f"{source}: {what if without else 'images in archives are not opened'}; sizes of images are needed: give a "
            "table of them, by `image_sizes` or --image-sizes, or put the images into the folder `images` beside "
            "`labels`."
        )
    return image_ids, image_files, sizes_of_files([str(images[one]) for one in ids])


def _shapes(rows: Rows, sizes: Ints, kind: Kind, name: str) -> dict[str, Any]:
    """Returns the columns of the geometry, with boxes and areas; `sizes` `[N, 2]` are of each row's image."""
    if kind.column == "masks":
        masks = masks_of_segmentations(
            [[polygon.tolist()] for polygon in rows.polygons], sizes, lambda row: f"{name} {row + 1}"
        )
        return {"boxes": mask_boxes(masks), "masks": masks, "area": masks.area}
    if kind.column == "oriented":
        oriented = quads_to_oriented(np.array(rows.polygons).reshape(-1, 4, 2))
        return {"boxes": oriented_hull(oriented), "oriented": oriented, "area": oriented[:, 2] * oriented[:, 3]}
    return {"boxes": rows.boxes, "area": rows.boxes[:, 2] * rows.boxes[:, 3]}


def _numbers_within(file: Ints) -> Ints:
    """Returns the number of each row `[N]` within its file, from 0; rows are sorted by file."""
    _, first, counts = np.unique(file, return_index=True, return_counts=True)
    return np.arange(len(file)) - np.repeat(first, counts)
