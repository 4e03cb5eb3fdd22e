"""Curves and operating points against counts made in loops, scikit-learn, and faster-coco-eval where it means the same.

Counts are compared exactly. Rates are quotients of the same integers, equal to the last bit. Means over classes, which
the curve adds up in steps of 2^-48 and NumPy in float64, are compared to 1e-12.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
import time
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

import jaxmap
from jaxmap.analysis import OperatingPoint, ScoreCurve
from support.scenes import Scene, odd_scenes, random_scene

pytestmark = [odd_scenes, pytest.mark.slow]

MEAN = 1e-12
SEEDS = range(5000, 5008)
SEVERAL_CLASSES = (5103, 5104, 5115, 5116, 5117)  # scenes of several classes and many boxes


def evaluation_of(seed: int) -> jaxmap.Evaluation:
    return evaluate(random_scene(np.random.default_rng(seed), default_options=True))


def evaluate(scene: Scene) -> jaxmap.Evaluation:
    truth = jaxmap.io.coco_ground_truths(scene.ground_truths)
    return jaxmap.evaluate(jaxmap.io.coco_detections(scene.results, truth), truth)


def one_image(scores: list[float], overlaps: list[float], labels: list[int], truth_labels: list[int]) -> Any:
    """Evaluates detections that lie on the ground truth of the same row, with a given IoU each."""
    corners = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(max(len(scores), len(truth_labels)))]
    boxes = [[x, y, right, 10 * overlap] for (x, y, right, _), overlap in zip(corners, overlaps, strict=False)]
    found = [{"boxes": boxes, "scores": scores, "labels": labels}]
    truth = [{"boxes": corners[: len(truth_labels)], "labels": truth_labels}]
    return jaxmap.evaluate(found, truth, num_classes=3)


class Rates:
    """What the reference says at one threshold, from the rows of `Evaluation.matches`."""

    def __init__(self, rows: dict[str, np.ndarray], num_ground_truths: int, score: float, beta: float) -> None:
        self.true_positives = self.false_positives = 0
        for kept, ignored, matched in zip(rows["score"] >= score, rows["ignored"], rows["matched"], strict=True):
            if kept and not ignored:
                self.true_positives += int(matched)
                self.false_positives += int(not matched)
        reported = self.true_positives + self.false_positives
        self.precision = self.true_positives / reported if reported else math.nan
        self.recall = self.true_positives / num_ground_truths if num_ground_truths else math.nan
        p, r = self.precision, self.recall
        if num_ground_truths == 0:
            self.f_score = math.nan
        elif self.true_positives == 0:
            self.f_score = 0.0
        else:  # the definition: the weighted harmonic mean
            self.f_score = (1 + beta**2) * p * r / (beta**2 * p + r)


def rows_of(evaluation: jaxmap.Evaluation, iou: float, area: str, limit: int | None) -> dict[str, np.ndarray]:
    """Returns the rows of `matches` that are within the limit of their image and class."""
    rows = evaluation.matches(iou, area)
    rank: dict[tuple[Any, Any], int] = {}
    inside = []
    for key in zip(rows["image_id"].tolist(), rows["class_id"].tolist(), strict=True):
        inside.append(limit is None or rank.get(key, 0) < limit)
        rank[key] = rank.get(key, 0) + 1
    return {name: column[np.array(inside, bool)] for name, column in rows.items()}


def ground_truths_of(evaluation: jaxmap.Evaluation, area: str) -> np.ndarray:
    names = [one.name for one in evaluation.protocol.area_ranges]
    return np.asarray(evaluation.curves.num_ground_truths)[:, names.index(area)]


def of_class(rows: dict[str, np.ndarray], class_id: Any) -> dict[str, np.ndarray]:
    return {name: column[rows["class_id"] == class_id] for name, column in rows.items()}


# ---- by hand ----


def test_curve_by_hand() -> None:
    # Class 0 has three ground truths and detections .9 (true), .8 (false: IoU .3), .8 (true), .4 (false).
    evaluation = one_image([0.9, 0.8, 0.8, 0.4], [1.0, 0.3, 0.9, 0.2], [0] * 4, [0] * 3)
    curve = evaluation.curve(0.5, class_id=0)
    assert curve.scores.tolist() == [0.9, 0.8, 0.4]
    assert curve.true_positives.tolist() == [1, 2, 2]
    assert curve.false_positives.tolist() == [0, 1, 2]
    assert curve.num_ground_truths == 3
    assert curve.precision.tolist() == [1.0, 2 / 3, 0.5]
    assert curve.recall.tolist() == [1 / 3, 2 / 3, 2 / 3]
    assert curve.f_score.tolist() == [2 / 4, 4 / 6, 4 / 7]
    assert curve.best == OperatingPoint(
        score_threshold=0.8, true_positives=2, false_positives=1, false_negatives=1,
        precision=2 / 3, recall=2 / 3, f_score=2 / 3,
    )  # fmt: skip
    assert curve.at(0.81) == dataclasses.replace(curve.at(0.9), score_threshold=0.81)  # between two scores
    # F2 weighs recall: 5 TP / (reported + 4 * 3) is 5/13, 10/15, 10/16. F0.5: 1.25 TP / (reported + .25 * 3).
    assert evaluation.curve(0.5, 0, beta=2).f_score.tolist() == [5 / 13, 10 / 15, 10 / 16]
    assert evaluation.curve(0.5, 0, beta=0.5).f_score.tolist() == [1.25 / 1.75, 2.5 / 3.75, 2.5 / 4.75]
    # At IoU 0.95 the detection of IoU 0.9 is false.
    assert evaluation.curve(0.95, 0).true_positives.tolist() == [1, 1, 1]


def test_equal_f_goes_to_the_higher_recall() -> None:
    # Two ground truths: one found at .9 gives 2/3; one more false and one more true, at .5, give 4/6 as well.
    evaluation = one_image([0.9, 0.7, 0.5, 0.5], [1.0, 0.2, 0.2, 1.0], [0] * 4, [0, 1, 1, 0])
    curve = evaluation.curve(class_id=0)
    assert curve.f_score.tolist() == [2 / 3, 2 / 4, 4 / 6]
    assert curve.best.score_threshold == 0.5


def test_false_positives_that_the_mean_does_not_see_are_not_taken_in() -> None:
    # At .5 and .4, class 2 without ground truth, and class 1 without a true positive, are only wrong.
    evaluation = one_image([0.9, 0.5, 0.4], [1.0, 0.1, 0.1], [0, 2, 1], [0, 1])
    curve = evaluation.curve(average="macro")
    assert curve.f_score.tolist() == [0.5, 0.5, 0.5]
    assert curve.best.score_threshold == 0.9


def test_what_is_not_defined_is_nan() -> None:
    # Class 0 has a ground truth and no detection, class 1 a detection and no ground truth, class 2 neither.
    evaluation = one_image([0.9], [0.2], [1], [0])
    none_found, none_there, nothing = (evaluation.curve(class_id=label) for label in range(3))
    assert [len(curve.scores) for curve in (none_found, none_there, nothing)] == [0, 1, 0]
    assert none_there.precision.tolist() == [0.0]
    assert np.isnan([*none_there.recall, *none_there.f_score]).all()
    for curve, recall in ((none_found, 0.0), (none_there, math.nan), (nothing, math.nan)):
        best = curve.best  # no threshold gives a true positive, so nothing is reported
        assert best.score_threshold == math.inf
        assert (best.true_positives, best.false_positives) == (0, 0)
        assert best.false_negatives == curve.num_ground_truths
        np.testing.assert_equal([best.precision, best.recall, best.f_score], [math.nan, recall, recall])


def test_a_class_without_detections_adds_zero_to_the_mean_precision() -> None:
    # At .9 only class 0 is reported: its precision 1, that of class 1 counts 0. Class 2 has no ground truth: no part.
    evaluation = one_image([0.9, 0.5, 0.8], [1.0, 1.0, 0.1], [0, 1, 2], [0, 1])
    macro, micro = evaluation.curve(average="macro"), evaluation.curve(average="micro")
    assert macro.scores.tolist() == [0.9, 0.8, 0.5]
    assert macro.precision.tolist() == [0.5, 0.5, 1.0]
    assert macro.recall.tolist() == [0.5, 0.5, 1.0]
    assert macro.f_score.tolist() == [0.5, 0.5, 1.0]
    assert micro.precision.tolist() == [1.0, 1 / 2, 2 / 3]  # class 2's detection is a false positive all the same
    assert macro.false_positives.tolist() == micro.false_positives.tolist() == [0, 1, 1]


# ---- references ----


@pytest.mark.parametrize("seed", SEEDS)
def test_every_point_equals_counting_in_loops(seed: int) -> None:
    evaluation = evaluation_of(seed)
    rng = np.random.default_rng(seed)
    protocol = evaluation.protocol
    iou = float(rng.choice(protocol.iou_thresholds))
    area = str(rng.choice([one.name for one in protocol.area_ranges]))
    limit = int(rng.choice(protocol.max_detections))
    beta = float(rng.choice([0.5, 1.0, 2.0]))
    options = {"area": area, "max_detections": limit, "beta": beta}
    rows, counts = rows_of(evaluation, iou, area, limit), ground_truths_of(evaluation, area)
    curves = {class_id: evaluation.curve(iou, class_id, **options) for class_id in evaluation.class_ids}
    micro = evaluation.curve(iou, **options)
    macro = evaluation.curve(iou, average="macro", **options)

    sides = [(curve, of_class(rows, key), counts[k]) for k, (key, curve) in enumerate(curves.items())]
    for curve, own, count in [*sides, (micro, rows, counts.sum())]:
        assert curve.num_ground_truths == count
        np.testing.assert_array_equal(curve.scores, np.unique(own["score"][~own["ignored"]])[::-1])
        for i in range(0, len(curve.scores), max(len(curve.scores) // 15, 1)):
            expected = Rates(own, count, curve.scores[i], beta)
            assert (curve.true_positives[i], curve.false_positives[i]) == (
                expected.true_positives, expected.false_positives
            )  # fmt: skip
            assert curve.precision[i] == expected.precision
            np.testing.assert_equal(curve.recall[i], expected.recall)
            assert curve.f_score[i] == pytest.approx(expected.f_score, abs=1e-15, nan_ok=True)

    np.testing.assert_array_equal(macro.scores, micro.scores)
    for i, score in enumerate(macro.scores[:10]):
        points = [curve.at(score) for curve in curves.values() if curve.num_ground_truths]
        for name in ("precision", "recall", "f_score"):
            values = np.nan_to_num([getattr(point, name) for point in points])
            expected = values.mean() if len(points) else math.nan
            assert getattr(macro, name)[i] == pytest.approx(expected, abs=MEAN, nan_ok=True), name


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_is_scikit_learns(seed: int) -> None:
    evaluation = evaluation_of(seed)
    rows = evaluation.matches(0.5)
    counts = ~rows["ignored"]
    curve = evaluation.curve(0.5)
    if not rows["matched"][counts].any():
        assert not curve.true_positives.any()
        return
    # scikit-learn knows detections alone: its recall is relative to the positives among them. Thresholds ascend.
    precision, recall, thresholds = precision_recall_curve(rows["matched"][counts], rows["score"][counts])
    np.testing.assert_array_equal(curve.scores[::-1], thresholds)
    np.testing.assert_array_equal(curve.precision[::-1], precision[:-1])
    np.testing.assert_allclose(curve.true_positives[::-1] / curve.true_positives[-1], recall[:-1], rtol=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_operating_points_are_those_of_the_curves(seed: int) -> None:
    evaluation = evaluation_of(seed)
    curves: list[ScoreCurve] = [evaluation.curve(0.75, class_id, beta=2.0) for class_id in evaluation.class_ids]
    curves += [evaluation.curve(0.75, beta=2.0, average=average) for average in ("micro", "macro")]
    for score in (None, 0.5):
        columns = evaluation.operating_points(0.75, beta=2.0, score_threshold=score)
        assert columns["class_name"] == [*evaluation.class_names, "micro", "macro"]
        np.testing.assert_array_equal(columns["class_id"], [*evaluation.class_ids, -1, -1])
        np.testing.assert_array_equal(columns["num_ground_truths"], [curve.num_ground_truths for curve in curves])
        points = [curve.best if score is None else curve.at(score) for curve in curves]
        for name in vars(points[0]):
            np.testing.assert_array_equal(columns[name], [getattr(point, name) for point in points], err_msg=name)
    for curve in curves:  # nothing beats the best, and nothing with a higher recall is as good
        if curve.best.score_threshold < math.inf:
            assert curve.f_score.max() <= curve.best.f_score + MEAN
            assert (curve.f_score[curve.recall > curve.best.recall] < curve.best.f_score - MEAN).all()


def extended_metrics(scene: Scene) -> dict[str, Any]:
    """Runs faster-coco-eval in silence, at IoU 0.5 alone: it would count what matches at any higher threshold too."""
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(scene.ground_truths)
        run = COCOeval_faster(truth, truth.loadRes(scene.results), "bbox", extra_calc=True)
        run.params.iouThrs = np.array([0.5])
        run.run()
        return dict(run.extended_metrics)


@pytest.mark.parametrize("seed", SEVERAL_CLASSES)
def test_best_macro_point_is_faster_coco_evals(seed: int) -> None:
    pytest.importorskip("faster_coco_eval")
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    # It counts every detection as a false positive that is no true one: also those on crowds, outside of all ranges of
    # area, and beyond the limit of an image and class, so here are none of these.
    rows = [row | {"iscrowd": 0, "area": 500.0} for row in scene.ground_truths["annotations"]]
    results = [row for row in scene.results if row["bbox"][2] * row["bbox"][3] >= 0][:100]
    scene = Scene(scene.ground_truths | {"annotations": rows}, results, {})
    best = evaluate(scene).curve(average="macro").best
    theirs = extended_metrics(scene)
    assert 0 < best.f_score < 1
    assert theirs["precision"] == pytest.approx(best.precision, abs=MEAN)
    assert theirs["recall"] == pytest.approx(best.recall, abs=MEAN)


def test_precision_is_not_that_of_the_envelope() -> None:
    # Three objects, all found, and a false positive that outranks the last one: at the best threshold 3 of 4 are right.
    evaluation = one_image([0.9, 0.8, 0.7, 0.6], [1.0, 1.0, 0.1, 1.0], [0] * 4, [0, 0, 1, 0])
    best = evaluation.curve(class_id=0).best
    assert (best.precision, best.recall) == (0.75, 1.0)


# ---- the rest ----


def test_half_a_million_detections_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    num_images, num_classes, num_truths, num_detections = 5000, 80, 36_000, 500_000
    truth_boxes = np.concatenate([500 * rng.random((num_truths, 2)), np.full((num_truths, 2), 20.0)], axis=1)
    nothing = np.zeros(num_truths, bool)
    truth = jaxmap.GroundTruthTable(
        image_index=rng.integers(0, num_images, num_truths), labels=rng.integers(0, num_classes, num_truths),
        boxes=truth_boxes, area=np.full(num_truths, 400.0), crowd=nothing, ignore=nothing, ids=np.arange(num_truths),
        image_ids=np.arange(num_images), class_ids=np.arange(num_classes), class_names=("",) * num_classes,
    )  # fmt: skip
    source = rng.integers(0, num_truths, num_detections)
    found = jaxmap.DetectionTable(
        image_index=truth.image_index[source], labels=truth.labels[source],
        boxes=truth_boxes[source] + rng.normal(0, 8, (num_detections, 4)), scores=rng.random(num_detections),
        ids=np.arange(num_detections),
    )  # fmt: skip
    evaluation = jaxmap.evaluate(found, truth, iou_thresholds=[0.5])
    start = time.process_time()
    columns = evaluation.operating_points()
    assert time.process_time() - start < 1.0  # about 0.35 s; of the processor, whatever else the machine does
    assert columns["true_positives"][-2] > 10_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou_threshold": 0.42}, ["`iou_threshold` must be one of [0.5, ", "got 0.42", "`iou_thresholds=[0.42]`"]),
        ({"area": "tiny"}, ["`area` must be one of ['all', 'small', 'medium', 'large'], got 'tiny'"]),
        ({"max_detections": 50}, ["`max_detections` must be one of [1, 10, 100], got 50"]),
        ({"class_id": 7}, ["`class_id` must be one of [0, 1, 2], got 7"]),
        ({"beta": 0.0}, ["`beta` must be a positive number, got 0.0"]),
        ({"beta": math.nan}, ["`beta` must be a positive number, got nan"]),
        ({"average": "weighted"}, ["`average` must be one of ['micro', 'macro'], got 'weighted'"]),
    ],
)
def test_refusals_name_the_argument(options: dict[str, Any], words: list[str]) -> None:
    evaluation = one_image([0.9], [1.0], [0], [0])
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        evaluation.curve(**options)
    assert not [word for word in words if word not in str(error.value)], str(error.value)


def test_a_threshold_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="`score_threshold` must be a number, got nan"):
        one_image([0.9], [1.0], [0], [0]).operating_points(score_threshold=math.nan)
