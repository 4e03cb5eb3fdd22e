"""Calibration by hand, against the definition in loops, hotcoco and vernier where they are installed, and its laws."""

from __future__ import annotations

import json
import math
import pathlib
import re
from typing import Any

import numpy as np
import pytest

import jaxmap
from reference.test_shared_data import PAIRS, Pair
from support.plain_calibration import counted_rows, plain_bins, plain_errors
from support.scenes import odd_scenes
from support.score_scenes import score_scene

pytestmark = odd_scenes

SAME = 1e-12  # sums of scores are rounded
QUICK, ALL = range(9000, 9010), range(9000, 9500)
SAMPLES = [pytest.param(QUICK, id="sample"), pytest.param(ALL, id="500 scenes", marks=pytest.mark.slow)]
SIZE = (480, 640)


def scored(scores: list[float], hits: list[bool], labels: list[int] | None = None) -> jaxmap.Evaluation:
    """Evaluates one object and one detection of each class per image: on the object, or beside it."""
    labels = [0] * len(scores) if labels is None else labels
    truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [label]} for label in labels]
    places = [[0.0, 0.0, 10.0, 10.0] if hit else [50.0, 0.0, 60.0, 10.0] for hit in hits]
    found = [
        {"boxes": [box], "labels": [label], "scores": [score]}
        for box, label, score in zip(places, labels, scores, strict=True)
    ]
    return jaxmap.evaluate(found, truth, num_classes=3)


# ---- by hand ----


def test_by_hand() -> None:
    evaluation = scored([0.05, 0.3, 0.39, 0.95, 1.0], [False, True, False, True, True], [0, 0, 1, 1, 1])
    result = evaluation.calibration()
    # An edge belongs to the bin above, 0.3 to [0.3, 0.4), and 1 to the last bin; empty bins are left out.
    assert result.bins["score_low"].tolist() == [0.0, 0.3, 0.9]
    assert result.bins["score_high"].tolist() == [0.1, 0.4, 1.0]
    assert result.bins["num_detections"].tolist() == [1, 2, 2]
    assert result.bins["mean_score"].tolist() == pytest.approx([0.05, 0.345, 0.975])
    assert result.bins["precision"].tolist() == [0.0, 0.5, 1.0]
    assert result.bins["gap"].tolist() == pytest.approx([0.05, -0.155, -0.025])
    assert result.ece == pytest.approx((0.05 + 2 * 0.155 + 2 * 0.025) / 5)
    assert result.mce == pytest.approx(0.155)
    assert result.num_detections == 5
    # Class 0: gaps .05 and .7. Class 1: .39 once, and .025 twice.
    assert result.classes["num_detections"].tolist() == [2, 3, 0]
    assert result.classes["ece"].tolist() == pytest.approx([0.375, 0.44 / 3, math.nan], nan_ok=True)
    assert result.classes["mce"].tolist() == pytest.approx([0.7, 0.39, math.nan], nan_ok=True)
    of_class = evaluation.calibration(class_id=0)
    assert (of_class.ece, of_class.mce) == pytest.approx((0.375, 0.7))
    assert of_class.bins["num_detections"].tolist() == [1, 1]
    above = evaluation.calibration(score_threshold=0.3)
    assert above.num_detections == 4
    assert above.bins["score_low"].tolist() == [0.3, 0.9]


def test_quantiles_have_about_equal_counts() -> None:
    evaluation = scored([0.1, 0.2, 0.3, 0.9], [True, False, True, True])
    bins = evaluation.calibration(num_bins=2, binning="quantile").bins
    assert (bins["score_low"].tolist(), bins["score_high"].tolist()) == ([0.1, 0.25], [0.25, 0.9])
    assert bins["num_detections"].tolist() == [2, 2]
    same = scored([0.5] * 3, [True, False, True]).calibration(binning="quantile")  # all edges are the same
    assert same.bins["num_detections"].tolist() == [3]
    assert same.ece == pytest.approx(1 / 6)


