"""The ground truths of a dataset on the device, found by image id inside `jit`."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .._display import short_repr
from .._integers import as_words
from .._pytrees import register_container
from ..types import Array, Floats, GroundTruths, GroundTruthTable, HostArray

__all__ = ["GroundTruthLookup"]


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruthLookup:
    """All ground truths of a dataset, built once, so that an evaluation step needs only detections and image ids.

    It is a pytree: pass it to the jitted step as an argument. As a closure it would be compiled into the program as a
    constant. On several devices, replicate it.

    Attributes:
      image_id: `[S]` int32, ascending.
      first_row: `[S + 1]` int32, the first row of each image, and the end of the last one.
      rows: `[N + 1, ...]`, the ground truths grouped by image, then one row of padding.
      max_ground_truths_per_image: G, the largest number of ground truths per image, at least 1; give the metric the
        same capacity.

    Example:
      >>> from jaxmap import io
      >>> table = io.coco_ground_truths({
      ...     "images": [{"id": 7}, {"id": 9}],
      ...     "categories": [{"id": 18, "name": "dog"}],
      ...     "annotations": [{"id": 1, "image_id": 9, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 150}],
      ... })
      >>> lookup = GroundTruthLookup.from_table(table)
      >>> ground_truths, known = jax.jit(lambda lookup, ids: lookup.find(ids))(lookup, jnp.array([9, 7, -1]))
      >>> ground_truths.boxes[0].tolist(), ground_truths.valid.ravel().tolist(), known.tolist()
      ([[0.0, 0.0, 20.0, 10.0]], [True, False, False], [True, True, False])
    """

    image_id: Array  # [S]
    first_row: Array  # [S + 1]
    rows: GroundTruths  # [N + 1, ...]
    max_ground_truths_per_image: int = dataclasses.field(metadata={"static": True})

    __repr__ = short_repr

    @classmethod
    def from_table(
        cls, table: GroundTruthTable, *, box_format: str = "xyxy", label_offset: int | None = None
    ) -> GroundTruthLookup:
        """Builds the lookup from a table that `jaxmap.io` reads.

        Args:
          table: the ground truths, with integer image ids below 2^31. Boxes are converted in float64, then rounded to
            float32 once.
          box_format: that of the metric: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
          label_offset: None numbers the classes of the table 0 .. K-1 in the order of their ids. A number is subtracted
            from the ids, for models that predict category ids (91 columns for COCO's 80 categories).

        Raises:
          ValueError: if the table has no image, an id does not fit, or the box format is unknown.
          TypeError: if ids are not integers.
        """
        image_id = _checked("image ids", table.image_ids)
        if not len(image_id):
            raise ValueError("`table` must have at least one image, got none.")
        labels = table.labels
        if label_offset is not None:
            class_ids = _checked("class ids", table.class_ids)
            if (class_ids < label_offset).any():
                raise ValueError(
                    f"`label_offset` must be at most the smallest class id, {class_ids.min()}, got {label_offset}."
                )
            labels = class_ids[table.labels] - label_offset
        order = np.argsort(table.image_index, kind="stable")  # the later of equal IoUs wins
        counts = np.bincount(table.image_index, minlength=len(image_id))
        columns = {
            "boxes": _from_xywh(table.boxes, box_format).astype(np.float32),
            "labels": labels.astype(np.int32),
            "valid": np.ones(len(order), bool),
            "crowd": table.crowd,
            "area": table.area.astype(np.float32),
            "ignore": table.ignore,
        }
        padding = {name: np.zeros((1, *column.shape[1:]), column.dtype) for name, column in columns.items()}
        rows = {name: np.concatenate([column[order], padding[name]]) for name, column in columns.items()}
        return cls(
            image_id=jnp.asarray(image_id),
            first_row=jnp.asarray(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)),
            rows=jax.tree.map(jnp.asarray, GroundTruths(**rows)),
            max_ground_truths_per_image=max(1, int(counts.max())),
        )

    def find(self, image_id: Array) -> tuple[GroundTruths, jax.Array]:
        """Returns the ground truths of a batch of images.

        Args:
          image_id: `[I]` int, or `[I, 2]` words, as `AveragePrecision.update` takes them.

        Returns:
          `[I, G, ...]` ground truths, and `[I]` bool, False for ids that the dataset does not have, such as those of
          padding; pass the latter on as `valid`.

        Raises:
          TypeError: while tracing, if the ids are not integers.
        """
        words = as_words(image_id, len(image_id))
        high, low = words[:, 0], words[:, 1]
        place = jnp.searchsorted(self.image_id, low).astype(jnp.int32)
        place = jnp.minimum(place, len(self.image_id) - 1)
        known = (self.image_id[place] == low) & (high == low >> 31)  # an id that fits into one word
        row = self.first_row[place][:, None] + jnp.arange(self.max_ground_truths_per_image, dtype=jnp.int32)[None]
        real = known[:, None] & (row < self.first_row[place + 1][:, None])
        row = jnp.where(real, row, len(self.rows.labels) - 1)
        return jax.tree.map(lambda column: column[row], self.rows), known


def _checked(what: str, ids: HostArray) -> NDArray[np.int32]:
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"`table` must have integer {what} to be looked up inside `jit`, got dtype {ids.dtype}.")
    if len(ids) and max(abs(int(ids.min())), abs(int(ids.max()))) >= 2**31:
        raise ValueError(f"`table` must have {what} below 2^31, got {ids.min()} .. {ids.max()}.")
    return ids.astype(np.int32)


def _from_xywh(boxes: Floats, box_format: str) -> Floats:
    """Converts `[N, 4]` float64 boxes."""
    corner, size = boxes[:, :2], boxes[:, 2:]
    if box_format == "xywh":
        return boxes
    if box_format == "cxcywh":
        return np.concatenate([corner + size / 2, size], axis=1)
    if box_format == "xyxy":
        return np.concatenate([corner, corner + size], axis=1)
    if box_format == "yxyx":
        return np.concatenate([corner[:, ::-1], (corner + size)[:, ::-1]], axis=1)
    raise ValueError(f"`box_format` must be 'xyxy', 'xywh', 'cxcywh' or 'yxyx', got {box_format!r}.")
