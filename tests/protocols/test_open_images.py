"""The Open Images protocol: each of its rules by hand, random scenes against a plain definition, and inside `jit`."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap import OPEN_IMAGES, VOC2012
from jaxmap.protocols import OPEN_IMAGES_CHALLENGE, EvaluationProtocol
from support.one_image import BOX, FAR, OTHER, detections, truths
from support.plain_open_images import open_images_ap
from support.scenes import odd_scenes, pad
from support.voc_devkit import Found, Real, average_precision, outcomes
from support.voc_scenes import NUM_IMAGES, D, G, Images, K, random_scene

pytestmark = odd_scenes

INSIDE = [0, 0, 10, 10]  # a twenty-fifth of BOX, and wholly inside: IoU 0.04, IoA 1


def ap(found: dict[str, Any], real: dict[str, Any], protocol: EvaluationProtocol = OPEN_IMAGES) -> float:
    return jaxmap.evaluate([found], [real], protocol=protocol).summary["AP"]


# By hand.


def test_detections_inside_a_group_are_left_out_however_many() -> None:
    # Two inside the group, then the hit: precision 1; without the group 1 / 3.
    found = detections((INSIDE, 0.9), (BOX, 0.8), (OTHER, 0.7))
    assert ap(found, truths(BOX, OTHER, crowd=[True, False])) == pytest.approx(1.0)
    assert ap(found, truths(OTHER)) == pytest.approx(1 / 3)
    # A group is never counted: without another object AP is not defined.
    assert np.isnan(ap(found, truths(BOX, crowd=[True])))


def test_share_inside_the_group_must_reach_the_threshold() -> None:
    for width, expected in ((50, 1.0), (51, 0.5)):  # 25 columns of 50, then of 51 inside
        found = detections(([25, 0, 25 + width, 50], 0.9), (OTHER, 0.7))
        assert ap(found, truths(BOX, OTHER, crowd=[True, False])) == pytest.approx(expected)


def test_object_comes_before_the_group_around_it() -> None:
    # The first detection is the object, its double lies inside the group and is left out, where VOC counts it.
    found = detections((INSIDE, 0.9), (INSIDE, 0.8), (OTHER, 0.7))
    real = truths(BOX, INSIDE, OTHER, crowd=[True, False, False])
    assert ap(found, real) == pytest.approx(1.0)
    columns = jaxmap.evaluate([found], [real], protocol=OPEN_IMAGES).matches()
    assert columns["ground_truth"].tolist() == [1, 0, 2]
    assert columns["ignored"].tolist() == [False, True, False]
    # VOC: hit, miss, hit.
    assert jaxmap.evaluate([found], [real], protocol=VOC2012).summary["AP"] == pytest.approx((1 + 2 / 3) / 2)


def test_detection_does_not_fall_back_on_its_second_best_object() -> None:
    # As in VOC: the second one is nearest to BOX, which is taken, and shares 43 of 57 columns with the other box.
    found = detections((BOX, 0.9), ([5, 0, 55, 50], 0.8))
    assert ap(found, truths(BOX, [12, 0, 62, 50])) == pytest.approx(0.5)


def test_classes_that_were_not_verified_take_no_part() -> None:
    # Class 1 is in the first image; in the second it is verified absent, and in the third nobody looked.
    real = [
        truths(BOX, labels=[1]) | {"verified": [False, True]},
        truths() | {"verified": [False, True]},
        truths() | {"verified": [True, False]},
    ]
    hit = detections((BOX, 0.5), labels=[1])
    wrong = detections((FAR, 0.9), labels=[1])
    none = detections()
    for found, expected in (([hit, none, none], 1.0), ([hit, wrong, none], 0.5), ([hit, none, wrong], 1.0)):
        summary = jaxmap.evaluate(found, real, protocol=OPEN_IMAGES, num_classes=2).summary
        assert summary["AP"] == pytest.approx(expected)


def test_challenge_counts_a_group_as_one_object() -> None:
    # Two inside the group, of which the better is a hit and the other is left out, then the other object.
    found = detections((INSIDE, 0.9), (BOX, 0.8), (OTHER, 0.7))
    real = truths(BOX, OTHER, crowd=[True, False])
    evaluation = jaxmap.evaluate([found], [real], protocol=OPEN_IMAGES_CHALLENGE)
    assert evaluation.summary == {"AP": pytest.approx(1.0), "AR": pytest.approx(1.0)}
    assert evaluation.matches()["ignored"].tolist() == [False, True, False]
    # A group without a detection is missed; alone it defines AP.
    assert ap(detections((OTHER, 0.7)), real, OPEN_IMAGES_CHALLENGE) == pytest.approx(0.5)
    assert ap(detections((FAR, 0.9)), truths(BOX, crowd=[True]), OPEN_IMAGES_CHALLENGE) == 0


def test_challenge_gives_a_detection_to_the_object_before_the_group() -> None:
    # The object, its double in the group around both, and a difficult one there, which leaves its detection out.
    edge = [40, 40, 50, 50]
    found = detections((edge, 0.9), (INSIDE, 0.8), (INSIDE, 0.7), (INSIDE, 0.6))
    real = truths(BOX, INSIDE, edge, crowd=[True, False, False], ignore=[False, False, True])
    columns = jaxmap.evaluate([found], [real], protocol=OPEN_IMAGES_CHALLENGE).matches()
    assert columns["ground_truth"].tolist() == [2, 1, 0, 0]
    assert columns["ignored"].tolist() == [True, False, False, True]


def test_challenge_takes_the_group_with_the_largest_share() -> None:
    # The second detection is inside both; the first group has it wholly, and is taken, so it is left out.
    found = detections((INSIDE, 0.9), ([0, 0, 20, 10], 0.8), ([60, 0, 70, 10], 0.7))
    real = truths(BOX, [5, 0, 80, 20], crowd=[True, True])
    columns = jaxmap.evaluate([found], [real], protocol=OPEN_IMAGES_CHALLENGE).matches()
    assert columns["ground_truth"].tolist() == [0, 0, 1]
    assert columns["ignored"].tolist() == [False, True, False]


def test_groups_need_the_most_similar_object() -> None:
    with pytest.raises(ValueError, match="for `candidates='best'` only, got 'all'"):
        dataclasses.replace(OPEN_IMAGES_CHALLENGE, candidates="all")


# Against a plain definition.


def federated(seed: int) -> tuple[Images, Images]:
    """Returns a scene of VOC's tests, some of its crowds wider, with the classes that each image was searched for."""
    found, real = random_scene(seed)
    rng = np.random.default_rng(seed)
    for one in real:
        wide = one["crowd"] & (rng.random(len(one["crowd"])) < 0.7)
        one["boxes"][wide] += [-4, -4, 4, 4]
        one["verified"] = rng.random(K) < 0.6
        one["verified"][one["labels"]] = True
    return found, real


