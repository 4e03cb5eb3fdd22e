"""The type of every error of a detector, and the AP without the errors of each type (TIDE).

Every false positive has one type. It follows from its most similar ground truth of its own class and from that of the
other classes, and from two thresholds of IoU: a foreground one `t`, at which detections match, and a background one
`b`. An IoU that equals a threshold reaches it. The first that fits is the type:

    localization     own class: b is reached, t is not
    classification   another class: t is reached
    duplicate        own class: t is reached (by a ground truth that another detection matched)
    both             another class: b is reached
    background       none

A ground truth that no detection matched is a false negative. It is missed if it is not the most similar ground truth of
a localization or classification error, which would find it if it were fixed.

Fixing a localization or classification error makes it a true positive, with its score, of the class of its most similar
ground truth. Each unmatched ground truth takes one error, of both types together the one with the highest score; all
others are removed. Fixing errors of the other types removes them, and fixing a missed ground truth removes it.

This is TIDE, except for what tidecv 1.0.1 does in another way than COCO:

- It averages over all classes with ground truths or detections: without ground truth AP is 0, and a class that has
  neither once errors are fixed drops out of the mean. Here the mean is over the classes with ground truth.
- Its recall points are i / 100 (COCO's differ by rounding), and its limit is 100 detections per image over all classes.
  Here the protocol has both.
- A detection on a crowd has a type, too, and may become a true positive. Here ignored detections are no errors.
- An IoU that equals the foreground threshold makes a localization error, one that equals the background threshold with
  another class an error on the background. Here it reaches the threshold, as in matching.
- Of equally similar ground truths, the first is the most similar. Here it is the later one, as in matching.
- Once errors are fixed, equal scores stand in another order: first what was no true positive. Here order never changes.
- It reports negative gains as 0, which these differences can cause. Here no gain is negative, but for rounding.

References: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020; tidecv 1.0.1,
quantify.py and errors/main_errors.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._candidates._host import find_pairs
from .._matching._host import MatchedDataset
from .._ordering import order_within, starts_of_runs
from .._pairing._host import groups_of_images
from .._planes import read_plane
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats, Ints
from ._rankings import Outcomes, rank

__all__ = ["ERROR_TYPES", "MAIN_TYPES", "OUTCOMES", "Errors", "find_errors", "fix_errors"]

MAIN_TYPES = ("classification", "localization", "both", "duplicate", "background", "missed")
ERROR_TYPES = (*MAIN_TYPES, "false_positives", "false_negatives")
OUTCOMES = (*MAIN_TYPES, "true positive", "found", "ignored")  # of detections and of ground truths
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND, MISSED, TRUE_POSITIVE, FOUND, IGNORED = range(len(OUTCOMES))


class Errors(NamedTuple):
    """What became of every detection and of every ground truth at one IoU threshold.

    Attributes:
      detections: `[N]`, index into `OUTCOMES` of each included detection.
      partner: `[N]`, the ground truth that it matched, or the one that gives the error its type; `UNMATCHED` if none.
      similarity: `[N]` float64, of the two; NaN without one.
      ground_truths: `[G]`, index into `OUTCOMES`: found, missed, ignored, or the type of the error that would find it.
      fixable: the rows of the detections that find a ground truth if they are fixed.
    """

    detections: Ints
    partner: Ints
    similarity: Floats
    ground_truths: Ints
    fixable: Ints


def find_errors(
    matched: MatchedDataset, protocol: EvaluationProtocol, *, threshold: int, background_threshold: float
) -> Errors:
    """Finds the type of every error, for the first area range; `threshold` is an index of the protocol's thresholds."""
    plane = 0, threshold, len(protocol.iou_thresholds)
    found, truth = matched.dataset.records.detections, matched.ground_truths
    counted = matched.dataset.records.ground_truths.counted[:, 0]
    ignored = read_plane(found.ignored, *plane)
    hits = read_plane(found.matched, *plane) & ~ignored
    wrong = np.flatnonzero(~hits & ~ignored)

    outcome = np.where(hits, TRUE_POSITIVE, np.where(ignored, IGNORED, BACKGROUND))
    partner, similarity = matched.partners(*plane)
    pairs = find_pairs(
        matched.source,
        matched.order[wrong],
        truth,
        groups_of_images(found.image_index[wrong], truth),
        matched.similarity,
        (background_threshold, protocol.iou_thresholds[threshold]),
    )
    own_class = found.labels[wrong[pairs.detection]] == truth.labels[pairs.ground_truth]
    reached = pairs.level == 2  # the foreground threshold

    def nearest(kept: Bools) -> Ints:
        places = np.flatnonzero(kept & counted[pairs.ground_truth])
        return places[starts_of_runs(pairs.detection[places])]

    own, other = nearest(own_class), nearest(~own_class)
    for error, places in (  # later ones replace earlier ones
        (BOTH, other),
        (DUPLICATE, own[reached[own]]),
        (CLASSIFICATION, other[reached[other]]),
        (LOCALIZATION, own[~reached[own]]),
    ):
        rows = wrong[pairs.detection[places]]
        outcome[rows], partner[rows], similarity[rows] = error, pairs.ground_truth[places], pairs.similarity[places]

    of_truth = np.where(counted, MISSED, IGNORED)
    of_truth[partner[hits]] = FOUND
    claims = np.flatnonzero((outcome == CLASSIFICATION) | (outcome == LOCALIZATION))
    claims = claims[of_truth[partner[claims]] == MISSED]
    claims = claims[np.argsort(matched.dataset.score_place[claims])]
    claimed, first = np.unique(partner[claims], return_index=True)
    fixable = claims[first]
    of_truth[claimed] = outcome[fixable]
    return Errors(outcome, partner, similarity, of_truth, fixable)


