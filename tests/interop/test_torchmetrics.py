"""The torchmetrics shell: its keys and its words, with pycocotools' numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap.interop.torchmetrics import MeanAveragePrecision
from support.oracle import run_pycocotools
from support.scenes import random_scene
from support.torchmetrics_inputs import (
    CLASS_NAMES,
    CLASS_WITHOUT_DETECTIONS,
    DOGS,
    FALSE_POSITIVE_ON_AN_EMPTY_IMAGE,
    FOUR_IMAGES,
    NAMES,
    image,
    scores_of,
)


class Tensor:
    """Something that is no array but can become one, as torch's tensors are."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.shape = self.values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype)


class TensorWithGradient(Tensor):
    """A tensor on another device that requires a gradient, so its values must be asked for."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise RuntimeError("call detach() and cpu() first")

    def detach(self) -> TensorWithGradient:
        return self

    def cpu(self) -> Tensor:
        tensor = Tensor(self.values)
        tensor.dtype = self.values.dtype
        return tensor


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (
            FOUR_IMAGES,
            [0.636958, 0.858966, 0.760679, 0.621735, 0.8, 0.634983, 0.432, 0.652, 0.652, 0.673333, 0.8, 0.633333],
        ),
        (FALSE_POSITIVE_ON_AN_EMPTY_IMAGE, [0.6, 1, 1, -1, -1, 0.6, 0.6, 0.6, 0.6, -1, -1, 0.6]),
        (CLASS_WITHOUT_DETECTIONS, [0.3, 0.5, 0.5, 0, -1, 0.6, 0.3, 0.3, 0.3, 0, -1, 0.6]),
    ],
    ids=["four images", "false positive on an empty image", "class without detections"],
)
def test_numbers_of_the_known_inputs(inputs: Any, expected: list[float]) -> None:
    metric = MeanAveragePrecision()
    for found, truth in zip(*inputs, strict=True):
        metric.update([found], [truth])
    result = metric.compute()
    np.testing.assert_allclose(scores_of(result), expected, rtol=0, atol=1e-6)
    metric.reset()
    metric.update(*inputs)
    assert str(metric.compute()) == str(result)


def test_numbers_of_each_class() -> None:
    metric = MeanAveragePrecision(class_metrics=True)
    metric.update(*FOUR_IMAGES)
    result = metric.compute()
    assert list(result) == [*NAMES, *CLASS_NAMES, "classes"]
    assert result["classes"].tolist() == [0, 1, 2, 3, 4, 49]
    assert result["classes"].dtype == np.int32
    expected = [0.725149, 0.8, 0.454455, -1, 0.650495, 0.554691]
    np.testing.assert_allclose(result["map_per_class"], expected, atol=1e-6)
    assert result["map_per_class"].dtype == result["mar_100_per_class"].dtype == np.float32


def test_single_values_are_scalars() -> None:
    metric = MeanAveragePrecision(class_metrics=True, extended_summary=True)
    metric.update([DOGS[0]], [DOGS[1]])
    result = metric.compute()
    for name in (*NAMES, *CLASS_NAMES):
        assert result[name].shape == ()
        assert result[name].dtype == np.float32
    assert result["classes"] == 0
    assert result["ious"] == {(0, 0): np.float32(304 / 392)}  # 304 of 348 wide, shifted by 44: 304 / (348 + 44)
    assert result["precision"].shape == (10, 101, 1, 4, 3)


def test_extended_summary() -> None:
    metric = MeanAveragePrecision(extended_summary=True)
    metric.update(*FOUR_IMAGES)
    result = metric.compute()
    assert list(result) == [*NAMES, "ious", "precision", "recall", "scores", *CLASS_NAMES, "classes"]
    assert [result[name].shape for name in ("precision", "recall", "scores")] == [
        (10, 101, 6, 4, 3),
        (10, 6, 4, 3),
        (10, 101, 6, 4, 3),
    ]
    assert all(result[name].dtype == np.float64 for name in ("precision", "recall", "scores"))
    assert (result["precision"][:, :, 3] == -1).all()  # the class that has detections only
    assert list(result["ious"]) == [(i, k) for i in range(4) for k in (0, 1, 2, 3, 4, 49)]
    assert result["ious"][0, 0] == result["ious"][1, 3] == []
    assert result["ious"][3, 49].shape == (9, 10)
    assert result["ious"][3, 49].dtype == np.float32


@pytest.mark.parametrize(
    ("box_format", "iou", "expected"), [("xyxy", 0.25, 1), ("xywh", 0.143, 0), ("cxcywh", 0.143, 0)]
)
def test_box_formats(box_format: str, iou: float, expected: int) -> None:
    metric = MeanAveragePrecision(box_format=box_format, iou_thresholds=[0.2], extended_summary=True)
    metric.update([image([[0.5, 0.5, 1, 1]], [0], [1.0])], [image([[0, 0, 1, 1]], [0])])
    result = metric.compute()
    assert result["map"] == pytest.approx(expected)
    assert result["ious"][0, 0] == pytest.approx(iou, abs=5e-4)
    assert result["map_50"] == result["map_75"] == -1  # thresholds that were not asked for


@pytest.mark.parametrize("box_format", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("seed", range(4000, 4008))
def test_random_scenes_equal_pycocotools_on_the_converted_boxes(seed: int, box_format: str) -> None:
    # pycocotools gets what torchmetrics would hand it: boxes converted in float32, from centres by way of corners.
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, default_options=True)
    truth = {**scene.ground_truths, "annotations": [dict(row) for row in scene.ground_truths["annotations"]]}
    results = [dict(row, score=float(np.float32(np.clip(row["score"], -1e30, 1e30)))) for row in scene.results]
    preds: list[Any] = [{"boxes": [], "labels": [], "scores": []} for _ in scene.image_ids]
    target: list[Any] = [{"boxes": [], "labels": [], "iscrowd": [], "area": []} for _ in scene.image_ids]
    for rows, sides in ((results, preds), (truth["annotations"], target)):
        for row in rows:
            one = np.float32(row["bbox"])
            if box_format != "xywh":
                corners = np.concatenate([one[:2], one[:2] + one[2:]])
                if box_format == "cxcywh":
                    one = np.concatenate([one[:2] + one[2:] / 2, one[2:]])
                    corners = np.concatenate([one[:2] - one[2:] / 2, one[:2] + one[2:] / 2])
                else:
                    one = corners
                row["bbox"] = np.concatenate([corners[:2], corners[2:] - corners[:2]]).tolist()
            row["bbox"] = np.float32(row["bbox"]).astype(float).tolist()
            side = sides[scene.image_ids.index(row["image_id"])]
            side["boxes"].append(one)
            side["labels"].append(row["category_id"])
            if "score" in row:
                side["scores"].append(row["score"])
            else:
                row["area"] = rng.choice([row["area"], 0.0, -3.0])
                side["area"].append(row["area"])
                side["iscrowd"].append(row["iscrowd"])
                if row["area"] <= 0:
                    row["area"] = row["bbox"][2] * row["bbox"][3]
    kinds = {"boxes": np.float32, "labels": np.int64, "scores": np.float32, "iscrowd": np.int64, "area": np.float64}
    for side in (*preds, *target):
        side.update({name: np.array(values, kinds[name]) for name, values in side.items()})
    labels = {row["category_id"] for row in (*results, *truth["annotations"])}
    truth["categories"] = [row for row in truth["categories"] if row["id"] in labels]
    metric = MeanAveragePrecision(box_format=box_format, extended_summary=True)
    metric.warn_on_many_detections = False
    metric.update(preds, target)
    result = metric.compute()
    if not truth["categories"]:
        assert (scores_of(result) == -1).all()
        return
    oracle = run_pycocotools(truth, results)
    np.testing.assert_allclose(scores_of(result), oracle.stats, rtol=0, atol=1e-6)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_allclose(result[name], getattr(oracle, name), rtol=0, atol=1e-12)


# Averages, thresholds and limits.


def test_micro_average_takes_all_boxes_for_one_class() -> None:
    one_class = [[side | {"labels": np.zeros_like(side["labels"])} for side in sides] for sides in FOUR_IMAGES]
    micro, macro, alone = (
        MeanAveragePrecision(average=average, class_metrics=True, extended_summary=True)
        for average in ("micro", "macro", "macro")
    )
    micro.update(*FOUR_IMAGES)
    macro.update(*FOUR_IMAGES)
    alone.update(*one_class)
    result, of_classes, of_one = micro.compute(), macro.compute(), alone.compute()
    np.testing.assert_array_equal(scores_of(result), scores_of(of_one))
    np.testing.assert_array_equal(result["precision"], of_one["precision"])
    assert list(result["ious"]) == [(i, 0) for i in range(4)]
    for name in (*CLASS_NAMES, "classes"):
        np.testing.assert_array_equal(result[name], of_classes[name])


def test_micro_average_keeps_the_order_of_tied_detections() -> None:
    # Both detections score the same and lie on the same object: the first in the input takes it, whatever its label.
    found = image([[0, 0, 100, 60], [0, 0, 100, 90]], [5, 1], [0.5, 0.5])
    metric = MeanAveragePrecision(average="micro", iou_thresholds=[0.5], extended_summary=True)
    metric.update([found], [image([[0, 0, 100, 100]], [3])])
    assert metric.compute()["ious"][0, 0].tolist() == [[np.float32(0.6)], [np.float32(0.9)]]


def test_limits_without_a_hundred_still_give_a_map() -> None:
    metric = MeanAveragePrecision(max_detection_thresholds=[1000, 1, 10])
    metric.update(*DOGS)
    result = metric.compute()
    assert metric.max_detection_thresholds == [1, 10, 1000]
    assert result["map"] == pytest.approx(0.6)
    assert result["mar_1000"] == pytest.approx(0.6)
    assert "mar_1000_per_class" in result
    assert "mar_100" not in result


def test_thresholds_in_any_order_and_twice() -> None:
    metric = MeanAveragePrecision(iou_thresholds=[0.9, 0.5, 0.5], rec_thresholds=[1.0, 0.0], extended_summary=True)
    metric.update(*DOGS)  # IoU 0.776
    result = metric.compute()
    assert result["map"] == pytest.approx(2 / 3)
    assert result["map_50"] == 1
    assert result["recall"][:, 0, 0, -1].tolist() == [0, 1, 1]
    assert result["precision"].shape == (3, 2, 1, 4, 3)


def test_area_decides_the_range_unless_it_is_not_positive() -> None:
    for area, expected in (([500.0], "map_small"), ([0.0], "map_large"), ([-1.0], "map_large")):
        metric = MeanAveragePrecision()
        metric.update(DOGS[0], DOGS[1] | {"area": np.array(area)})
        assert metric.compute()[expected] == pytest.approx(0.6)


def test_crowds_absorb_detections() -> None:
    crowd = image([[0, 0, 100, 100], [200, 0, 300, 100]], [0, 0], iscrowd=np.array([1, 0]))
    found = image([[0, 0, 50, 50], [10, 10, 60, 60], [200, 0, 300, 100]], [0, 0, 0], [0.9, 0.8, 0.7])
    metric = MeanAveragePrecision()
    metric.update(found, crowd)
    assert metric.compute()["map"] == 1


# Inputs.


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, Tensor, TensorWithGradient])
def test_arrays_of_any_library_in_lists_or_alone(kind: Callable[[Any], Any]) -> None:
    found, truth = ({name: kind(values) for name, values in side.items()} for side in DOGS)
    for inputs in ((found, truth), ([found], [truth]), ((found,), [truth])):
        metric = MeanAveragePrecision()
        metric.update(*inputs)
        assert metric.compute()["map"] == pytest.approx(0.6)


def test_narrow_floats() -> None:
    found, truth = ({name: jnp.asarray(values) for name, values in side.items()} for side in DOGS)
    found = {**found, "scores": found["scores"].astype(jnp.bfloat16)}
    metric = MeanAveragePrecision()
    metric.update(found, truth)
    assert metric.compute()["map"] == pytest.approx(0.6)


def test_inputs_are_copied() -> None:
    metric = MeanAveragePrecision(box_format="xywh")
    found, truth = image([[0, 0, 10, 8]], [0], [0.5]), image([[0, 0, 10, 10]], [0])
    metric.update(found, truth)
    for values in (*found.values(), *truth.values()):
        values[...] = 7
    result = metric.compute()
    assert result["map"] == pytest.approx(0.7)
    assert result["classes"] == 0


def test_call_gives_the_batch_alone_and_remembers_it() -> None:
    metric = MeanAveragePrecision()
    assert metric(image([], [], []), DOGS[1])["map"] == 0
    assert metric(*DOGS)["map"] == pytest.approx(0.6)
    assert metric.compute()["mar_100"] == pytest.approx(0.3)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")  # where torchmetrics is installed
def test_nothing_updated() -> None:
    result = MeanAveragePrecision(class_metrics=True, extended_summary=True).compute()
    assert list(result) == [*NAMES, "classes"]
    assert (scores_of(result) == -1).all()
    assert result["classes"].shape == (0,)


def test_images_without_boxes() -> None:
    metric = MeanAveragePrecision(class_metrics=True, extended_summary=True)
    metric.update([image([], [], [])], [image(np.zeros((0, 4)), [])])
    result = metric.compute()
    assert (scores_of(result) == -1).all()
    assert result["ious"] == {}
    assert result["precision"].shape == (10, 101, 0, 4, 3)
    assert result["map_per_class"].shape == (0,)


def test_labels_may_be_any_integers() -> None:
    metric = MeanAveragePrecision(extended_summary=True)
    metric.update(image([[0, 0, 9, 9]], [-5], [0.5]), image([[0, 0, 9, 9]], [10**9]))
    result = metric.compute()
    assert result["classes"].tolist() == [-5, 10**9]
    assert list(result["ious"]) == [(0, -5), (0, 10**9)]


def test_many_detections_are_warned_about() -> None:
    found, truth = image([[0, 0, 9, 9]] * 101, [0] * 101, [0.5] * 101), image([[0, 0, 9, 9]], [0])
    metric = MeanAveragePrecision()
    with pytest.warns(UserWarning, match="Encountered more than 100 detections in a single image"):
        metric.update(found, truth)
    metric.warn_on_many_detections = False
    metric.update(found, truth)
    MeanAveragePrecision(max_detection_thresholds=[1, 10, 101]).update(found, truth)
