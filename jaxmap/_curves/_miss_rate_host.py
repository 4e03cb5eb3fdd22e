"""Miss rates at given numbers of false positives per image, in float64.

The miss rate at a point is that of the first detection with which the false positives reach the point. Since that one
is false, it is the share of objects that the true positives before it do not find. Detections of equal score are in
their order, one by one, as in the reference.

References: CrowdDet evaluate/APMRToolkits/database.py, eval_MR; Dollar's toolbox, dbEval.m.
"""

from __future__ import annotations

import numpy as np

from ..protocols import MISS_RATE_POINTS, EvaluationProtocol, log_average
from ..types import Bools, Floats, HostArray, Ints, Records
from ._best_score_host import counted_rows

__all__ = ["POINTS", "miss_rate_of_curves", "miss_rates"]

POINTS = tuple(point / 10_000 for point in MISS_RATE_POINTS)  # false positives per image


def miss_rates(
    records: Records[HostArray], *, protocol: EvaluationProtocol, num_ground_truths: Ints, order: Ints, num_images: int
) -> Floats | None:
    """Returns `[T, K, A, M]` float64, NaN without ground truth; None if the protocol's summary does not ask for it.

    Args:
      records: NumPy arrays.
      protocol: the protocol, for its grids and its summary.
      num_ground_truths: `[K, A]`.
      order: the rows of the detections, by label, then by descending score.
      num_images: I, including images without objects.
    """
    if not protocol.has_miss_rate:
        return None
    rates = np.empty((len(protocol.iou_thresholds), *num_ground_truths.shape, len(protocol.max_detections)))
    for (threshold, area, limit), _, labels, hits in counted_rows(records, protocol=protocol, order=order):
        rates[threshold, :, area, limit] = miss_rate_of_curves(labels, hits, num_ground_truths[:, area], num_images)
    return rates


def miss_rate_of_curves(curve: Ints, hits: Bools, num_ground_truths: Ints, num_images: int) -> Floats:
    """Returns `[S]` float64, the mean miss rate of each curve; NaN without ground truth.

    Args:
      curve: `[N]`, the curve of each true or false positive, ascending, best score first.
      hits: `[N]` bool, the true positives.
      num_ground_truths: `[S]`, the number of ground truths of each curve.
      num_images: I.
    """
    total = len(num_ground_truths)
    starts = np.searchsorted(curve, np.arange(total))
    false = np.concatenate([[0], np.cumsum(~hits)])
    found_by = np.flatnonzero(hits)
    of_hit = curve[found_by]
    false_per_image = (false[found_by] - false[starts[of_hit]]) / max(num_images, 1)
    found = np.stack([np.bincount(of_hit[false_per_image < point], minlength=total) for point in POINTS])
    rates: Floats = log_average(1.0 - found / np.maximum(num_ground_truths, 1))
    return np.where(num_ground_truths > 0, rates, np.nan)
