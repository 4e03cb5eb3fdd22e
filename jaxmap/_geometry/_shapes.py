"""Which field holds the shapes that are compared, and its axes: one table for arrays on the host and inside `jit`."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SHAPES", "SHAPE_FIELDS", "Shape"]


class Shape(NamedTuple):
    """A field of `Detections` and `GroundTruths`, and its axes after the images; a name stands for any length.

    Attributes:
      field: its name.
      rows: what messages call its second axis.
      axes: the others.
      column: the column of a table that holds these shapes.
    """

    field: str
    rows: str
    axes: tuple[int | str, ...]
    column: str

    def __str__(self) -> str:
        return ", ".join(map(str, (self.rows, *self.axes)))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether the axes after images and rows are right."""
        sizes = zip(shape, self.axes, strict=False)
        return len(shape) == len(self.axes) and all(isinstance(axis, str) or size == axis for size, axis in sizes)

    def empty(self) -> tuple[int, ...]:
        """Returns axes for no rows."""
        return tuple(1 if isinstance(axis, str) else axis for axis in self.axes)


_MASKS = Shape("masks", "masks", ("height", "width"), "masks")
SHAPES = {
    "bbox": Shape("boxes", "boxes", (4,), "boxes"),
    "obb": Shape("boxes", "boxes", (5,), "oriented"),
    "segm": _MASKS,
    "boundary": _MASKS,
    "keypoints": Shape("keypoints", "objects", ("keypoints", 3), "keypoints"),
}
SHAPE_FIELDS = {shape.field for shape in SHAPES.values()}
