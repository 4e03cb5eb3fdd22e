"""Semantic segmentation by hand, against scikit-learn on random maps, and on a real image with published numbers.

Counts are exact. Host numbers are float64, within 1e-12 of scikit-learn's; those inside `jit` are float32, within 1e-6.
"""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocotools import mask
from sklearn import metrics as sklearn

from jaxmap._counts64 import WideCount, running, to_host, total
from jaxmap.metrics import SegmentationResult, SegmentationState, SemanticSegmentation, semantic_segmentation

K, SHAPE = 6, (4, 17, 23)
METRIC = SemanticSegmentation(num_classes=K)
SCALARS = SegmentationResult._fields[:5]


@functools.cache
def random_maps() -> tuple[np.ndarray, np.ndarray]:
    """Labels of classes 0 to 4 alone, so that class 5 has neither pixels nor predictions, with ignored true pixels."""
    rng = np.random.default_rng(0)
    truth = rng.choice(K, SHAPE, p=[0.5, 0.2, 0.15, 0.1, 0.05, 0.0]).astype(np.uint8)
    predicted = np.where(rng.random(SHAPE) < 0.3, rng.integers(0, K - 1, SHAPE), truth).astype(np.uint8)
    return predicted, np.where(rng.random(SHAPE) < 0.1, 255, truth).astype(np.uint8)


def test_every_pixel_stands_in_one_cell() -> None:
    predicted = np.array([[[0, 1, 1, 255, 7], [0, 0, 9, 1, 1]]])
    truth = np.array([[[0, 0, 1, 1, 1], [255, 8, 255, 1, 0]]])
    valid = np.ones(truth.shape, bool)
    valid[0, 1, 3:] = False
    metric = SemanticSegmentation(num_classes=2)
    result = metric.compute(jax.jit(metric.update)(metric.init(), predicted, truth, valid=valid))
    # Scored are the five pixels of the first row: 0 as 0, 0 as 1, 1 as 1, 1 as nothing, 1 as a label that is no class.
    np.testing.assert_array_equal(result.confusion, [[1, 1, 0, 0], [0, 1, 1, 1]])
    np.testing.assert_allclose(result.iou, [1 / 2, 1 / 4])  # 0: 1 of 2. 1: 1 of 3 true and 1 false
    np.testing.assert_allclose(result.dice, [2 / 3, 2 / 5])
    np.testing.assert_allclose(result.accuracy, [1 / 2, 1 / 3])
    with pytest.warns(
        UserWarning, match=r"^the numbers may not be .*: 1 pixels are predicted as `ignore_index=255` .*; 1"
    ):
        numbers = metric.summarize(result)
    assert numbers == {
        "mean_iou": pytest.approx(3 / 8),
        "frequency_weighted_iou": pytest.approx((2 * 1 / 2 + 3 * 1 / 4) / 5),
        "pixel_accuracy": pytest.approx(2 / 5),
        "mean_accuracy": pytest.approx(5 / 12),
        "mean_dice": pytest.approx(8 / 15),
        "num_pixels": 5,
        "num_unpredicted_pixels": 1,
        "num_bad_predicted_labels": 1,
        "num_ignored_pixels": 2,
        "num_bad_true_labels": 1,
        "num_padded_pixels": 2,
    }


def test_random_maps_equal_scikit_learn() -> None:
    predicted, truth = random_maps()
    result = semantic_segmentation(predicted, truth, num_classes=K)
    kept = truth != 255
    columns, labels = (truth[kept], predicted[kept]), range(K)
    np.testing.assert_array_equal(result.confusion[:, :K], sklearn.confusion_matrix(*columns, labels=labels))
    assert not result.confusion[:, K:].any()
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    close(result.iou[:5], sklearn.jaccard_score(*columns, average=None))
    close(result.dice[:5], sklearn.f1_score(*columns, average=None))
    close(result.accuracy[:5], sklearn.recall_score(*columns, average=None))
    assert np.isnan([result.iou[5], result.dice[5], result.accuracy[5]]).all()
    close(result.mean_iou, sklearn.jaccard_score(*columns, average="macro"))
    close(result.mean_dice, sklearn.f1_score(*columns, average="macro"))
    close(result.mean_accuracy, sklearn.balanced_accuracy_score(*columns))
    close(result.pixel_accuracy, sklearn.accuracy_score(*columns))
    close(result.frequency_weighted_iou, sklearn.jaccard_score(*columns, average="weighted"))