def fix_errors(errors: Errors, matched: MatchedDataset, protocol: EvaluationProtocol) -> tuple[Floats, Floats]:
    """Returns the AP of each class as it is, `[K]`, and with all errors of each type fixed, `[E, K]`.

    A class without counted ground truth has NaN. One whose ground truths are all missed, and so removed, keeps its AP,
    which is 0.
    """
    dataset, outcome, fixable = matched.dataset, errors.detections, errors.fixable
    labels, truth_labels = dataset.records.detections.labels, dataset.records.ground_truths.labels
    fixed_labels = labels.copy()
    fixed_labels[fixable] = truth_labels[errors.partner[fixable]]
    all_positives = dataset.num_ground_truths[:, 0]
    all_hits, all_false = outcome == TRUE_POSITIVE, outcome < MISSED

    def average_precision(
        *, hits: Bools = all_hits, false: Bools = all_false, positives: Ints = all_positives, relabel: bool = False
    ) -> Floats:
        curve, order = labels, dataset.by_class
        if relabel:
            curve, order = fixed_labels, order_within(fixed_labels, dataset.score_place)
        one_bit = Outcomes(hits[:, None].astype(np.uint32), false[:, None].astype(np.uint32), np.ones(1, np.uint32), 1)
        ranking = rank(one_bit, order, curve[order], len(positives))
        cells: Floats = ranking.true_positives(protocol, positives).average_precision()[0]
        return cells

    def without(*outcomes: int) -> Ints:
        removed = truth_labels[np.isin(errors.ground_truths, outcomes)]
        return all_positives - np.bincount(removed, minlength=len(all_positives))

    fixed = []
    for error in (CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND):
        hits, of_type = all_hits.copy(), outcome == error
        hits[fixable] |= of_type[fixable]
        fixed.append(average_precision(hits=hits, false=all_false & ~of_type, relabel=error == CLASSIFICATION))
    fixed += [
        average_precision(positives=without(MISSED)),
        average_precision(false=np.zeros_like(all_false)),
        average_precision(positives=without(MISSED, CLASSIFICATION, LOCALIZATION)),
    ]
    undefined = np.where(all_positives > 0, 0.0, np.nan)
    return average_precision() + undefined, np.stack(fixed) + undefined
