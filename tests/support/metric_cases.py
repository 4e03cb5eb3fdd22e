"""The table of metrics for which the laws are tested: a new metric is one row of `CASES`.

A row says how the metric is made, what data it gets, which numbers it reports, and which laws do not hold for it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

import jaxmap
from jaxmap.metrics import (
    AveragePrecision,
    ConfusionMatrix,
    HistogramAveragePrecision,
    HostAveragePrecision,
    MeanAveragePrecisionAtK,
    PanopticQuality,
    PixelAveragePrecision,
    SemanticSegmentation,
)
from support import panoptic_scenes
from support.scenes import pad, random_scene

NUM_IMAGES, D, G, K = 24, 24, 8, 3  # a list of candidates has room for 8 ground truths, which compiles faster
SIZE = 7  # of all batches; it does not divide the images
IDS = np.array([0, *range(5, 5 * NUM_IMAGES - 8, 5), 2**31 - 1], np.int32)
CONFIG = {"num_classes": K, "box_format": "xywh"}
SLOTS = {"max_detections_per_image": D, "max_ground_truths_per_image": G}
Batch = dict[str, Any]
Data = Callable[[], Batch]
Reorder = Callable[[Batch, np.random.Generator], tuple[Batch, Batch]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table.

    Attributes:
      metric: has room for all of the data.
      data: makes the arguments of `update` for all images, `valid` among them; padding in it holds NaN.
      reorder: returns data, and the same with the rows, pixels or items of each image in another order, where padding
        stands anywhere and holds anything but NaN.
      numbers: what `summarize` reports before the counters.
      padding: the counter that padding images change, and nothing else.
      tolerance: of results, where sums of floats depend on the order; 0 for equal bits.
      float32: of numbers that are computed inside `jit`.
      one_route: True where `compute` is the same inside `jit` and outside.
      slow: True where compiling takes seconds.
      exceptions: the laws that do not hold, by the names of their tests, and why.
    """

    metric: Any
    data: Data
    reorder: Reorder
    numbers: Sequence[str]
    padding: str
    tolerance: float = 0.0
    float32: float = 1e-6  # a float32 division and mean
    one_route: bool = False
    slow: bool = False
    exceptions: Mapping[str, str] = dataclasses.field(default_factory=dict)


# ---- detections ----


@functools.cache
def dataset() -> Batch:
    """Images from random scenes of several classes, with crowds and ties, in float32; padding holds NaN."""
    images: tuple[list[Any], list[Any]] = ([], [])
    for seed in range(4400, 4600):
        scene = random_scene(np.random.default_rng(seed), default_options=True)
        sides = scene.lists()
        longest = [max(len(image["labels"]) for image in side) for side in sides]
        if len(scene.class_ids) == K and longest[0] <= D and 2 <= longest[1] <= G:
            for side, into in zip(sides, images, strict=True):
                into.extend(side)
    found, truth = (pad(side[:NUM_IMAGES], length) for side, length in zip(images, (D, G), strict=True))
    assert len(found["boxes"]) == NUM_IMAGES
    assert truth["crowd"][truth["valid"]].any()
    found["scores"] = np.round(np.clip(found["scores"], 0, 1), 1)  # nearly all of them tied with some other image's
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    found, truth = (
        {name: column.astype(dtypes[column.dtype.kind]) for name, column in side.items()} for side in (found, truth)
    )
    return {
        "detections": jaxmap.Detections(**found),
        "ground_truths": jaxmap.GroundTruths(**truth),
        "image_id": IDS,
        "valid": np.ones(NUM_IMAGES, bool),
    }