def test_numbers_inside_jit_are_those_of_the_host_in_float32() -> None:
    on_host = METRIC.compute(state_of(*random_maps()))
    on_device = jax.jit(METRIC.compute)(state_of(*random_maps()))
    assert {leaf.dtype for leaf in jax.tree.leaves(on_device)} == {np.dtype(np.float32), np.dtype(np.uint32)}
    assert on_device.iou[5] == -1
    for name in SegmentationResult._fields[:-2]:  # but the counters and the configuration
        np.testing.assert_allclose(
            getattr(to_host(on_device), name), getattr(on_host, name), rtol=0, atol=1e-6, err_msg=name
        )
    one, other = METRIC.summarize(on_device), METRIC.summarize(on_host)
    assert one == pytest.approx(other, rel=0, abs=1e-6)
    inside = jax.jit(lambda *maps: semantic_segmentation(*maps, num_classes=K).mean_iou)(*random_maps())
    assert inside == on_device.mean_iou


update = jax.jit(METRIC.update)


def state_of(predicted: np.ndarray, truth: np.ndarray) -> SegmentationState:
    return update(METRIC.init(), predicted, truth)


def test_labels_that_leave_out_zero_are_moved_down() -> None:
    predicted, truth = random_maps()
    rng = np.random.default_rng(1)
    moved = np.where(truth == 255, rng.choice([0, 255], SHAPE), truth.astype(int) + 1)
    result = semantic_segmentation(predicted, moved, num_classes=K, reduce_zero_label=True)
    expected = semantic_segmentation(predicted, truth, num_classes=K)._replace(configuration=result.configuration)
    jax.tree.map(np.testing.assert_array_equal, result, expected)


def test_without_an_ignored_label_every_other_label_is_bad() -> None:
    metric = SemanticSegmentation(num_classes=2, ignore_index=None)
    update = jax.jit(metric.update)
    maps = np.array([[[0, 255]]]), np.array([[[0, 1]]])
    assert metric.compute(update(metric.init(), *maps)).counters["num_bad_predicted_labels"] == 1
    assert metric.compute(update(metric.init(), *maps[::-1])).counters["num_bad_true_labels"] == 1


def test_counts_pass_32_bits_without_a_loss() -> None:
    predicted, truth = random_maps()
    state = state_of(predicted, truth)
    expected = to_host(state.confusion).astype(object)
    merge = jax.jit(METRIC.merge)
    for _ in range(40):  # 2^40 times as many: 391 pixels become 4e14
        state, expected = merge(state, state), expected * 2
    state, expected = merge(state, state_of(predicted, truth)), expected + to_host(state_of(predicted, truth).confusion)
    np.testing.assert_array_equal(to_host(state.confusion).astype(object), expected)
    result = METRIC.compute(state)
    assert result.confusion.sum() == expected.sum() > 2**48
    once = METRIC.compute(state_of(predicted, truth))
    for name in SCALARS:
        assert getattr(result, name) == pytest.approx(getattr(once, name), abs=1e-9, rel=0)  # one image among 2^40


def test_sums_of_wide_counts_equal_those_of_python_integers() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, (2, 3, 50), dtype=np.uint32)
    words[1] >>= 12  # sums stay below 2^63
    counts = WideCount(jnp.asarray(words[0]), jnp.asarray(words[1]))
    values = words[0].astype(object) + (words[1].astype(object) << 32)
    np.testing.assert_array_equal(to_host(jax.jit(running)(counts)), np.cumsum(values, axis=1).astype(np.int64))
    np.testing.assert_array_equal(
        to_host(jax.jit(total, static_argnums=1)(counts, (1,))), values.sum(axis=1).astype(np.int64)
    )


CLASSES = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "bicycle",
    "bus",
    "motorcycle",
    "train",
    "truck",
]
# In per cent, scalabel/eval/sem_seg_test.py; 0 there for classes that the image lacks.
PUBLISHED_IOU = {
    "road": 99.54405124,
    "sidewalk": 87.67803909,
    "building": 95.88390161,
    "fence": 22.64488433,
    "pole": 64.17477739,
    "traffic sign": 55.16129032,
    "vegetation": 80.93376685,
    "sky": 98.23104973,
    "car": 94.99133267,
}
PUBLISHED = {
    "mean_iou": 77.69367702513847,
    "frequency_weighted_iou": 95.96580841723501,
    "pixel_accuracy": 97.59265266143856,
}


def scalabel_map(path: pathlib.Path) -> np.ndarray:
    """Returns the label map `[1, H, W]` of a file's only image; later masks lie on top of earlier ones."""
    (frame,) = json.loads(gzip.decompress(path.read_bytes()))
    labels = np.full((720, 1280), 255, np.uint8)
    for label in frame["labels"]:
        if label["rle"] and label["category"] in CLASSES:
            labels[mask.decode(label["rle"]).astype(bool)] = CLASSES.index(label["category"])
    return labels[None]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
