"""The images of the torchmetrics-like metric: checked with torchmetrics' messages and order, copied to the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._geometry import geometry_of
from .._geometry._rle import encode_masks
from .._inputs._foreign import to_numpy
from ..types import Floats, HostArray, Masks

__all__ = ["Image", "areas_of", "check_values", "read_batch"]


class Image(NamedTuple):
    """One input image on the host.

    Attributes:
      shapes, true_shapes: what is compared, by the name of its field: `boxes` in xywh, in the dtype of the input;
        `masks` as a column `Masks`.
      labels, scores, true_labels, crowd, area: `[D]` or `[G]`.
    """

    shapes: dict[str, Any]
    labels: HostArray
    scores: HostArray
    true_shapes: dict[str, Any]
    true_labels: HostArray
    crowd: HostArray
    area: HostArray

    def true_area(self) -> HostArray:
        """Returns `[G]`, the given area if it is positive, else that of the mask, or of the box without masks.

        If an image has masks, they also give the areas of its boxes, as in torchmetrics.
        """
        return np.where(self.area > 0, self.area, areas_of(self.true_shapes))


def areas_of(shapes: dict[str, Any]) -> Floats:
    """Returns `[N]` float64, the areas of the masks, or of the boxes without masks."""
    if "masks" in shapes:
        areas: Floats = shapes["masks"].area
    else:
        areas = shapes["boxes"][:, 2:].astype(np.float64).prod(axis=1)
    return areas


def read_batch(preds: Any, target: Any, box_format: str, iou_types: Sequence[str]) -> list[Image]:
    """Reads a batch, one dictionary per image or a single one, with the fields of all `iou_types`.

    Raises:
      ValueError: if a field is missing, is not an array, or differs in length.
    """
    preds = [preds] if isinstance(preds, Mapping) else preds
    target = [target] if isinstance(target, Mapping) else target
    fields = [geometry_of(iou_type).shape.field for iou_type in iou_types]
    _validate(preds, target, fields)
    return [
        _read_image(index, *sides, box_format, fields) for index, sides in enumerate(zip(preds, target, strict=True))
    ]


def check_values(images: list[Image]) -> None:
    """Checks the dtypes and the shape of boxes, as late as torchmetrics does, in its order and with its messages.

    References: torchmetrics detection/helpers.py, _get_coco_format.
    """
    sides: tuple[Iterator[tuple[dict[str, Any], HostArray, HostArray | None]], ...] = (
        ((image.true_shapes, image.true_labels, None) for image in images),
        ((image.shapes, image.labels, image.scores) for image in images),
    )
    for side in sides:
        for index, (shapes, labels, scores) in enumerate(side):
            if not len(labels):
                continue
            boxes = shapes.get("boxes")
            if boxes is not None and (boxes.ndim != 2 or boxes.shape[1] != 4):
                raise ValueError(
                    f"Invalid input box of sample {index}, element 0 (expected 4 values, got {np.size(boxes[0])})"
                )
            label = labels[0].tolist()
            if not isinstance(label, int):
                raise ValueError(
                    f"Invalid input class of sample {index}, element 0"
                    f" (expected value of type integer, got type {type(label)})"
                )
            score = 0.0 if scores is None else scores[0].tolist()
            if not isinstance(score, float):
                raise ValueError(
                    f"Invalid input score of sample {index}, element 0"
                    f" (expected value of type float, got type {type(score)})"
                )


def _read_image(
    index: int, found: Mapping[str, Any], truth: Mapping[str, Any], box_format: str, fields: Sequence[str]
) -> Image:
    labels = _host(truth["labels"])
    image = Image(
        shapes=_read_shapes(found, fields, box_format, f"sample {index} in predictions"),
        labels=_host(found["labels"]),
        scores=_host(found["scores"]),
        true_shapes=_read_shapes(truth, fields, box_format, f"sample {index} in targets"),
        true_labels=labels,
        crowd=_host(truth.get("iscrowd", np.zeros(len(labels)))),
        area=_host(truth.get("area", np.zeros(len(labels)))),
    )
    for name, values in (("iscrowd", image.crowd), ("area", image.area)):
        if values.shape != (len(labels),):
            raise ValueError(
                f"Input '{name}' of sample {index} in targets must have shape [{len(labels)}], one value per label, "
                f"got {list(values.shape)}"
            )
    return image


def _read_shapes(side: Mapping[str, Any], fields: Sequence[str], box_format: str, where: str) -> dict[str, Any]:
    shapes = {}
    for field in fields:
        values = _host(side[field])
        shapes[field] = _to_column(values, where) if field == "masks" else _to_xywh(values, box_format)
    return shapes


def _to_column(masks: HostArray, where: str) -> Masks:
    """Returns `[N, H, W]` masks as a run-length encoded column `[N]`."""
    if not len(masks):
        masks = np.zeros((0, 1, 1))
    if masks.ndim != 3:
        raise ValueError(f"Input 'masks' of {where} must have shape [N, height, width], got {list(masks.shape)}")
    if not ((masks == 0) | (masks == 1)).all():
        raise ValueError(f"Input 'masks' of {where} must be boolean, or 0 and 1: cut probabilities at 0.5 first")
    return encode_masks(masks)


def _host(values: Any) -> HostArray:
    """Returns a copy as a NumPy array, because the buffer may be reused."""
    return np.array(to_numpy(values))


def _to_xywh(boxes: HostArray, box_format: str) -> HostArray:
    """Returns `[N, 4]` boxes as x, y, width, height in their dtype; other geometries unchanged.

    torchmetrics converts in the dtype of its input, usually float32, from centres to corners first, and only later
    widens to float64. The rounding can move an IoU over a threshold, so the same is done here.
    """
    if not boxes.size:
        return np.zeros((0, 4), boxes.dtype)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        return boxes
    first, second = boxes[:, :2], boxes[:, 2:]
    if box_format == "cxcywh":
        first, second = first - second / 2, first + second / 2
    if box_format != "xywh":
        second = second - first
    return np.concatenate([first, second], axis=1)


def _validate(preds: Any, target: Any, shapes: Sequence[str]) -> None:
    """Checks a batch in torchmetrics' order and with its messages; `shapes` are the fields that are compared.

    References: torchmetrics detection/helpers.py, _input_validator.
    """
    if not isinstance(preds, Sequence):
        raise ValueError(f"Expected argument `preds` to be of type Sequence, but got {preds}")
    if not isinstance(target, Sequence):
        raise ValueError(f"Expected argument `target` to be of type Sequence, but got {target}")
    if len(preds) != len(target):
        raise ValueError(
            f"Expected argument `preds` and `target` to have the same length, but got {len(preds)} and {len(target)}"
        )
    sides = (("preds", preds, (*shapes, "labels", "scores")), ("target", target, (*shapes, "labels")))
    for side, images, fields in sides:
        for field in fields:
            if any(field not in image for image in images):
                raise ValueError(f"Expected all dicts in `{side}` to contain the `{field}` key")
    for side, images, fields in (("preds", preds, (*shapes, "scores", "labels")), sides[1]):
        for field in fields:
            if not all(hasattr(image[field], "__array__") for image in images):
                raise ValueError(f"Expected all {field} in `{side}` to be of type Tensor")
    for index, image in enumerate(target):
        for field in shapes:
            rows, labels = (_length(image[name], name) for name in (field, "labels"))
            if rows != labels:
                raise ValueError(
                    f"Input '{field}' and labels of sample {index} in targets have a"
                    f" different length (expected {rows} labels, got {labels})"
                )
    for index, image in enumerate(preds):
        for field in shapes:
            rows, labels, scores = (_length(image[name], name) for name in (field, "labels", "scores"))
            if not rows == labels == scores:
                raise ValueError(
                    f"Input '{field}', labels and scores of sample {index} in predictions have a"
                    f" different length (expected {rows} labels and scores,"
                    f" got {labels} labels and {scores})"
                )


def _length(values: Any, field: str) -> int:
    if not values.shape:
        raise ValueError(f"Expected all {field} to have at least one axis, but got the single value {values}")
    return int(values.shape[0])
