"""`average_precision` inside `jit` against the float64 host route and pycocotools, on the same float32 numbers.

Matches and counts are exact, so the numbers may differ only by float32's division and mean: below 1e-6, as documented.
The full COCO pairs go through the state in batches: see metrics/test_average_precision.py.
"""

from __future__ import annotations

import dataclasses
import pathlib
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import COCO
from jaxmap._summary import summary_lines
from jaxmap.protocols import EvaluationProtocol
from reference.test_shared_data import EXACT, Pair
from support.oracle import run_pycocotools
from support.padded import pad_coco, round_coco
from support.scenes import odd_scenes, pad, random_scene

pytestmark = [odd_scenes, pytest.mark.slow]

ATOL = 1e-6
NUM_IMAGES, D, G, K = 12, 128, 16, 12  # one shape, and with it one compile; some scenes have over 100 of a class

traces = 0


@partial(jax.jit, static_argnames=("num_classes", "protocol", "box_format"))
def average_precision(
    detections: jaxmap.Detections,
    ground_truths: jaxmap.GroundTruths,
    *,
    num_classes: int = K,
    protocol: EvaluationProtocol = COCO,
    box_format: str = "xywh",
) -> dict[str, jax.Array]:
    global traces
    traces += 1
    return jaxmap.average_precision(
        detections, ground_truths, num_classes=num_classes, protocol=protocol, box_format=box_format
    )


PROTOCOLS = {  # each in another box format than the scenes under COCO's
    "xyxy": COCO.customize(
        iou_thresholds=(1 / 3, 0.5, 2 / 3, 1.0),
        recall_points=tuple(i / 7 for i in range(8)),
        max_detections=(1, 2),
        class_agnostic=True,
    ),
    "cxcywh": COCO.customize(
        iou_thresholds=tuple(np.linspace(0.05, 1.0, 20).tolist()),
        area_ranges={"small": (0, 400), "edge": (400, 400), "rest": (400, 1e11)},
        max_detections=3,
    ),
}


