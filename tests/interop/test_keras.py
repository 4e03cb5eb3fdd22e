"""The callback in `fit` of Keras: its numbers, all kinds of batches and formats, and the callbacks after it."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap

keras = pytest.importorskip("keras", reason="Keras 3", exc_type=ImportError)

from jaxmap.interop.keras import AveragePrecisionCallback  # noqa: E402

HEIGHT, WIDTH = 40, 80
SHIFTS = (4.0, 2.0, 0.0, 2.0, 4.0)  # of the detections in pixels, by epoch: the third is the best


@pytest.fixture(autouse=True)
def as_keras_computes() -> Iterator[None]:
    """Keras mixes dtypes and ranks, which other tests forbid."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class Detector(keras.Model):
    """Detects the boxes that its images hold in their first pixels, moved by a weight; boxes are yxyx."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = self.add_weight(name="shift", shape=(), initializer="zeros")

    def call(self, images: Any) -> dict[str, Any]:
        rows = images[:, 0, :6, :6]  # y0, x0, y1, x1, label, score
        return {
            "boxes": rows[..., :4] + self.shift,
            "labels": keras.ops.cast(rows[..., 4], "int32"),
            "confidence": rows[..., 5],
            "num_detections": keras.ops.full(keras.ops.shape(images)[:1], 5, "int32"),  # the sixth row is none
        }

    def compute_loss(self, *_: Any, **__: Any) -> Any:
        return keras.ops.sum(self.shift) * 0.0


class Move(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.shift.assign(SHIFTS[epoch])


def dataset() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns images, boxes `[I, 5, 4]` as yxyx and labels `[I, 5]`, -1 for padding."""
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 20, (7, 5, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + rng.integers(8, 20, (7, 5, 2))], axis=2).astype(np.float32)
    labels = rng.integers(-1, 3, (7, 5))
    images = np.zeros((7, HEIGHT, WIDTH, 6), np.float32)
    images[:, 0, :5, :4] = boxes + rng.integers(-1, 2, boxes.shape)
    images[:, 0, :5, 4] = labels
    images[:, 0, :5, 5] = rng.random((7, 5))
    images[:, 0, 5] = [0, 0, 9, 9, 1, 1]
    return images, boxes, labels


def batches(**targets: Any) -> list[Any]:
    images, boxes, labels = dataset()
    targets = targets or {"boxes": boxes, "classes": labels}
    return [(images[i : i + 4], {name: column[i : i + 4] for name, column in targets.items()}) for i in (0, 4)]


def expected(shift: float) -> dict[str, float]:
    """Returns the numbers of `evaluate` on what the detector finds."""
    images, boxes, labels = dataset()
    rows = images[:, 0, :5]
    evaluation = jaxmap.evaluate(
        {"boxes": rows[..., :4] + np.float32(shift), "labels": labels, "scores": rows[..., 5], "valid": labels >= 0},
        {"boxes": boxes, "labels": labels, "valid": labels >= 0},
        box_format="yxyx",
        num_classes=3,
    )
    return evaluation.to_scalars("val_")


def compiled() -> Any:
    model = Detector()
    model.compile(optimizer="sgd")
    return model


def evaluated(data: Any, **options: Any) -> dict[str, float]:
    callback = AveragePrecisionCallback(data, num_classes=3, **{"bounding_box_format": "yxyx", **options})
    callback.set_model(compiled())
    return callback.evaluate().to_scalars("val_")


def test_numbers_join_the_logs_that_later_callbacks_read(tmp_path: pathlib.Path) -> None:
    model, path = compiled(), tmp_path / "best.weights.h5"
    callback = AveragePrecisionCallback(batches(), bounding_box_format="yxyx", num_classes=3)
    best = keras.callbacks.ModelCheckpoint(
        path, monitor="val_AP", mode="max", save_best_only=True, save_weights_only=True
    )
    stop = keras.callbacks.EarlyStopping("val_AP", mode="max", patience=1, restore_best_weights=True)
    images, boxes, _ = dataset()
    history = model.fit(images, boxes, epochs=5, verbose=0, callbacks=[Move(), callback, best, stop]).history
    assert len(history["val_AP"]) == 4  # the fourth epoch is worse than the third
    for name in ("val_AP", "val_AP50", "val_APs", "val_AR100"):
        assert history[name] == [expected(shift)[name] for shift in SHIFTS[:4]]
    assert "val_APl" not in history  # there are no large boxes
    assert len(set(history["val_AP"])) == 3
    assert {type(value) for value in history["val_AP"]} == {float}
    assert float(model.shift.numpy()) == SHIFTS[2]
    model.shift.assign(9.0)
    model.load_weights(path)
    assert float(model.shift.numpy()) == SHIFTS[2]
    assert callback.evaluation.summary["AP"] == history["val_AP"][3]


