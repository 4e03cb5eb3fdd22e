"""The explanation of pooled and per-image AP, with its tables, which are computed when they are asked for."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from .._display import Columns, html_text, plain, short_repr
from .._ragged import sums
from .._records._host import DatasetRecords
from ..types import Bools, Floats, HostArray, Ints
from ._explanation_text import explanation_text
from ._rankings import Outcomes

__all__ = ["Explanation"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Why pooled and per-image AP differ, in AP over the first area range and the largest limit.

    The first five numbers are a chain from mean per-image AP to pooled AP. Each changes one thing, so their differences
    add up to the whole difference. `str` returns the explanation as text.

    Attributes:
      images_alone: the mean per-image AP, over the images with ground truth.
      classes_alone: the mean over the classes of each class's mean per-image AP, over the images that have the class.
      objects_alone: the same, but the images of a class are weighted by their number of objects of the class.
      holders_together: the AP with one ranking per class, of the images that have the class.
      together: the pooled AP, with one ranking per class, of all images; the AP of the evaluation.
      image_average_precision: `[I]` float64, per-image AP; NaN without ground truth.
      cost: `[N]` float64, the AP lost to each row of `dataset.records.detections`: by how much `together` would rise if
        the detection were left out at the IoU thresholds where it is a false positive; NaN if there are none. Leaving
        out an unmatched detection changes no match, and no detection beyond the max-detections limit takes its place.
      dataset: the records of all images.
      outcomes: whether each detection is a true or a false positive at each threshold.
    """

    images_alone: float
    classes_alone: float
    objects_alone: float
    holders_together: float
    together: float
    image_average_precision: Floats  # [I]
    cost: Floats  # [N]
    dataset: DatasetRecords
    outcomes: Outcomes

    __repr__ = short_repr

    @property
    def difference(self) -> float:
        """The mean per-image AP minus the pooled AP; the sum of the two shares."""
        return self.images_alone - self.together

    @property
    def class_averaging_share(self) -> float:
        """The part that is due to averaging: per-image AP averages only over the classes of the image."""
        return self.images_alone - self.classes_alone

    @property
    def ranking_share(self) -> float:
        """The part that is due to ranking detections and counting objects of all images as one set."""
        return self.classes_alone - self.together

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_text(self, top: int = 10) -> str:
        """Returns the explanation as text, with at most `top` false positives and images."""
        return explanation_text(self, top)

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        """Returns plain Python values, ready for JSON; an undefined number is None.

        Args:
          top: how many of the most costly false positives, and of the images with the highest cost, to list.
        """
        chain = ("images_alone", "classes_alone", "objects_alone", "holders_together", "together")
        shares = ("difference", "class_averaging_share", "ranking_share")
        tables = {"false_positives": self.false_positives(top), "images": self.images(top)}
        return (
            {name: plain(getattr(self, name)) for name in chain + shares}
            | {name: table.rows() for name, table in tables.items()}
            | {"images_without_ground_truth": self.without_ground_truth()}
        )

    def steps(self) -> dict[str, Any]:
        """Returns the steps from mean per-image AP to pooled AP.

        Returns:
          Columns of 5: `share` (`class averaging` or `ranking`), `step` (in words), `AP` after the step, and `change`,
          NaN for the first.
        """
        chain = [
            ("", "mean over the images of per-image AP", self.images_alone),
            ("class averaging", "mean over the classes of their per-image AP", self.classes_alone),
            ("ranking", "images weighted by their number of objects of the class", self.objects_alone),
            ("ranking", "one ranking of the images that have the class", self.holders_together),
            ("ranking", "one ranking of all images", self.together),
        ]
        shares, steps, values = zip(*chain, strict=True)
        changes = np.diff(values, prepend=np.nan)
        return Columns(share=list(shares), step=list(steps), AP=np.array(values), change=changes)

    def false_positives(self, top: int = 10) -> Columns:
        """Returns the most costly false positives, the worst first.

        Returns:
          Columns `image_id`, `class_id`, `class_name`, `detection` (position in the file, or row in the image),
          `score`, `cost`, `num_thresholds` (the number of IoU thresholds at which it is false), `outranks_elsewhere`
          and `outranks_at_home` (the number of true positives in `outranked` that are in other images and in the same
          image) and `outranked_images` (the ids of those other images).
        """
        rows = _largest(self.cost, top)
        dataset, found = self.dataset, self.dataset.records.detections
        home = found.image_index[rows]
        outranked = [found.image_index[self._outranked(row)] for row in rows]
        elsewhere = [images[images != own] for images, own in zip(outranked, home, strict=True)]
        columns = {
            "image_id": dataset.image_ids[home],
            "class_id": dataset.class_ids[found.labels[rows]],
            "class_name": [dataset.class_names[label] for label in found.labels[rows]],
            "detection": dataset.detection_ids[rows],
            "score": found.scores[rows],
            "cost": self.cost[rows],
            "num_thresholds": np.bitwise_count(self.outcomes.false[rows]).sum(axis=1, dtype=int),
            "outranks_elsewhere": np.array([len(images) for images in elsewhere], int),
            "outranks_at_home": np.array([len(images) for images in outranked], int)
            - [len(images) for images in elsewhere],
            "outranked_images": [dataset.image_ids[np.unique(images)].tolist() for images in elsewhere],
        }
        return Columns(columns)

    def outranked(self, image_id: Any, detection: int) -> dict[str, HostArray]:
        """Returns the true positives that a false positive outranks, by descending rank.

        They have the same class, rank below it, and are true at an IoU threshold at which it is false.

        Args:
          image_id: the image of the false positive.
          detection: its position in the file, or its row in the image.

        Returns:
          Columns `image_id`, `detection` and `score`.

        Raises:
          ValueError: if there is no such detection, or it is excluded.
        """
        found, ids, image_ids = self.dataset.records.detections, self.dataset.detection_ids, self.dataset.image_ids
        rows = np.flatnonzero((image_ids[found.image_index] == image_id) & (ids == detection))
        if not len(rows):
            raise ValueError(f"`detection` must be one that is included, got {detection!r} in image {image_id!r}.")
        below = self._outranked(int(rows[0]))
        return Columns(image_id=image_ids[found.image_index[below]], detection=ids[below], score=found.scores[below])

    def images(self, top: int | None = None) -> Columns:
        """Returns one row per image, in descending order of the cost of its false positives.

        Args:
          top: how many; None for all.

        Returns:
          Columns `image_id`, `num_ground_truths` (counted ones), `AP` (per image), `num_false_positives` (false at
          every IoU threshold), `cost` (the sum over all that are false at any threshold, each left out separately),
          `num_classes` (with ground truth in the image) and `lacks` (the names of the other classes of the dataset).
        """
        cost = self._image_cost
        rows = _largest(cost, len(cost) if top is None else top)
        names, present = np.array(self.dataset.class_names, object), self._holds.any(axis=0)
        columns = {
            "image_id": self.dataset.image_ids[rows],
            "num_ground_truths": self._image_objects[rows],
            "AP": self.image_average_precision[rows],
            "num_false_positives": self._image_false_positives[rows],
            "cost": cost[rows],
            "num_classes": self._holds[rows].sum(axis=1),
            "lacks": [names[present & ~holds].tolist() for holds in self._holds[rows]],
        }
        return Columns(columns)

    def without_ground_truth(self) -> dict[str, float]:
        """Returns `num_images` without ground truth, which have no per-image AP, `num_false_positives` and `cost`."""
        rows = np.isnan(self.image_average_precision)
        return {
            "num_images": int(rows.sum()),
            "num_false_positives": int(self._image_false_positives[rows].sum()),
            "cost": float(self._image_cost[rows].sum()),
        }

    def _outranked(self, row: int) -> Ints:
        """Returns the rows of the true positives that a row outranks, by descending rank."""
        place, labels = self.dataset.score_place, self.dataset.records.detections.labels
        below = np.flatnonzero((labels == labels[row]) & (place > place[row]))
        below = below[(self.outcomes.hits[below] & self.outcomes.false[row]).any(axis=1)]
        rows: Ints = below[np.argsort(place[below])]
        return rows

    @functools.cached_property
    def _holds(self) -> Bools:
        """`[I, K]` bool: the image has counted ground truth of the class."""
        truth = self.dataset.records.ground_truths
        holds = np.zeros((len(self.dataset.image_ids), len(self.dataset.class_ids)), bool)
        counted = truth.counted[:, 0]
        holds[truth.image_index[counted], truth.labels[counted]] = True
        return holds

    @property
    def _image_objects(self) -> Ints:
        truth = self.dataset.records.ground_truths
        return np.bincount(truth.image_index[truth.counted[:, 0]], minlength=len(self.image_average_precision))

    @functools.cached_property
    def _image_cost(self) -> Floats:
        image = self.dataset.records.detections.image_index
        return sums(image, np.nan_to_num(self.cost), len(self.image_average_precision))

    @functools.cached_property
    def _image_false_positives(self) -> Ints:
        image = self.dataset.records.detections.image_index[self.outcomes.always_false]
        return np.bincount(image, minlength=len(self.image_average_precision))


def _largest(values: HostArray, count: int) -> Ints:
    """Returns the indices of the largest values, descending, the first of equal ones first; NaN is excluded."""
    if count < 0:
        raise ValueError(f"`top` must be at least 0, got {count}.")
    rows = np.flatnonzero(~np.isnan(values))
    if len(rows) > count > 0:  # a partition is faster than a full sort
        rows = rows[values[rows] >= np.partition(values[rows], -count)[-count]]
    return rows[np.argsort(-values[rows], kind="stable")][:count]
