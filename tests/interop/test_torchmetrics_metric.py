"""The torchmetrics shell as a `torchmetrics.Metric`, by torchmetrics' own documented examples, and its COCO files."""

from __future__ import annotations

import json
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxmap._geometry._rle import coco_masks
from jaxmap.interop._torch_files import read_coco
from jaxmap.interop._torch_images import read_batch
from jaxmap.interop._torch_states import images_of, states_of
from jaxmap.interop.torchmetrics import MeanAveragePrecision
from support.evaluator_files import RESULTS, TRUTH, assert_numbers, full_oracle
from support.torchmetrics_inputs import FOUR_IMAGES, NAMES, scores_of

COCO_NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="tensors need torch")


@pytest.fixture(scope="module")
def torchmetrics() -> Any:
    return pytest.importorskip("torchmetrics", reason="the base class of the metric where it is installed")


def tensors(torch: Any, images: Any) -> list[dict[str, Any]]:
    return [{name: torch.as_tensor(values) for name, values in image.items()} for image in images]


def documented(torch: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found = {"boxes": torch.tensor([[258.0, 41.0, 606.0, 285.0]]), "scores": torch.tensor([0.536])}
    truth = {"boxes": torch.tensor([[214.0, 41.0, 562.0, 285.0]])}
    return [found | {"labels": torch.tensor([0])}], [truth | {"labels": torch.tensor([0])}]


def assert_equal(one: Any, other: Any) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


# States, with or without torchmetrics.


def images() -> list[Any]:
    rng = np.random.default_rng(3)
    preds, target = [], []
    for count in (0, 3, 1):
        masks = rng.random((count, 9, 7)) < 0.5
        boxes = np.float32(rng.random((count, 4)))
        labels = np.arange(count)
        preds.append({"boxes": boxes, "masks": masks, "scores": np.float32(rng.random(count)), "labels": labels})
        target.append({"boxes": boxes[:1], "masks": masks[:1], "labels": labels[:1]})
    return read_batch(preds, target, "xywh", ("bbox", "segm"))


def test_images_come_back_from_their_states() -> None:
    lists: dict[str, list[Any]] = {}
    for image in images():
        for name, values in states_of(image).items():
            lists.setdefault(name, []).append(values)
    for image, again in zip(images(), images_of(lists), strict=True):
        for one, other in ((image.shapes, again.shapes), (image.true_shapes, again.true_shapes)):
            np.testing.assert_array_equal(one["boxes"], other["boxes"])
            assert one["boxes"].dtype == other["boxes"].dtype == np.float32
            assert coco_masks(one["masks"]) == coco_masks(other["masks"])
        for name in ("labels", "scores", "true_labels", "crowd", "area"):
            np.testing.assert_array_equal(getattr(image, name), getattr(again, name))


def test_damaged_states_of_masks_are_refused() -> None:
    states: dict[str, list[Any]] = {name: [values] for name, values in states_of(images()[1]).items()}
    words = states["detection_mask"][0].copy()
    words[-1] += 1
    with pytest.raises(ValueError, match=r"state of mask 2\.counts must add up to the size 9 x 7"):
        images_of(states | {"detection_mask": [words]})


def test_a_call_that_fails_keeps_what_was_there() -> None:
    metric = MeanAveragePrecision()
    if hasattr(metric, "metric_state"):
        pytest.skip("torchmetrics' own forward resets the states first")
    metric.update(*FOUR_IMAGES)
    expected = scores_of(metric.compute())
    with pytest.raises(ValueError, match="to contain the `boxes` key"):
        metric([{}], [{}])
    np.testing.assert_array_equal(scores_of(metric.compute()), expected)


# COCO files, with or without torchmetrics.


def write(folder: pathlib.Path, truth: Any, results: Any) -> tuple[str, str]:
    paths = [str(folder / "preds.json"), str(folder / "target.json")]
    for path, content in zip(paths, (results, truth), strict=True):
        pathlib.Path(path).write_text(json.dumps(content))
    return paths[0], paths[1]


def test_files_give_the_numbers_of_pycocotools(tmp_path: pathlib.Path) -> None:
    metric = MeanAveragePrecision(box_format="xywh")
    preds, target = metric.coco_to_tm(*write(tmp_path, TRUTH, RESULTS), iou_type="bbox")
    assert len(preds) == len(target) == len(TRUTH["images"])
    for start in range(0, len(preds), 7):
        metric.update(preds[start : start + 7], target[start : start + 7])
    result = metric.compute()
    numbers = {name: float(result[key]) for name, key in zip(COCO_NAMES, NAMES, strict=True)}
    assert_numbers(numbers, COCO_NAMES, full_oracle(), atol=1e-6)


@pytest.mark.parametrize("iou_type", ["bbox", "segm", ("bbox", "segm")])
def test_written_files_are_read_back(tmp_path: pathlib.Path, iou_type: Any) -> None:
    rng = np.random.default_rng(1)
    preds, target = [], []
    for image in range(4):
        count = image if image < 3 else 0  # an image without anything
        masks = np.zeros((count, 20, 30), np.uint8)
        for mask in masks:
            mask[rng.integers(0, 9) : rng.integers(10, 20), rng.integers(0, 9) : rng.integers(10, 30)] = 1
        boxes = np.float32(rng.integers(1, 20, (count, 4)))
        found = {"boxes": boxes, "masks": masks, "labels": np.arange(count) + 5}
        preds.append(found | {"scores": np.float32(rng.random(count))})
        target.append(found | {"iscrowd": np.arange(count) % 2, "area": np.float32(rng.integers(1, 9, count))})
    metric = MeanAveragePrecision(box_format="xywh", iou_type=iou_type)
    metric.update(preds, target)
    metric.tm_to_coco(str(tmp_path / "saved"))
    again = metric.coco_to_tm(str(tmp_path / "saved_preds.json"), str(tmp_path / "saved_target.json"), iou_type)
    for side, read in zip((preds, target), again, strict=True):
        for image, other in zip(side, read, strict=True):
            kinds = (iou_type,) if isinstance(iou_type, str) else iou_type
            fields = {"bbox": "boxes", "segm": "masks"}
            left_out = {fields[kind] for kind in fields if kind not in kinds}
            assert set(other) == set(image) - left_out
            for name, values in other.items():
                if len(image[name]):
                    np.testing.assert_array_equal(values, image[name], err_msg=name)
                else:
                    assert len(values) == 0
    results = json.loads((tmp_path / "saved_preds.json").read_text())
    assert [row["id"] for row in results] == [1, 2, 3]
    area = [mask["masks"][row].sum() for mask in preds for row in range(len(mask["labels"]))]
    width, height = np.concatenate([one["boxes"] for one in preds])[:, 2:].T
    assert [row["area"] for row in results] == (area if "segm" in iou_type else (width * height).tolist())


def test_files_keep_images_without_ground_truth(tmp_path: pathlib.Path) -> None:
    truth = {"images": [{"id": 9}, {"id": 2}], "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    results = [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    found, other = read_coco(*write(tmp_path, truth, results), ("bbox",))
    assert [len(image["labels"]) for image in (*found, *other)] == [0, 1, 0, 0]
    assert found[1]["boxes"].tolist() == [[1, 2, 3, 4]]
    assert [found[1][name].dtype for name in ("boxes", "scores", "labels")] == [np.float32, np.float32, np.int32]


def test_unknown_kinds_of_files_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected argument `iou_type` to be one of"):
        MeanAveragePrecision().coco_to_tm("preds.json", "target.json", iou_type="keypoints")


# Tensors.


def test_tensors_give_tensors_and_arrays_arrays(torch: Any) -> None:
    metric = MeanAveragePrecision(class_metrics=True, extended_summary=True)
    metric.update(*FOUR_IMAGES)
    arrays = metric.compute()
    assert not isinstance(arrays["map"], torch.Tensor)
    metric.reset()
    metric.update(*(tensors(torch, side) for side in FOUR_IMAGES))
    result = metric.compute()
    for name, value in result.items():
        if name != "ious":
            assert isinstance(value, torch.Tensor), name
            np.testing.assert_array_equal(value.numpy(), arrays[name], err_msg=name)
    assert torch.allclose(result["map"], torch.tensor(0.636958))
    assert (result["classes"].dtype, result["map"].shape) == (torch.int32, ())
    assert isinstance(result["ious"][3, 49], torch.Tensor)
    assert result["ious"][0, 0] == []


# A metric of torchmetrics.


def test_documented_example_of_boxes(torch: Any, torchmetrics: Any) -> None:
    metric = MeanAveragePrecision(iou_type="bbox")
    assert isinstance(metric, torchmetrics.Metric)
    metric.update(*documented(torch))
    result = {name: value.tolist() for name, value in metric.compute().items()}
    point_six = torch.tensor(0.6).item()
    expected = dict.fromkeys(("map", "map_large", "mar_1", "mar_10", "mar_100", "mar_large"), point_six)
    expected |= dict.fromkeys(("map_50", "map_75"), 1.0)
    expected |= dict.fromkeys(("map_medium", "map_small", "mar_medium", "mar_small"), -1.0)
    assert result == expected | {"map_per_class": -1.0, "mar_100_per_class": -1.0, "classes": 0}


def test_documented_example_of_masks(torch: Any, torchmetrics: Any) -> None:
    rows = ([0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0])
    other = ([0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0])
    found = {"masks": torch.tensor([rows], dtype=torch.bool), "scores": torch.tensor([0.536])}
    truth = {"masks": torch.tensor([other], dtype=torch.bool), "labels": torch.tensor([0])}
    thresholds = torch.linspace(0.5, 0.95, 10).tolist()  # as torchmetrics has them by default
    metric = MeanAveragePrecision(iou_type="segm", iou_thresholds=thresholds)
    metric.update([found | {"labels": torch.tensor([0])}], [truth])
    result = metric.compute()
    assert torch.allclose(result["map"], torch.tensor(0.2))
    assert (result["map_50"], result["map_75"], result["map_small"], result["map_large"]) == (1, 0, result["map"], -1)


def test_forward_gives_the_batch_and_keeps_it(torch: Any, torchmetrics: Any) -> None:
    metric = MeanAveragePrecision()
    batches = [[tensors(torch, side[rows]) for side in FOUR_IMAGES] for rows in (slice(2), slice(2, None))]
    whole = MeanAveragePrecision()
    whole.update(*(tensors(torch, side) for side in FOUR_IMAGES))
    for batch in batches:
        alone = MeanAveragePrecision()
        alone.update(*batch)
        assert_equal(metric(*batch), alone.compute())
    assert_equal(metric.compute(), whole.compute())
    assert metric.update_count == 2
    one, other = MeanAveragePrecision(), MeanAveragePrecision()
    one.update(*batches[0])
    other.update(*batches[1])
    one.merge_state(other)
    assert_equal(one.compute(), whole.compute())


@pytest.mark.parametrize("copied", [lambda metric: metric.clone(), lambda metric: pickle.loads(pickle.dumps(metric))])
def test_copies_go_on_alone(torch: Any, torchmetrics: Any, copied: Callable[[Any], Any]) -> None:
    metric = MeanAveragePrecision()
    metric.update(*documented(torch))
    other = copied(metric)
    metric.update(*documented(torch))
    assert (len(metric.detection_box), len(other.detection_box)) == (2, 1)
    other.update(*documented(torch))
    assert_equal(metric.compute(), other.compute())


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_states_are_tensors_that_can_be_moved_and_saved(torch: Any, torchmetrics: Any, iou_type: str) -> None:
    metric = MeanAveragePrecision(iou_type=iou_type, box_format="xywh", compute_on_cpu=True)
    assert metric.state_dict() == {}
    masks = torch.zeros((2, 8, 8), dtype=torch.bool)
    masks[0, :4], masks[1, 2:] = True, True
    found = {"masks": masks, "boxes": torch.tensor([[0.0, 0, 8, 4], [0, 2, 8, 6]]), "labels": torch.tensor([0, 0])}
    metric.update([found | {"scores": torch.tensor([0.9, 0.8])}], [found])
    expected = metric.compute()
    assert expected["map"] == 1
    metric.persistent(True)
    saved = metric.state_dict()
    assert len(saved["detection_scores"]) == 1
    moved = metric.to("meta")
    assert moved.device.type == "meta"
    for name in saved:
        assert all(value.device.type == "meta" for value in getattr(moved, name))
    other = MeanAveragePrecision(iou_type=iou_type, box_format="xywh")
    other.persistent(True)
    other.load_state_dict(saved)
    other._update_count = 1
    assert_equal(other.compute(), expected)
    half = MeanAveragePrecision(iou_type=iou_type, box_format="xywh").half().double()
    half.update([found | {"scores": torch.tensor([0.9, 0.8])}], [found])
    assert_equal(half.compute(), expected)


def test_collections_share_states(torch: Any, torchmetrics: Any) -> None:
    options: dict[str, dict[str, Any]] = {
        "all": {},
        "at_half": {"iou_thresholds": [0.5]},
        "classes": {"average": "micro"},
    }
    collection = torchmetrics.MetricCollection({name: MeanAveragePrecision(**one) for name, one in options.items()})
    for rows in (slice(2), slice(2, None)):
        collection.update(*(tensors(torch, side[rows]) for side in FOUR_IMAGES))
    result = collection.compute()
    for name, one in options.items():
        metric = MeanAveragePrecision(**one)
        metric.update(*(tensors(torch, side) for side in FOUR_IMAGES))
        for key, value in metric.compute().items():
            found = [result[place] for place in (key, f"{name}_{key}", f"{key}_{name}") if place in result]
            assert any(np.array_equal(value, one) for one in found), (name, key)
    collection.reset()
    collection.update(*documented(torch))
    assert isinstance(next(iter(collection.compute().values())), torch.Tensor)


def test_plots(torch: Any, torchmetrics: Any) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="plots need matplotlib")
    metric = MeanAveragePrecision()
    values = [metric(*documented(torch)) for _ in range(3)]
    for given in (None, values, values[0]):
        figure, _ = metric.plot(given)
        assert len(figure.axes) == 1
        pyplot.close(figure)
    metric.update(*FOUR_IMAGES)
    figure, _ = metric.plot()  # of arrays
    pyplot.close(figure)


def gathered(rank: int, path: str) -> None:
    """One of two processes, with half of the images."""
    import torch

    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    metric = MeanAveragePrecision(iou_type="segm")
    for image in images_of_process(rank):
        metric.update(*(tensors(torch, [side]) for side in image))
    print(json.dumps([metric.compute()["map"].item(), len(metric.detection_mask)]))


def images_of_process(rank: int) -> list[Any]:
    rng, sides = np.random.default_rng(rank), []
    for count in (1, 3):
        masks = rng.random((count, 6, 5 + rank)) < 0.6
        found = {"masks": masks, "labels": np.zeros(count, int)}
        sides.append((found | {"masks": masks | (rng.random(masks.shape) < 0.1), "scores": rng.random(count)}, found))
    return sides


@pytest.mark.slow
def test_processes_are_synchronised(torch: Any, torchmetrics: Any, tmp_path: pathlib.Path) -> None:
    path = pathlib.Path(__file__)
    code = f"import sys; sys.path.insert(0, {str(path.parent)!r}); import {path.stem} as m; m.gathered({{}}, {{!r}})"
    runs = [
        subprocess.Popen([sys.executable, "-c", code.format(rank, str(tmp_path / "store"))], stdout=subprocess.PIPE)
        for rank in (0, 1)
    ]
    numbers = [json.loads(run.communicate(timeout=300)[0]) for run in runs]
    metric = MeanAveragePrecision(iou_type="segm")
    for rank in (0, 1):
        for image in images_of_process(rank):
            metric.update(*(tensors(torch, [side]) for side in image))
    expected = metric.compute()["map"].item()
    assert 0 < expected < 1
    assert numbers == [[pytest.approx(expected), 2]] * 2


# Without torchmetrics.


def test_synchronisation_and_plots_need_torchmetrics() -> None:
    code = (
        "import sys; sys.modules['torchmetrics'] = None; from jaxmap.interop.torchmetrics import MeanAveragePrecision\n"
        "for call in (lambda: MeanAveragePrecision(dist_sync_on_step=True), lambda: MeanAveragePrecision().plot()):\n"
        "    try: call()\n"
        "    except (ValueError, ImportError) as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = run.stdout.splitlines()
    assert first.startswith("['dist_sync_on_step'] request synchronisation, which needs torchmetrics")
    assert second == "`plot` needs torchmetrics, which is not installed: pip install torchmetrics matplotlib"
