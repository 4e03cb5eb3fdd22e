"""Panoptic quality: every rule by hand on both routes, and random maps against a plain reference.

Counts are exact. On the host, sums of IoUs are float64, within 1e-12 of exact fractions; in the state each IoU is
rounded to a multiple of 2^-32, which moves a sum of n by n * 2^-33 at most. Inside `jit` numbers are float32: 1e-6.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from random import Random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxmap
from jaxmap._counts64 import to_host
from jaxmap._panoptic._device import fixed_point
from jaxmap.metrics import PanopticQuality, category_instance_to_segments
from jaxmap.metrics._segmentation import _segment_maps
from support.panoptic_scenes import NUM_CLASSES, ClassCounts, host_images, plain_counts, plain_images, random_scene

SEGMENTS, LABELS = "abxy", [0, 0, 1, 1]
LENGTH = 6
# A letter is a segment: a and b of class 0, x and y of class 1; a dot is no segment, and void in the truth; capitals
# are crowds. Then TP, FP, FN and the sum of IoUs of both classes.
BY_HAND = {
    "an IoU of one half is no match": ("aaaa", "aaxx", (0, 1, 1, 0), (0, 0, 1, 0)),
    "more than half is": ("aaaaa", "aaaxx", (1, 0, 0, 3 / 5), (0, 0, 1, 0)),
    "the union leaves out void": ("aaaa", "aa..", (1, 0, 0, 1), (0, 0, 0, 0)),
    "pixels without a prediction count": ("aa.a", "aaaa", (1, 0, 0, 3 / 4), (0, 0, 0, 0)),
    "classes must be the same": ("aaa", "xxx", (0, 1, 0, 0), (0, 0, 1, 0)),
    "a segment matches one": ("aaab", "aaaa", (1, 1, 0, 3 / 4), (0, 0, 0, 0)),
    "half on void is a false positive": ("bb", ".x", (0, 1, 0, 0), (0, 0, 1, 0)),
    "more than half on void is none": ("bbb", "..x", (0, 0, 0, 0), (0, 0, 1, 0)),
    "a crowd is neither matched nor missed": ("aaxx", "AAXX", (0, 0, 0, 0), (0, 0, 0, 0)),
    "more than half on a crowd is excused": ("aaa", "BBx", (0, 0, 0, 0), (0, 0, 1, 0)),
    "half on a crowd is not": ("aa", "Bx", (0, 1, 0, 0), (0, 0, 1, 0)),
    "a crowd excuses its own class alone": ("aaa", "XXy", (0, 1, 0, 0), (0, 0, 1, 0)),
    "void and a crowd add up": ("aaaaa", ".BBxx", (0, 0, 0, 0), (0, 0, 1, 0)),
    "all crowds of a class add up": ("aaaaa", "AABxx", (0, 0, 0, 0), (0, 0, 1, 0)),  # panopticapi: of AA or B, the last
    "a crowd is part of the union": ("aaaa", "aaBB", (0, 1, 1, 0), (0, 0, 0, 0)),  # 2/4, and half is not excused
    "nothing is nothing": ("....", "....", (0, 0, 0, 0), (0, 0, 0, 0)),
}  # fmt: skip


def hand_scene() -> dict[str, np.ndarray]:
    cases = list(BY_HAND.values())
    predicted, truth = (
        [[[SEGMENTS.find(letter.lower()) for letter in case[side].ljust(LENGTH, ".")]] for case in cases]
        for side in (0, 1)
    )
    labels = np.tile(LABELS, (len(cases), 1))
    return {
        "predicted": np.array(predicted),
        "truth": np.array(truth),
        "predicted_labels": labels,
        "truth_labels": labels,
        "truth_crowd": np.array([[letter.upper() in case[1] for letter in SEGMENTS] for case in cases]),
    }


def test_rules_by_hand() -> None:
    metric, scene = PanopticQuality(num_classes=2, things=(0,)), hand_scene()

    @jax.jit
    @jax.vmap
    def states(image: dict[str, Any]) -> Any:
        batch = {name: column[None] for name, column in image.items()}
        return metric.update(metric.init(), **batch)

    in_jit = to_host(states(scene))
    for index, (rule, case) in enumerate(BY_HAND.items()):
        one = {name: column[index : index + 1] for name, column in scene.items()}
        on_host = jaxmap.panoptic_quality(*host_images(one), num_classes=2)
        expected = np.array(case[2:])
        columns = on_host.true_positives, on_host.false_positives, on_host.false_negatives, on_host.iou_sum
        np.testing.assert_array_equal(np.stack(columns, axis=1), expected, err_msg=f"host: {rule}")
        np.testing.assert_array_equal(in_jit.segments[index], expected[:, :3].T, err_msg=f"jit: {rule}")
        np.testing.assert_allclose(
            in_jit.iou_sum[index] / 2**32, expected[:, 3], rtol=0, atol=2**-33, err_msg=f"jit: {rule}"
        )


METRIC = PanopticQuality(num_classes=NUM_CLASSES, things=(0, 2))


@jax.jit
def update(state: Any, scene: dict[str, Any]) -> Any:
    return METRIC.update(state, **scene)


def all_real(scene: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return scene | {"valid": np.ones(scene["truth"].shape, bool)}


@functools.cache
def expected_of(seed: int) -> list[ClassCounts]:
    counts = plain_counts(plain_images(*host_images(random_scene(seed=seed))))
    return [counts[label] for label in range(NUM_CLASSES)]


@pytest.mark.parametrize("seed", range(4))
def test_random_maps_equal_the_plain_reference(seed: int) -> None:
    scene, expected = random_scene(seed=seed), expected_of(seed)
    assert sum(of_class.true_positives for of_class in expected) > 8
    assert sum(of_class.false_positives for of_class in expected) > 3
    on_host = jaxmap.panoptic_quality(*host_images(scene), num_classes=NUM_CLASSES, things=[0, 2])
    state = to_host(update(METRIC.init(), all_real(scene)))
    for row, name in enumerate(("true_positives", "false_positives", "false_negatives")):
        plain = [getattr(of_class, name) for of_class in expected]
        np.testing.assert_array_equal(getattr(on_host, name), plain)
        np.testing.assert_array_equal(state.segments[row], plain)
    for label, of_class in enumerate(expected):
        assert abs(Fraction(on_host.iou_sum[label]) - of_class.iou_sum) < 1e-12
        assert abs(Fraction(int(state.iou_sum[label]), 2**32) - of_class.iou_sum) <= Fraction(
            of_class.true_positives, 2**33
        )


def test_numbers_of_both_routes_and_of_the_definition_are_the_same() -> None:
    scene, expected = random_scene(), expected_of(0)
    on_host = jaxmap.panoptic_quality(*host_images(scene), num_classes=NUM_CLASSES, things=[0, 2])
    state = update(METRIC.init(), all_real(scene))
    result = METRIC.compute(state)
    wholes = [c.true_positives + Fraction(c.false_positives + c.false_negatives, 2) for c in expected]
    plain = [float(c.iou_sum / whole) if whole else np.nan for c, whole in zip(expected, wholes, strict=True)]
    assert np.isnan(plain).tolist() == [False, False, False, True]
    np.testing.assert_allclose(on_host.pq, plain, rtol=0, atol=1e-12)
    assert on_host.summary["PQ"] == pytest.approx(np.nanmean(plain), rel=0, abs=1e-12)
    assert on_host.summary["PQ_th"] == pytest.approx((plain[0] + plain[2]) / 2, rel=0, abs=1e-12)
    assert on_host.summary["PQ_st"] == pytest.approx(plain[1], rel=0, abs=1e-12)
    np.testing.assert_allclose(on_host.pq, on_host.sq * on_host.rq, rtol=0, atol=1e-12)
    numbers = METRIC.summarize(result)
    assert numbers == pytest.approx(on_host.summary | result.counters, rel=0, abs=1e-9)
    for name in ("pq", "sq", "rq"):
        np.testing.assert_allclose(getattr(result, name), getattr(on_host, name), rtol=0, atol=1e-9)
    inside = jax.jit(METRIC.compute)(state)
    assert inside.pq.dtype == np.float32
    assert inside.pq[3] == -1
    assert METRIC.summarize(inside) == pytest.approx(numbers, rel=0, abs=1e-6)


def test_quality_of_a_class_without_a_match_is_zero_and_of_one_without_segments_undefined() -> None:
    truth = {"segments": np.array([[[0, 0]]]), "labels": np.array([[1]])}
    nothing = {"segments": np.array([[[-1, -1]]]), "labels": np.zeros((1, 0), int)}
    on_host = jaxmap.panoptic_quality(nothing, truth, num_classes=3, things=[0])
    np.testing.assert_array_equal([on_host.pq, on_host.sq, on_host.rq], 3 * [[np.nan, 0, np.nan]])
    expected = {"PQ": 0, "SQ": 0, "RQ": 0, "PQ_th": np.nan, "SQ_th": np.nan, "RQ_th": np.nan,
                "PQ_st": 0, "SQ_st": 0, "RQ_st": 0}  # fmt: skip
    assert on_host.summary == pytest.approx(expected, nan_ok=True)
    unknown = jaxmap.panoptic_quality(nothing, truth, num_classes=3).summary
    assert unknown == pytest.approx(expected | dict.fromkeys(("PQ_st", "SQ_st", "RQ_st"), np.nan), nan_ok=True)


def test_pixels_that_pad_an_image_change_nothing() -> None:
    scene, cut = all_real(random_scene()), all_real(random_scene())
    cut["valid"][:, 9:] = cut["valid"][:, :, 12:] = False
    cut["predicted"], cut["truth"] = (
        np.where(cut["valid"], cut[name], np.random.default_rng(3).integers(-9, 99, cut["truth"].shape))
        for name in ("predicted", "truth")
    )
    small = {name: column[:, :9, :12] if name in ("predicted", "truth") else column for name, column in scene.items()}
    del small["valid"]
    on_host = jaxmap.panoptic_quality(*host_images(small), num_classes=NUM_CLASSES)
    state = to_host(update(METRIC.init(), cut))
    columns = on_host.true_positives, on_host.false_positives, on_host.false_negatives
    np.testing.assert_array_equal(state.segments, columns)
    assert state.pixels[[0, 2, 3, 4]].tolist() == [6 * 9 * 12, 0, 0, 6 * (14 * 17 - 9 * 12)]


def test_pixels_of_no_segment_are_counted_by_their_reason() -> None:
    scene = all_real(random_scene())
    is_void = np.take_along_axis(
        np.pad(scene["truth_labels"], ((0, 0), (0, 1)), constant_values=-1), scene["truth"].reshape(6, -1) % 8, axis=1
    ).reshape(scene["truth"].shape) < 0  # fmt: skip
    scene["truth"], scene["predicted"] = scene["truth"].copy(), scene["predicted"].copy()
    scene["predicted_labels"] = scene["predicted_labels"].copy()
    scene["truth"][0, 0, :3], is_void[0, 0, :3] = 7, False  # room is for 0 to 6
    scene["predicted"][1, 0, :5] = 99
    scene["predicted_labels"][2, 4] = NUM_CLASSES
    num_bad_labels = (scene["predicted"][2] == 4).sum()
    assert num_bad_labels > 0
    result = METRIC.compute(update(METRIC.init(), scene))
    with pytest.warns(
        UserWarning, match="3 true pixels belong to a segment that is beyond `truth_labels` .*; .* predicted"
    ):
        METRIC.summarize(result)
    assert result.counters == {
        "num_pixels": 6 * 14 * 17,
        "num_void_pixels": is_void.sum(),
        "num_bad_true_pixels": 3,
        "num_bad_predicted_pixels": 5 + num_bad_labels,
        "num_padded_pixels": 0,
    }


def test_fixed_point_numbers_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    whole = np.concatenate([rng.integers(1, 40, 200), rng.integers(1, 2**31, 200), [2**31 - 1, 2**31 - 1, 1, 3]])
    part = np.concatenate([rng.integers(0, whole[:400] + 1), [2**31 - 2, 2**31 - 1, 1, 2]])
    values = to_host(jax.jit(fixed_point)(jnp.asarray(part, jnp.uint32), jnp.asarray(whole, jnp.uint32)))
    exact = [Fraction(int(p), int(w)) * 2**32 for p, w in zip(part, whole, strict=True)]
    assert all(abs(int(value) - one) <= Fraction(1, 2) for value, one in zip(values, exact, strict=True))
    assert values[-3] == values[-2] == 2**32


def test_category_and_instance_maps_become_segments() -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(-1, 4, (3, 5, 7, 2))  # classes -1 (void) to 3, of which 3 is none
    things = (0, 2)
    convert = jax.jit(functools.partial(category_instance_to_segments, num_classes=3, max_segments=6, things=things))
    segments, labels = map(np.asarray, convert(maps))
    for image, numbers, of_segment in zip(maps, segments, labels, strict=True):
        pairs = [(c, i if c in things else 0) if 0 <= c < 3 else None for c, i in image.reshape(-1, 2).tolist()]
        places = sorted({pair for pair in pairs if pair is not None})
        assert len(places) > 6  # so that not all have room
        assert numbers.ravel().tolist() == [-1 if pair is None else min(places.index(pair), 6) for pair in pairs]
        assert of_segment.tolist() == [label for label, _ in places][:6]


@pytest.mark.slow
@given(
    arrays(np.int32, st.tuples(st.integers(1, 2), *[st.integers(1, 10)] * 2), elements=st.integers(0, 3)),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_the_kernel_for_a_tpu_finds_the_same_segments(
    classes: np.ndarray, stuff: list[bool], most: int, random: Random
) -> None:
    instances = np.array(random.choices([0, 1, 2, -5, 2**31 - 1, -(2**31)], k=classes.size), np.int32)
    pixels = _segment_maps._Pairs(jnp.asarray(classes), jnp.asarray(instances.reshape(classes.shape)))
    is_whole = jnp.array([*stuff, True])
    mine, theirs = (
        form(pixels, is_whole, max_segments=most)
        for form in (functools.partial(_segment_maps._on_tpu, interpret=True), _segment_maps._in_passes)
    )
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_instances_of_64_bits_stay_apart_or_are_refused() -> None:
    maps = np.array([[[[0, 1], [0, 2**32 + 1]]]])
    with pytest.raises(ValueError, match=r"`maps` must fit int32, got 4294967297 at \[0, 0, 1\]; number the instances"):
        category_instance_to_segments(maps, num_classes=1, max_segments=2)
    with jax.enable_x64(True):
        segments, _ = category_instance_to_segments(maps, num_classes=1, max_segments=2)
    assert segments.tolist() == [[[0, 1]]]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        ({"predicted": np.zeros((1, 2, 3), int)}, ValueError, r"must have one shape, got \[1, 2, 3\] and \[1, 1, 6\]"),
        ({"truth": np.zeros((1, 1, 6))}, TypeError, "`truth` must hold integers"),
        ({"predicted_labels": np.zeros(4, int)}, ValueError, r"`predicted_labels` must have shape \[1, segments\]"),
        ({"truth_labels": np.zeros((1, 4))}, TypeError, "`truth_labels` must hold integers, got dtype float"),
        ({"truth_crowd": np.zeros((1, 3), bool)}, ValueError, r"must have shape \[1, 4\], as `truth_labels` has, got"),
        ({"valid": np.ones(2, bool)}, ValueError, r"`valid` must have shape \[1\], one per image"),
        ({"truth_labels": jax.ShapeDtypeStruct((1, 2**30), np.int32)}, ValueError, r"fewer than 2\^31 .* split the"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(spoil: dict[str, Any], error: type[Exception], message: str) -> None:
    labels, maps = np.array([LABELS]), np.zeros((1, 1, 6), int)
    batch = {"predicted": maps, "truth": maps, "predicted_labels": labels, "truth_labels": labels} | spoil
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda batch: METRIC.update(METRIC.init(), **batch), batch)


def test_a_thing_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="`things` must be classes from 0 to 1, got 2"):
        PanopticQuality(num_classes=2, things=(2,))
    maps = np.zeros((1, 1, 6), int)
    with pytest.raises(ValueError, match=r"`maps` must have shape \[images, height, width, 2\], got \[1, 1, 6\]"):
        category_instance_to_segments(maps, num_classes=2, max_segments=4)
