"""The confusion matrix inside `jit`: equal to the host call, and its summary by hand. Counts are compared exactly.

Ground truths have eight slots, for all of which a list of candidates has room, which halves the time to compile.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._pairing._host import PAIRINGS
from jaxmap.metrics import ConfusionMatrix, ConfusionMatrixState
from jaxmap.metrics._detection import _confusion
from support.scenes import pad

pytestmark = pytest.mark.slow

D, G, K = 12, 8, 3
METRIC = ConfusionMatrix(num_classes=K, iou_threshold=0.4, box_format="xywh")
Batch = dict[str, Any]


@functools.cache
def dataset() -> Batch:
    """Images with crowds, ignored objects and many ties, boxes of whole numbers; padding holds NaN and -7."""
    rng = np.random.default_rng(0)
    images: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(25):
        num_truths, num_detections = rng.integers(0, G + 1), rng.integers(D // 2, D + 1)
        boxes = np.concatenate([rng.integers(0, 20, (num_truths, 2)), 10 * rng.integers(1, 6, (num_truths, 2))], axis=1)
        near = boxes[rng.integers(0, num_truths, num_detections)] if num_truths else np.full((num_detections, 4), 9)
        images[0].append(
            {
                "boxes": (near + rng.integers(-6, 7, near.shape)).astype(np.float32),
                "scores": rng.integers(0, 9, num_detections).astype(np.float32) / 8,
                "labels": rng.integers(0, K, num_detections).astype(np.int32),
            }
        )
        images[1].append(
            {
                "boxes": boxes.astype(np.float32),
                "labels": rng.integers(0, K, num_truths).astype(np.int32),
                "crowd": rng.random(num_truths) < 0.1,
                "ignore": rng.random(num_truths) < 0.1,
            }
        )
    found, truth = pad(images[0], D), pad(images[1], G)
    return {"detections": jaxmap.Detections(**found), "ground_truths": jaxmap.GroundTruths(**truth)}


def take(data: Any, rows: Any) -> Any:
    return jax.tree.map(lambda column: column[np.asarray(rows)], data)


def on_host(data: Batch, pairing: str) -> jaxmap.Confusion:
    options = {"iou_threshold": METRIC.iou_threshold, "box_format": METRIC.box_format, "num_classes": K}
    return jaxmap.confusion_matrix(data["detections"], data["ground_truths"], pairing=pairing, **options)


# ---- the host's counts ----


@pytest.mark.parametrize("backend", ["CPU", "accelerator"])
def test_every_rule_counts_as_the_host_does(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(dataset()["detections"].labels)
    if backend == "accelerator":
        monkeypatch.setattr(_confusion, "by_backend", lambda *arguments, default, **_: default(*arguments))

    @jax.jit
    def run(data: Batch) -> dict[str, ConfusionMatrixState]:
        ids, rules = np.arange(count), {name: dataclasses.replace(METRIC, pairing=name) for name in PAIRINGS}
        return {name: metric.update(metric.init(), **data, image_id=ids) for name, metric in rules.items()}

    distinct, states = set(), run(dataset())
    for pairing, state in states.items():
        expected = on_host(dataset(), pairing=pairing)
        np.testing.assert_array_equal(state.counts, expected.counts, err_msg=pairing)
        assert state.num_left_out == expected.num_left_out > 0
        distinct.add(expected.counts.tobytes())
    assert len(distinct) == 4


def test_more_ground_truths_than_a_list_of_candidates_holds() -> None:
    found, truth = dataset()["detections"], dataset()["ground_truths"]
    copies = [
        dataclasses.replace(truth, boxes=truth.boxes + np.array([step, 0, 0, 0], np.float32)) for step in range(6)
    ]
    crowded = jax.tree.map(lambda *columns: np.concatenate(columns, axis=1), *copies)
    overlaps = jax.vmap(functools.partial(jaxmap.box_iou, box_format="xywh"))(found.boxes, crowded.boxes)
    assert (overlaps >= METRIC.iou_threshold).sum(-1).max() > 4
    metric = dataclasses.replace(METRIC, pairing="class_first")
    state = jax.jit(metric.update)(metric.init(), found, crowded, image_id=np.arange(len(found.labels)))
    expected = on_host({"detections": found, "ground_truths": crowded}, pairing="class_first")
    np.testing.assert_array_equal(state.counts, expected.counts)
    assert state.num_left_out == expected.num_left_out > 0


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize(("num_detections", "num_ground_truths"), [(0, 2), (2, 0), (0, 0)])
def test_one_side_may_have_no_room(pairing: str, num_detections: int, num_ground_truths: int) -> None:
    found, truth = take(dataset()["detections"], [0]), take(dataset()["ground_truths"], [0])
    found = jax.tree.map(lambda column: column[:, :num_detections], found)
    truth = jax.tree.map(lambda column: column[:, :num_ground_truths], truth)
    metric = dataclasses.replace(METRIC, pairing=pairing)
    state = jax.eval_shape(metric.update, metric.init(), found, truth, image_id=np.array([3]))  # tracing is what fails
    assert state.counts.shape == (K + 1, K + 1)


# ---- numbers ----


def test_summary_by_hand() -> None:
    counts = np.array([[5, 1, 0, 2], [0, 3, 0, 0], [0, 0, 0, 0], [1, 1, 2, 0]], np.int32)
    state = dataclasses.replace(METRIC.init(), counts=counts, num_left_out=np.int32(4), num_images=np.int32(6))
    result = METRIC.compute(state)
    assert METRIC.summarize(result) == {
        "precision": 8 / 13,  # 9 in pairs, 4 on the background
        "recall": 8 / 11,  # 9 in pairs, 2 missed
        "num_correct": 8, "num_confused": 1, "num_missed": 2, "num_background": 4, "num_left_out": 4,
        "num_images": 6, "num_padded_images": 0, "num_not_finite": 0, "num_bad_labels": 0,
    }  # fmt: skip
    np.testing.assert_array_equal(result.normalized("all"), counts / 15)
    np.testing.assert_array_equal(result.normalized("true")[2], [math.nan] * 4)
    assert jax.jit(METRIC.compute)(state).counts.dtype == jnp.int32
    nothing = METRIC.summarize(METRIC.compute(METRIC.init()))
    assert math.isnan(nothing["precision"])
    assert math.isnan(nothing["recall"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pairing": "hungarian"}, "`pairing` must be one of"),
        ({"iou_threshold": 1.5}, r"`iou_threshold` must lie in \(0, 1\], got 1.5"),
        ({"box_format": "xyhw"}, "`box_format` must be one of"),
    ],
)
def test_bad_options_are_refused_at_construction(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(METRIC, **options)
