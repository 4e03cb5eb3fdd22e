"""What every kind of geometry says of itself: one record, which all later stages ask."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..types import Array, DetectionTable, GroundTruthTable, SameArray

if TYPE_CHECKING:
    import jax

    from ._device import DeviceSimilarity
    from ._host import PairSimilarity

__all__ = ["SHAPE_FIELDS", "Constants", "Geometry", "Oddities", "Shape"]

SHAPE_FIELDS = {"boxes", "masks", "keypoints"}  # the fields of `Detections` and `GroundTruths` that hold shapes


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


class Constants(Protocol):
    """What is compared: as much of an `EvaluationProtocol`, which stands above, as geometries read."""

    @property
    def iou_type(self) -> str: ...

    @property
    def keypoint_sigmas(self) -> tuple[float, ...]: ...

    @property
    def boundary_ratio(self) -> float: ...


class Oddities(NamedTuple):
    """Flags of the rows of one image, `[D]` and `[G]`, that are most likely not what the user meant; None for no row.

    Attributes:
      empty: `[G]`, nothing can match it.
      negative: of both sides, a negative width or height.
      unit: of both sides, within the unit square.
      tiny: of both sides, an area below what the arithmetic holds.
      turned: of both sides, an angle that is hardly in radians.
    """

    empty: jax.Array | None = None
    negative: tuple[jax.Array, jax.Array] | None = None
    unit: tuple[jax.Array, jax.Array] | None = None
    tiny: tuple[jax.Array, jax.Array] | None = None
    turned: tuple[jax.Array, jax.Array] | None = None


class ImageSimilarity(Protocol):
    """Compares all detections of one image with all its ground truths, inside `jit`."""

    def __call__(
        self,
        shapes: dict[str, jax.Array],
        ground_truth_shapes: dict[str, jax.Array],
        crowd: jax.Array,
        area: jax.Array | None,
        *,
        constants: Constants,
        box_format: str,
    ) -> DeviceSimilarity:
        """Returns the similarity, with the areas of both sides.

        Args:
          shapes: the fields of `Detections` that hold shapes, `[D, ...]`.
          ground_truth_shapes: those of `GroundTruths`, `[G, ...]`, and what is needed beside.
          crowd: `[G]` bool.
          area: `[G]` float32, the ground truths' areas; None for those of their shapes.
          constants: the protocol's.
          box_format: of axis-aligned boxes.
        """


def _nothing_to_check(*_: Any) -> None:
    """Checks nothing."""


def _no_oddities(*_: Any) -> Oddities:
    """Finds nothing odd."""
    return Oddities()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """A kind of geometry.

    Attributes:
      shape: the field that holds it, its axes, and its column, which also says where COCO's files have it.
      pairs: the similarity of rows of two tables, on the host.
      image: the similarity of all pairs of one image, inside `jit`.
      columns: from the fields that were given and the format of boxes to the columns of a table: the shapes, what
        encloses them (`boxes`, xywh), and their `area` where that is not the boxes'.
      beside: other fields that ground truths need inside `jit`, and what for.
      check_tables: refuses two tables that cannot be compared, given the constants.
      check_batch: refuses what a side of a batch holds, given the side's name, the array, and the constants.
      ignored: from the fields of ground truths to `[...]` bool, which are ignored whatever is said of them; None for
        none.
      oddities: from the shapes of both sides and their similarity to what is odd about them.
      sides: the column whose third and fourth number are the width and height that were given; None for none.
      boxes_fit: whether what encloses good detections overlaps that of their ground truths, so that a poor fit tells of
        a mistake.
      scaled_by_area: whether the similarity depends on the ground truth's area.
    """

    shape: Shape
    pairs: Callable[[DetectionTable, GroundTruthTable, Constants], PairSimilarity]
    image: ImageSimilarity
    columns: Callable[[Mapping[str, Any], str], dict[str, Any]]
    beside: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check_tables: Callable[[DetectionTable, GroundTruthTable, Constants], None] = _nothing_to_check
    check_batch: Callable[[str, Array, Constants], None] = _nothing_to_check
    ignored: Callable[[Mapping[str, SameArray]], SameArray] | None = None
    oddities: Callable[[dict[str, jax.Array], dict[str, jax.Array], Any], Oddities] = _no_oddities
    sides: str | None = None
    boxes_fit: bool = True
    scaled_by_area: bool = False
