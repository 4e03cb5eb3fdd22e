"""The containers that are passed between the stages, without logic.

Axis letters, the same everywhere: `I` images, `D` detections per image, `G` ground truths per image, `T` IoU
thresholds, `R` recall points, `K` classes, `A` area ranges, `M` max-detection limits, `N` flat rows, `C` candidates per
detection, `P` keypoints, `W` uint32 words with one bit per (area range, IoU threshold) plane (see `read_plane`).

There are two kinds of container. Pytrees (`Detections`, `GroundTruths`, `Candidates`, `Records` and its parts,
`PrecisionRecall`) hold arrays of fixed shape and cross `jit`. Tables (`DetectionTable`, `GroundTruthTable`) are the
host's ragged form: NumPy columns with one row per object. `Masks` is a column of run-length encoded masks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from ._display import described, short_repr
from ._pytrees import register_container

if TYPE_CHECKING:
    import jax

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
Array = Union["jax.Array", HostArray]  # where both are taken, as on the way into `jit` and out of it
Scalar = Array | np.number[Any] | int  # a number of a result, where NumPy and Python have types of their own

# Records and curves hold arrays of JAX inside `jit` and of NumPy on the host: `Records[jax.Array]`,
# `Records[HostArray]`. One that is made on either route is of `Array`, and takes both.
AnyArray = TypeVar("AnyArray", bound=Array, covariant=True)
# Arithmetic that both routes share takes JAX and gives JAX, or takes NumPy and gives NumPy.
SameArray = TypeVar("SameArray", "jax.Array", HostArray)

BOX_FORMATS = ("xyxy", "xywh", "cxcywh", "yxyx")  # cxcywh: centre, width, height
UNMATCHED = -1  # the index that stands for no ground truth
UNDEFINED = -1.0  # an undefined number on the device, for lack of ground truth; NaN on the host


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Predictions of a batch of images, padded to one length. Give the geometry that the protocol compares.

    Attributes:
      boxes: `[I, D, 4]` float, in the box format that the call names; oriented boxes are `[I, D, 5]`, centre, width,
        height and angle in radians. Padding may hold anything.
      scores: `[I, D]` float, larger is more confident. None means that the detector gives none: every detection has the
        score 1, and AP depends on the order of the rows (see `Evaluation.precision_recall_f1`).
      labels: `[I, D]` int, class indices from 0.
      masks: `[I, D, H, W]` bool, or 0 and 1, of any dtype.
      keypoints: `[I, D, P, 3]` float, x, y and a third value that is not used.
      valid: `[I, D]` bool, True for real rows; None means that every row is real.
    """

    scores: Array | None = None  # [I, D]
    labels: Array  # [I, D]
    boxes: Array | None = None  # [I, D, 4]
    masks: Array | None = None  # [I, D, H, W]
    keypoints: Array | None = None  # [I, D, P, 3]
    valid: Array | None = None  # [I, D]

    __repr__ = short_repr


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruths:
    """Annotated objects of a batch of images, padded to one length; geometries as in `Detections`.

    Attributes:
      boxes: `[I, G, 4]` float, in the box format that the call names; oriented boxes are `[I, G, 5]`. With `keypoints`,
        they stand for objects without a labelled keypoint. Padding may hold anything.
      labels: `[I, G]` int, class indices from 0.
      masks: `[I, G, H, W]` bool, or 0 and 1, of any dtype.
      keypoints: `[I, G, P, 3]` float, x, y and visibility; 0 means not labelled. Objects without a labelled keypoint
        are ignored.
      valid: `[I, G]` bool, True for real rows; None means that every row is real.
      crowd: `[I, G]` bool, True for a region that stands for many objects: it is never counted, may absorb any number
        of detections, and its similarity is the intersection over the detection's area. None means that there are no
        crowds.
      area: `[I, G]` float, the object's area in square pixels, which decides its area range (for COCO the area of the
        mask, not of the box) and the scale of its keypoints. None means that of the geometry, or of the box of the
        keypoints.
      ignore: `[I, G]` bool, True for a ground truth that is matched but never counted. None means that there are none.
      verified: `[I, K]` bool, the classes that were annotated in an image: detections of other classes are excluded.
        None means all classes. A class with ground truths in an image must be verified there.
      not_exhaustive: `[I, K]` bool, the classes that may not be annotated completely in an image: their unmatched
        detections are ignored. None means that there are none.
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


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Candidates(Generic[AnyArray]):
    """For each detection the ground truths that it may match, best first: all that matching knows of the geometry.

    Attributes:
      index: `[..., D, C]` int32, the ground truth's index; any value where `level` is 0.
      level: `[..., D, C]` int8 or int16, how many of the sorted IoU thresholds the pair reaches; 0 for padding.
    """

    index: AnyArray  # [..., D, C]
    level: AnyArray  # [..., D, C]

    __repr__ = short_repr


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DetectionRecords(Generic[AnyArray]):
    """The result of matching for each detection, one small row per detection.

    Attributes:
      scores: `[N]` float.
      labels: `[N]` int32, class indices.
      image_index: `[N]` int32; ties in score are broken by it, then by `position`.
      position: `[N]` int32, the index of the detection in the input of its image.
      rank: `[N]` int32, its rank by score among the detections of its image and class, from 0.
      matched: `[N, W]` uint32, the planes in which it matched a ground truth.
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


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruthRecords(Generic[AnyArray]):
    """Whether each ground truth is counted, and in which area ranges; one small row per ground truth.

    Attributes:
      labels: `[G]` int, class indices; any value in rows that are counted in no area range.
      image_index: `[G]` int, as in the detections.
      counted: `[G, A]` bool, whether it is counted in each area range; False for padding.
    """

    labels: AnyArray  # [G]
    image_index: AnyArray  # [G]
    counted: AnyArray  # [G, A]

    __repr__ = short_repr


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Records(Generic[AnyArray]):
    """The result of matching, from files, arrays or the state of a metric. Curves and analyses read nothing else.

    Attributes:
      detections: one row per detection.
      ground_truths: one row per ground truth.
    """

    detections: DetectionRecords[AnyArray]
    ground_truths: GroundTruthRecords[AnyArray]

    __repr__ = short_repr


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionRecall(Generic[AnyArray]):
    """Interpolated curves; entries without ground truth are `UNDEFINED` on the device and NaN on the host.

    Attributes:
      precision: `[T, R, K, A, M]` float, the highest precision at or above each recall point.
      recall: `[T, K, A, M]` float, the recall of all detections.
      scores: `[T, R, K, A, M]` float, the score at which each recall point is reached, 0 where it is not.
      num_ground_truths: `[K, A]` int, how many ground truths are counted.
      average_precision: `[T, K, A, M]` float, the area under each curve, by the rule of the protocol; None if it
        averages over recall points.
      at_best_score: by name, `[T, K, A, M]` float for each quantity of the protocol's summary that is a best value over
        all score thresholds (see `jaxmap.protocols.QUANTITIES`).
      miss_rate: `[T, K, A, M]` float, the geometric mean of the miss rates at 0.01 to 1 false positives per image; None
        if the protocol's summary does not ask for it.
    """

    precision: AnyArray  # [T, R, K, A, M]
    recall: AnyArray  # [T, K, A, M]
    scores: AnyArray  # [T, R, K, A, M]
    num_ground_truths: AnyArray  # [K, A]
    average_precision: AnyArray | None = None  # [T, K, A, M]
    at_best_score: Mapping[str, AnyArray] = dataclasses.field(default_factory=dict)  # [T, K, A, M]
    miss_rate: AnyArray | None = None  # [T, K, A, M]

    __repr__ = short_repr


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """A column of N binary masks, run-length encoded: the column-major pixels where each mask turns on and off.

    A mask is a slice of `edges`, ascending and of even length: `edges[start]` is its first pixel in column-major order,
    the next edge is one after the last pixel of that run, and so on. The slices may lie anywhere in `edges`, so that
    rows are selected without a copy of the edges.

    Attributes:
      edges: `[E]` int32, the edges of all masks and possibly of others.
      start: `[N]` int64, the index of each mask's first edge.
      stop: `[N]` int64, one after the index of its last edge.
      sizes: `[N, 2]` int64, height and width; fewer than 2^31 pixels.
      area: `[N]` float64, how many pixels are set.
      split: `[N]` bool, whether a run starts where the previous one ends, because some writers split runs at each
        column.
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
        """(N,), like the shape of an array."""
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
      boxes: `[N, 4]` float64, xywh in pixels; for other geometries the enclosing box.
      area: `[N]` float64, square pixels.
      crowd: `[N]` bool.
      ignore: `[N]` bool.
      ids: `[N]` int64 or text, the annotation id in the file, or the row in its image.
      image_ids: `[I]` int64 or text, ascending, including images without annotations.
      class_ids: `[K]` int64 or text, ascending. If any id is not an integer, all are text.
      class_names: K names.
      masks: `[N]`, a column `Masks`.
      keypoints: `[N, P, 3]` float64: x, y, visibility.
      oriented: `[N, 5]` float64: centre, width, height, angle in radians.
      verified: `[I, K]` bool, the classes that were annotated in each image; None if all were in every image.
      not_exhaustive: `[I, K]` bool, the classes that may not be annotated completely in each image.
      class_group: `[K]` names, what the protocol's summary groups classes by (LVIS: frequency); empty for no group.
      image_sizes: `[I, 2]` int64, height and width of each image, where masks need them or all are known.
      image_files: `[I]` file names of the images, None where there is none.
      crowd_index: `[I]` float64, CrowdPose's measure of how crowded each image is, 0 to 1.
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
    """Every detection as NumPy columns, in the order of the input; images and classes are indexed as in ground truths.

    Attributes:
      image_index: `[N]` int64, index into the ground truths' `image_ids`.
      labels: `[N]` int64, index into the ground truths' `class_ids`.
      boxes: `[N, 4]` float64, xywh in pixels; for other geometries the enclosing box.
      scores: `[N]` float64; 1 for all if the detector gives none.
      ids: `[N]` int64, the position of the detection in its file, or its row in its image.
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
