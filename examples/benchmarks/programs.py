"""The programs inside `jit` that `compile_for.py` compiles: functions, and the shapes of their arguments."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jaxmap
from jaxmap import metrics
from jaxmap.types import Detections, GroundTruths

__all__ = ["PROGRAMS", "Program"]

f32, i32, flag = jnp.float32, jnp.int32, jnp.bool_
BOXES: tuple[int, ...] = (4,)
MASKS: tuple[int, ...] = (640, 640)
ORIENTED: tuple[int, ...] = (5,)
KEYPOINTS: tuple[int, ...] = (17, 3)

Call = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Program:
    """A function to compile.

    Attributes:
      name: as `--case` takes it.
      title: as the tables show it.
      make: returns the function and the shapes of its arguments.
      donates: whether its first argument, the state, is donated.
      quick: whether it is among the few that `--quick` compiles.
      spread: whether arrays are divided over all chips of the topology, by their first axis where that is possible.
      assumed_trips: of loops whose number depends on the data.
      assumption: why as many.
      allowed_types: types of 16 or 64 bits that it may hold, because what they hold is exact.
    """

    name: str
    title: str
    make: Callable[[], Call]
    donates: bool = False
    quick: bool = False
    spread: bool = False
    assumed_trips: int = 3
    assumption: str = "three rounds of matching"
    allowed_types: tuple[str, ...] = ()


def array(shape: tuple[int, ...], dtype: Any) -> Any:
    """Returns the shape and dtype of an argument."""
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def detections(images: int, slots: int, shape: tuple[int, ...] = BOXES) -> Detections:
    """Returns the shapes of padded detections."""
    return Detections(
        scores=array((images, slots), f32),
        labels=array((images, slots), i32),
        valid=array((images, slots), flag),
        **geometry(images, slots, shape),
    )


def ground_truths(images: int, slots: int, shape: tuple[int, ...] = BOXES, classes: int | None = None) -> GroundTruths:
    """Returns the shapes of padded ground truths; those of LVIS and Open Images also say which classes were judged."""
    more = {}
    if classes is not None:
        more = {name: array((images, classes), flag) for name in ("verified", "not_exhaustive")}
    if shape == KEYPOINTS:
        more["boxes"] = array((images, slots, *BOXES), f32)
    return GroundTruths(
        labels=array((images, slots), i32),
        valid=array((images, slots), flag),
        crowd=array((images, slots), flag),
        area=array((images, slots), f32),
        **geometry(images, slots, shape),
        **more,
    )


def geometry(images: int, slots: int, shape: tuple[int, ...]) -> dict[str, Any]:
    name = {MASKS: "masks", KEYPOINTS: "keypoints"}.get(shape, "boxes")
    return {name: array((images, slots, *shape), flag if shape == MASKS else f32)}


def state_of(metric: Any) -> Any:
    return jax.eval_shape(metric.init)


def update_of(
    metric: Any, images: int, found: int, truth: int, shape: tuple[int, ...] = BOXES, classes: int | None = None
) -> Call:
    """Returns the update of a metric of detections."""

    def update(state: Any, detections: Detections, ground_truths: GroundTruths, ids: jax.Array) -> Any:
        return metric.update(state, detections, ground_truths, image_id=ids)

    batch = detections(images, found, shape), ground_truths(images, truth, shape, classes), array((images,), i32)
    return update, (state_of(metric), *batch)


def compute_of(metric: Any) -> Call:
    return metric.compute, (state_of(metric),)


def merge_of(metric: Any) -> Call:
    return metric.merge, (state_of(metric), state_of(metric))


def coco(box_format: str = "xywh") -> jaxmap.AveragePrecision:
    return jaxmap.AveragePrecision(num_classes=80, max_images=5000, box_format=box_format)


def of_iou_type(iou_type: str, images: int, found: int, truth: int, shape: tuple[int, ...]) -> Call:
    metric = jaxmap.AveragePrecision(num_classes=80, max_images=5000, protocol=jaxmap.COCO.customize(iou_type=iou_type))
    return update_of(metric, images, found, truth, shape)


def keypoints() -> Call:
    metric = jaxmap.AveragePrecision(num_classes=1, max_images=5000, protocol=jaxmap.COCO_KEYPOINTS)
    return update_of(metric, 64, 20, 20, KEYPOINTS)


def lvis() -> jaxmap.AveragePrecision:
    return jaxmap.AveragePrecision(
        num_classes=1203, max_images=5000, max_detections_per_image=300, protocol=jaxmap.LVIS
    )


def open_images() -> jaxmap.AveragePrecision:
    return jaxmap.AveragePrecision(num_classes=500, max_images=5000, protocol=jaxmap.OPEN_IMAGES)


def average_precision() -> Call:
    function = functools.partial(jaxmap.average_precision, num_classes=80)
    return function, (detections(64, 100), ground_truths(64, 100))


def panoptic() -> metrics.PanopticQuality:
    return metrics.PanopticQuality(num_classes=133, things=tuple(range(80)))


def panoptic_update() -> Call:
    metric = panoptic()

    def update(state: Any, found: jax.Array, truth: jax.Array, labels: jax.Array, true_labels: jax.Array) -> Any:
        return metric.update(state, found, truth, predicted_labels=labels, truth_labels=true_labels)

    maps, labels = array((8, 640, 640), i32), array((8, 100), i32)
    return update, (state_of(metric), maps, maps, labels, labels)


def semantic_update() -> Call:
    metric = metrics.SemanticSegmentation(num_classes=150)
    return metric.update, (state_of(metric), array((8, 640, 640), i32), array((8, 640, 640), i32))


def pixel_update() -> Call:
    metric = metrics.PixelAveragePrecision(num_classes=19)
    return metric.update, (state_of(metric), array((4, 512, 512, 19), f32), array((4, 512, 512), i32))


def at_k_update() -> Call:
    metric = metrics.MeanAveragePrecisionAtK(k=10)
    return metric.update, (state_of(metric), array((1024, 20), i32), array((1024, 100), i32))


def segments() -> Call:
    function = functools.partial(metrics.category_instance_to_segments, num_classes=133, max_segments=100)
    return function, (array((8, 640, 640, 2), i32),)


def matching() -> Call:
    """Returns the matching of the update alone: 8 candidates of each detection, two words of planes."""
    levels = jaxmap.level_words(10, 4)

    def match(index: jax.Array, level: jax.Array, counted: jax.Array, crowd: jax.Array) -> jax.Array:
        candidates = jaxmap.Candidates(index=index, level=level)
        return jaxmap.match(candidates, counted=counted, crowd=crowd, levels=jnp.asarray(levels))

    found, truth = (64, 100, 8), (64, 100)
    shapes = array(found, i32), array(found, jnp.int8), array((*truth, 2), jnp.uint32), array(truth, flag)
    return jax.vmap(match), shapes


def curves(name: str, title: str, metric: Callable[[], Any], *, spread: bool = False) -> Program:
    """Returns the `compute` of a metric of average precision. 16 tiles of 128 matched rows of a class are a trip."""
    num_classes = metric().num_classes
    tiles = 36_000 // 128 + num_classes
    return Program(
        name,
        title,
        lambda: compute_of(metric()),
        assumed_trips=-(-tiles // 64),
        assumption=f"36,000 matching rows of {num_classes} classes in tiles of 128, 64 at once",
        allowed_types=("bf16",),  # sums of 128 flags, as a product with zeros and ones
        spread=spread,
    )


PROGRAMS = (
    Program(
        "update",
        "`update` 64 x 100 x 100, 80 classes",
        lambda: update_of(coco(), 64, 100, 100),
        donates=True,
        quick=True,
    ),
    Program(
        "update-spread",
        "the same, state and batch divided over 4 chips",
        lambda: update_of(coco(), 64, 100, 100),
        donates=True,
        quick=True,
        spread=True,
    ),
    Program("update-xyxy", "the same, boxes as xyxy", lambda: update_of(coco("xyxy"), 64, 100, 100), donates=True),
    Program("match", "`match` 64 x 100 x 100, 8 candidates each", matching, quick=True),
    curves("compute", "`compute` 5,000 x 100", coco),
    Program(
        "bootstrap",
        "`bootstrap` of 1,000 replicates, 5,000 x 100",
        lambda: (functools.partial(coco().bootstrap, num_replicates=1000), (state_of(coco()),)),
        assumed_trips=563,
        assumption="tiles of 64 of 36,000 matched rows",
        allowed_types=("bf16", "u64"),  # sums of 128 flags, as in `compute`; the counter of JAX's random bits
    ),
    curves("compute-spread", "the same, state divided over 4 chips", coco, spread=True),
    Program("merge", "`merge` 5,000 + 5,000", lambda: merge_of(coco()), quick=True),
    Program("merge-spread", "the same, states divided over 4 chips", lambda: merge_of(coco()), spread=True),
    Program(
        "average_precision",
        "`average_precision` 64 x 100 x 100",
        average_precision,
        assumption="at most 6,400 matching rows of 80 classes in tiles of 128, 64 at once; three rounds on a GPU",
        allowed_types=("bf16",),
    ),
    Program(
        "update-segm",
        "`update` segm 8 x 100 x 20, 640 x 640",
        lambda: of_iou_type("segm", 8, 100, 20, MASKS),
        donates=True,
    ),
    Program(
        "update-boundary",
        "`update` boundary, the same",
        lambda: of_iou_type("boundary", 8, 100, 20, MASKS),
        donates=True,
    ),
    Program(
        "update-obb", "`update` oriented 8 x 100 x 100", lambda: of_iou_type("obb", 8, 100, 100, ORIENTED), donates=True
    ),
    Program("update-keypoints", "`update` keypoints 64 x 20 x 20", keypoints, donates=True),
    Program(
        "update-lvis",
        "`update` LVIS 16 x 300 x 100",
        lambda: update_of(lvis(), 16, 300, 100, BOXES, 1203),
        donates=True,
    ),
    curves("compute-lvis", "`compute` LVIS 5,000 x 300", lvis),
    Program(
        "update-open-images",
        "`update` Open Images 64 x 100 x 100",
        lambda: update_of(open_images(), 64, 100, 100, BOXES, 500),
        donates=True,
    ),
    curves("compute-open-images", "`compute` Open Images 5,000 x 100", open_images),
    Program(
        "update-histogram",
        "`HistogramAveragePrecision.update` 64 x 100 x 100",
        lambda: update_of(metrics.HistogramAveragePrecision(num_classes=80), 64, 100, 100),
        donates=True,
    ),
    Program(
        "compute-histogram",
        "`HistogramAveragePrecision.compute`",
        lambda: compute_of(metrics.HistogramAveragePrecision(num_classes=80)),
    ),
    Program(
        "update-confusion",
        "`ConfusionMatrix.update` 64 x 100 x 100",
        lambda: update_of(metrics.ConfusionMatrix(num_classes=80), 64, 100, 100),
        donates=True,
        assumption="three rounds of pairing",
    ),
    Program(
        "update-panoptic",
        "`PanopticQuality.update` 8 x 640 x 640, 100 segments",
        panoptic_update,
        donates=True,
        quick=True,
    ),
    Program("compute-panoptic", "`PanopticQuality.compute`", lambda: compute_of(panoptic())),
    Program(
        "update-semantic",
        "`SemanticSegmentation.update` 8 x 640 x 640, 150 classes",
        semantic_update,
        donates=True,
        quick=True,
    ),
    Program(
        "compute-semantic",
        "`SemanticSegmentation.compute`",
        lambda: compute_of(metrics.SemanticSegmentation(num_classes=150)),
    ),
    Program("update-pixel", "`PixelAveragePrecision.update` 4 x 512 x 512, 19 classes", pixel_update, donates=True),
    Program(
        "compute-pixel",
        "`PixelAveragePrecision.compute`",
        lambda: compute_of(metrics.PixelAveragePrecision(num_classes=19)),
    ),
    Program("update-at-k", "`MeanAveragePrecisionAtK.update` 1,024 x 20 x 100", at_k_update, donates=True, quick=True),
    Program("compute-at-k", "its `compute`", lambda: compute_of(metrics.MeanAveragePrecisionAtK(k=10))),
    Program(
        "rank_classes",
        "`rank_classes` 1,024 x 1,000",
        lambda: (functools.partial(metrics.rank_classes, k=10), (array((1024, 1000), f32),)),
        quick=True,
    ),
    Program("segments", "`category_instance_to_segments` 8 x 640 x 640", segments),
    Program(
        "box_iou",
        "`box_iou` 100 x 100",
        lambda: (functools.partial(jaxmap.box_iou, box_format="xywh"), (array((100, 4), f32), array((100, 4), f32))),
        quick=True,
    ),
    Program(
        "oriented_box_iou",
        "`oriented_box_iou` 100 x 100",
        lambda: (jaxmap.oriented_box_iou, (array((100, 5), f32), array((100, 5), f32))),
    ),
)
