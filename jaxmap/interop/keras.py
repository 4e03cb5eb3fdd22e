"""A Keras 3 callback with the average precision of the model on a validation set, after each epoch.

The detectors of keras-hub refuse metrics in `compile`; a callback sees their decoded detections:

    callback = AveragePrecisionCallback(validation_data, bounding_box_format="yxyx")
    stop = keras.callbacks.EarlyStopping("val_AP", mode="max", patience=3)
    model.fit(training_data, epochs=50, callbacks=[callback, stop])  # in this order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from .._evaluation import Evaluation, evaluate
from .._geometry._boxes_host import to_xywh
from .._inputs._foreign import to_numpy
from ..types import Floats, HostArray
from ._image_tables import integers

__all__ = ["AveragePrecisionCallback"]

# Formats of Keras by what they are with x first; each may also be relative to the size of the image, as `rel_xyxy`.
_WITH_X_FIRST = {"xyxy": "xyxy", "yxyx": "xyxy", "xywh": "xywh", "center_xywh": "cxcywh", "center_yxhw": "cxcywh"}
_OF_JAXMAP = {"xyxy": "xyxy", "yxyx": "yxyx", "xywh": "xywh", "center_xywh": "cxcywh"}
_NAMES = {"labels": ("labels", "classes"), "scores": ("confidence", "scores")}


class AveragePrecisionCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds `val_AP`, `val_AP50` and so on to the logs of each epoch, exact and in float64.

    Put it before the callbacks that read these numbers, such as `EarlyStopping` and `ModelCheckpoint`, and give those
    `mode="max"`. Undefined numbers are left out.

    The model must return a dictionary from `predict`: `boxes` `[I, D, 4]`, `labels` (or `classes`) and `confidence` (or
    `scores`) `[I, D]`, and optionally `num_detections` `[I]`. Detections after these, and those with a label below 0,
    are padding. keras-hub's detectors keep scores above 0.5 by default, which makes AP low: set their
    `prediction_decoder` to a `keras_hub.layers.NonMaxSuppression` with a `confidence_threshold` near 0.

    Attributes:
      evaluation: the `jaxmap.Evaluation` of the last epoch that was evaluated; None before.
    """

    def __init__(
        self,
        validation_data: Iterable[Any],
        *,
        bounding_box_format: str | None = None,
        prediction_format: str | None = None,
        prefix: str = "val_",
        per_class: bool = False,
        frequency: int = 1,
        **options: Any,
    ) -> None:
        """Makes a callback.

        Args:
          validation_data: batches as `evaluate` of the model takes them, read anew each time: a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a list or the like. Each is `(images, targets)`, or a dictionary of `images` and
            `bounding_boxes`. Targets have `boxes` `[I, G, 4]` and `labels` (or `classes`) `[I, G]`, dense with labels
            below 0 for padding, ragged, or one array per image; other keys are not read. If the model has a
            preprocessor, it converts images and boxes.
          bounding_box_format: the format of the boxes by its name in Keras; None takes the model's.
          prediction_format: the format of predicted boxes, if it is another one. keras-hub's `DFineObjectDetector`
            always returns `yxyx`.
          prefix: the start of all names.
          per_class: whether to add the numbers of each class, as `val_AP/person`.
          frequency: the number of epochs between evaluations.
          **options: the options of `jaxmap.evaluate`, such as `class_names` and `protocol`.

        Raises:
          ValueError: if a format is unknown, or `frequency` is not a positive integer; while training, if there are no
            batches, or a batch or prediction is not as described.
        """
        super().__init__()
        for name, value in (("bounding_box_format", bounding_box_format), ("prediction_format", prediction_format)):
            if value is not None:
                _known(name, value)
        if type(frequency) is not int or frequency < 1:
            raise ValueError(f"`frequency` must be a positive integer, got {frequency!r}.")
        self.validation_data, self.frequency, self.options = validation_data, frequency, options
        self.bounding_box_format, self.prediction_format = bounding_box_format, prediction_format
        self.prefix, self.per_class = prefix, per_class
        self.evaluation: Evaluation | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Evaluates the model, and adds the numbers to `logs`, which later callbacks and the history read."""
        if (epoch + 1) % self.frequency:
            return
        self.evaluation = self.evaluate()
        if logs is not None:
            logs.update(self.evaluation.to_scalars(self.prefix, self.per_class))

    def evaluate(self) -> Evaluation:
        """Returns the evaluation of the callback's model; call `set_model(model)` first outside `fit`."""
        truth_format = self.bounding_box_format or getattr(self.model, "bounding_box_format", None)
        truth_format = _known("bounding_box_format", truth_format)
        found_format = self.prediction_format or truth_format
        # Boxes are passed on as they are where that is possible, so that warnings name the format of the user.
        box_format = _OF_JAXMAP.get(truth_format, "xywh") if found_format == truth_format else "xywh"
        found: list[dict[str, Any]] = []
        truth: list[dict[str, Any]] = []
        for images, targets, size in self._batches():
            # Not `predict_on_batch`: keras-hub's detectors do not decode what that gives them.
            predictions = self.model.predict(images, batch_size=len(images), verbose=0)
            for rows, what, columns, fields, given_format in (
                (truth, "the targets", targets, ("labels",), truth_format),
                (found, "the predictions", predictions, ("labels", "scores"), found_format),
            ):
                of_images = _rows(what, columns, fields, len(images))
                if box_format != _OF_JAXMAP.get(given_format):
                    of_images = [row | {"boxes": _to_xywh(row["boxes"], given_format, size)} for row in of_images]
                rows += of_images
        if not truth:
            raise ValueError("`validation_data` must yield batches at every epoch, got none; is it an iterator?")
        return evaluate(found, truth, box_format=box_format, **self.options)

    def _batches(self) -> Iterator[tuple[HostArray, Mapping[str, Any], tuple[int, ...]]]:
        """Yields images for `predict`, and the targets and the height and width of images as the model sees them."""
        data: Any = self.validation_data
        for batch in (data[index] for index in range(len(data))) if isinstance(data, keras.utils.PyDataset) else data:
            is_mapping = isinstance(batch, Mapping)
            images, targets = (batch.get("images"), batch) if is_mapping else (*batch, None)[:2]
            if isinstance(targets, Mapping):
                targets = targets.get("bounding_boxes", targets)
            if images is None or not isinstance(targets, Mapping):
                raise ValueError(
                    "a batch of `validation_data` must be `(images, targets)`, or a dictionary of `images` and "
                    f"`bounding_boxes`, got {sorted(batch) if is_mapping else type(targets).__name__} of it."
                )
            seen = images
            if getattr(self.model, "preprocessor", None) is not None:
                targets = {field: _column("the targets", targets, field) for field in ("boxes", "labels")}
                seen, targets, _ = keras.utils.unpack_x_y_sample_weight(self.model.preprocessor(images, targets))
            first = 2 if keras.config.image_data_format() == "channels_first" else 1
            yield to_numpy(images), targets, tuple(seen.shape)[first : first + 2]


