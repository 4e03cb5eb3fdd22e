"""Why pooled and per-image AP differ: the steps from one to the other, and the AP lost to each false positive.

A chain of averages leads from per-image AP to pooled AP. Each step changes one thing, so the steps add up:

    mean per-image AP                                each image averages over its own classes
    mean over the classes of their per-image AP      class averaging
    the same, images weighted by number of objects   ranking: objects count, not images
    one ranking of the images that have the class    ranking: the detections of these images are merged
    one ranking of all images                        ranking: those of images that lack the class are added
"""

from __future__ import annotations

import numpy as np

from .._curves._envelope import best_onwards
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Floats, Ints
from ._explanation import Explanation
from ._images import image_curves
from ._rankings import Outcomes, Ranking, TruePositives, outcomes_of, rank_classes

__all__ = ["explain"]


def explain(dataset: DatasetRecords, protocol: EvaluationProtocol) -> Explanation:
    """Explains the difference between mean per-image AP and pooled AP.

    Args:
      dataset: the records of a dataset.
      protocol: the protocol that it was matched with.
    """
    num_classes = len(dataset.class_ids)
    alone = image_curves(dataset, protocol)
    positives = np.bincount(alone.label, weights=alone.num_ground_truths, minlength=num_classes).astype(np.int64)
    held_by = np.bincount(alone.label, minlength=num_classes)
    defined = positives > 0
    alone_ap = alone.average_precision.mean(axis=0)
    image_ap = alone.mean_per_image(alone_ap, len(dataset.image_ids))

    def of_classes(weights: Ints | int, total: Ints) -> float:
        sums = np.bincount(alone.label, weights=alone_ap * weights, minlength=num_classes)
        return _mean(sums[defined] / total[defined])

    outcomes = outcomes_of(dataset, protocol)
    ranking, of_holders = (rank_classes(dataset, one) for one in (outcomes, _without_others(outcomes, alone.rows)))
    together, holders = (one.true_positives(protocol, positives) for one in (ranking, of_holders))
    return Explanation(
        images_alone=_mean(image_ap[~np.isnan(image_ap)]),
        classes_alone=of_classes(1, held_by),
        objects_alone=of_classes(alone.num_ground_truths, positives),
        holders_together=_mean(holders.average_precision()[:, defined]),
        together=_mean(together.average_precision()[:, defined]),
        image_average_precision=image_ap,
        cost=_costs(ranking, outcomes, together) / max(len(together.found) * int(defined.sum()), 1),
        dataset=dataset,
        outcomes=outcomes,
    )


def _without_others(outcomes: Outcomes, rows: Ints) -> Outcomes:
    """Returns the outcomes with all other rows ignored; none of those is a true positive."""
    inside = np.zeros((len(outcomes.false), 1), bool)
    inside[rows] = True
    return outcomes._replace(false=outcomes.false * inside)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _costs(ranking: Ranking, outcomes: Outcomes, runs: TruePositives) -> Floats:
    """Returns `[N]`, the AP lost to each row where it is false, summed over thresholds; NaN if it never is.

    The false positives of a curve between one true positive and the next cost the same, so there is one number for each
    true positive and all false positives right above it.
    """
    num_thresholds, num_curves = runs.found.shape
    # There is a gap before each mixed row of a curve and one at the end of the curve.
    per_curve = np.diff(ranking.mixed_before[ranking.starts]) + 1
    curve = np.repeat(np.arange(num_curves), per_curve)
    mixed = np.arange(len(curve)) - curve
    gain = np.append(_gain_without_one(runs), 0.0)
    run_end = np.cumsum(runs.found).reshape(runs.found.shape)
    hits_before = np.zeros((num_thresholds, ranking.hits.shape[1] + 1), np.int64)
    np.cumsum(ranking.hits, axis=1, out=hits_before[:, 1:])
    hits_before += np.append(0, np.cumsum(hits_before[:, -1])[:-1])[:, None]
    following = hits_before[:, mixed]  # the first true positive from the gap on, if it is in the same curve
    in_gap = gain[np.where(following < run_end[:, curve], following, -1)]  # [T, gaps]

    row_curve = np.repeat(np.arange(num_curves), np.diff(ranking.starts))
    by_place = in_gap.sum(0)[ranking.mixed_before[:-1] + row_curve]
    mixed_gap = np.arange(len(ranking.mixed)) + row_curve[ranking.mixed]
    by_place[ranking.mixed] = (in_gap[:, mixed_gap] * ranking.false).sum(0)
    costs = np.empty(len(by_place))
    costs[ranking.order] = by_place
    costs[~outcomes.false.any(axis=1)] = np.nan
    return costs


def _gain_without_one(runs: TruePositives) -> Floats:
    """Returns how much the AP of its run rises without a false positive right above each true positive, `[n]`.

    Only the true positives from there on gain precision. For a true positive j above, the best precision from j on is
    the larger of the old one and the best of the raised ones. The old one falls with j, so those that gain are a run
    that ends right above. The number of a true positive without a false positive right above is meaningless.
    """
    before = best_onwards(runs.precision(runs.false_above), runs.found)
    after = best_onwards(runs.precision(np.maximum(runs.false_above - 1, 0)), runs.found)
    below = _sums_from(runs, runs.weight * (after - before))
    # One search for all runs: both sides lie in [2 run - 1, 2 run]. Adding the run costs the value some bits, which may
    # move the start over true positives that gain less than those bits.
    here = np.arange(len(before))
    start = np.searchsorted(2.0 * runs.run - before, 2.0 * runs.run - after, side="right")
    start = np.minimum(start, here)
    weight = np.append(0.0, np.cumsum(runs.weight))
    weighted = np.append(0.0, np.cumsum(runs.weight * before))
    above = after * (weight[here] - weight[start]) - (weighted[here] - weighted[start])
    gain: Floats = below + above
    return gain


def _sums_from(runs: TruePositives, values: Floats) -> Floats:
    """Returns the sum of the values from each true positive to the end of its run, `[n]`."""
    sums = np.append(0.0, np.cumsum(values[::-1]))[::-1]
    sums_from: Floats = sums[:-1] - sums[np.cumsum(runs.found)[runs.run]]
    return sums_from
