"""Comparison of detectors, influence of images, slices, learning curves: laws and loops over parts of the data."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap.analysis import sequential_comparison
from jaxmap.analysis._compare import _corrected, _p_of_sign, _p_of_size
from support.scenes import odd_scenes, random_scene
from support.weighted import evaluate_scene

pytestmark = odd_scenes

ATOL = 1e-12  # both sides are float64 means of a few thousand ratios of the same integers


def detectors(
    num_images: int = 30, seed: int = 0, *, shift: float = 6.0
) -> tuple[jaxmap.Evaluation, jaxmap.Evaluation]:
    """Returns evaluations of the demo scene and of the same detections, moved by some pixels."""
    found, truth = io.demo_scene(num_images, seed)
    moved = dataclasses.replace(found, boxes=found.boxes + np.array([shift, 0, 0, 0]))
    return jaxmap.evaluate(found, truth), jaxmap.evaluate(moved, truth)


# ---- comparison ----


def test_a_detector_does_not_differ_from_itself() -> None:
    one, _ = detectors()
    result = jaxmap.compare(one, one, num_replicates=50)
    for change in result.summary["B"].values():
        if change.first == change.first:
            assert (change.difference.value, change.difference.low, change.difference.high) == (0, 0, 0)
            assert (change.p_value, change.p_permutation) == (1, 1)
    assert result.wins().rows()[0] | {"ties": 0} == {"model": "B", "of": "images", "wins": 0, "losses": 0, "ties": 0}


def test_a_worse_detector_is_found_out_and_order_only_changes_the_sign() -> None:
    one, other = detectors()
    there = jaxmap.compare(one, other, num_replicates=200, names=["sharp", "blunt"])
    back = jaxmap.compare(other, one, num_replicates=200, names=["blunt", "sharp"])
    assert there.summary["blunt"]["AP"].difference.high < 0
    assert there.summary["blunt"]["AP"].p_value < 0.02
    tables = [*zip(there.summary["blunt"].values(), back.summary["sharp"].values(), strict=True)]
    tables += zip(there.of_class["blunt"], back.of_class["sharp"], strict=True)
    for a, b in tables:
        assert (a.p_value, a.p_permutation, a.p_holm) == pytest.approx(
            (b.p_value, b.p_permutation, b.p_holm), nan_ok=True
        )
        mirrored = (-b.difference.value, -b.difference.high, -b.difference.low)
        assert (a.difference.value, a.difference.low, a.difference.high) == pytest.approx(
            mirrored, abs=ATOL, nan_ok=True
        )


def test_differences_are_those_of_paired_replicates() -> None:
    one, other = detectors()
    drawn = [evaluation.bootstrap(100).replicates.summary[0] for evaluation in (one, other)]
    change = jaxmap.compare(one, other, num_replicates=100).summary["B"]["AP"]
    assert change.difference.standard_error == pytest.approx((drawn[1] - drawn[0]).std(ddof=1), abs=ATOL)
    assert change.difference.value == pytest.approx(other.summary["AP"] - one.summary["AP"], abs=ATOL)
    assert (change.first, change.other) == pytest.approx((one.summary["AP"], other.summary["AP"]), abs=ATOL)


def test_exchanged_detectors_equal_evaluations_of_mixed_detections() -> None:
    from jaxmap.analysis._compare import _coins, _exchanged

    scene = random_scene(np.random.default_rng(5510), score_ties=False, default_options=True)
    found, truth = scene.lists()
    moved = [image | {"boxes": image["boxes"] * 1.07, "scores": image["scores"] * 0.9} for image in found]

    def score(detections: list[Any]) -> jaxmap.Evaluation:
        return jaxmap.evaluate(detections, truth, box_format="xywh", num_classes=len(scene.class_ids))

    one, other = score(found), score(moved)
    number = len(truth)
    swapped = _exchanged((one.dataset, other.dataset), one.protocol, np.arange(number), number, 9, 8)
    for index in range(8):
        coins = _coins(9, index, number)
        mixed = [b if coin else a for a, b, coin in zip(found, moved, coins, strict=True)]
        rest = [a if coin else b for a, b, coin in zip(found, moved, coins, strict=True)]
        expected = np.array(list(score(rest).summary.values())) - list(score(mixed).summary.values())
        np.testing.assert_allclose(swapped.summary[:, index], expected, rtol=0, atol=ATOL)


def test_p_values_by_hand() -> None:
    assert _p_of_sign(np.array([0.1, 0.2, -0.1, 0.3, np.nan])) == 2 * (1 + 1) / (4 + 1)
    assert _p_of_sign(np.zeros(9)) == 1
    assert _p_of_size(0.2, np.array([0.1, -0.2, 0.3, 0.0])) == (2 + 1) / (4 + 1)
    one, _ = detectors(2)
    rows = jaxmap.compare(one, one, num_replicates=2).of_class["B"][:1] * 4
    p_values = (0.01, 0.04, np.nan, 0.03)
    corrected = _corrected([row._replace(p_value=p) for row, p in zip(rows, p_values, strict=True)])
    # Holm: 3 x 0.01, 2 x 0.03, and 1 x 0.04, which may not be below the one before it.
    assert [row.p_holm for row in corrected] == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)


def test_several_models_and_several_looks() -> None:
    one, other = detectors()
    result = jaxmap.compare(one, one, other, names=["a", "same", "worse"], num_replicates=60, permutation=False)
    assert list(result.summary) == ["same", "worse"]
    assert set(result.numbers()["model"]) == {"same", "worse"}
    assert np.isnan(result.numbers()["p_permutation"]).all()
    once = result.summary["worse"]["AP"]
    stricter = jaxmap.compare(one, other, num_replicates=60, num_looks=5, permutation=False).summary["B"]["AP"]
    assert stricter.difference.high - stricter.difference.low > once.difference.high - once.difference.low
    assert stricter.p_value == pytest.approx(min(5 * once.p_value, 1))


def test_tables_text_and_json() -> None:
    one, other = detectors()
    result = jaxmap.compare(one, other, names=["a", "b"], num_replicates=40)
    text = str(result)
    assert text.startswith("b minus a: 95% intervals (BCa), 40 paired replicates\n AP ")
    content = json.loads(json.dumps(result.to_dict(3), allow_nan=False))
    assert [row["number"] for row in content["summary"]] == list(one.summary)
    assert len(content["per_class"]) == len(one.class_names)
    assert len(content["images"]) == 3
    images = result.images()
    change = other.influence(), one.influence()
    expected = {image: -value for image, value in zip(change[1]["image_id"].tolist(), change[1]["AP"], strict=True)}
    for image, value in zip(change[0]["image_id"].tolist(), change[0]["AP"], strict=True):
        expected[image] += value
    assert dict(zip(images["image_id"].tolist(), images["influence"], strict=True)) == pytest.approx(expected, abs=ATOL)


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_changes_are_the_objects_that_only_one_finds(threshold: float) -> None:
    one, other = detectors()
    result = jaxmap.compare(one, other, num_replicates=2, permutation=False)
    found = []
    for evaluation in (one, other):
        rows = evaluation.matches(threshold)
        hits = rows["matched"] & ~rows["ignored"]
        keys = zip(rows["image_id"][hits].tolist(), rows["ground_truth"][hits].tolist(), strict=True)
        found.append(
            dict(zip(keys, zip(rows["detection"][hits].tolist(), rows["iou"][hits].tolist(), strict=True), strict=True))
        )
    changes = result.changes(threshold)
    got = {
        (row["image_id"], row["ground_truth"]): (row["change"], row["detection"], row["iou"]) for row in changes.rows()
    }
    expected = {key: ("found", *found[1][key]) for key in found[1].keys() - found[0].keys()}
    expected |= {key: ("lost", *found[0][key]) for key in found[0].keys() - found[1].keys()}
    assert got == expected
    assert {"found", "lost"} == set(changes["change"].tolist())
    counts = [row for row in result.wins().rows() if row["of"] == "objects"]
    objects = int(one.dataset.num_ground_truths[:, 0].sum())
    half = result.changes()["change"].tolist()
    assert [tuple(row.values()) for row in counts] == [
        ("B", "objects", half.count("found"), half.count("lost"), objects - len(half))
    ]
    few = result.changes(threshold, 1)
    assert few["change"].tolist() == ["found", "lost"]
    for kind in ("found", "lost"):
        kept, scores = few["score"][few["change"] == kind], changes["score"][changes["change"] == kind]
        assert kept.tolist() == sorted(scores.tolist(), reverse=True)[:1]
    with pytest.raises(ValueError, match="`iou_threshold` must be one of"):
        result.changes(0.42)


def test_changes_know_objects_by_their_ids() -> None:
    found, truth = io.demo_scene(30, 0)
    one, other = detectors()
    order = np.argsort(-np.arange(len(truth.ids)))
    names = ("image_index", "labels", "boxes", "area", "crowd", "ignore", "ids")
    backwards = dataclasses.replace(truth, **{name: getattr(truth, name)[order] for name in names})
    moved = dataclasses.replace(found, boxes=found.boxes + np.array([6.0, 0, 0, 0]))
    mixed = jaxmap.compare(one, jaxmap.evaluate(moved, backwards), num_replicates=2, permutation=False)
    plain = jaxmap.compare(one, other, num_replicates=2, permutation=False)
    assert sorted(map(str, mixed.changes().rows())) == sorted(map(str, plain.changes().rows()))
    renamed = jaxmap.evaluate(found, dataclasses.replace(truth, ids=truth.ids + 1000))
    result = jaxmap.compare(one, renamed, num_replicates=2, permutation=False)
    assert "objects" not in result.wins()["of"]
    with pytest.raises(ValueError, match="the objects of the two evaluations have different ids, such as"):
        result.changes()
    part = one.of_images(np.ones(len(one.image_ids), bool))
    without = jaxmap.compare(part, part, num_replicates=2, permutation=False)
    assert "objects" not in without.wins()["of"]
    assert "objects" not in str(without)
    with pytest.raises(ValueError, match="`changes` needs the boxes of both sides"):
        without.changes()


def test_different_data_are_refused() -> None:
    one, other = detectors()
    fewer = other.of_images(np.arange(len(other.image_ids)) > 2)
    with pytest.raises(
        ValueError, match=r"'A' and 'B' have different images: 3 .such as .* only in 'A', 0 only in 'B'"
    ):
        jaxmap.compare(one, fewer)
    found, truth = io.demo_scene(30, 0)
    one_more = truth.crowd | (np.arange(len(truth.labels)) == np.flatnonzero(~truth.crowd)[0])
    without = dataclasses.replace(truth, crowd=one_more)
    changed = jaxmap.evaluate(found, without)
    with pytest.raises(ValueError, match=r"different ground truths in 1 images: 1 .such as"):
        jaxmap.compare(one, changed)
    with pytest.raises(ValueError, match="different protocols"):
        jaxmap.compare(one, jaxmap.evaluate(found, truth, max_detections=10))
    with pytest.raises(ValueError, match="at least two evaluations, got 1"):
        jaxmap.compare(one)
    with pytest.raises(ValueError, match="`names` must be 2 different names"):
        jaxmap.compare(one, other, names=["a", "a"])
    with pytest.raises(TypeError, match="evaluation 1"):
        jaxmap.compare(one, other.summary)  # type: ignore[arg-type]


# ---- influence ----


@pytest.mark.parametrize("seed", range(12))
def test_influence_equals_evaluations_without_each_image(seed: int) -> None:
    scene = random_scene(np.random.default_rng([5520, seed]))
    evaluation = evaluate_scene(scene)
    influence = evaluation.influence()
    whole = np.array(list(evaluation.summary.values()))
    assert list(influence)[1:] == list(evaluation.summary)
    assert np.all(np.diff(np.abs(np.nan_to_num(influence["AP"]))) <= 0)
    for row, image in enumerate(influence["image_id"].tolist()):
        rest = evaluation.of_images(evaluation.image_ids != image)
        expected = whole - list(rest.summary.values())
        got = [influence[name][row] for name in evaluation.summary]
        np.testing.assert_allclose(got, expected, rtol=0, atol=ATOL)


# ---- slices and learning curves ----


@pytest.mark.parametrize("seed", range(8))
def test_slices_equal_evaluations_of_their_images(seed: int) -> None:
    rng = np.random.default_rng([5530, seed])
    scene = random_scene(rng)
    evaluation = evaluate_scene(scene)
    night = rng.random(len(scene.image_ids)) < 0.5
    part = evaluation.slices({"night": night}, num_replicates=None)["night"].evaluation
    found, truth = ([image for image, kept in zip(side, night, strict=True) if kept] for side in scene.lists())
    expected = jaxmap.evaluate(found, truth, box_format="xywh", num_classes=len(scene.class_ids), **scene.options)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))
    assert part.summary == pytest.approx(expected.summary, nan_ok=True, abs=0)
    np.testing.assert_array_equal(part.per_image()["AP"], expected.per_image()["AP"])
    assert part.explain().together == pytest.approx(expected.explain().together, abs=0, nan_ok=True)


def test_slices_by_columns_and_ids() -> None:
    evaluation, _ = detectors(6)
    ids = evaluation.image_ids.tolist()
    weather = ["sun", "rain", "", "sun", "rain", "rain"]
    by_place = evaluation.slices({"weather": weather, "size": [1, 1, 1, 2, 2, None]}, num_replicates=20)
    assert [*by_place.slices] == ["all", "weather=rain", "weather=sun", "size=1", "size=2"]
    assert by_place.numbers()["num_images"].tolist() == [6, 3, 2, 3, 2]
    shuffled = {"image_id": [*reversed(ids), "other"], "weather": [*reversed(weather), "sun"], "size": [0] * 7}
    by_id = evaluation.slices(shuffled, "weather", num_replicates=20)
    assert [*by_id.slices] == ["all", "weather=rain", "weather=sun"]
    for name, one in by_id.slices.items():
        np.testing.assert_array_equal(one.evaluation.image_ids, by_place[name].evaluation.image_ids)
        assert one.bootstrap.summary["AP"] == by_place[name].bootstrap.summary["AP"]
    assert str(by_place).splitlines()[0].split() == ["slice", "images", "objects", "AP", "interval"]
    assert json.loads(json.dumps(by_place.to_dict(), allow_nan=False))["slices"][1]["slice"] == "weather=rain"


@pytest.mark.parametrize(
    ("table", "by", "words"),
    [
        ({"a": [1] * 5}, None, "the column 'a' must have one value for each of 6 images"),
        ({"a": [1] * 6}, "b", r"`by` must name columns of the table, \['a'\], got \['b'\]"),
        ({"image_id": [1, 1], "a": [1, 1]}, None, "'image_id' must name each image once, got 1 more than once"),
        ({"image_id": [-5], "a": [1]}, None, "the table has no row for 6 images"),
        ({}, None, "the table has no column to slice by"),
    ],
)
def test_bad_tables(table: dict[str, Any], by: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        detectors(6)[0].slices(table, by)


def test_tables_of_other_types_and_too_many_values() -> None:
    with pytest.raises(TypeError, match="slices must be columns by name"):
        detectors(6)[0].slices([1, 2])
    with pytest.raises(ValueError, match="has 101 values, which is too many"):
        detectors(101)[0].slices({"hour": list(range(101))})


def test_a_learning_curve_ends_at_the_evaluation() -> None:
    evaluation, _ = detectors(20)
    curve = evaluation.learning_curve([5, 20], num_samples=8)
    rows = [row for row in curve.rows() if row["number"] == "AP"]
    assert [row["num_images"] for row in rows] == [5, 20]
    assert rows[0]["low"] < rows[0]["mean"] < rows[0]["high"]
    for name in ("mean", "low", "high"):
        assert rows[1][name] == pytest.approx(evaluation.summary["AP"], abs=ATOL)
    assert evaluation.learning_curve(num_samples=2)["num_images"].min() == 2
    with pytest.raises(ValueError, match="`sizes` must be ascending numbers of images from 2 to 20"):
        evaluation.learning_curve([10, 21])


def test_looks_decide_once_there_are_enough_images() -> None:
    one, other = detectors(60)
    looks = sequential_comparison(jaxmap.compare(one, other, num_replicates=80, permutation=False), [4, 60])
    last = jaxmap.compare(one, other, num_replicates=80, permutation=False, num_looks=2).summary["B"]["AP"].difference
    assert looks["num_images"].tolist() == [4, 60]
    assert looks["high"][0] < 0 < 0.05 < looks["p_permutation"][0]  # 4 images can be exchanged in 16 ways
    assert looks["decided"].tolist() == [False, True]
    assert (looks["low"][1], looks["high"][1]) == pytest.approx((last.low, last.high), abs=ATOL)
    with pytest.raises(ValueError, match=r"2 looks need at least 40 replicates, or no p-value can be below 0\.05"):
        sequential_comparison(jaxmap.compare(one, other, num_replicates=30, permutation=False), [4, 60])
    videos = jaxmap.compare(one, other, num_replicates=80, permutation=False, unit=np.arange(60) // 2)
    with pytest.raises(ValueError, match="the comparison drew 30 groups of 60 images, and looks take single images"):
        sequential_comparison(videos, [4, 60])