def _known(name: str, value: Any) -> str:
    if not isinstance(value, str) or value.removeprefix("rel_") not in _WITH_X_FIRST:
        raise ValueError(
            f"`{name}` must be one of {list(_WITH_X_FIRST)}, or such a name after `rel_`, got {value!r}; it is the "
            "format of the boxes."
        )
    return value


def _column(what: str, columns: Any, field: str) -> Any:
    names = _NAMES.get(field, (field,))
    name = next((name for name in names if name in columns), None) if isinstance(columns, Mapping) else None
    if name is None:
        got = sorted(columns) if isinstance(columns, Mapping) else type(columns).__name__
        raise ValueError(f"{what} must be a dictionary with {' or '.join(map(repr, names))}, got {got}.")
    return columns[name]


def _rows(what: str, columns: Any, fields: tuple[str, ...], num_images: int) -> list[dict[str, Any]]:
    """Returns one dictionary per image, without padding."""
    of_images = {field: _by_image(_column(what, columns, field), num_images) for field in ("boxes", *fields)}
    counts: list[Any] = [None] * num_images
    if "num_detections" in columns:
        counts = integers(columns["num_detections"], "num_detections").ravel().tolist()
    rows = []
    for index, count in enumerate(counts):
        row = {field: values[index][:count] for field, values in of_images.items()}
        row["labels"] = integers(row["labels"], "labels")
        rows.append({field: values[row["labels"] >= 0] for field, values in row.items()})
    return rows


def _by_image(column: Any, num_images: int) -> list[HostArray]:
    is_ragged = isinstance(column, list | tuple) or hasattr(column, "row_lengths")
    rows = column if is_ragged else to_numpy(column)
    return [to_numpy(rows[index]) for index in range(num_images)]


def _to_xywh(boxes: HostArray, box_format: str, size: tuple[int, ...]) -> Floats:
    """Returns boxes as x, y, width, height in pixels; `size` is the height and the width of the images."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    layout = box_format.removeprefix("rel_")
    if layout in ("yxyx", "center_yxhw"):
        boxes = boxes[:, [1, 0, 3, 2]]
    if layout != box_format:
        boxes = boxes * np.tile(size[::-1], 2)
    return to_xywh(boxes, _WITH_X_FIRST[layout])
