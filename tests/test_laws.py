"""What must hold for every input of `evaluate`, on random scenes: forms of input, padding, order, precision modes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import io
from support.scenes import Scene, odd_scenes, pad, random_scene

pytestmark = [odd_scenes, pytest.mark.slow]

SEEDS = range(2000, 2008)
Image = dict[str, np.ndarray]


def scene_of(seed: int, **options: Any) -> Scene:
    return random_scene(np.random.default_rng(seed), **options)


def even_boxes(images: list[Image]) -> list[Image]:
    """Returns the images with even integer boxes, which every box format holds without rounding."""
    return [image | {"boxes": 2 * np.round(image["boxes"] / 2)} for image in images]


def evaluate(scene: Scene, detections: Any, ground_truths: Any, **options: Any) -> jaxmap.Evaluation:
    given = {"box_format": "xywh", "num_classes": len(scene.class_ids)} | scene.options | options
    return jaxmap.evaluate(detections, ground_truths, **given)


def assert_equal(one: jaxmap.Evaluation, other: jaxmap.Evaluation) -> None:
    """Asserts that all cells and numbers are the same floats."""
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    np.testing.assert_equal(one.summary, other.summary)


def assert_equal_matches(one: jaxmap.Evaluation, other: jaxmap.Evaluation) -> None:
    """Asserts that every row of every plane is the same; both sides need the same ids."""
    for area in one.protocol.area_ranges:
        for threshold in one.protocol.iou_thresholds:
            np.testing.assert_equal(one.matches(threshold, area.name), other.matches(threshold, area.name))


@pytest.mark.parametrize("seed", SEEDS)
def test_padding_changes_nothing(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = scene.lists()
    expected = evaluate(scene, found, truth)
    for extra in (0, 3):
        lengths = [max((len(image["labels"]) for image in images), default=0) + extra for images in (found, truth)]
        padded = evaluate(scene, pad(found, lengths[0]), pad(truth, lengths[1]))
        assert_equal(padded, expected)
        assert_equal_matches(padded, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_images_of_padding_alone_change_no_cell(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = pad(scene.lists()[0]), pad(scene.lists()[1])
    longer = [
        {name: np.concatenate([column, np.full_like(column[:1], np.nan if column.dtype.kind == "f" else 0)])
         for name, column in side.items()}
        for side in (found, truth)
    ]  # fmt: skip
    assert not longer[0]["valid"][-1].any()
    assert_equal(evaluate(scene, *longer), evaluate(scene, found, truth))


@pytest.mark.parametrize("seed", SEEDS)
def test_lists_padded_arrays_typed_arrays_and_tables_agree(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = scene.lists()
    from_lists = evaluate(scene, found, truth)
    assert_equal(evaluate(scene, pad(found), pad(truth)), from_lists)
    typed = jaxmap.Detections(**pad(found)), jaxmap.GroundTruths(**pad(truth))
    assert_equal(evaluate(scene, *typed), from_lists)
    ground_truths = io.coco_ground_truths(scene.ground_truths)
    assert_equal(evaluate(scene, io.coco_detections(scene.results, ground_truths), ground_truths), from_lists)


def test_no_valid_means_that_every_row_is_real() -> None:
    scene = scene_of(2000)
    found, truth = (pad(images) for images in scene.lists())
    for side in (found, truth):
        side["boxes"], side["labels"] = np.nan_to_num(side["boxes"]), np.maximum(side["labels"], 0)
    found["scores"], truth["area"] = np.nan_to_num(found["scores"]), np.nan_to_num(truth["area"])
    explicit = evaluate(
        scene,
        found | {"valid": np.ones_like(found["valid"])},
        truth | {"valid": np.ones_like(truth["valid"])},
    )
    assert_equal(evaluate(scene, found | {"valid": None}, truth | {"valid": None}), explicit)


@pytest.mark.parametrize("seed", SEEDS)
def test_box_formats_agree(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = (even_boxes(images) for images in scene.lists())
    expected = evaluate(scene, found, truth)

    def convert(images: list[Image], to: str) -> list[Image]:
        converted = []
        for image in images:
            x, y, w, h = image["boxes"].T
            columns = {
                "xyxy": [x, y, x + w, y + h],
                "yxyx": [y, x, y + h, x + w],
                "cxcywh": [x + w / 2, y + h / 2, w, h],
            }
            converted.append(image | {"boxes": np.stack(columns[to], axis=1)})
        return converted

    for to in ("xyxy", "yxyx", "cxcywh"):
        converted = evaluate(scene, convert(found, to), convert(truth, to), box_format=to)
        assert_equal(converted, expected)
        assert_equal_matches(converted, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_images_changes_nothing_without_score_ties(seed: int) -> None:
    scene = scene_of(seed, score_ties=False)
    found, truth = scene.lists()
    order = np.random.default_rng(seed).permutation(len(found))
    expected = evaluate(scene, found, truth)
    shuffled = evaluate(scene, [found[i] for i in order], [truth[i] for i in order])
    assert_equal(shuffled, expected)
    per_image, shuffled_per_image = expected.per_image(), shuffled.per_image()
    for name in set(per_image) - {"image_id"}:
        np.testing.assert_allclose(shuffled_per_image[name], np.asarray(per_image[name])[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_within_an_image_changes_nothing_without_ties(seed: int) -> None:
    scene = scene_of(seed, score_ties=False)
    found, _ = scene.lists()
    truth = scene.lists()[1]
    expected = evaluate(scene, found, truth)
    reverse = [{name: column[::-1] for name, column in image.items()} for image in found]
    assert_equal(evaluate(scene, reverse, truth), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_per_image_equals_each_image_alone(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = scene.lists()
    columns = evaluate(scene, found, truth).per_image()
    for i in range(len(found)):
        alone = evaluate(scene, found[i : i + 1], truth[i : i + 1])
        for name in set(columns) & set(alone.summary):
            assert columns[name][i] == pytest.approx(alone.summary[name], abs=1e-12, nan_ok=True), (name, i)
    assert {"AP", "AP50", "AP75"} < set(columns)


@pytest.mark.parametrize("seed", SEEDS)
def test_per_class_equals_each_class_alone(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = scene.lists()
    options = {"class_agnostic": False}
    columns = evaluate(scene, found, truth, **options).per_class()
    for label in range(len(scene.class_ids)):
        one = [
            [{name: column[image["labels"] == label] for name, column in image.items()} for image in images]
            for images in (found, truth)
        ]
        alone = evaluate(scene, *one, **options)
        for name, value in alone.summary.items():
            assert columns[name][label] == pytest.approx(value, abs=1e-12, nan_ok=True), (name, label)


@pytest.mark.parametrize("seed", SEEDS)
def test_x64_mode_changes_nothing(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = scene.lists()
    with jax.enable_x64(False):
        off = evaluate(scene, found, truth)
    with jax.enable_x64(True):
        on = evaluate(scene, found, truth)
    assert_equal(on, off)
    assert_equal_matches(on, off)


@pytest.mark.parametrize("seed", SEEDS)
def test_jax_arrays_equal_numpy_arrays_of_the_same_numbers(seed: int) -> None:
    scene = scene_of(seed)

    def narrow(side: Image) -> Image:
        dtypes = {"f": np.float32, "i": np.int32}
        with np.errstate(over="ignore"):  # infinities are refused, so the ends of float64 are cut to float32's
            limit = np.finfo(np.float32).max
            side = {name: np.clip(c, -limit, limit) if c.dtype.kind == "f" else c for name, c in side.items()}
        return {name: column.astype(dtypes.get(column.dtype.kind, column.dtype)) for name, column in side.items()}

    found, truth = (narrow(pad(images)) for images in scene.lists())
    expected = evaluate(scene, found, truth)
    on_device = [{name: jnp.asarray(column) for name, column in side.items()} for side in (found, truth)]
    assert on_device[0]["boxes"].dtype == jnp.float32
    for sides in (on_device, (jaxmap.Detections(**on_device[0]), jaxmap.GroundTruths(**on_device[1]))):
        from_jax = evaluate(scene, *sides)
        assert_equal(from_jax, expected)
        assert_equal_matches(from_jax, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_class_agnostic_equals_relabelling_all_to_one_class(seed: int) -> None:
    scene = scene_of(seed)
    # Rows stand by class first: ties between classes go by class, as in pycocotools.
    found, truth = (
        [
            {name: column[np.argsort(image["labels"], kind="stable")] for name, column in image.items()}
            for image in images
        ]
        for images in scene.lists()
    )
    merged = evaluate(scene, found, truth, class_agnostic=True)
    relabelled = [[image | {"labels": np.zeros_like(image["labels"])} for image in images] for images in (found, truth)]
    assert_equal(merged, evaluate(scene, *relabelled, num_classes=1, class_agnostic=False))


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_matter_by_their_order_alone(seed: int) -> None:
    scene = scene_of(seed)
    found, truth = scene.lists()
    doubled = [image | {"scores": 2 * image["scores"]} for image in found]  # exact, so that ties stay ties
    expected, result = evaluate(scene, found, truth), evaluate(scene, doubled, truth)
    np.testing.assert_array_equal(result.precision, expected.precision)
    np.testing.assert_array_equal(result.recall, expected.recall)
    np.testing.assert_array_equal(result.scores, 2 * expected.scores)


@pytest.mark.parametrize("seed", SEEDS)
def test_inputs_stay_as_they_are(seed: int) -> None:
    scene = scene_of(seed)
    sides = scene.lists()
    for images in sides:
        for image in images:
            for column in image.values():
                column.setflags(write=False)
    evaluate(scene, *sides)
