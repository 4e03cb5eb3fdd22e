"""Modified and boundary PQ: both routes against a plain reference, torchmetrics, real images, and by hand."""

from __future__ import annotations

import collections
import functools
import pathlib
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._counts64 import to_host
from jaxmap._geometry._rle import boundary_distance
from jaxmap._panoptic._device import _distances
from jaxmap.io import read_coco_panoptic_ground_truths
from jaxmap.metrics import PanopticQuality, category_instance_to_segments
from support.panoptic_scenes import NUM_CLASSES, host_images, mask_boundary, plain_counts, plain_images, random_scene

THINGS = (0, 3)
STUFF = (1, 2)
KINDS = {
    "modified": {"modified": True},
    "boundary": {"boundary_ratio": 0.05},  # 2 of 39 pixels
    "narrow": {"boundary_ratio": 0.001},  # 1
    "both": {"modified": True, "boundary_ratio": 0.1},  # 4
    "wide": {"modified": True, "boundary_ratio": 1.0},  # a boundary is the whole segment
}


def wide_scene(seed: int) -> dict[str, np.ndarray]:
    """A scene whose segments are large enough for pixels inside."""
    scene = random_scene(shape=(12, 15), seed=seed)
    return {
        name: column.repeat(2, axis=1).repeat(2, axis=2) if name in ("predicted", "truth") else column
        for name, column in scene.items()
    }


def assert_equals_reference(scene: dict[str, np.ndarray], options: dict[str, Any], state: Any) -> None:
    found, truth = host_images(scene)
    on_host = jaxmap.panoptic_quality(found, truth, num_classes=NUM_CLASSES, things=THINGS, **options)
    ratio = options.get("boundary_ratio")
    plain = plain_counts(plain_images(found, truth), stuff=STUFF if "modified" in options else (), boundary_ratio=ratio)
    state = to_host(state)
    for row, name in enumerate(("true_positives", "false_positives", "false_negatives")):
        counts = [getattr(plain[label], name) for label in range(NUM_CLASSES)]
        np.testing.assert_array_equal(getattr(on_host, name), counts)
        np.testing.assert_array_equal(state.segments[row], counts)
    for label in range(NUM_CLASSES):
        assert abs(Fraction(on_host.iou_sum[label]) - plain[label].iou_sum) < 1e-12
        most = scene["truth_labels"].size * 7  # pairs of a class
        assert abs(Fraction(int(state.iou_sum[label]), 2**32) - plain[label].iou_sum) <= Fraction(most, 2**33)


def update_of(kind: str) -> tuple[PanopticQuality, Any]:
    metric = PanopticQuality(num_classes=NUM_CLASSES, things=THINGS, **KINDS[kind])  # type: ignore[arg-type]
    return metric, jitted(metric)


@functools.cache
def jitted(metric: PanopticQuality) -> Any:
    return jax.jit(lambda state, scene: metric.update(state, **scene))


@pytest.mark.parametrize("kind", KINDS)
def test_random_maps_equal_the_plain_reference(kind: str) -> None:
    metric, update = update_of(kind)
    for seed in range(4):
        scene = wide_scene(seed)
        assert_equals_reference(scene, KINDS[kind], update(metric.init(), scene))


def test_kinds_differ_from_each_other() -> None:
    found, truth = host_images(wide_scene(0))
    score = functools.partial(jaxmap.panoptic_quality, found, truth, num_classes=NUM_CLASSES, things=THINGS)
    names = [name for name in KINDS if name != "wide"]
    numbers = {score().summary["PQ"], *(score(**KINDS[kind]).summary["PQ"] for kind in names)}
    assert len(numbers) == 5
    assert score(**KINDS["wide"]).summary == score(modified=True).summary


def test_numbers_of_both_routes_are_the_same() -> None:
    metric, update = update_of("both")
    scene = wide_scene(1)
    on_host = jaxmap.panoptic_quality(*host_images(scene), num_classes=NUM_CLASSES, things=THINGS, **KINDS["both"])
    result = metric.compute(update(metric.init(), scene))
    numbers = metric.summarize(result)
    assert numbers == pytest.approx(on_host.summary | result.counters, rel=0, abs=1e-9)
    assert numbers["RQ_st"] == 1
    assert numbers["PQ_st"] == numbers["SQ_st"] < 1