def test_position_and_size_are_shares_of_the_image() -> None:
    # Two images of other sizes. Centres in shares: (.2, .3), (.2, .3), (.9, .3), the first two of size (.2, .4).
    truth = [
        {"boxes": [[10.0, 10.0, 30.0, 50.0]], "labels": [0]},
        {"boxes": [[20.0, 20.0, 60.0, 100.0]], "labels": [0]},
    ]
    found = [
        {"boxes": [[10.0, 10.0, 30.0, 50.0], [80.0, 25.0, 100.0, 35.0]], "labels": [0, 0], "scores": [0.9, 0.8]},
        {"boxes": [[20.0, 20.0, 60.0, 100.0]], "labels": [0], "scores": [0.6]},
    ]
    evaluation = jaxmap.evaluate(found, truth)
    sizes = [[100, 100], [200, 200]]
    result = evaluation.calibration(num_bins=2, by=["position"], image_sizes=sizes)
    # One dimension after the other: by score all are in [.5, 1]; by x two to the left, one to the right.
    assert result.bins["x_low"].tolist() == [0.0, 0.5]
    assert result.bins["y_high"].tolist() == [0.5, 0.5]
    assert result.bins["num_detections"].tolist() == [2, 1]
    assert result.bins["gap"].tolist() == pytest.approx([-0.25, 0.8])
    assert result.ece == pytest.approx((2 * 0.25 + 0.8) / 3)
    by_size = evaluation.calibration(num_bins=[1, 5, 5], by=["size"], image_sizes=sizes)
    assert by_size.bins["width_low"].tolist() == [0.2, 0.2]  # all are .2 wide, .1 or .4 high
    assert by_size.bins["height_low"].tolist() == [0.0, 0.4]
    every = evaluation.calibration(num_bins=3, by=["size", "position"], image_sizes=sizes)
    assert [name for name in every.bins if name.endswith("_low")] == [
        f"{name}_low" for name in ("score", "x", "y", "width", "height")
    ]
    outside = evaluation.calibration(num_bins=2, by=["position"], image_sizes=[10, 10])  # beyond the image
    assert outside.bins["x_low"].tolist() == [0.5]


def test_many_classes_and_bins_do_not_overflow() -> None:
    labels = np.arange(1000)  # labels are of 32 bits; 1,000 times 9,765,625 is not
    truth = [{"boxes": np.tile([0.0, 0.0, 10.0, 10.0], (1000, 1)), "labels": labels}]
    evaluation = jaxmap.evaluate([truth[0] | {"scores": labels / 999}], truth)
    result = evaluation.calibration(num_bins=25, by=["position", "size"], image_sizes=SIZE)
    np.testing.assert_allclose(result.classes["ece"], 1 - labels / 999, atol=SAME)
    assert result.bins["num_detections"].sum() == 1000


def test_ignored_detections_are_not_counted() -> None:
    truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 90.0, 40.0]], "labels": [0, 0], "crowd": [False, True]}]
    found = [{"boxes": [[0.0, 0.0, 10.0, 9.0], [55.0, 5.0, 65.0, 15.0]], "labels": [0, 0], "scores": [0.5, 0.9]}]
    result = jaxmap.evaluate(found, truth).calibration()
    assert (result.num_detections, result.ece) == (1, 0.5)


def test_without_detections_nothing_is_defined() -> None:
    nothing: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
    for options in ({}, {"binning": "quantile"}, {"by": ["size"], "image_sizes": SIZE}):
        result = jaxmap.evaluate([nothing | {"scores": np.zeros(0)}], truth).calibration(**options)
        assert (result.num_detections, len(result.bins["gap"])) == (0, 0)
        assert np.isnan([result.ece, result.mce, *result.classes["ece"]]).all()
        content = json.loads(json.dumps(result.to_dict()))
        assert content["ece"] is None
        assert content["classes"] == [{"class_id": 0, "class_name": "0", "num_detections": 0, "ece": None, "mce": None}]


# ---- references ----


@pytest.mark.parametrize("seeds", SAMPLES)
def test_random_scenes_equal_the_definition(seeds: range) -> None:
    for seed in seeds:
        scene = score_scene(seed, digits=1 if seed % 2 else None)
        evaluation, rng = scene.evaluation, np.random.default_rng(seed)
        iou, numbers = float(rng.choice(evaluation.protocol.iou_thresholds)), rng.integers(1, 5, 5).tolist()
        by = [[], ["position"], ["size"], ["position", "size"]][seed % 4]
        rows = counted_rows(evaluation, iou)
        boxes = evaluation.matched.detections.boxes[~evaluation.matches(iou)["ignored"]]
        shares = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1) / (SIZE[::-1] * 2)
        taken = ["position" in by] * 2 + ["size" in by] * 2
        values = np.concatenate([rows["score"][:, None], shares[:, taken]], axis=1)
        numbers = numbers[: values.shape[1]]
        edges = [np.arange(number + 1) / number for number in numbers]
        result = evaluation.calibration(iou, num_bins=numbers, by=by)  # the files have the sizes of the images
        expected = plain_bins(values, rows["matched"], edges)
        assert result.bins["num_detections"].tolist() == [one.count for one in expected]
        for name in ("mean_score", "precision", "gap"):
            np.testing.assert_allclose(result.bins[name], [getattr(one, name) for one in expected], rtol=0, atol=SAME)
        np.testing.assert_allclose([result.ece, result.mce], plain_errors(expected), rtol=0, atol=SAME)
        for label, class_id in enumerate(evaluation.class_ids):
            own = rows["class_id"] == class_id
            errors = plain_errors(plain_bins(values[own], rows["matched"][own], edges))
            ours = result.classes["ece"][label], result.classes["mce"][label]
            np.testing.assert_allclose(ours, errors, rtol=0, atol=SAME)
            alone = evaluation.calibration(iou, num_bins=numbers, by=by, class_id=class_id)
            np.testing.assert_array_equal((alone.ece, alone.mce), ours)