def test_evaluates_every_few_epochs_with_names_of_classes() -> None:
    callback = AveragePrecisionCallback(
        batches(),
        bounding_box_format="yxyx",
        prefix="coco/",
        per_class=True,
        frequency=2,
        class_names=["cat", "dog", "traffic light"],
    )
    images, boxes, _ = dataset()
    history = compiled().fit(images, boxes, epochs=5, verbose=0, callbacks=[Move(), callback]).history
    assert history["coco/AP"] == [expected(shift)["val_AP"] for shift in (SHIFTS[1], SHIFTS[3])]
    assert len(history["coco/AP/traffic_light"]) == 2


class Sequence(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return batches()[index]


def test_takes_every_kind_of_batches() -> None:
    _, boxes, labels = dataset()
    ragged = {"boxes": [b[k] for b, k in zip(boxes, labels >= 0, strict=True)], "labels": [k[k >= 0] for k in labels]}
    kinds = [
        batches(),
        batches(boxes=boxes, labels=labels.astype(np.float32)),
        [(*batch, np.ones(len(batch[0]))) for batch in batches()],
        [(images, {"bounding_boxes": targets}) for images, targets in batches()],
        [{"images": images, "bounding_boxes": targets} for images, targets in batches()],
        batches(**ragged),
        batches(boxes=jax.numpy.asarray(boxes), labels=jax.numpy.asarray(labels)),
        Sequence(),
    ]
    for kind in kinds:
        assert evaluated(kind) == expected(0.0)


def test_takes_tensors_of_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow", reason="tf.data")
    images, boxes, labels = dataset()
    data = tf.data.Dataset.from_tensor_slices((images, {"boxes": boxes, "labels": labels}))
    assert evaluated(data.batch(4)) == expected(0.0)

    def without_padding(image: Any, targets: Any) -> Any:
        return image, {name: column[targets["labels"] >= 0] for name, column in targets.items()}

    assert evaluated(data.map(without_padding).ragged_batch(4)) == expected(0.0)


@pytest.mark.parametrize("name", ["xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx"])
def test_reads_the_formats_of_keras(name: str) -> None:
    images, boxes, labels = dataset()
    sizes = {"height": 32, "width": 64} if name.startswith("rel_") else {}  # powers of two lose no bits
    images = images[:, :32, :64]
    converted = keras.utils.bounding_boxes.convert_format(boxes, source="yxyx", target=name, **sizes)
    data = [(images, {"boxes": np.asarray(converted), "labels": labels})]
    assert evaluated(data, bounding_box_format=name, prediction_format="yxyx") == expected(0.0)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (batches(), {"bounding_box_format": "xyxx"}, "`bounding_box_format` must be one of .*, got 'xyxx'"),
        (batches(), {"prediction_format": "x"}, "`prediction_format` must be one of"),
        (batches(), {"bounding_box_format": None}, "`bounding_box_format` must be one of .*, got None"),
        (batches(), {"frequency": 0}, "`frequency` must be a positive integer, got 0"),
        (iter(()), {}, "must yield batches at every epoch, got none; is it an iterator"),
        ([dataset()[0]], {}, r"must be `\(images, targets\)`"),
        ([{"images": dataset()[0]}], {}, "the targets must be a dictionary with 'boxes', got"),
        (batches(boxes=dataset()[1], ids=dataset()[2]), {}, "the targets must be a dictionary with 'labels' or 'clas"),
    ],
)
def test_refuses(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluated(data, **options)