def plain_average_precision(found: Images, real: Images, label: int) -> float:
    """AP of a class: VOC's without the groups, once the detections that met nothing else but a group are gone."""
    objects: dict[int, list[Real]] = {}
    groups: dict[int, list[list[float]]] = {}
    rows = []
    for image, (dt, gt) in enumerate(zip(found, real, strict=True)):
        own = gt["labels"] == label
        objects[image] = [
            Real(box, bool(difficult))
            for box, difficult in zip(
                gt["boxes"][own & ~gt["crowd"]].tolist(), gt["ignore"][own & ~gt["crowd"]], strict=True
            )
        ]
        groups[image] = gt["boxes"][own & gt["crowd"]].tolist()
        if gt["verified"][label]:
            mine = dt["labels"] == label
            rows += [
                Found(image, score, box)
                for score, box in zip(dt["scores"][mine].tolist(), dt["boxes"][mine].tolist(), strict=True)
            ]
    left_over = [word == "false" for word in outcomes(rows, objects, threshold=0.5, pixel=0.0)]
    rows = [
        row
        for row, is_left_over in zip(rows, left_over, strict=True)
        if not (is_left_over and any(share_inside(row.corners, group) >= 0.5 for group in groups[row.image]))
    ]
    return average_precision(rows, objects)


def share_inside(box: Any, group: Any) -> float:
    width = min(box[2], group[2]) - max(box[0], group[0])
    height = min(box[3], group[3]) - max(box[1], group[1])
    return width * height / ((box[2] - box[0]) * (box[3] - box[1])) if width > 0 and height > 0 else 0.0


def test_random_scenes_equal_the_plain_definition() -> None:
    differs_from_voc = 0
    for seed in range(30):
        found, real = federated(seed)
        evaluation = jaxmap.evaluate(found, real, protocol=OPEN_IMAGES, num_classes=K)
        plain = [plain_average_precision(found, real, label) for label in range(K)]
        # Float64 on both sides; the guard of precision at one detection is 2e-16.
        np.testing.assert_allclose(evaluation.per_class()["AP"], plain, rtol=0, atol=1e-12)
        voc = jaxmap.evaluate(found, real, protocol=VOC2012, num_classes=K)
        differs_from_voc += evaluation.summary["AP"] != voc.summary["AP"]
    assert differs_from_voc > 15  # of 30: groups had work to do


@pytest.mark.parametrize("protocol", [OPEN_IMAGES, OPEN_IMAGES_CHALLENGE], ids=str)
def test_random_scenes_equal_the_evaluator_with_either_weight(protocol: EvaluationProtocol) -> None:
    differs = 0
    for seed in range(60):
        found, real = federated(seed)
        weight = int(protocol is OPEN_IMAGES_CHALLENGE)
        plain = [open_images_ap(found, real, label, group_of_weight=weight) for label in range(K)]
        ours = jaxmap.evaluate(found, real, protocol=protocol, num_classes=K)
        np.testing.assert_allclose(ours.per_class()["AP"], plain, rtol=0, atol=1e-12)
        other = [open_images_ap(found, real, label, group_of_weight=1 - weight) for label in range(K)]
        differs += not np.array_equal(plain, other, equal_nan=True)
    assert differs > 30  # of 60


METRIC = jaxmap.AveragePrecision(
    num_classes=K,
    max_images=NUM_IMAGES,
    max_detections_per_image=D,
    max_ground_truths_per_image=G,
    protocol=OPEN_IMAGES,
)
METRICS = [METRIC, dataclasses.replace(METRIC, protocol=OPEN_IMAGES_CHALLENGE)]


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.protocol.name)
def test_inside_jit_equals_the_host(metric: jaxmap.AveragePrecision) -> None:
    update = jax.jit(metric.update)
    narrow = {"f": np.float32, "i": np.int32, "b": np.bool_}
    for seed in range(15):
        found, real = federated(seed)
        expected = jaxmap.evaluate(found, real, protocol=metric.protocol, num_classes=K).summary
        verified = np.stack([one.pop("verified") for one in real])
        dt, gt = (
            {name: column.astype(narrow[column.dtype.kind]) for name, column in pad(side, length).items()}
            for side, length in ((found, D), (real, G))
        )
        truth = jaxmap.GroundTruths(**gt, verified=verified)
        state = update(metric.init(), jaxmap.Detections(**dt), truth, image_id=np.arange(NUM_IMAGES))
        numbers = metric.summarize(metric.compute(state))
        # Matches are exact on these whole-number boxes, and curves are integrated in float64.
        np.testing.assert_allclose([numbers[name] for name in expected], [*expected.values()], rtol=0, atol=1e-12)