def assert_equals_hotcoco(evaluation: jaxmap.Evaluation, paths: tuple[str, str], num_bins: int) -> None:
    """Compares all numbers.

    Deliberate differences: hotcoco also lists empty bins, and has 0 in place of an undefined number; it rounds the
    product of score and number of bins, so that of ten bins 0.8999999999999999 is in the last one.
    """
    hotcoco = pytest.importorskip("hotcoco")
    scores = evaluation.dataset.records.detections.scores
    exact = np.searchsorted(np.arange(1, num_bins) / num_bins, scores, side="right")
    if (np.minimum((scores * num_bins).astype(int), num_bins - 1) != exact).any():
        return
    truth = hotcoco.COCO(paths[0])
    run = hotcoco.COCOeval(truth, truth.load_res(paths[1]), "bbox")
    run.evaluate()
    theirs, ours = run.calibration(n_bins=num_bins), evaluation.calibration(num_bins=num_bins)
    assert ours.num_detections == theirs["num_detections"]
    assert np.nan_to_num([ours.ece, ours.mce]).tolist() == pytest.approx([theirs["ece"], theirs["mce"]], abs=SAME)
    bins = [one for one in theirs["bins"] if one["count"]]
    for name, other in (("num_detections", "count"), ("mean_score", "avg_confidence"), ("precision", "avg_accuracy")):
        assert ours.bins[name].tolist() == pytest.approx([one[other] for one in bins], abs=SAME)
    defined = {
        name: ece
        for name, ece in zip(ours.classes["class_name"], ours.classes["ece"].tolist(), strict=True)
        if not math.isnan(ece)
    }
    assert defined == pytest.approx(theirs["per_category"], abs=SAME)


def assert_equals_vernier(evaluation: jaxmap.Evaluation, content: tuple[bytes, bytes], num_bins: int) -> None:
    """Compares ECE and MCE, pooled and per class, with bins of equal counts and, if a score is 0, of equal width.

    Deliberate differences: vernier's bins of equal width start at the lowest score, and their edges are rounded,
    3 * 0.1 > 0.3; its bins of equal counts are empty if all scores are equal.
    """
    vernier = pytest.importorskip("vernier.instance")
    arrow = pytest.importorskip("pyarrow")
    run = vernier.Evaluator(parity_mode="strict").evaluate(*content, calibration=True)
    scores = counted_rows(evaluation, 0.5)["score"]
    on_edge = np.abs(scores * num_bins - np.rint(scores * num_bins)) < 1e-9
    kinds = {"quantile": "quantile"} if len(set(scores)) > 1 else {}
    if (scores == 0).any() and not (on_edge & (scores > 0) & (scores < 1)).any():
        kinds["width"] = "equal_width"
    for ours, theirs in kinds.items():
        result = evaluation.calibration(num_bins=num_bins, binning=ours)
        other = run.calibration(n_bins=num_bins, binning=theirs, min_score=0.0, per_class=True)
        assert result.num_detections == other.n_detections
        assert np.nan_to_num([result.ece, result.mce]) == pytest.approx(np.nan_to_num([other.ece, other.mce]), abs=SAME)
        if not result.num_detections:
            continue
        classes = arrow.record_batch(other._per_class_batch).to_pydict()
        for label, number, ece, mce in zip(*(classes[name] for name in ("class_id", "n", "ece", "mce")), strict=True):
            assert result.classes["num_detections"][label] == number
            got = [result.classes["ece"][label], result.classes["mce"][label]]
            assert got == pytest.approx([ece, mce], abs=SAME, nan_ok=True)


@pytest.mark.parametrize("seeds", SAMPLES)
def test_random_scenes_equal_hotcoco(seeds: range, tmp_path: pathlib.Path) -> None:
    for seed in seeds:
        scene = score_scene(seed, digits=1 if seed % 2 else None, any_area=True)
        if scene.results:
            assert_equals_hotcoco(scene.evaluate(), scene.write(tmp_path), num_bins=10 if seed % 3 else 7)