def test_real_image_equals_the_published_numbers_and_scikit_learn(shared_data: pathlib.Path) -> None:
    files = [shared_data / "sem_seg_sample" / f"sem_seg_{name}.json.gz" for name in ("preds", "preds_empty", "sample")]
    predicted, nothing, truth = map(scalabel_map, files)
    result = semantic_segmentation(predicted, truth, num_classes=len(CLASSES))
    for name, iou in zip(CLASSES, result.iou, strict=True):
        assert 100 * iou == pytest.approx(PUBLISHED_IOU.get(name, np.nan), abs=5e-9, rel=0, nan_ok=True), name
    for name, value in PUBLISHED.items():
        assert 100 * getattr(result, name) == pytest.approx(value, abs=1e-9, rel=0), name
    kept = truth != 255
    np.testing.assert_array_equal(
        result.confusion[:, : len(CLASSES)],
        sklearn.confusion_matrix(truth[kept], predicted[kept], labels=range(len(CLASSES))),
    )
    with pytest.warns(UserWarning, match="pixels are predicted as `ignore_index=255` and are missed"):
        empty = semantic_segmentation(nothing, truth, num_classes=len(CLASSES))
    assert empty.mean_iou == empty.pixel_accuracy == 0
    assert empty.counters["num_unpredicted_pixels"] == kept.sum()


MAPS = np.zeros((2, 3, 4), int)


def spoiled(value: int) -> np.ndarray:
    maps = MAPS.copy()
    maps[1, 2, 3] = value
    return maps


@pytest.mark.parametrize(
    ("predicted", "truth", "options", "error", "message"),
    [
        (
            MAPS,
            spoiled(2),
            {},
            ValueError,
            "`truth` must hold classes 0 to 1 or 255 .* got 2 in image 1 at row 2",
        ),
        (
            spoiled(-1),
            MAPS,
            {},
            ValueError,
            "`predicted` must hold classes 0 to 1 or 255 .* got -1 in image 1",
        ),
        (
            MAPS,
            spoiled(3),
            {"ignore_index": None, "reduce_zero_label": True},
            ValueError,
            "`truth` must hold classes 1 to 2, got 3",
        ),
        (MAPS, MAPS, {"ignore_index": 1}, ValueError, "`ignore_index` must not be the label of a class, 0 to 1, got 1"),
        (MAPS[0], MAPS, {}, ValueError, r"`predicted` must have shape \[images, height, width\], got \[3, 4\]"),
        (MAPS, MAPS[:1], {}, ValueError, r"must have one shape, got \[2, 3, 4\] and \[1, 3, 4\]"),
        (
            MAPS,
            MAPS,
            {"valid": np.ones(3, bool)},
            ValueError,
            r"must have shape \[2\], one per image, or \[2, 3, 4\]",
        ),
        (MAPS * 0.5, MAPS, {}, TypeError, "`predicted` must hold integers, got dtype float"),
        (MAPS * 1j, MAPS, {}, TypeError, "`predicted` must hold integers, got dtype complex"),
        (MAPS, spoiled(2**32), {}, ValueError, "`truth` must hold classes 0 to 1 or 255 .*, got 4294967296 in image 1"),
        (MAPS, MAPS, {"ignore_index": 255.0}, TypeError, r"`ignore_index` must be a whole number or None, got 255.0"),
        (MAPS, MAPS, {"ignore_index": 2**31}, ValueError, "`ignore_index` must be between .*, got 2147483648"),
    ],
)
def test_bad_input_is_refused(
    predicted: Any, truth: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        semantic_segmentation(predicted, truth, num_classes=2, **options)


def test_binary_maps_of_0_and_255_are_noticed() -> None:
    truth = np.array([[[0, 255, 0, 255]]], np.uint8)
    zeros = np.zeros_like(truth)
    message = (
        "the truth holds only class 0 and `ignore_index=255` .2 pixels are excluded.; if it is a binary map of 0 and"
    )
    metric = SemanticSegmentation(num_classes=2)
    with pytest.warns(UserWarning, match=message) as caught:
        semantic_segmentation(zeros, truth, num_classes=2)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=message):
        metric.summarize(metric.compute(jax.jit(metric.update)(metric.init(), zeros, truth)))
    semantic_segmentation(zeros, truth // 255, num_classes=2)  # no warning
    semantic_segmentation(zeros, truth, num_classes=1)


def test_labels_of_64_bits_are_no_class() -> None:
    metric = SemanticSegmentation(num_classes=2)
    wide = np.array([[[0, 2**32, 1 - 2**32, 2**63 - 1]]])
    zeros = np.zeros_like(wide)
    with jax.enable_x64(True):
        in_jit = jax.jit(metric.update)(metric.init(), zeros, wide)
    for state in (metric.update(metric.init(), zeros, wide), in_jit):
        assert to_host(state.unscored).tolist() == [0, 3, 0]


def test_a_batch_whose_counts_might_wrap_is_refused() -> None:
    maps = jax.ShapeDtypeStruct((2, 2**16, 2**15), jnp.uint8)
    with pytest.raises(ValueError, match=r"must have fewer than 2\^32 pixels in one batch, got .*; split it"):
        jax.eval_shape(METRIC.update, METRIC.init(), maps, maps)