def sides_of(seed: int) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Returns a random scene in float32, padded to one shape with NaN and with images that have no rows."""
    found, truth = random_scene(np.random.default_rng(seed), default_options=True).lists()
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    limit = float(np.finfo(np.float32).max)  # infinities are refused, so the ends of float64 are cut to float32's

    def narrow(images: list[dict[str, np.ndarray]], length: int) -> dict[str, np.ndarray]:
        empty = {name: column[:0] for name, column in images[0].items()}
        columns = pad(images + [empty] * (NUM_IMAGES - len(images)), length)
        return {
            name: (np.clip(column, -limit, limit) if column.dtype.kind == "f" else column).astype(
                dtypes[column.dtype.kind]
            )
            for name, column in columns.items()
        }

    ground_truths = jaxmap.GroundTruths(**narrow(truth, G), ignore=np.zeros((NUM_IMAGES, G), bool))
    return jaxmap.Detections(**narrow(found, D)), ground_truths


def assert_agree(numbers: dict[str, Any], expected: dict[str, float]) -> None:
    assert numbers.keys() == expected.keys()
    for name, value in expected.items():
        assert numbers[name].dtype == np.float32
        assert numbers[name].shape == ()
        want = -1.0 if np.isnan(value) else value
        assert float(numbers[name]) == pytest.approx(want, rel=0, abs=ATOL), name


def assert_agrees_with_host(
    detections: jaxmap.Detections, ground_truths: jaxmap.GroundTruths, **options: Any
) -> dict[str, float]:
    expected = jaxmap.evaluate(detections, ground_truths, num_classes=K, **{"box_format": "xywh"} | options).summary
    assert_agree(average_precision(detections, ground_truths, **options), expected)
    return expected


@pytest.mark.parametrize("first", range(3000, 3100, 20))
def test_random_scenes_agree_with_the_host(first: int) -> None:
    defined = 0
    for seed in range(first, first + 20):
        defined += 0 < assert_agrees_with_host(*sides_of(seed))["AP"] < 1
    assert defined >= 10


def convert(side: Any, box_format: str) -> Any:
    x, y, w, h = np.moveaxis(side.boxes, -1, 0)
    columns = {"xyxy": (x, y, x + w, y + h), "cxcywh": (x + w / 2, y + h / 2, w, h)}
    return dataclasses.replace(side, boxes=np.stack(columns[box_format], axis=-1))


@pytest.mark.parametrize("box_format", PROTOCOLS)
def test_other_protocols_and_box_formats_agree_with_the_host(box_format: str) -> None:
    for seed in range(3200, 3220):
        sides = [convert(side, box_format) for side in sides_of(seed)]
        assert_agrees_with_host(*sides, protocol=PROTOCOLS[box_format], box_format=box_format)


def test_real_detections_agree_with_pycocotools(shared_data: pathlib.Path) -> None:
    for pair in (  # in one test, because they share a program
        Pair("cocoapi_val2014_100/ground_truth", "cocoapi_val2014_100/fake_boxes"),
        Pair(EXACT, "coco_val2017/ssd_resnet50_fpn"),
    ):
        assert_agrees_with_pycocotools(*pair.load(shared_data))


def assert_agrees_with_pycocotools(*files: Any) -> None:
    detections, ground_truths = pad_coco(*files, num_images=188, num_detections=100, num_ground_truths=70)
    oracle = run_pycocotools(*round_coco(*files))
    numbers = average_precision(detections, ground_truths, num_classes=80)
    assert len(oracle.class_ids) == 80
    assert np.asarray(ground_truths.crowd)[np.asarray(ground_truths.valid)].any()
    names = [line.name for line in summary_lines(COCO)]  # `jit` returns dictionaries sorted by key
    np.testing.assert_allclose([float(numbers[name]) for name in names], oracle.stats, rtol=0, atol=ATOL)


def crowded(seed: int) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Returns a scene in which detections reach a threshold with more ground truths than a short list holds."""
    rng = np.random.default_rng(seed)

    def boxes(num_boxes: int) -> np.ndarray:
        corner = rng.integers(0, 5, (NUM_IMAGES, num_boxes, 2))
        return np.concatenate([corner, np.full_like(corner, 20)], axis=-1).astype(np.float32)

    detections = jaxmap.Detections(
        boxes=boxes(D),
        scores=(rng.integers(0, 10, (NUM_IMAGES, D)) / 10).astype(np.float32),
        labels=np.where(rng.random((NUM_IMAGES, D)) < 0.9, 1, 2).astype(np.int32),
        valid=rng.random((NUM_IMAGES, D)) < 0.9,
    )
    ground_truths = jaxmap.GroundTruths(
        boxes=boxes(G),
        labels=np.where(rng.random((NUM_IMAGES, G)) < 0.9, 1, 2).astype(np.int32),
        valid=rng.random((NUM_IMAGES, G)) < 0.9,
        area=rng.choice([400, 1024, 9216], (NUM_IMAGES, G)).astype(np.float32),
        crowd=rng.random((NUM_IMAGES, G)) < 0.1,
        ignore=np.zeros((NUM_IMAGES, G), bool),
    )
    return detections, ground_truths


@pytest.mark.parametrize("seed", range(3))
def test_crowded_scenes_that_overflow_the_short_lists_agree(seed: int) -> None:
    detections, ground_truths = crowded(seed)
    near = np.asarray(jaxmap.box_iou(detections.boxes[0], ground_truths.boxes[0], box_format="xywh")) >= 0.5
    assert near.sum(1).max() > 8
    assert 0 < assert_agrees_with_host(detections, ground_truths)["AP"] < 1


def test_x64_mode_changes_nothing() -> None:
    sides = crowded(0), *(sides_of(seed) for seed in range(3000, 3005))
    off = [average_precision(*one) for one in sides]
    with jax.enable_x64(True):
        on = [average_precision(*one) for one in sides]
    chex.assert_trees_all_equal_dtypes(on[0], off[0])
    chex.assert_trees_all_close(on, off, rtol=0, atol=ATOL)