# ---- modified PQ ----

# A letter is a segment: a and b of class 0, which is stuff; capitals are crowds; a dot is void. Then PQ of the class.
BY_HAND = {
    "below one half counts": ("a...", "aaaa", 1 / 4),
    "nothing found is zero": ("....", "aaaa", 0.0),
    "a false positive counts nothing": ("aaaa", "xxxx", np.nan),
    "the union leaves out void": ("aaaa", "aa..", 1.0),
    "parts of a segment add up": ("aabb", "aaaa", 1 / 2 + 1 / 2),
    "true segments share one": ("aaaa", "aabb", (1 / 2 + 1 / 2) / 2),
    "a crowd is not counted": ("aaaa", "aaBB", 1 / 2),
    "a crowd alone is undefined": ("aaaa", "AAAA", np.nan),
}


@pytest.mark.parametrize("rule", BY_HAND)
def test_rules_of_modified_quality_by_hand(rule: str) -> None:
    found, true, expected = BY_HAND[rule]
    maps = [np.array([[["abx".find(letter.lower()) for letter in row]]]) for row in (found, true)]
    labels = np.array([[0, 0, 1]])
    crowd = np.array([[letter.upper() in true for letter in "abx"]])
    scene = {"predicted": maps[0], "truth": maps[1], "predicted_labels": labels, "truth_labels": labels,
             "truth_crowd": crowd}  # fmt: skip
    on_host = jaxmap.panoptic_quality(*host_images(scene), num_classes=2, things=[1], modified=True)
    metric = PanopticQuality(num_classes=2, things=(1,), modified=True)
    result = metric.compute(jitted(metric)(metric.init(), scene))
    for pq in (on_host.pq, result.pq):
        assert pq[0] == pytest.approx(expected, rel=0, abs=1e-9, nan_ok=True)


def test_modified_quality_equals_torchmetrics() -> None:
    """Stuff has one segment per class there, predictions cover all pixels, and there are no crowds."""
    torch = pytest.importorskip("torch", reason="torchmetrics needs it")
    detection = pytest.importorskip("torchmetrics.detection", reason="the oracle of modified PQ")
    oracle = detection.ModifiedPanopticQuality(things=set(THINGS), stuffs=set(STUFF), allow_unknown_preds_category=True)
    metric = PanopticQuality(num_classes=NUM_CLASSES, things=THINGS, modified=True)
    rng, state, update = np.random.default_rng(0), metric.init(), jax.jit(metric.update)
    for _ in range(3):
        truth = np.stack([rng.integers(0, 5, (4, 5, 6)), rng.integers(0, 3, (4, 5, 6))], -1).repeat(4, 1).repeat(4, 2)
        predicted = np.where(rng.random((4, 20, 24, 1)) < 0.7, truth, np.roll(truth, (3, 2), axis=(1, 2)))
        predicted[..., 0] %= NUM_CLASSES  # void only in the truth
        oracle.update(torch.tensor(predicted), torch.tensor(truth))
        (found, labels), (true, true_labels) = (
            category_instance_to_segments(maps, num_classes=NUM_CLASSES, max_segments=12, things=THINGS)
            for maps in (predicted, truth)
        )
        state = update(state, found, true, predicted_labels=labels, truth_labels=true_labels)
    assert metric.summarize(metric.compute(state))["PQ"] == pytest.approx(float(oracle.compute()), rel=0, abs=1e-8)


def test_states_of_other_stuff_do_not_merge_where_it_is_counted_apart() -> None:
    one, other = (PanopticQuality(num_classes=3, things=things, modified=True) for things in ((0,), (0, 1)))
    with pytest.raises(ValueError, match=r"another configuration.*stuff"):
        one.merge(one.init(), other.init())
    reordered = PanopticQuality(num_classes=3, things=(1, 0), modified=True)
    reordered.merge(reordered.init(), other.init())
    plain, apart = (PanopticQuality(num_classes=3, things=things) for things in ((0,), (0, 1)))
    plain.merge(plain.init(), apart.init())


