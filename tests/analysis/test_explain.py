"""Why pooled and per-image AP differ: by hand, against evaluations of other data, and as text."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._ordering import take_rows
from jaxmap.analysis import Explanation
from reference.test_shared_data import PAIRS, Pair
from support.plain_ap import PlainRecords
from support.scenes import odd_scenes, random_scene

pytestmark = odd_scenes

ATOL = 1e-12  # both sides are float64 sums of a few hundred ratios of the same integers
THERE, NOWHERE = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]

Box = list[float]


def evaluate(
    found: list[list[tuple[Box, float, int]]], truth: list[list[tuple[Box, int]]], **options: Any
) -> jaxmap.Evaluation:
    """Evaluates images given as (box, score, label) and (box, label) of each."""
    detections = [
        {
            "boxes": np.reshape([box for box, _, _ in image], (-1, 4)),
            "scores": [float(score) for _, score, _ in image],
            "labels": np.array([label for _, _, label in image], int),
        }
        for image in found
    ]
    ground_truths = [
        {
            "boxes": np.reshape([box for box, _ in image], (-1, 4)),
            "labels": np.array([label for _, label in image], int),
        }
        for image in truth
    ]
    return jaxmap.evaluate(detections, ground_truths, **{"class_names": ["cat", "dog"]} | options)


def chain(explanation: Explanation) -> list[float]:
    names = ("images_alone", "classes_alone", "objects_alone", "holders_together", "together")
    return [getattr(explanation, name) for name in names]


def minimal() -> jaxmap.Evaluation:
    """One object in each image; the detection at 0.9 hits nothing and is the last of its image."""
    return evaluate([[(THERE, 0.5, 0)], [(THERE, 0.95, 0), (NOWHERE, 0.9, 0)]], [[(THERE, 0)], [(THERE, 0)]])


# ---- by hand ----


def test_false_positive_that_is_last_at_home_outranks_elsewhere() -> None:
    explanation = minimal().explain()
    # Alone each image ranks its true positive first: AP 1. Together the order is true, false, true: precision 1 at the
    # 51 recall points up to 0.5 and 2/3 at the other 50.
    together = (51 + 50 * 2 / 3) / 101
    assert round(together, 10) == 0.8349834983
    np.testing.assert_allclose(explanation.image_average_precision, [1, 1], rtol=0, atol=ATOL)
    np.testing.assert_allclose(chain(explanation), [1, 1, 1, together, together], rtol=0, atol=ATOL)
    assert explanation.difference == pytest.approx(1 - together, abs=ATOL)
    assert explanation.ranking_share == pytest.approx(1 - together, abs=ATOL)
    assert explanation.class_averaging_share == pytest.approx(0, abs=ATOL)

    worst = explanation.false_positives()
    assert worst.pop("cost") == pytest.approx([1 - together], abs=ATOL)  # without it AP is 1
    assert {name: list(column) for name, column in worst.items()} == {
        "image_id": [1],
        "class_id": [0],
        "class_name": ["cat"],
        "detection": [1],
        "score": [0.9],
        "num_thresholds": [10],
        "outranks_elsewhere": [1],
        "outranks_at_home": [0],
        "outranked_images": [[0]],
    }
    outranked = explanation.outranked(image_id=1, detection=1)
    assert {name: column.tolist() for name, column in outranked.items()} == {
        "image_id": [0],
        "detection": [0],
        "score": [0.5],
    }


def test_image_averages_over_its_own_classes_alone() -> None:
    # Image 0 holds a cat that is found and a dog that is not: (1 + 0) / 2. Image 1 holds a cat that is found: 1. The
    # classes are cat, 1 in both of its images, and dog, 0 in its only one; no false positive changes the ranking.
    explanation = evaluate([[(THERE, 0.9, 0)], [(THERE, 0.8, 0)]], [[(THERE, 0), (NOWHERE, 1)], [(THERE, 0)]]).explain()
    np.testing.assert_allclose(chain(explanation), [0.75, 0.5, 0.5, 0.5, 0.5], rtol=0, atol=ATOL)
    assert explanation.class_averaging_share == pytest.approx(0.25, abs=ATOL)
    assert explanation.ranking_share == pytest.approx(0, abs=ATOL)
    images = explanation.images()
    assert images["lacks"] == [[], ["dog"]]
    assert images["num_classes"].tolist() == [2, 1]


def test_image_without_ground_truth_counts_only_together() -> None:
    # The cat of image 0 is found at 0.5: AP 1 alone. Image 1 holds nothing, so it has no AP alone, and its cat at 0.9
    # stands above the true positive: precision 1/2 at all recall points.
    explanation = evaluate([[(THERE, 0.5, 0)], [(THERE, 0.9, 0)]], [[(THERE, 0)], []]).explain()
    np.testing.assert_allclose(explanation.image_average_precision, [1, np.nan], rtol=0, atol=ATOL)
    np.testing.assert_allclose(chain(explanation), [1, 1, 1, 1, 0.5], rtol=0, atol=ATOL)
    without = explanation.without_ground_truth()
    assert without.pop("cost") == pytest.approx(0.5, abs=ATOL)
    assert without == {"num_images": 1, "num_false_positives": 1}
    assert explanation.images()["lacks"] == [["cat"], []]


def test_images_weigh_by_their_objects_together() -> None:
    # The one object of image 0 is missed and the three of image 1 are found: alone (0 + 1) / 2, by objects 3/4. In one
    # ranking recall ends at 0.75, which 76 of the 101 recall points do not exceed.
    boxes = [[20.0 * i, 0.0, 20.0 * i + 10.0, 10.0] for i in range(3)]
    found = [[], [(box, 0.9 - 0.1 * i, 0) for i, box in enumerate(boxes)]]
    explanation = evaluate(found, [[(THERE, 0)], [(box, 0) for box in boxes]]).explain()
    np.testing.assert_allclose(chain(explanation), [0.5, 0.5, 0.75, 76 / 101, 76 / 101], rtol=0, atol=ATOL)


def test_detection_that_is_false_at_some_thresholds_costs_there_alone() -> None:
    # IoU 0.8 reaches the thresholds 0.5 to 0.8. At the other three the detection at 0.9 is false and halves the
    # precision of the true positive below it, whose recall of 1/2 covers 51 of 101 recall points.
    loose = [0.0, 0.0, 10.0, 8.0]
    explanation = evaluate([[(loose, 0.9, 0)], [(THERE, 0.5, 0)]], [[(THERE, 0)], [(THERE, 0)]]).explain()
    np.testing.assert_allclose(explanation.cost, [3 / 10 * 51 / 101 / 2, np.nan], rtol=0, atol=ATOL)
    worst = explanation.false_positives()
    assert (worst["num_thresholds"].tolist(), worst["outranks_elsewhere"].tolist()) == ([3], [1])
    assert explanation.images()["num_false_positives"].tolist() == [0, 0]  # these are false at every threshold


def test_no_detection_beyond_the_limit_takes_the_place_of_one_left_out() -> None:
    # The first two take part, false and true: precision 1/2 up to recall 1/2, at 51 of 101 recall points. Without the
    # false one it is 1 there. Had the third come in its place, the other object would be found as well, and AP be 1.
    found = [[(NOWHERE, 0.9, 0), (THERE, 0.8, 0), ([20.0, 0.0, 30.0, 10.0], 0.7, 0)]]
    truth = [[(THERE, 0), ([20.0, 0.0, 30.0, 10.0], 0)]]
    explanation = evaluate(found, truth, max_detections=2).explain()
    np.testing.assert_allclose(explanation.cost, [51 / 101 - 51 / 101 / 2, np.nan], rtol=0, atol=ATOL)


# ---- what it says ----


def test_text_answers_first_and_names_the_false_positive() -> None:
    lines = str(minimal().explain()).splitlines()
    assert lines[0] == "The mean per-image AP of 2 images is 1.0000; the pooled AP is 0.8350, 0.1650 lower."
    assert lines[1] == "Ranking takes 0.1650 and class averaging changes nothing."
    above = ["1", "in", "image", "0,", "none", "in", "the", "same", "image"]
    start = next(i for i, line in enumerate(lines) if line.startswith("The most costly false positives"))
    assert lines[start + 2].split() == ["0.16502", "1", "cat", "1", "0.9", "10", "of", "10", "IoU", *above]
    assert lines[start + 3] == ""
    assert max(map(len, lines)) <= 120


def test_text_without_anything_to_say() -> None:
    assert "neither per-image nor pooled AP is defined" in str(evaluate([[(THERE, 0.9, 0)]], [[]]).explain())
    nothing_found = str(evaluate([[], []], [[(THERE, 0)], [(THERE, 0)]]).explain())
    assert "the pooled AP is 0.0000, the same" in nothing_found
    assert "Neither class averaging nor ranking changes anything." in nothing_found
    assert "No AP is lost to false positives." in nothing_found


def test_text_says_that_images_without_ground_truth_cost() -> None:
    text = str(evaluate([[(THERE, 0.5, 0)], [(THERE, 0.9, 0)]], [[(THERE, 0)], []]).explain())
    assert text.startswith("The AP of the one image with objects is 1.0000; the pooled AP is 0.5000, 0.5000 lower.")
    assert "Images without ground truth: 1." in text
    assert "their 1 false positives, at every IoU threshold, cost 0.50000" in text


def test_dictionary_is_ready_for_json_and_shows_the_top() -> None:
    numbers = json.loads(json.dumps(minimal().explain().to_dict(top=1), allow_nan=False))
    assert numbers["ranking_share"] + numbers["class_averaging_share"] == pytest.approx(numbers["difference"], abs=ATOL)
    assert [row["image_id"] for row in numbers["images"]] == [1]
    assert numbers["false_positives"][0]["outranked_images"] == [0]
    assert evaluate([[(THERE, 0.9, 0)]], [[]]).explain().to_dict()["together"] is None
    assert json.dumps(evaluate([[]], [[]]).explain().to_dict(), allow_nan=False)


def test_bad_arguments_are_named() -> None:
    explanation = minimal().explain()
    with pytest.raises(ValueError, match="`top` must be at least 0, got -1"):
        explanation.false_positives(-1)
    with pytest.raises(ValueError, match="got 7 in image 1"):
        explanation.outranked(image_id=1, detection=7)


# ---- against evaluations of other data ----


def per_threshold(evaluation: jaxmap.Evaluation) -> np.ndarray:
    """Returns the AP at each threshold, `[T]`, over the first area range and the largest limit."""
    if evaluation.protocol.average == "area":
        cells = evaluation.curves.average_precision[..., 0, -1]
    else:
        cells = evaluation.precision[..., 0, -1].mean(axis=1)
    return cells[:, ~np.isnan(cells).any(axis=0)].mean(axis=1)


def only(table: Any, rows: np.ndarray) -> Any:
    """Returns some rows of a table of detections or of ground truths."""
    return take_rows(table, np.arange(len(table.ids))[rows])


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "num_checks"), [("coco", 60), ("voc2007", 20), ("voc2012", 20)])
def test_costs_equal_evaluations_without_the_detection(protocol: str, num_checks: int) -> None:
    evaluation = jaxmap.evaluate(*io.demo_scene(40), protocol=protocol)
    explanation, found = evaluation.explain(), evaluation.matched.detections
    records = PlainRecords.of(evaluation)
    np.testing.assert_array_equal(np.isnan(explanation.cost), ~records.false.any(axis=0))
    before, num_always_false = per_threshold(evaluation), 0
    rng = np.random.default_rng(0)
    costly, free = (rng.permutation(np.flatnonzero(of)) for of in (explanation.cost > 0, explanation.cost == 0))
    rows = np.concatenate([costly[: num_checks - 5], free[:5]])
    assert len(rows) == num_checks
    for row in rows:
        without = jaxmap.evaluate(
            only(found, np.arange(len(found.scores)) != row), evaluation.matched.ground_truths, protocol=protocol
        )
        gained = np.where(records.false[:, row], per_threshold(without) - before, 0.0).mean()
        assert explanation.cost[row] == pytest.approx(gained, abs=ATOL)
        if records.false[:, row].all():
            assert explanation.cost[row] == pytest.approx(without.summary["AP"] - evaluation.summary["AP"], abs=ATOL)
            num_always_false += 1
    assert num_always_false > num_checks / 3


@pytest.mark.parametrize("seed", [4200, 4202, 4205])
def test_costs_equal_curves_without_the_detection_on_other_grids(seed: int) -> None:
    scene = random_scene(np.random.default_rng(seed))
    evaluation = jaxmap.evaluate(*scene.lists(), box_format="xywh", num_classes=len(scene.class_ids), **scene.options)
    cost = evaluation.explain().cost
    assert_costs_equal_plain_ones(evaluation, cost, np.flatnonzero(~np.isnan(cost)))


@pytest.mark.parametrize("seed", [1, 2])
def test_chain_equals_evaluations_of_parts(seed: int) -> None:
    found, truth = io.demo_scene(12, seed)
    evaluation = jaxmap.evaluate(found, truth)
    explanation = evaluation.explain()
    assert explanation.together == pytest.approx(evaluation.summary["AP"], abs=ATOL)

    objects = np.zeros((len(truth.image_ids), len(truth.class_ids)))
    np.add.at(objects, (truth.image_index[~truth.crowd], truth.labels[~truth.crowd]), 1)
    alone = np.full(objects.shape, np.nan)
    for image in range(len(objects)):
        tables = (only(table, table.image_index == image) for table in (found, truth))
        alone[image] = jaxmap.evaluate(*tables).precision[..., 0, -1].mean(axis=(0, 1))
    of_image = [row[~np.isnan(row)].mean() for row in alone if not np.isnan(row).all()]
    held = [(column[counts > 0], counts[counts > 0]) for column, counts in zip(alone.T, objects.T, strict=True)]
    by_images = [np.mean(aps) for aps, counts in held if len(counts)]
    by_objects = [np.average(aps, weights=counts) for aps, counts in held if len(counts)]
    among_holders = jaxmap.evaluate(only(found, objects[found.image_index, found.labels] > 0), truth).summary["AP"]
    expected = [np.mean(of_image), np.mean(by_images), np.mean(by_objects), among_holders]
    np.testing.assert_allclose(chain(explanation)[:-1], expected, rtol=0, atol=ATOL)
    assert len(of_image) < len(objects)
    assert evaluation.summary["AP"] < among_holders


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_parts_and_costs_on_real_detections(pair: Pair, shared_data: pathlib.Path) -> None:
    dataset, results = pair.load(shared_data)
    truth = io.coco_ground_truths(dataset)
    evaluation = jaxmap.evaluate(io.coco_detections(results, truth), truth)
    explanation = evaluation.explain()
    parts = explanation.ranking_share + explanation.class_averaging_share
    assert parts == pytest.approx(np.nanmean(evaluation.per_image()["AP"]) - evaluation.summary["AP"], abs=1e-9)
    false = np.flatnonzero(~np.isnan(explanation.cost))
    assert_costs_equal_plain_ones(evaluation, explanation.cost, np.random.default_rng(1).permutation(false)[:200])


def assert_costs_equal_plain_ones(evaluation: jaxmap.Evaluation, cost: np.ndarray, rows: np.ndarray) -> None:
    """Asserts that the cost of each row is what the curves of its class gain without it where it is false."""
    records = PlainRecords.of(evaluation)
    before = dict(zip(records.defined, records.cells().T, strict=True))
    for row in rows:
        label, gained = records.labels[row], 0.0
        if label in before:
            others = records.ranked[label][records.ranked[label] != row]
            for threshold in np.flatnonzero(records.false[:, row]):
                gained += records.average_precision(label, threshold, others) - before[label][threshold]
        assert cost[row] == pytest.approx(gained / len(records.hits) / max(len(before), 1), abs=ATOL)