def test_equal_shapes_are_traced_once() -> None:
    first = average_precision(*sides_of(3004))
    before = traces
    assert average_precision(*sides_of(3005))["AP"] != first["AP"]
    assert traces == before


def test_optional_fields_have_their_documented_defaults() -> None:
    detections, ground_truths = crowded(0)
    plain = (
        dataclasses.replace(detections, valid=None),
        dataclasses.replace(ground_truths, valid=None, area=None, crowd=None, ignore=None),
    )
    numbers = average_precision(*plain)
    explicit = (
        dataclasses.replace(detections, valid=np.ones((NUM_IMAGES, D), bool)),
        dataclasses.replace(
            ground_truths,
            valid=np.ones((NUM_IMAGES, G), bool),
            crowd=np.zeros((NUM_IMAGES, G), bool),
            area=ground_truths.boxes[..., 2] * ground_truths.boxes[..., 3],
        ),
    )
    chex.assert_trees_all_equal(numbers, average_precision(*explicit))
    assert_agrees_with_host(*plain)


def test_ignored_ground_truths_agree_with_the_host() -> None:
    detections, ground_truths = crowded(1)
    ignore = np.random.default_rng(1).random((NUM_IMAGES, G)) < 0.4
    ignoring = assert_agrees_with_host(detections, dataclasses.replace(ground_truths, ignore=ignore))
    assert ignoring["AP"] != assert_agrees_with_host(detections, ground_truths)["AP"]


def spoil(batch: Any, field: str, value: float) -> Any:
    """Returns the batch with one value changed in its first valid row."""
    column = np.array(getattr(batch, field))
    column[tuple(np.argwhere(batch.valid)[0])] = value
    return dataclasses.replace(batch, **{field: column})


@pytest.mark.parametrize(
    ("side", "field", "value"),
    [
        (0, "boxes", np.nan),
        (0, "boxes", np.inf),
        (0, "scores", np.nan),
        (0, "scores", -np.inf),
        (0, "labels", -1),
        (0, "labels", K),
        (1, "boxes", np.nan),
        (1, "area", np.inf),
        (1, "labels", -1),
        (1, "labels", K),
    ],
)
def test_a_bad_row_makes_every_number_nan(side: int, field: str, value: float) -> None:
    sides = list(crowded(0))
    assert np.isfinite(list(map(float, average_precision(*sides).values()))).all()
    sides[side] = spoil(sides[side], field, value)
    assert np.isnan(list(map(float, average_precision(*sides).values()))).all()
    # The same in a row of padding is nothing.
    valid = np.array(sides[side].valid)
    valid[tuple(np.argwhere(valid)[0])] = False
    sides[side] = dataclasses.replace(sides[side], valid=valid)
    assert_agrees_with_host(*sides)


def test_nothing_at_all_is_undefined() -> None:
    detections, ground_truths = crowded(0)
    nothing = dataclasses.replace(ground_truths, valid=np.zeros((NUM_IMAGES, G), bool))
    assert set(map(float, average_precision(detections, nothing).values())) == {-1.0}
    silent = average_precision(dataclasses.replace(detections, valid=np.zeros((NUM_IMAGES, D), bool)), ground_truths)
    assert {float(silent[name]) for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")} == {0.0}


@pytest.mark.parametrize(("num_images", "num_detections", "num_ground_truths"), [(2, 0, 3), (2, 3, 0), (0, 3, 3)])
def test_an_axis_of_length_zero_is_like_padding(num_images: int, num_detections: int, num_ground_truths: int) -> None:
    detections = jaxmap.Detections(
        boxes=jnp.ones((num_images, num_detections, 4)),
        scores=jnp.ones((num_images, num_detections)),
        labels=jnp.zeros((num_images, num_detections), jnp.int32),
    )
    ground_truths = jaxmap.GroundTruths(
        boxes=jnp.ones((num_images, num_ground_truths, 4)),
        labels=jnp.zeros((num_images, num_ground_truths), jnp.int32),
    )
    numbers = average_precision(detections, ground_truths, num_classes=2)
    assert float(numbers["AP"]) == (0.0 if num_images and num_ground_truths else -1.0)