# ---- boundary PQ ----


def test_images_of_other_sizes_in_one_batch_have_the_boundaries_of_their_own() -> None:
    scene = wide_scene(2)
    sizes = [(24, 30), (24, 13), (10, 30), (20, 20), (3, 4), (24, 29)]
    options = {"boundary_ratio": 0.1}  # 4, 3, 3, 3, 1 and 4 pixels
    metric = PanopticQuality(num_classes=NUM_CLASSES, things=THINGS, **options)  # type: ignore[arg-type]
    valid = np.zeros(scene["truth"].shape, bool)
    for image, (height, width) in enumerate(sizes):
        valid[image, 4:, 5:] = valid[image, :height, :width] = False
        valid[image, :height, :width] = True
    state = to_host(jax.jit(lambda state: metric.update(state, **scene, valid=valid))(metric.init()))
    images = [
        [image | {"segments": image["segments"][: size[0], : size[1]]} for image, size in zip(side, sizes, strict=True)]
        for side in host_images(scene)
    ]
    on_host = jaxmap.panoptic_quality(*images, num_classes=NUM_CLASSES, things=THINGS, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        state.segments, [on_host.true_positives, on_host.false_positives, on_host.false_negatives]
    )
    np.testing.assert_allclose(state.iou_sum / 2**32, on_host.iou_sum, rtol=0, atol=1e-8)


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.1, 1])
def test_widths_of_boundaries_inside_jit_are_those_of_the_host(ratio: float) -> None:
    sizes = [(1, 1), (1, 200), (150, 1), (7, 24), (60, 80), (75, 100), (3, 4), (150, 200), (149, 199), (45, 60)]
    valid = np.zeros((len(sizes), 150, 200), bool)
    for image, (height, width) in enumerate(sizes):
        valid[image, :height, :width] = True
    widths = jax.jit(functools.partial(_distances, ratio=ratio))(jnp.asarray(valid))
    assert widths.tolist() == [boundary_distance(*size, ratio) for size in sizes]


def test_boundary_of_a_square_by_hand() -> None:
    """An image of diagonal 50, so that a boundary is 1 pixel wide; the prediction lacks two of ten columns."""
    truth, found = np.zeros((2, 30, 40), int)
    truth[5:15, 5:15] = found[5:15, 5:13] = 1
    images = [[{"segments": map_, "ids": [1], "labels": [0]}] for map_ in (found, truth)]
    truth[0, 0], images[1][0]["ids"], images[1][0]["labels"] = 2, [1, 2], [0, 1]  # class 1, elsewhere
    quality = jaxmap.panoptic_quality(*images, num_classes=2, boundary_ratio=0.02)  # type: ignore[arg-type]
    # The rings have 36 and 32 pixels; they share the 8 + 8 of two sides and the 8 between them of the third one.
    ring, other, shared = 36, 32, 24
    assert quality.iou_sum[0] == pytest.approx(shared / (ring + other - shared), rel=0, abs=1e-15)


@pytest.mark.slow
def test_real_images_equal_the_plain_reference(shared_data: pathlib.Path) -> None:
    truths = read_coco_panoptic_ground_truths(shared_data / "panoptic_sample" / "panoptic_examples.json.gz")
    found = []
    for image in truths:
        segments = np.roll(image["segments"], (12, 16), axis=(0, 1))
        segments[np.isin(segments, image["ids"][::7])] = image["ids"][1]  # merged into another
        keep = np.isin(image["ids"], segments)
        found.append({"segments": segments, "ids": image["ids"][keep], "labels": image["labels"][keep]})
    num_classes, things = len(truths.class_ids), truths.things
    assert things is not None
    stuff = sorted(set(range(num_classes)) - set(things))
    images, batch, totals = plain_images(found, list(truths)), one_batch(found, list(truths)), []
    for modified, ratio in ((True, None), (False, 0.02), (True, 0.02)):
        options: dict[str, Any] = {"modified": modified, "boundary_ratio": ratio}
        evaluation = jaxmap.panoptic_quality(found, list(truths), num_classes=num_classes, things=things, **options)
        metric = PanopticQuality(num_classes=num_classes, things=things, **options)
        result = metric.compute(jitted(metric)(metric.init(), batch))
        plain = plain_counts(images, stuff=stuff if modified else (), boundary_ratio=ratio)
        for label in range(num_classes):
            expected = plain[label]
            counts = expected.true_positives, expected.false_positives, expected.false_negatives
            for got in (evaluation, result):
                assert (got.true_positives[label], got.false_positives[label], got.false_negatives[label]) == counts
            assert evaluation.iou_sum[label] == pytest.approx(float(expected.iou_sum), rel=0, abs=1e-12)
        assert metric.summarize(result)["PQ"] == pytest.approx(evaluation.summary["PQ"], rel=0, abs=1e-8)
        totals.append(evaluation.summary["PQ"])
    assert len({*totals}) == 3


