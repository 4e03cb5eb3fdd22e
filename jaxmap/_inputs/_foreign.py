"""Arrays of other libraries on the host, and the detections of an image in their own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..types import HostArray

__all__ = ["fields_of", "to_numpy"]


def to_numpy(values: Any) -> HostArray:
    """Returns an input as a NumPy array, including torch tensors.

    torch refuses to convert tensors that have a gradient, are on another device, or are bfloat16.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()
    return np.asarray(values)


def fields_of(image: Any) -> Any:
    """Returns `supervision.Detections` as a mapping of our fields, boxes in xyxy; others are returned unchanged."""
    if not (hasattr(image, "xyxy") and hasattr(image, "class_id") and hasattr(image, "confidence")):
        return image
    return {"boxes": image.xyxy, "labels": image.class_id, "scores": image.confidence, "masks": image.mask}