def reorder_boxes(data: Batch, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Detections of distinct scores change places; ground truths keep their order, since the later of two ties wins."""
    found, truth = data["detections"], data["ground_truths"]
    places = permutations(D, rng)
    scores = np.where(found.valid, places / np.float32(D), np.float32(np.nan)).astype(np.float32)
    data = data | {"detections": dataclasses.replace(found, scores=scores)}
    other = dict(data)
    orders = {"detections": permutations(D, rng), "ground_truths": interleaved(truth.valid, rng)}
    for side, order in orders.items():
        rows, columns = data[side], {}
        for name, column in vars(rows).items():
            if column is not None:
                valid = rows.valid.reshape(rows.valid.shape + (1,) * (column.ndim - 2))
                rubbish = column[rows.valid][rng.integers(rows.valid.sum())]
                columns[name] = moved(np.where(valid, column, rubbish), order)
        other[side] = type(rows)(**columns | {"valid": moved(rows.valid, order)})
        assert (other[side].valid != rows.valid).any()
        assert np.isfinite(other[side].boxes).all()  # padding looks like boxes
    return data, other


def permutations(length: int, rng: np.random.Generator) -> np.ndarray:
    """Returns `[I, length]`, an order for each image."""
    return rng.permuted(np.tile(np.arange(length), (NUM_IMAGES, 1)), axis=1)


def interleaved(valid: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns `[I, length]`, orders in which valid rows keep theirs, and padding stands anywhere."""
    places = rng.permuted(valid, axis=1)
    orders = np.empty(valid.shape, int)
    for image, (flags, place) in enumerate(zip(valid, places, strict=True)):
        orders[image, place], orders[image, ~place] = np.flatnonzero(flags), np.flatnonzero(~flags)
    return orders


def moved(column: np.ndarray, order: np.ndarray) -> np.ndarray:
    return column[np.arange(NUM_IMAGES)[:, None], order]


# ---- maps and lists ----


@functools.cache
def label_maps() -> Batch:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 7, 255], (NUM_IMAGES, 5, 6), p=[0.4, 0.3, 0.2, 0.05, 0.05])
    return {"predicted": rng.integers(-1, 4, truth.shape), "truth": truth, "valid": rng.random(truth.shape) < 0.9}


@functools.cache
def score_maps() -> Batch:
    maps = label_maps()
    scores = np.random.default_rng(1).random((*maps["truth"].shape, K), np.float32) * np.float32(1.05)
    is_number = (scores > 0.05) & maps["valid"][..., None]
    return {"scores": np.where(is_number, scores, np.float32(np.nan)), "truth": maps["truth"], "valid": maps["valid"]}


@functools.cache
def segment_maps() -> Batch:
    scene = panoptic_scenes.random_scene(NUM_IMAGES, (9, 11))
    predicted = scene["predicted"].copy()
    predicted[:, 0, 0] = 99  # of no segment
    return scene | {"predicted": predicted, "valid": np.ones(NUM_IMAGES, bool)}


@functools.cache
def lists() -> Batch:
    rng = np.random.default_rng(2)
    relevant, predicted = rng.integers(0, 9, (2, NUM_IMAGES, 6))
    return {
        "relevant": relevant,
        "predicted": predicted,
        "relevant_valid": rng.random((NUM_IMAGES, 6)) < rng.choice([0, 0.5], (NUM_IMAGES, 1)),
        "predicted_valid": rng.random((NUM_IMAGES, 6)) < 0.8,
        "weights": rng.random(NUM_IMAGES, np.float32),
        "valid": np.ones(NUM_IMAGES, bool),
    }