@pytest.mark.parametrize("seeds", SAMPLES)
def test_random_scenes_equal_vernier(seeds: range) -> None:
    for seed in seeds:
        scene = score_scene(seed, any_area=True)
        assert_equals_vernier(scene.evaluate(), scene.as_bytes(), num_bins=15 if seed % 3 else 4)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_real_detections_equal_hotcoco_and_vernier(
    pair: Pair, shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    ground_truths, results = pair.load(shared_data)
    truth = jaxmap.io.coco_ground_truths(ground_truths)
    evaluation = jaxmap.evaluate(jaxmap.io.coco_detections(results, truth), truth)
    content = json.dumps(ground_truths).encode(), json.dumps(results).encode()
    paths = tmp_path / "gt.json", tmp_path / "dt.json"
    for path, data in zip(paths, content, strict=True):
        path.write_bytes(data)
    assert_equals_hotcoco(evaluation, (str(paths[0]), str(paths[1])), num_bins=10)
    assert_equals_vernier(evaluation, content, num_bins=15)
    rows = counted_rows(evaluation, 0.5)
    expected = plain_bins(rows["score"][:, None], rows["matched"], [np.arange(26) / 25])
    result = evaluation.calibration(num_bins=25)
    np.testing.assert_allclose([result.ece, result.mce], plain_errors(expected), rtol=0, atol=SAME)


# ---- laws ----


@pytest.mark.parametrize("seed", QUICK)
def test_laws(seed: int) -> None:
    evaluation = score_scene(seed).evaluation
    fine = evaluation.calibration(num_bins=8)
    if not fine.num_detections:
        return
    assert 0 <= fine.ece <= fine.mce <= 1
    assert fine.classes["num_detections"].sum() == fine.bins["num_detections"].sum() == fine.num_detections
    # Joining bins can only cancel gaps, and so can joining the classes.
    assert evaluation.calibration(num_bins=4).ece <= fine.ece + SAME
    shares = fine.classes["num_detections"] / fine.num_detections
    assert fine.ece <= np.nansum(shares * fine.classes["ece"]) + SAME
    everything = evaluation.calibration(num_bins=1)
    point = evaluation.operating_points(score_threshold=0.0)
    assert everything.bins["precision"][0] == point["precision"][-2]


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou_threshold": 0.42}, "`iou_threshold` must be one of [0.5, "),
        ({"num_bins": 0}, "`num_bins` must be a positive whole number, at most 10,000,000 bins in all, got 0."),
        ({"num_bins": True}, "got True"),
        ({"num_bins": 2.5}, "got 2.5"),
        ({"num_bins": [2, 2]}, "got [2, 2]"),
        ({"num_bins": [2, 2], "by": ["size"], "image_sizes": SIZE}, "one for each of ['score', 'width', 'height']"),
        ({"num_bins": 216, "by": ["size"], "image_sizes": SIZE}, "at most 10,000,000 bins in all"),
        ({"binning": "equal"}, "`binning` must be one of ['width', 'quantile'], got 'equal'."),
        ({"by": "size"}, "`by` must be a list of different names from ['position', 'size'], got 'size'."),
        ({"by": ["size", "size"]}, "`by` must be a list of different names"),
        ({"by": ["place"]}, "`by` must be a list of different names from ['position', 'size'], got ['place']."),
        ({"by": ["size"]}, "`by` needs the sizes of the images, which these ground truths do not have: pass"),
        ({"by": ["size"], "image_sizes": [640]}, "[height, width] for all images or for each of 1, got int64 of shape"),
        ({"by": ["size"], "image_sizes": [0, 5]}, "`image_sizes` must be positive, finite numbers"),
        ({"by": ["size"], "image_sizes": [math.nan, 5]}, "`image_sizes` must be positive, finite numbers"),
        ({"score_threshold": math.nan}, "`score_threshold` must be a number, got nan."),
        ({"class_id": 7}, "`class_id` must be one of [0, 1, 2], got 7."),
    ],
)
def test_refusals_name_the_argument(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        scored([0.9], [True]).calibration(**options)
    assert "\n" not in str(error.value)


def test_position_without_boxes_is_refused() -> None:
    evaluation = scored([0.9], [True])
    with pytest.raises(ValueError, match=re.escape("`by` needs the boxes of detections: pass `matched`")):
        jaxmap.analysis.calibration(evaluation.dataset, evaluation.protocol, by=["size"])


def test_scores_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("must lie in [0, 1], got -3 to 7.25; convert them, logits by a")):
        scored([-3.0, 7.25], [True, False]).calibration()
