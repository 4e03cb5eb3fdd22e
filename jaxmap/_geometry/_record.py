"""The record that describes a kind of geometry; later stages use nothing else."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..types import Array, DetectionTable, GroundTruthTable, SameArray

if TYPE_CHECKING:
    import jax

    from ._device import DeviceSimilarity
    from ._host import PairSimilarity

__all__ = ["SHAPE_FIELDS", "Constants", "Geometry", "Oddities", "Shape", "in_jit"]

SHAPE_FIELDS = {"boxes", "masks", "keypoints"}  # the fields of `Detections` and `GroundTruths` for geometries


class Shape(NamedTuple):
    """A field of `Detections` and `GroundTruths`, and its axes after the images; a name stands for any length.

    Attributes:
      field: its name.
      rows: the name of its second axis in messages.
      axes: the other axes.
      column: the column of a table with this geometry.
    """

    field: str
    rows: str
    axes: tuple[int | str, ...]
    column: str

    def __str__(self) -> str:
        return ", ".join(map(str, (self.rows, *self.axes)))

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether the axes after images and rows are valid."""
        sizes = zip(shape, self.axes, strict=False)
        return len(shape) == len(self.axes) and all(isinstance(axis, str) or size == axis for size, axis in sizes)

    def empty(self) -> tuple[int, ...]:
        """Returns the shape for no rows."""
        return tuple(1 if isinstance(axis, str) else axis for axis in self.axes)


class Constants(Protocol):
    """The part of an `EvaluationProtocol`, which is on a higher layer, that geometries read."""

    @property
    def iou_type(self) -> str: ...

    @property
    def keypoint_sigmas(self) -> tuple[float, ...]: ...

    @property
    def boundary_ratio(self) -> float: ...


class Oddities(NamedTuple):
    """Flags of the rows of one image, `[D]` and `[G]`, that are likely mistakes; None for no row.

    Attributes:
      empty: `[G]`, nothing can match it.
      negative: of both sides, a negative width or height.
      unit: of both sides, inside the unit square.
      tiny: of both sides, an area too small for the arithmetic.
      turned: of both sides, an angle that is unlikely to be in radians.
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
          shapes: the geometry fields of `Detections`, `[D, ...]`.
          ground_truth_shapes: those of `GroundTruths`, `[G, ...]`, and other fields that are needed.
          crowd: `[G]` bool.
          area: `[G]` float32, the areas of ground truths; None for computed ones.
          constants: those of the protocol.
          box_format: the format of axis-aligned boxes.
        """


def in_jit(file: str, name: str) -> Callable[..., Any]:
    """Returns a function of this package that needs JAX; its file is imported by the first call."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(f".{file}", __package__), name)(*arguments, **options)

    return call


def _nothing_to_check(*_: Any) -> None:
    """Checks nothing."""


def _no_oddities(*_: Any) -> Oddities:
    """Finds nothing odd."""
    return Oddities()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """A kind of geometry.

    Attributes:
      shape: its field, axes and column.
      pairs: the similarity of rows of two tables, on the host.
      image: the similarity of all pairs of one image, inside `jit`.
      columns: converts the given fields and the box format to the columns of a table: the geometry, the enclosing
        `boxes` (xywh), and the `area` if it is not that of the boxes.
      beside: other fields that ground truths need inside `jit`, and the reason.
      check_tables: refuses two tables that cannot be compared, given the constants.
      check_batch: refuses invalid arrays of a batch, given the name of the side, the array, and the constants.
      ignored: returns `[...]` bool from the fields of ground truths, which are always ignored; None for none.
      oddities: returns likely mistakes, from the geometries of both sides and their similarity.
      sides: the column whose third and fourth numbers are the given width and height; None if there is none.
      boxes_fit: whether the enclosing boxes of good detections overlap those of their ground truths, so that a poor fit
        suggests a mistake.
      scaled_by_area: whether the similarity depends on the area of the ground truth.
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
