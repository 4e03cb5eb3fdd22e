"""AP over all orders of equal scores: by hand, and against orders drawn at random."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._ordering import columns_of, take_rows
from support.plain_ap import PlainRecords

ATOL = 1e-12  # both sides are float64 sums of a few hundred ratios of the same integers
THERE, NOWHERE = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]


def evaluate(found: list[list[tuple[list[float], float]]], **options: Any) -> jaxmap.Evaluation:
    """Evaluates images of one object each, at `THERE`, given as (box, score) of each."""
    detections = [
        {"boxes": [box for box, _ in image], "scores": [score for _, score in image], "labels": [0] * len(image)}
        for image in found
    ]
    return jaxmap.evaluate(detections, [{"boxes": [THERE], "labels": [0]}] * len(found), **options)


def tied_scene(seed: int, **options: Any) -> jaxmap.Evaluation:
    """Returns the demo scene with its scores rounded to tenths: all ties, within images and between them."""
    found, truth = io.demo_scene(9, seed)
    return jaxmap.evaluate(dataclasses.replace(found, scores=np.round(found.scores, 1)), truth, **options)


# ---- by hand ----


def test_true_positive_first_or_last_of_its_tie() -> None:
    # Two objects, one found at 0.9; at 0.5 one true and two false ones tie. Recall 1/2 is precision 1 (51 points), and
    # recall 1 (the other 50) is 2/2, 2/3 or 2/4, as the true one comes first, in the middle or last of the three. The
    # rows stand true, false in image 1, and image 0 comes before it: false, true, false.
    bounds = evaluate([[(THERE, 0.9), (NOWHERE, 0.5)], [(THERE, 0.5), (NOWHERE, 0.5)]]).tie_bounds()
    expected = [(51 + 50 * precision) / 101 for precision in (2 / 4, 2 / 3, 1)]
    assert [bounds.lowest, bounds.conventional, bounds.highest] == pytest.approx(expected, abs=ATOL)
    assert [bounds.lowest_reached, bounds.highest_reached] == pytest.approx([expected[0], expected[2]], abs=ATOL)
    np.testing.assert_allclose(bounds.lowest_cells, np.full((10, 1), expected[0]), rtol=0, atol=ATOL)
    assert (bounds.differ, bounds.num_tied, bounds.num_contested) == (True, 3, 0)
    assert "lowest 0.7524752475, as evaluated 0.8349834983, highest 1.0000000000" in str(bounds)
    assert json.loads(json.dumps(bounds.to_dict()))["num_tied"] == 3


def test_ties_of_one_kind_and_of_several_classes_change_nothing() -> None:
    bounds = evaluate([[(THERE, 0.5)], [(THERE, 0.5)]]).tie_bounds()
    assert (bounds.differ, bounds.num_tied) == (False, 2)
    assert (
        str(bounds)
        == "No order of equal scores changes AP (2 detections have the same score as another of their class)."
    )
    boxes, labels = [THERE, NOWHERE], [0, 1]  # the false one is of the other class, with ground truth of its own
    truth = [{"boxes": [THERE, [90.0, 0.0, 99.0, 9.0]], "labels": labels}]
    bounds = jaxmap.evaluate([{"boxes": boxes, "labels": labels, "scores": [0.5, 0.5]}], truth).tie_bounds()
    assert (bounds.lowest, bounds.highest, bounds.num_tied) == (pytest.approx(0.5), pytest.approx(0.5), 0)


def test_no_order_may_be_best_at_two_thresholds() -> None:
    # At 0.9, image 0 finds its object with IoU 0.6, which is true at 0.5 alone; so its second detection, at 0.5 with
    # IoU 1, is false at 0.5 and true at 0.75. The one of image 1 ties with it, IoU 0.6: true at 0.5, false at 0.75.
    loose = [0.0, 0.0, 10.0, 6.0]
    bounds = evaluate([[(loose, 0.9), (THERE, 0.5)], [(loose, 0.5)]], iou_thresholds=[0.5, 0.75]).tie_bounds()
    # At 0.5: true, then either true or false, true. At 0.75: false, then either true or false, true, up to recall 1/2.
    at_half, at_three_quarters = ((51 + 50 * 2 / 3) / 101, 1.0), (51 / 101 / 3, 51 / 101 / 2)
    np.testing.assert_allclose(bounds.lowest_cells[:, 0], [at_half[0], at_three_quarters[0]], rtol=0, atol=ATOL)
    np.testing.assert_allclose(bounds.highest_cells[:, 0], [at_half[1], at_three_quarters[1]], rtol=0, atol=ATOL)
    both_orders = [(at_half[0] + at_three_quarters[1]) / 2, (at_half[1] + at_three_quarters[0]) / 2]
    assert bounds.lowest < min(both_orders)
    assert max(both_orders) < bounds.highest
    for reached in (bounds.lowest_reached, bounds.highest_reached, bounds.conventional):
        assert min(abs(reached - np.array(both_orders))) < ATOL


def test_competition_within_an_image_is_counted() -> None:
    both = [(THERE, 0.5), ([0.0, 0.0, 10.0, 9.0], 0.5)]
    assert evaluate([both, [(THERE, 0.5)]]).tie_bounds().num_contested == 2
    assert "2 of them compete" in str(evaluate([both, [(THERE, 0.5)]]).tie_bounds())
    assert evaluate([[both[0], (both[1][0], 0.4)]]).tie_bounds().num_contested == 0
    crowd = [{"boxes": [THERE], "labels": [0], "crowd": [True]}]  # takes both
    found = [{"boxes": [box for box, _ in both], "labels": [0, 0], "scores": [0.5, 0.5]}]
    assert jaxmap.evaluate(found, crowd).tie_bounds().num_contested == 0


def test_nothing_to_rank() -> None:
    no_truth = [{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}]
    found = [{"boxes": [THERE], "labels": [0], "scores": [0.5]}]
    bounds = jaxmap.evaluate(found, no_truth).tie_bounds()
    assert np.isnan(bounds.lowest)
    assert np.isnan(bounds.highest)
    assert bounds.to_dict()["conventional"] is None
    nothing = [no_truth[0] | {"scores": np.zeros(0)}]
    assert jaxmap.evaluate(nothing, [{"boxes": [THERE], "labels": [0]}]).tie_bounds().highest == 0.0


# ---- against other orders ----


@pytest.mark.parametrize(("seed", "iou_thresholds"), [(0, [0.5]), (1, [0.5, 0.75])])
def test_bounds_contain_random_orders_and_are_reached(seed: int, iou_thresholds: list[float]) -> None:
    evaluation = tied_scene(seed, iou_thresholds=iou_thresholds)
    bounds, records = evaluation.tie_bounds(), PlainRecords.of(evaluation)
    lowest, highest = (cells[:, records.defined] for cells in (bounds.lowest_cells, bounds.highest_cells))
    assert bounds.differ
    assert bounds.num_tied > len(records.labels) / 2
    assert bounds.conventional == pytest.approx(evaluation.summary["AP"], abs=ATOL)

    rng = np.random.default_rng(seed)
    orders = rng.random((1000, len(records.labels)))
    cells = np.stack([records.cells(order) for order in orders])
    assert (cells >= lowest - ATOL).all()
    assert (cells <= highest + ATOL).all()
    assert len(np.unique(cells.mean(axis=(1, 2)).round(9))) > 100

    # A cell's bounds are the AP of the orders that rank by its own outcomes.
    for threshold in range(len(iou_thresholds)):
        best = records.false[threshold].astype(float) - records.hits[threshold]
        np.testing.assert_allclose(records.cells(best)[threshold], highest[threshold], rtol=0, atol=ATOL)
        np.testing.assert_allclose(records.cells(-best)[threshold], lowest[threshold], rtol=0, atol=ATOL)
    # The bounds of the mean are those of one order wherever no two tied detections contradict each other.
    balance = (records.false.astype(int) - records.hits).sum(axis=0).astype(float)
    assert bounds.highest_reached == pytest.approx(records.cells(balance).mean(), abs=ATOL)
    assert bounds.lowest_reached == pytest.approx(records.cells(-balance).mean(), abs=ATOL)
    if len(iou_thresholds) == 1:
        reached = [bounds.lowest_reached, bounds.highest_reached]
        assert reached == pytest.approx([bounds.lowest, bounds.highest], abs=ATOL)


def test_bounds_contain_evaluations_of_images_in_any_order() -> None:
    # The scores of an image are 0.95, 0.90, ... in its order: they tie across images alone, where no match is at stake.
    found, truth = io.demo_scene(12, seed=4)
    in_order = np.lexsort((-found.scores, found.image_index))
    images, place = found.image_index[in_order], np.arange(len(in_order))
    scores = 0.95 - 0.05 * (place - np.searchsorted(images, images))
    columns = columns_of(take_rows(found, in_order)) | {"scores": scores}
    rng, aps = np.random.default_rng(0), []
    bounds = jaxmap.evaluate(jaxmap.DetectionTable(**columns), truth).tie_bounds()
    for _ in range(40):
        moved, rows = rng.permutation(len(truth.image_ids)), rng.permutation(len(scores))
        shuffled = {name: column[rows] for name, column in (columns | {"image_index": moved[images]}).items()}
        moved_truth = dataclasses.replace(truth, image_index=moved[truth.image_index])
        aps.append(jaxmap.evaluate(jaxmap.DetectionTable(**shuffled), moved_truth).summary["AP"])
    assert bounds.num_contested == 0
    assert bounds.lowest - ATOL <= min(aps) < max(aps) <= bounds.highest + ATOL
    assert len(np.unique(np.round(aps, 9))) > 20