def reorder_pixels(data: Batch, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """The pixels of each image change places, those of padding among them."""
    shape = data["truth"].shape
    order, other = permutations(shape[1] * shape[2], rng), dict(data)
    for name, column in data.items():
        if column.shape[:3] == shape:
            if data["valid"].shape == shape and name != "valid":
                valid = data["valid"].reshape(shape + (1,) * (column.ndim - 3))
                column = np.where(valid, column, np.ones((), column.dtype))
            other[name] = moved(column.reshape(NUM_IMAGES, -1, *column.shape[3:]), order).reshape(column.shape)
    return data, other


def reorder_segments(data: Batch, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """The segments of each image change numbers; their pixels stay, because boundaries depend on neighbours."""
    other = dict(data)
    for side in ("predicted", "truth"):
        columns = [name for name in data if name.startswith(f"{side}_")]
        order = permutations(data[columns[0]].shape[1], rng)
        for name in columns:
            other[name] = moved(data[name], order)
        numbers, segments = np.argsort(order, axis=1), data[side]
        known = (segments >= 0) & (segments < order.shape[1])
        place = np.where(known, segments, 0).reshape(NUM_IMAGES, -1)
        other[side] = np.where(known, np.take_along_axis(numbers, place, 1).reshape(segments.shape), segments)
    return data, other


def reorder_items(data: Batch, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Relevant items change places, predicted ones keep their order; padding holds a relevant item."""
    other = dict(data)
    orders = {"relevant": permutations(6, rng), "predicted": interleaved(data["predicted_valid"], rng)}
    for name, order in orders.items():
        valid = moved(data[f"{name}_valid"], order)
        items = np.where(valid, moved(data[name], order), data["relevant"][:, :1])
        other |= {name: items, f"{name}_valid": valid}
    return data, other


# ---- the table ----

COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
BOXES = {"data": dataset, "reorder": reorder_boxes, "padding": "num_padded_images", "slow": True}
MAPS = {"reorder": reorder_pixels, "padding": "num_padded_pixels"}
ADDS = {"an_image_seen_again_counts_once_and_is_reported": "no image is remembered: one that comes twice counts twice"}
ONCE = {"counts_are_exact_beyond_32_bits_or_stop_and_are_refused": "an image counts once, however often it comes"}
ON_THE_HOST = "`update` runs its own program, and the state is a tuple of batches that grows"

CASES = {
    "exact": Case(
        metric=AveragePrecision(**CONFIG, **SLOTS, max_images=NUM_IMAGES),
        numbers=COCO_NUMBERS,
        exceptions=ONCE,
        **BOXES,
    ),
    "host": Case(
        metric=HostAveragePrecision(**CONFIG),
        numbers=COCO_NUMBERS,
        exceptions=dict.fromkeys(
            (
                "counts_are_exact_beyond_32_bits_or_stop_and_are_refused",
                "eager_equals_jit",
                "a_state_is_given_away_and_shapes_stay",
                "compute_inside_jit_agrees_with_the_host",
                "devices_reduce_to_the_state_of_all_images",
                "a_vmap_over_shards_equals_a_loop",
                "a_vmap_inside_a_checked_shard_map_equals_a_loop",
                "a_mesh_of_explicit_axes_needs_nothing",
                "update_runs_inside_shard_map_on_eight_devices",
                "an_evaluation_resumes_from_a_state_that_orbax_wrote",
            ),
            ON_THE_HOST,
        ),
        **BOXES,
    ),
    "histogram": Case(
        metric=HistogramAveragePrecision(**CONFIG, num_bins=64),
        numbers=COCO_NUMBERS,
        one_route=True,
        exceptions=ADDS,
        **BOXES,
    ),
    "confusion": Case(
        metric=ConfusionMatrix(**CONFIG, iou_threshold=0.4),
        numbers=("precision", "recall", "num_correct", "num_confused", "num_missed", "num_background", "num_left_out"),
        one_route=True,
        exceptions=ADDS,
        **BOXES,
    ),
    "segmentation": Case(
        metric=SemanticSegmentation(num_classes=K),
        data=label_maps,
        numbers=("mean_iou", "frequency_weighted_iou", "pixel_accuracy", "mean_accuracy", "mean_dice"),
        exceptions=ADDS,
        **MAPS,
    ),
    "pixels": Case(
        metric=PixelAveragePrecision(num_classes=K, num_bins=16),
        data=score_maps,
        numbers=("mean_average_precision", "mean_lowest", "mean_highest"),
        float32=1e-5,  # sums of 16 rounded terms
        exceptions=ADDS,
        **MAPS,
    ),
    "panoptic": Case(
        metric=PanopticQuality(num_classes=panoptic_scenes.NUM_CLASSES, things=(1,)),
        data=segment_maps,
        numbers=("PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"),
        exceptions=ADDS,
        **MAPS,
    ),
    "modified_boundary_panoptic": Case(
        metric=PanopticQuality(num_classes=panoptic_scenes.NUM_CLASSES, things=(1,), modified=True, boundary_ratio=0.1),
        data=segment_maps,
        reorder=reorder_segments,
        numbers=("PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st"),
        padding="num_padded_pixels",
        exceptions=ADDS,
    ),
    "ranking": Case(
        metric=MeanAveragePrecisionAtK(k=4),
        data=lists,
        reorder=reorder_items,
        numbers=("mean_average_precision",),
        padding="num_padded_rows",
        tolerance=1e-12,  # double-float sums of 47 bits depend on the order
        exceptions=ADDS,
    ),
}


# ---- batches, and functions that are compiled once ----


def take(data: Batch, images: Sequence[int] | np.ndarray) -> Batch:
    rows = np.asarray(images, int)
    return jax.tree.map(lambda column: column[rows], data)


def batch_of(data: Batch, images: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
    """Returns some images as a batch, filled up with padding: other images; at its end, or anywhere with `rng`."""
    real = np.arange(SIZE) < len(images)
    rows = np.resize(np.append(np.asarray(images, int), np.arange(NUM_IMAGES)), SIZE)
    if rng is not None:
        order = interleaved(real[None], rng)[0]
        rows, real = rows[order], real[order]
    batch = take(data, rows)
    return batch | {"valid": batch["valid"] & real.reshape(-1, *(1,) * (batch["valid"].ndim - 1))}


def batches(data: Batch, images: Sequence[int] | np.ndarray | None = None) -> list[Batch]:
    """Cuts images, all of them if None, into batches; only the last has padding."""
    images = np.arange(len(data["valid"])) if images is None else np.asarray(images, int)
    return [batch_of(data, images[start : start + SIZE]) for start in range(0, len(images), SIZE)]


class Runner:
    """A metric with its functions, compiled once for all tests."""

    def __init__(self, name: str) -> None:
        self.name, self.case, self.metric = name, CASES[name], CASES[name].metric
        self.in_jit = "eager_equals_jit" not in self.case.exceptions
        self.merge = jax.jit(self.metric.merge) if self.in_jit else self.metric.merge
        self.compute_in_jit = jax.jit(self.metric.compute)
        self.compute = self.compute_in_jit if self.case.one_route else self.metric.compute

        def step(state: Any, batch: Batch) -> Any:
            return self.step(state, batch)

        step.__name__ = f"update_{name}"  # by which chex tells them apart
        self.donating = jax.jit(chex.assert_max_traces(step, n=1), donate_argnums=0) if self.in_jit else self.step

    @functools.cached_property
    def data(self) -> Batch:
        return self.case.data()

    @functools.cached_property
    def whole(self) -> Any:
        """The state of all images."""
        return self.state_of(self.data)

    def step(self, state: Any, batch: Batch) -> Any:
        return self.metric.update(state, **batch)

    def update(self, state: Any, batch: Batch) -> Any:
        return self.donating(jax.tree.map(jnp.array, state) if self.in_jit else state, batch)

    def state_of(self, data: Batch, images: Sequence[int] | np.ndarray | None = None) -> Any:
        return functools.reduce(self.update, batches(data, images), self.metric.init())

    def assert_same_state(self, one: Any, other: Any) -> None:
        """Asserts that two states are equal in every bit, or, on the host and within a tolerance, that results are."""
        if self.in_jit and not self.case.tolerance:
            chex.assert_trees_all_equal(one, other)
            chex.assert_trees_all_equal_shapes_and_dtypes(one, self.metric.init())
        else:
            self.assert_same_result(one, other)

    def assert_same_result(self, one: Any, other: Any, *, but: Sequence[str] = ()) -> None:
        """Asserts that two states compute to the same; `but` names the counters that may differ."""
        one, other = self.compute(one), self.compute(other)
        for result in (one, other):
            for name in but:
                result.counters[name] = 0
        if self.case.tolerance:
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=0, atol=self.case.tolerance), one, other)
        else:
            jax.tree.map(np.testing.assert_array_equal, one, other)


@functools.cache
def runner_of(name: str) -> Runner:
    return Runner(name)