def one_batch(predictions: list[dict[str, Any]], truths: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Returns images as arguments of `update`, padded to the largest, with segments as their indices."""
    shape = np.max([truth["segments"].shape for truth in truths], axis=0)
    most = max(len(side["ids"]) for side in (*predictions, *truths))
    batch: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    for image in zip(predictions, truths, strict=True):
        for name, side in zip(("predicted", "truth"), image, strict=True):
            is_segment = side["segments"][..., None] == side["ids"]
            index = np.where(is_segment.any(-1), is_segment.argmax(-1), -1)
            missing = shape - index.shape
            batch[name].append(np.pad(index, [(0, missing[0]), (0, missing[1])]))
            for field in ("labels", "crowd"):
                values = side.get(field, np.zeros(0, bool))
                batch[f"{name}_{field}"].append(np.pad(values, (0, most - len(values))))
        batch["valid"].append(np.pad(np.ones(index.shape, bool), [(0, missing[0]), (0, missing[1])]))
    del batch["predicted_crowd"]
    return {name: np.stack(column) for name, column in batch.items()}


def test_boundary_by_erosion_has_the_width_that_is_said() -> None:
    mask = np.ones((30, 40), bool)
    assert mask_boundary(mask, 0.1).sum() == 30 * 40 - 20 * 30  # 5 pixels of 50


def test_maps_without_pixels_have_no_segments() -> None:
    metric = PanopticQuality(num_classes=1, things=(), modified=True, boundary_ratio=0.02)
    for shape in ((1, 0, 5), (1, 5, 0), (0, 5, 5)):
        labels = np.zeros((shape[0], 2), int)
        empty = np.zeros(shape, int)
        scene = {"predicted": empty, "truth": empty, "predicted_labels": labels, "truth_labels": labels}
        state = jitted(metric)(metric.init(), scene)
        assert to_host(state.segments).sum() == 0
        sides = {"segments": empty, "labels": labels}
        assert np.isnan(
            jaxmap.panoptic_quality(sides, sides, num_classes=1, things=[], boundary_ratio=0.02).summary["PQ"]
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modified": True}, "`modified` needs `things`, .*; got None"),
        ({"modified": "yes", "things": (0,)}, "`modified` must be True or False, got 'yes'"),
        ({"boundary_ratio": 0}, "`boundary_ratio` must be a number above 0 and at most 1, got 0"),
        ({"boundary_ratio": float("nan")}, "`boundary_ratio` must be a number above 0 and at most 1, got nan"),
    ],
)
def test_bad_options_are_refused_on_both_routes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticQuality(num_classes=2, **options)
    with pytest.raises(ValueError, match=message):
        jaxmap.panoptic_quality([], [], num_classes=2, **options)


def test_maps_that_are_too_long_for_boundaries_are_refused() -> None:
    metric = PanopticQuality(num_classes=1, boundary_ratio=0.02)
    maps = jax.ShapeDtypeStruct((1, 1, 2**16), jnp.int32)
    labels = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    with pytest.raises(ValueError, match=r"maps must have a diagonal below 2\^16 pixels for boundaries, got 1 x 65536"):
        jax.eval_shape(
            lambda state, maps, labels: metric.update(state, maps, maps, predicted_labels=labels, truth_labels=labels),
            metric.init(),
            maps,
            labels,
        )
