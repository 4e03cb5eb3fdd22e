"""The ground truths of a dataset, found by image id inside `jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap.adapters import GroundTruthLookup


def table_of(seed: int = 0) -> tuple[dict[str, Any], jaxmap.GroundTruthTable]:
    """Returns a COCO dataset with rows in no order, an image without any, crowds, and gaps between ids."""
    rng = np.random.default_rng(seed)
    image_ids, class_ids = [900, 7, 139, 40, 2**31 - 1], [3, 1, 90]
    annotations = [
        {
            "id": i + 1,
            "image_id": int(rng.choice([900, 7, 139, 2**31 - 1], p=[0.5, 0.3, 0.1, 0.1])),
            "category_id": int(rng.choice(class_ids)),
            "bbox": rng.uniform(1, 300, 4).round(2).tolist(),
            "area": float(rng.uniform(1, 9999)),
            "iscrowd": int(rng.random() < 0.3),
        }
        for i in range(20)
    ]
    dataset = {
        "images": [{"id": i} for i in image_ids],
        "categories": [{"id": i, "name": str(i)} for i in class_ids],
        "annotations": annotations,
    }
    return dataset, io.coco_ground_truths(dataset)


FROM_XYWH: dict[str, Callable[..., list[float]]] = {
    "xywh": lambda x, y, w, h: [x, y, w, h],
    "xyxy": lambda x, y, w, h: [x, y, x + w, y + h],
    "yxyx": lambda x, y, w, h: [y, x, y + h, x + w],
    "cxcywh": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
}


@pytest.mark.parametrize("box_format", FROM_XYWH)
@pytest.mark.parametrize("label_offset", [None, 1])
def test_lookup_finds_every_image_in_any_order(label_offset: int | None, box_format: str) -> None:
    dataset, table = table_of()
    lookup = GroundTruthLookup.from_table(table, box_format=box_format, label_offset=label_offset)
    ids = np.array([139, 900, 8, 2**31 - 1, 7, 40, 900, -1, 0], np.int32)
    truth, known = jax.jit(lambda lookup, ids: lookup.find(ids))(lookup, ids)
    np.testing.assert_array_equal(known, [True, True, False, True, True, True, True, False, False])
    counts = np.bincount([row["image_id"] == 900 for row in dataset["annotations"]])
    assert truth.boxes.shape == (len(ids), lookup.max_ground_truths_per_image, 4)
    assert lookup.max_ground_truths_per_image == counts[1]
    numbers = {1: 0, 3: 1, 90: 2} if label_offset is None else {1: 0, 3: 2, 90: 89}
    for i, image_id in enumerate(ids):
        rows = [row for row in dataset["annotations"] if row["image_id"] == image_id]
        np.testing.assert_array_equal(truth.valid[i], np.arange(truth.valid.shape[1]) < len(rows))
        for g, row in enumerate(rows):
            expected = np.array(FROM_XYWH[box_format](*row["bbox"])).astype(np.float32)  # rounded once
            np.testing.assert_array_equal(truth.boxes[i, g], expected)
            assert truth.labels[i, g] == numbers[row["category_id"]]
            assert truth.area[i, g] == np.float32(row["area"])
            assert truth.crowd[i, g] == bool(row["iscrowd"])
            assert not truth.ignore[i, g]


@pytest.mark.slow
def test_lookup_feeds_the_metric_and_unknown_images_are_padding() -> None:
    dataset, table = table_of()
    lookup = GroundTruthLookup.from_table(table, box_format="xywh")
    ids = np.array([7, 900, 139, -1, 40, 2**31 - 1, 12345], np.int32)
    truth, known = lookup.find(ids)
    perfect = jaxmap.Detections(
        boxes=truth.boxes,
        scores=jnp.full(truth.labels.shape, 0.5),
        labels=truth.labels,
        valid=truth.valid & ~truth.crowd,
    )
    metric = jaxmap.AveragePrecision(num_classes=3, max_images=5, box_format="xywh")
    state = jax.jit(metric.update)(metric.init(), perfect, truth, image_id=ids, valid=known)
    numbers = metric.summarize(metric.compute(state))
    assert numbers["AP"] == pytest.approx(1)
    assert numbers["num_images"] == 5
    assert numbers["num_padded_images"] == 2
    counted = sum(not row["iscrowd"] for row in dataset["annotations"])
    assert int(metric.compute(state).curves.num_ground_truths[:, 0].sum()) == counted


def test_lookup_of_images_without_any_ground_truth() -> None:
    table = io.coco_ground_truths({"images": [{"id": 5}], "categories": [{"id": 1}], "annotations": []})
    truth, known = GroundTruthLookup.from_table(table).find(np.array([5, 6]))
    assert truth.boxes.shape == (2, 1, 4)
    assert not truth.valid.any()
    np.testing.assert_array_equal(known, [True, False])


def test_lookup_is_an_argument_that_traces_once() -> None:
    lookup = GroundTruthLookup.from_table(table_of()[1])

    @jax.jit
    @chex.assert_max_traces(n=1)
    def find(lookup: GroundTruthLookup, ids: jax.Array) -> Any:
        return lookup.find(ids)

    for ids in ([7, 900], [139, 8]):
        find(lookup, np.array(ids, np.int32))


def test_lookup_refuses_ids_that_it_could_not_find_again() -> None:
    def table(image_id: Any, class_id: Any = 1) -> jaxmap.GroundTruthTable:
        return io.coco_ground_truths(
            {"images": [{"id": image_id}], "categories": [{"id": class_id}], "annotations": []}
        )

    with pytest.raises(TypeError, match="`table` must have integer image ids"):
        GroundTruthLookup.from_table(table("a.jpg"))
    with pytest.raises(ValueError, match=r"image ids below 2\^31, got 2147483648"):
        GroundTruthLookup.from_table(table(2**31))
    with pytest.raises(TypeError, match="`table` must have integer class ids"):
        GroundTruthLookup.from_table(table(1, "cat"), label_offset=1)
    with pytest.raises(ValueError, match="`label_offset` must be at most the smallest class id, 1, got 2"):
        GroundTruthLookup.from_table(table(1), label_offset=2)
    with pytest.raises(ValueError, match=r"`box_format` must be .*, got 'xxyy'"):
        GroundTruthLookup.from_table(table(1), box_format="xxyy")
    with pytest.raises(TypeError, match="`image_id` must hold integers, got dtype float32"):
        GroundTruthLookup.from_table(table(1)).find(jnp.array([1.0]))
