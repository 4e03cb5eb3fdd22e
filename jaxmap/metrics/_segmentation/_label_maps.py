"""Label maps, checked and with every pixel assigned to a class, or to the reason why it has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._integers import as_flags, as_labels
from ...types import Array, Scalar

__all__ = [
    "BAD",
    "IGNORED",
    "NUM_COLUMNS",
    "NUM_ROWS",
    "PADDING",
    "UNPREDICTED",
    "LabelRule",
    "ReadsLabels",
    "advise_on_maps",
    "check_map",
    "real_pixels",
]

# True labels that are not classes, as offsets after the classes: ignored by rule, not a label, not valid.
IGNORED, BAD, PADDING = 0, 1, 2
NUM_ROWS = 3
UNPREDICTED = IGNORED  # a predicted label that says "no class"; `BAD` is one that is not a label
NUM_COLUMNS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRule:
    """The meaning of the numbers in a label map.

    Attributes:
      num_classes: K.
      ignore_index: the true label of pixels that are not scored, and the predicted label of pixels without a class;
        None if there is no such label.
      reduce_zero_label: True if true labels are 0 for pixels that are not scored, and 1 to K for the classes.
    """

    num_classes: int
    ignore_index: int | None
    reduce_zero_label: bool

    def check(self) -> None:
        """Refuses a rule under which a label has two meanings; the ends of int32 stand for labels that do not fit.

        Raises:
          ValueError: if `ignore_index` is the label of a class, or does not fit.
          TypeError: if it is not a whole number.
        """
        first, ignored = int(self.reduce_zero_label), self.ignore_index
        if ignored is None:
            return
        if isinstance(ignored, bool) or not isinstance(ignored, int | np.integer):
            raise TypeError(f"`ignore_index` must be a whole number or None, got {ignored!r}.")
        if not -(2**31) < ignored < 2**31 - 1:
            raise ValueError(f"`ignore_index` must be between -2^31 and 2^31 - 1, got {ignored}.")
        if first <= ignored < first + self.num_classes:
            raise ValueError(
                f"`ignore_index` must not be the label of a class, {first} to {first + self.num_classes - 1}, got "
                f"{ignored}; pass None to ignore nothing, and see `reduce_zero_label` if it is 0."
            )

    def truth_rows(self, truth: Array, valid: ArrayLike | None) -> jax.Array:
        """Returns the class of true labels in int32, from 0, or K plus `IGNORED`, `BAD` or `PADDING`.

        Raises:
          ValueError: if `valid` does not have the first axes of `truth`.
        """
        first = int(self.reduce_zero_label)
        is_class = (truth >= first) & (truth < first + self.num_classes)
        ignored = (truth == 0) & self.reduce_zero_label
        if self.ignore_index is not None:
            ignored |= truth == self.ignore_index
        rows = jnp.where(is_class, truth - first, self.num_classes + jnp.where(ignored, IGNORED, BAD))
        return rows if valid is None else jnp.where(real_pixels(valid, truth.shape), rows, self.num_classes + PADDING)

    def predicted_columns(self, predicted: jax.Array) -> jax.Array:
        """Returns the class of predicted labels in int32, or K plus `UNPREDICTED` or `BAD`."""
        is_class = (predicted >= 0) & (predicted < self.num_classes)
        unpredicted = jnp.zeros_like(is_class) if self.ignore_index is None else predicted == self.ignore_index
        return jnp.where(is_class, predicted, self.num_classes + jnp.where(unpredicted, UNPREDICTED, BAD))

    def refuse(self, name: str, labels: Iterable[Array], places: Iterable[Array]) -> None:
        """Raises, on the host, if any label is marked as bad.

        Args:
          name: the name of the argument.
          labels: `[H, W]`, one per image.
          places: `[H, W]` bool, one per image, the bad labels.

        Raises:
          ValueError: if there is one; the message names the first.
        """
        first = int(self.reduce_zero_label and name == "truth")
        also = "" if self.ignore_index is None else f" or {self.ignore_index} (`ignore_index`)"
        for image, (one, flags) in enumerate(zip(labels, places, strict=True)):
            if np.any(flags):
                row, column = np.argwhere(flags)[0].tolist()
                raise ValueError(
                    f"`{name}` must hold classes {first} to {first + self.num_classes - 1}{also}, got "
                    f"{np.asarray(one)[row, column]} in image {image} at row {row}, column {column}."
                )


class ReadsLabels:
    """A metric with the options of `LabelRule`."""

    num_classes: int
    ignore_index: int | None
    reduce_zero_label: bool

    @property
    def _labels(self) -> LabelRule:
        return LabelRule(
            num_classes=self.num_classes, ignore_index=self.ignore_index, reduce_zero_label=self.reduce_zero_label
        )


def real_pixels(valid: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Returns which pixels of a batch are real, as a bool array that broadcasts to its shape.

    Args:
      valid: one flag per image or per pixel.
      shape: the shape of the batch.

    Raises:
      ValueError: if `valid` does not have the first axes of the shape.
    """
    got = jnp.shape(valid)
    if got not in (shape[:1], shape):
        raise ValueError(
            f"`valid` must have shape {list(shape[:1])}, one per image, or {list(shape)}, one per pixel, got "
            f"{list(got)}."
        )
    return as_flags("valid", valid).reshape(got + (1,) * (len(shape) - len(got)))


def advise_on_maps(of_classes: Array, counters: Mapping[str, Scalar], rule: LabelRule) -> Iterator[str]:
    """Yields warnings about the maps of a whole evaluation.

    Args:
      of_classes: `[K]`, the number of true pixels of each class.
      counters: the counters of pixels.
      rule: the meaning of labels.
    """
    ignored = counters["num_ignored_pixels"]
    if ignored and not rule.reduce_zero_label and of_classes[0] and len(of_classes) > 1 and not of_classes[1:].any():
        yield (
            f"the truth holds only class 0 and `ignore_index={rule.ignore_index}` ({ignored} pixels are excluded); if "
            f"it is a binary map of 0 and {rule.ignore_index}, pass `truth != 0` as integers"
        )
    for name, text in (
        ("num_unpredicted_pixels", f"pixels are predicted as `ignore_index={rule.ignore_index}` and are missed"),
        ("num_bad_true_labels", "pixels have a true label that is neither a class nor ignored, and are excluded"),
        ("num_bad_predicted_labels", "pixels are predicted as a label that is not a class, and are missed"),
    ):
        if counters.get(name):
            yield f"{counters[name]} {text}"


def check_map(name: str, labels: ArrayLike) -> jax.Array:
    """Returns a map of labels as int32; labels that do not fit are not classes, and do not become one.

    Raises:
      ValueError: if its shape is not `[I, H, W]`, or it has 2^32 pixels or more.
      TypeError: if it does not hold integers.
    """
    array = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    shape = array.shape
    if len(shape) != 3:
        raise ValueError(f"`{name}` must have shape [images, height, width], got {list(shape)}.")
    if np.prod(shape, dtype=np.int64) >= 2**32:
        raise ValueError(f"`{name}` must have fewer than 2^32 pixels in one batch, got {list(shape)}; split it.")
    return as_labels(name, array)
