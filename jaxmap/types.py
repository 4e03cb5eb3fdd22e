"""What travels between the stages: plain containers, no logic.

Axis letters, the same everywhere: `I` images, `D` detections an image, `G` ground truths an image, `T` IoU
thresholds, `R` recall points, `K` classes, `A` area ranges, `M` max-detection limits, `N` flat rows, `C` candidates of
one detection, `P` keypoints, `W` uint32 words that hold one bit for every (area range, IoU threshold) plane (see
`planes`).

Two kinds of container live here. Pytrees (`Detections`, `GroundTruths`, `Candidates`, `Records` and its parts,
`PrecisionRecall`) hold arrays of fixed shape and cross `jit`. Tables (`DetectionTable`, `GroundTruthTable`) are the
host's ragged form: NumPy columns, one row per object, and `Masks` a column of those that are run-length encoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from ._display import described, short_repr

__all__ = [
    "BOX_FORMATS",
    "UNDEFINED",
    "UNMATCHED",
    "Array",
    "Bools",
    "Candidates",
    "DetectionRecords",
    "DetectionTable",
    "Detections",
    "Floats",
    "GroundTruthRecords",
    "GroundTruthTable",
    "GroundTruths",
    "HostArray",
    "Ints",
    "Masks",
    "PrecisionRecall",
    "Records",
    "Scalar",
    "Words",
]

# Arrays in signatures. Inside `jit` an array is a `jax.Array`. On the host it is one of the NumPy types below.
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]  # int64 mostly; int32 in records, and what NumPy's sorts return
Words = NDArray[np.uint32]  # one bit for every plane
HostArray = NDArray[Any]  # of a dtype that differs from case to case: ids are int64 or text
Array = jax.Array | HostArray  # where both are taken, as on the way into `jit` and out of it
Scalar = Array | np.number[Any] | int  # a number of a result, where NumPy and Python have types of their own

# Records and curves hold arrays of JAX inside `jit` and of NumPy on the host: `Records[jax.Array]`,
# `Records[HostArray]`. One that is made on either route is of `Array`, and takes both.
AnyArray = TypeVar("AnyArray", bound=Array, covariant=True)
# Arithmetic that both routes share takes JAX and gives JAX, or takes NumPy and gives NumPy.
SameArray = TypeVar("SameArray", jax.Array, HostArray)

BOX_FORMATS = ("xyxy", "xywh", "cxcywh", "yxyx")  # cxcywh: centre, width, height
UNMATCHED = -1  # index of no ground truth
UNDEFINED = -1.0  # a device number without any ground truth behind it; NaN once it reaches the host


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Predictions of a batch of images, padded to one length. Of the shapes, give the one that the protocol compares.

    Attributes:
      boxes: `[I, D, 4]` float, in the box format that the call names; oriented boxes are `[I, D, 5]`, centre, width,
        height and angle in radians. Padding may hold anything.
      scores: `[I, D]` float, larger is more confident.
      labels: `[I, D]` int, class indices from 0.
      masks: `[I, D, H, W]` bool, or 0 and 1, of any dtype.
      keypoints: `[I, D, P, 3]` float, x, y and a third value that plays no part.
      valid: `[I, D]` bool, True for real rows; None means that every row is real.
    """

    scores: Array  # [I, D]
    labels: Array  # [I, D]
    boxes: Array | None = None  # [I, D, 4]
    masks: Array | None = None  # [I, D, H, W]
    keypoints: Array | None = None  # [I, D, P, 3]
    valid: Array | None = None  # [I, D]

    __repr__ = short_repr


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruths:
    """Annotated objects of a batch of images, padded to one length; shapes as in `Detections`.

    Attributes:
      boxes: `[I, G, 4]` float, in the box format that the call names; oriented boxes are `[I, G, 5]`. With `keypoints`
        they stand for the object where none of its keypoints is labelled. Padding may hold anything.
      labels: `[I, G]` int, class indices from 0.
      masks: `[I, G, H, W]` bool, or 0 and 1, of any dtype.
      keypoints: `[I, G, P, 3]` float, x, y and visibility: 0 is not labelled. An object without any is ignored.
      valid: `[I, G]` bool, True for real rows; None means that every row is real.
      crowd: `[I, G]` bool, True for a region that stands for many objects: it is never counted, may absorb any number
        of detections, and its similarity is the intersection over the detection's area. None means no crowd.
      area: `[I, G]` float, the object's area in pixels, which decides its area range (for COCO the area of the mask,
        not of the box) and the scale of its keypoints; None means that of the shape, or of the box of keypoints.
      ignore: `[I, G]` bool, True for a ground truth that is matched but never counted; None means none.
      verified: `[I, K]` bool, the classes that an image was searched for: detections of others take no part. None means
        all. A class that an image has ground truths of must be among its classes.
      not_exhaustive: `[I, K]` bool, the classes of which an image may hold more objects than were annotated: detections
        that match none are ignored. None means none.
    """

    labels: Array  # [I, G]
    boxes: Array | None = None  # [I, G, 4]
    masks: Array | None = None  # [I, G, H, W]
    keypoints: Array | None = None  # [I, G, P, 3]
    valid: Array | None = None  # [I, G]
    crowd: Array | None = None  # [I, G]
    area: Array | None = None  # [I, G]
    ignore: Array | None = None  # [I, G]
    verified: Array | None = None  # [I, K]
    not_exhaustive: Array | None = None  # [I, K]

    __repr__ = short_repr


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Candidates(Generic[AnyArray]):
    """For each detection the ground truths that it may match, best first: all that matching needs of the geometry.

    Attributes:
      index: `[..., D, C]` int32, the ground truth's index; any value where `level` is 0.
      level: `[..., D, C]` int8 or int16, how many of the sorted IoU thresholds the pair reaches; 0 is padding.
    """

    index: AnyArray  # [..., D, C]
    level: AnyArray  # [..., D, C]

    __repr__ = short_repr


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DetectionRecords(Generic[AnyArray]):
    """One small row for each detection: what is left of it once it has been matched.

    Attributes:
      scores: `[N]` float.
      labels: `[N]` int32, class indices.
      image_index: `[N]` int32; ties in score go by it, then by `position`.
      position: `[N]` int32, the detection's place in its image's input.
      rank: `[N]` int32, its place by score among the detections of its image and class, from 0.
      matched: `[N, W]` uint32, the planes in which it met a ground truth.
      ignored: `[N, W]` uint32, the planes in which it is neither a true nor a false positive.
      valid: `[N]` bool, False for padding.
    """

    scores: AnyArray  # [N]
    labels: AnyArray  # [N]
    image_index: AnyArray  # [N]
    position: AnyArray  # [N]
    rank: AnyArray  # [N]
    matched: AnyArray  # [N, W]
    ignored: AnyArray  # [N, W]
    valid: AnyArray  # [N]

    __repr__ = short_repr


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruthRecords(Generic[AnyArray]):
    """One small row for each ground truth: whether it counts, and where.

    Attributes:
      labels: `[G]` int, class indices; any value where nothing is counted.
      image_index: `[G]` int, as that of the detections.
      counted: `[G, A]` bool, whether it counts in each area range; False for padding.
    """

    labels: AnyArray  # [G]
    image_index: AnyArray  # [G]
    counted: AnyArray  # [G, A]

    __repr__ = short_repr


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Records(Generic[AnyArray]):
    """What matching yields, from files, arrays or the state of a metric: all that curves and analyses read.

    Attributes:
      detections: rows of the detections.
      ground_truths: rows of the ground truths.
    """

    detections: DetectionRecords[AnyArray]
    ground_truths: GroundTruthRecords[AnyArray]

    __repr__ = short_repr


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionRecall(Generic[AnyArray]):
    """Interpolated curves; cells without ground truth hold `UNDEFINED` on a device and NaN on the host.

    Attributes:
      precision: `[T, R, K, A, M]` float, the best precision at a recall of at least each recall point.
      recall: `[T, K, A, M]` float, the recall that all detections together reach.
      scores: `[T, R, K, A, M]` float, the score at which each recall point is reached, 0 where it is not.
      num_ground_truths: `[K, A]` int, how many ground truths count.
      average_precision: `[T, K, A, M]` float, the area under each curve; None where the protocol averages the recall
        points instead.
      at_best_score: `[T, K, A, M]` float for each quantity of the protocol's summary that is the best value over all
        score thresholds, by name (see `jaxmap.protocols.QUANTITIES`).
    """

    precision: AnyArray  # [T, R, K, A, M]
    recall: AnyArray  # [T, K, A, M]
    scores: AnyArray  # [T, R, K, A, M]
    num_ground_truths: AnyArray  # [K, A]
    average_precision: AnyArray | None = None  # [T, K, A, M]
    at_best_score: Mapping[str, AnyArray] = dataclasses.field(default_factory=dict)  # [T, K, A, M]

    __repr__ = short_repr


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """A column of N binary masks, run-length encoded: where each one, column by column, turns on and off by turns.

    A mask is a slice of `edges`, ascending and of even length: `edges[start]` is its first pixel, counted down the
    columns, the next is one after the last pixel of that run, and so on. The slices may stand anywhere, so that rows
    are taken without a copy of the edges; `rle` makes masks and computes with them.

    Attributes:
      edges: `[E]` int32, of all masks and possibly of others.
      start: `[N]` int64, the place of each mask's first edge.
      stop: `[N]` int64, one after the place of its last.
      sizes: `[N, 2]` int64, height and width; fewer than 2^31 pixels.
      area: `[N]` float64, how many pixels are set.
      split: `[N]` bool, whether a run starts where the one before it ends, as some writers cut runs at each column.
    """

    edges: NDArray[np.int32]  # [E]
    start: Ints  # [N]
    stop: Ints  # [N]
    sizes: Ints  # [N, 2]
    area: Floats  # [N]
    split: Bools  # [N]

    def __repr__(self) -> str:
        return f"{type(self).__name__}{list(self.shape)}"

    def __len__(self) -> int:
        return len(self.start)

    @property
    def shape(self) -> tuple[int]:
        """(N,), as of an array."""
        return self.start.shape

    def __getitem__(self, rows: slice | Ints | Bools) -> Masks:
        """Returns the masks of some rows: a slice, indices or flags."""
        columns = {name: value[rows] for name, value in vars(self).items() if name != "edges"}
        return dataclasses.replace(self, **columns)

    def take(self, rows: Ints, axis: int = 0) -> Masks:
        """Returns the masks of some rows."""
        columns = {name: value.take(rows, axis=axis) for name, value in vars(self).items() if name != "edges"}
        return dataclasses.replace(self, **columns)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruthTable:
    """Every annotated object of a dataset as NumPy columns, with the images and classes that it defines.

    Attributes:
      image_index: `[N]` int64, index into `image_ids`.
      labels: `[N]` int64, index into `class_ids`.
      boxes: `[N, 4]` float64, xywh in pixels; of other shapes what encloses them.
      area: `[N]` float64, square pixels.
      crowd: `[N]` bool.
      ignore: `[N]` bool.
      ids: `[N]` int64 or text, the annotation's id in its file, or its row in its image.
      image_ids: `[I]` int64 or text, ascending; images without annotations count too.
      class_ids: `[K]` int64 or text, ascending. Where one of the ids is no integer, all are text.
      class_names: K names.
      masks: `[N]`, a column `Masks`.
      keypoints: `[N, P, 3]` float64: x, y, visibility.
      oriented: `[N, 5]` float64: centre, width, height, angle in radians.
      verified: `[I, K]` bool, the classes that an image was searched for; None where every image was for all.
      not_exhaustive: `[I, K]` bool, the classes of which an image may hold more than was annotated.
      class_group: `[K]` names, what the protocol's summary groups classes by (LVIS: frequency).
      image_sizes: `[I, 2]` int64, height and width of each image, where masks need them.
      image_files: `[I]` names of the images' files, None where there is none.
      crowd_index: `[I]` float64, how crowded each image is, from 0 to 1 (CrowdPose).
    """

    image_index: Ints  # [N]
    labels: Ints  # [N]
    boxes: Floats  # [N, 4]
    area: Floats  # [N]
    crowd: Bools  # [N]
    ignore: Bools  # [N]
    ids: HostArray  # [N]
    image_ids: HostArray  # [I]
    class_ids: HostArray  # [K]
    class_names: tuple[str, ...]
    masks: Masks | None = None  # [N]
    keypoints: Floats | None = None  # [N, P, 3]
    oriented: Floats | None = None  # [N, 5]
    verified: Bools | None = None  # [I, K]
    not_exhaustive: Bools | None = None  # [I, K]
    class_group: HostArray | None = None  # [K]
    image_sizes: Ints | None = None  # [I, 2]
    image_files: NDArray[np.object_] | None = None  # [I]
    crowd_index: Floats | None = None  # [I]

    def __repr__(self) -> str:
        counts = {"objects": len(self.labels), "images": len(self.image_ids), "classes": len(self.class_ids)}
        return described(self, **counts, masks=self.masks, keypoints=self.keypoints, oriented=self.oriented)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DetectionTable:
    """Every detection as NumPy columns, in the order of the input, indexed as a `GroundTruthTable` says.

    Attributes:
      image_index: `[N]` int64, index into the ground truths' `image_ids`.
      labels: `[N]` int64, index into the ground truths' `class_ids`.
      boxes: `[N, 4]` float64, xywh in pixels; of other shapes what encloses them.
      scores: `[N]` float64.
      ids: `[N]` int64, the detection's position in its file, or its row in its image.
      area: `[N]` float64, square pixels; None for width times height of the box.
      masks, keypoints, oriented: as in `GroundTruthTable`.
    """

    image_index: Ints  # [N]
    labels: Ints  # [N]
    boxes: Floats  # [N, 4]
    scores: Floats  # [N]
    ids: Ints  # [N]
    area: Floats | None = None  # [N]
    masks: Masks | None = None  # [N]
    keypoints: Floats | None = None  # [N, P, 3]
    oriented: Floats | None = None  # [N, 5]

    def __repr__(self) -> str:
        geometry = {"masks": self.masks, "keypoints": self.keypoints, "oriented": self.oriented}
        return described(self, detections=len(self.labels), **geometry)


def __dir__() -> list[str]:
    return list(__all__)
