"""Calibration: whether a score of 0.8 means that 8 of 10 such detections are true positives.

The counted detections are put into bins by their score, and optionally by where they lie and how large they are, as
shares of the image. In a bin,

    gap = mean score - precision                     positive where scores promise too much
    ECE = sum over bins of n / N |gap|               n of all N detections are in the bin
    MCE = max over bins of |gap|

Bins without detections have no gap and are left out.

References: Guo et al., On Calibration of Modern Neural Networks, ICML 2017; Kueppers et al., Multivariate Confidence
Calibration for Object Detection, CVPR workshops 2020 (D-ECE).
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._display import Columns, plain, short_repr
from .._matching._host import MatchedDataset
from .._ragged import sums
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats, Ints
from ._counted import count_outcomes, label_of

__all__ = ["BINNINGS", "FEATURES", "Calibration", "calibration"]

BINNINGS = ("width", "quantile")
FEATURES = {"position": ("x", "y"), "size": ("width", "height")}
MOST_BINS = 10_000_000  # of all dimensions together, 25 of each of five; a typo could make the edges fill the memory


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """How far scores are from precision.

    Attributes:
      iou_threshold: the threshold from which a detection is a true positive.
      num_detections: how many detections are counted.
      ece: the expected calibration error, 0 to 1; NaN without detections.
      mce: the maximum calibration error, 0 to 1; NaN without detections.
      bins: columns of `[B]`, one row per bin with detections: `score_low`, `score_high`, likewise `x`, `y`, `width` and
        `height` if detections are binned by them; `num_detections`, `mean_score`, `precision`, `gap`. A bin includes
        its lower edge, and the last bin of a dimension includes both.
      classes: columns of `[K]`: `class_id`, `class_name`, `num_detections`, `ece`, `mce`, over the same bins.
    """

    iou_threshold: float
    num_detections: int
    ece: float
    mce: float
    bins: Columns
    classes: Columns

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """Returns plain Python values, ready for JSON; an undefined number is None."""
        values = {name: plain(getattr(self, name)) for name in ("iou_threshold", "num_detections", "ece", "mce")}
        return values | {"bins": self.bins.rows(), "classes": self.classes.rows()}


def calibration(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    matched: MatchedDataset | None = None,
    *,
    iou_threshold: float = 0.5,
    num_bins: int | Sequence[int] = 10,
    binning: str = "width",
    by: Sequence[str] = (),
    image_sizes: ArrayLike | None = None,
    score_threshold: float = 0.0,
    class_id: Hashable | None = None,
    area: str = "all",
    max_detections: int | None = None,
) -> Calibration:
    """Compares scores with precision, in bins.

    Args:
      dataset: the records of a dataset.
      protocol: the protocol as applied.
      matched: its matches; only needed for `by`.
      iou_threshold: one of the protocol's thresholds.
      num_bins: the number of bins of every dimension, or one number for each: score, then x and y, then width and
        height, as far as `by` has them.
      binning: `width`, bins of equal width from 0 to 1; or `quantile`, bins of as equal counts as ties allow, over all
        classes.
      by: `position` to bin also by the centre of the box, `size` by its width and height, or both, as shares of the
        width and height of the image. Boxes that reach beyond the image are put into the outermost bins.
      image_sizes: height and width in the units of the boxes, `[2]` for all images or `[I, 2]` in the order of
        `image_ids`; None for those of the ground truths, which COCO's files have.
      score_threshold: the lowest score that is included.
      class_id: one of the dataset's classes; None for all.
      area: the name of one of the protocol's area ranges.
      max_detections: one of the protocol's limits per image and class; None for the largest.

    Raises:
      ValueError: if an argument is not as described, or a score does not lie in [0, 1].
    """
    counted = count_outcomes(dataset, protocol, iou_threshold, area, max_detections)
    scores = dataset.records.detections.scores
    if len(scores) and not 0 <= scores.min() <= scores.max() <= 1:
        raise ValueError(
            f"calibration compares scores with precision, so they must lie in [0, 1], got {scores.min():g} to "
            f"{scores.max():g}; convert them, logits by a sigmoid, before evaluation."
        )
    if math.isnan(score_threshold):
        raise ValueError("`score_threshold` must be a number, got nan.")
    if binning not in BINNINGS:
        raise ValueError(f"`binning` must be one of {list(BINNINGS)}, got {binning!r}.")
    if isinstance(by, str) or len(set(by)) < len(by) or not set(by) <= set(FEATURES):
        raise ValueError(f"`by` must be a list of different names from {list(FEATURES)}, got {by!r}.")
    if by and matched is None:
        raise ValueError("`by` needs the boxes of detections: pass `matched`, the matches of an evaluation.")
    names = ["score", *(name for feature, pair in FEATURES.items() if feature in by for name in pair)]
    numbers = _numbers_of_bins(num_bins, names)

    kept = counted.scores >= score_threshold
    if class_id is not None:
        kept &= counted.labels == label_of(dataset, class_id)
    labels, scores, hits = counted.labels[kept], counted.scores[kept].astype(np.float64), counted.hits[kept]
    values = {"score": scores}
    if by and matched is not None:
        values |= _shares_of_image(matched, counted.rows[kept], image_sizes)
    edges = [_edges(values[name], number, binning) for name, number in zip(names, numbers, strict=True)]
    inner = [np.searchsorted(edge[1:-1], values[name], side="right") for name, edge in zip(names, edges, strict=True)]
    shape = tuple(len(edge) - 1 for edge in edges)
    place = np.ravel_multi_index(inner, shape)

    bins = _Bins.of(place, scores, hits)
    of_classes = _Bins.of(labels.astype(np.int64) * math.prod(shape) + place, scores, hits)
    columns: dict[str, Any] = {}
    for name, edge, index in zip(names, edges, np.unravel_index(bins.place, shape), strict=True):
        columns |= {f"{name}_low": edge[index], f"{name}_high": edge[index + 1]}
    num_classes = len(dataset.class_ids)
    [number], [ece], [mce] = bins.errors(np.zeros_like(bins.place), 1)
    class_numbers, class_ece, class_mce = of_classes.errors(of_classes.place // math.prod(shape), num_classes)
    return Calibration(
        iou_threshold=iou_threshold,
        num_detections=int(number),
        ece=float(ece),
        mce=float(mce),
        bins=Columns(
            columns
            | {"num_detections": bins.count, "mean_score": bins.mean_score, "precision": bins.precision}
            | {"gap": bins.mean_score - bins.precision}
        ),
        classes=Columns(
            class_id=dataset.class_ids,
            class_name=list(dataset.class_names),
            num_detections=class_numbers,
            ece=class_ece,
            mce=class_mce,
        ),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Bins:
    """The bins with detections.

    Attributes:
      place: `[B]`, the number of each bin, ascending.
      count: `[B]`, how many detections are in it.
      mean_score: `[B]`.
      precision: `[B]`.
    """

    place: Ints
    count: Ints
    mean_score: Floats
    precision: Floats

    @classmethod
    def of(cls, place: Ints, scores: Floats, hits: Bools) -> _Bins:
        """Counts detections `[N]` with the number of their bin."""
        places, index, count = np.unique(place, return_inverse=True, return_counts=True)
        means = (sums(index, values, len(places)) / count for values in (scores, hits.astype(np.float64)))
        return cls(places, count, *means)

    def errors(self, group: Ints, num_groups: int) -> tuple[Ints, Floats, Floats]:
        """Returns the number of detections, ECE and MCE of groups of bins, `[num_groups]`; `group` is `[B]`."""
        gap = np.abs(self.mean_score - self.precision)
        number = np.bincount(group, weights=self.count, minlength=num_groups).astype(np.int64)
        largest = np.zeros(num_groups)
        np.maximum.at(largest, group, gap)
        empty = number == 0
        expected = sums(group, gap * self.count, num_groups) / np.maximum(number, 1)
        return number, np.where(empty, np.nan, expected), np.where(empty, np.nan, largest)


def _numbers_of_bins(num_bins: int | Sequence[int], names: list[str]) -> list[int]:
    """Returns the number of bins of each dimension."""
    numbers = list(num_bins) if isinstance(num_bins, Sequence) else [num_bins] * len(names)
    good = len(numbers) == len(names) and all(
        isinstance(number, int | np.integer) and not isinstance(number, bool) and number >= 1 for number in numbers
    )
    if not good or math.prod(map(int, numbers)) > MOST_BINS:
        each = f" or one for each of {names}" if len(names) > 1 else ""
        most = f"at most {MOST_BINS:,} bins in all"
        raise ValueError(f"`num_bins` must be a positive whole number{each}, {most}, got {num_bins!r}.")
    return [int(number) for number in numbers]


def _edges(values: Floats, number: int, binning: str) -> Floats:
    """Returns the edges of the bins of one dimension, ascending."""
    shares: Floats = np.arange(number + 1) / number  # unlike in `linspace`, 0.3 is an edge of ten bins
    if binning == "width" or not len(values):
        return shares
    edges = np.unique(np.quantile(values, shares))
    return edges if len(edges) > 1 else edges.repeat(2)


def _shares_of_image(matched: MatchedDataset, rows: Ints, image_sizes: ArrayLike | None) -> dict[str, Floats]:
    """Returns the centre and the size of boxes as shares of their image, by name, each `[N]`."""
    num_images = len(matched.ground_truths.image_ids)
    given = matched.ground_truths.image_sizes if image_sizes is None else np.asarray(image_sizes)
    if given is None:
        raise ValueError(
            "`by` needs the sizes of the images, which these ground truths do not have: pass `image_sizes`, [height, "
            "width] for all images or for each, or write `height` and `width` of all images into a COCO file."
        )
    shapes = (2,), (num_images, 2)
    if given.dtype.kind not in "iuf" or given.shape not in shapes or not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(
            f"`image_sizes` must be positive, finite numbers, [height, width] for all images or for each of "
            f"{num_images}, got {given.dtype} of shape {list(given.shape)} such as {reprlib.repr(given.tolist())}."
        )
    image_index = matched.dataset.records.detections.image_index[rows]
    height, width = np.broadcast_to(given, (num_images, 2))[image_index].T
    x, y, box_width, box_height = matched.source.boxes[matched.order[rows]].T
    return {
        "x": (x + box_width / 2) / width,
        "y": (y + box_height / 2) / height,
        "width": box_width / width,
        "height": box_height / height,
    }
