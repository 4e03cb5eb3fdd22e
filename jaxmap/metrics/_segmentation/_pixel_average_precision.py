"""Average precision of the pixels of each class, from binned score maps in constant memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ... import _counts64 as wide
from ..._counts64 import WideCount
from ..._display import short_repr
from ..._panoptic._device import count_numbers
from ..._pytrees import register_container
from ...types import Array, Scalar
from .._contract import Contract, register_metric
from .._options import check_bins, check_memory, check_sizes
from .._placement import keeps_sharding, reads_any_sharding
from ._label_maps import BAD, IGNORED, NUM_ROWS, PADDING, ReadsLabels, advise_on_maps, check_map

__all__ = ["PixelAveragePrecision", "PixelAveragePrecisionResult", "PixelAveragePrecisionState"]


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PixelAveragePrecisionState:
    """Counts over all batches, in 64 bits.

    Attributes:
      positives: `[K, S]`, the scores of a class on its pixels, in S bins of descending score.
      negatives: `[K, S]`, the scores of a class on the scored pixels of other classes, likewise.
      pixels: `[4]`, the numbers of pixels that are scored, that are ignored, whose true label is neither a class nor
        ignored, and that are padding.
      not_finite: scores on scored pixels that are NaN or infinite; they are excluded.
      out_of_range: scores on scored pixels outside the range; they are counted in the first or last bin.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    positives: WideCount  # [K, S]
    negatives: WideCount  # [K, S]
    pixels: WideCount  # [4]
    not_finite: WideCount  # []
    out_of_range: WideCount  # []
    configuration: Array  # [2]

    __repr__ = short_repr


@register_container
class PixelAveragePrecisionResult(NamedTuple):
    """The result of `compute`: float64 and int64 NumPy, NaN where undefined; inside `jit` float32 and `UNDEFINED`.

    Attributes:
      average_precision: `[K]`; undefined for a class without pixels.
      lowest: `[K]`, a lower bound of the exact number.
      highest: `[K]`, an upper bound of the exact number.
      mean_average_precision: the mean of `average_precision` over the classes where it is defined.
      mean_lowest: mean of `lowest`.
      mean_highest: mean of `highest`.
      num_positives: `[K]`, the number of true pixels. From inside `jit` a `WideCount`, like the counters.
      counters: `num_pixels` (scored), `num_ignored_pixels`, `num_bad_true_labels`, `num_padded_pixels`, and, of the
        scores on scored pixels, `num_not_finite`, which are excluded, and `num_scores_out_of_range`.
      configuration: the configuration of the state; None from `pixel_average_precision`.
    """

    average_precision: Array  # [K]
    lowest: Array  # [K]
    highest: Array  # [K]
    mean_average_precision: Scalar  # []
    mean_lowest: Scalar  # []
    mean_highest: Scalar  # []
    num_positives: Array  # [K]
    counters: Mapping[str, Scalar]
    configuration: Array | None = None  # [2]

    def __repr__(self) -> str:
        return short_repr(self)


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelAveragePrecision(ReadsLabels, Contract[PixelAveragePrecisionState, PixelAveragePrecisionResult]):
    """Average precision of pixels from binned scores, in constant memory, with bounds of the exact number.

    Every pixel is a sample of each class, positive for its true class and negative for all others. Only the order of
    the bins is known: the number assumes that the positives of a bin are spread evenly among its negatives, and
    `lowest` and `highest` are the numbers of the worst and the best order. The error falls about as 1 / S^2, and the
    distance of the bounds as 1 / S, unless most scores lie in a few bins. In that case spread them out, because only
    their order matters: for probabilities near 0 and 1, use log(p / (1 - p)).

    Attributes:
      num_classes: K.
      num_bins: S, equal bins of the score range.
      score_range: the lowest and the highest score.
      ignore_index: the true label of pixels that are not scored; None if there is no such label.
      reduce_zero_label: True if true labels are 0 for pixels that are not scored and 1 to K for the classes.

    Example:
      >>> metric = PixelAveragePrecision(num_classes=2)
      >>> scores = jnp.array([[[[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]]])
      >>> state = jax.jit(metric.update)(metric.init(), scores, jnp.array([[[0, 0, 1]]]))
      >>> result = metric.compute(state)
      >>> result.average_precision.round(2), result.highest.round(2)
      (array([0.83, 0.49]), array([0.83, 0.5 ]))
    """

    num_classes: int
    num_bins: int = 1000
    score_range: tuple[float, float] = (0.0, 1.0)
    ignore_index: int | None = 255
    reduce_zero_label: bool = False

    _STATE, _RESULT = PixelAveragePrecisionState, PixelAveragePrecisionResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        sizes = "num_classes", "num_bins"
        check_sizes(self, "num_classes")
        check_bins(self)
        self._labels.check()
        check_memory(self, *sizes)

    def init(self) -> PixelAveragePrecisionState:
        """Returns the empty state."""
        return PixelAveragePrecisionState(
            positives=wide.zeros((self.num_classes, self.num_bins)),
            negatives=wide.zeros((self.num_classes, self.num_bins)),
            pixels=wide.zeros((1 + NUM_ROWS,)),
            not_finite=wide.zeros(()),
            out_of_range=wide.zeros(()),
            configuration=jnp.asarray(self._words()),
        )

    @keeps_sharding
    def update(
        self, state: PixelAveragePrecisionState, scores: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None
    ) -> PixelAveragePrecisionState:
        """Adds a batch; jittable.

        Args:
          state: from `init`, `update` or `merge`.
          scores: `[I, H, W, K]` float, larger is more confident; converted to float32.
          truth: `[I, H, W]` int, classes or `ignore_index`.
          valid: `[I]` bool, False for images that only pad the batch, or `[I, H, W]` bool, False for pixels that only
            pad an image; None means that all are real.

        Raises:
          ValueError: while tracing, if a shape is not as described.
          TypeError: while tracing, if labels are not integers, or scores are complex.
        """
        self._accept(state=state)
        truth = check_map("truth", truth)
        if jnp.issubdtype(jnp.result_type(scores), jnp.complexfloating):
            raise TypeError(f"`scores` must be real numbers, got dtype {jnp.result_type(scores)}.")
        if jnp.shape(scores) != (*truth.shape, self.num_classes):
            raise ValueError(
                f"`scores` must have shape {[*truth.shape, self.num_classes]}, the shape of `truth` and one score per "
                f"class, got {list(jnp.shape(scores))}."
            )
        low, high = self.score_range
        num_images, height, width = truth.shape
        rows = self._labels.truth_rows(truth, valid).reshape(num_images * height, width)
        scale = self.num_bins / (high - low)

        def of_class(one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
            label, scores = one
            part = (rows < self.num_classes) & jnp.isfinite(scores)
            place = jnp.clip(jnp.floor((high - scores) * scale), 0, self.num_bins - 1)  # the highest score is in bin 0
            place = jnp.where(part, place, self.num_bins).astype(jnp.int32)
            place = jnp.where(rows == label, place, place + self.num_bins + 1)
            counts = count_numbers(place, 2 * self.num_bins + 2).reshape(2, -1)[:, :-1]
            strange = (rows < self.num_classes) & ~part, part & ((scores < low) | (scores > high))
            return counts[0], counts[1], *(flags.sum(dtype=jnp.uint32) for flags in strange)

        # One class at a time: the whole batch at once is not faster, and needs memory for an index of every score.
        columns = jnp.moveaxis(jnp.asarray(scores, jnp.float32).reshape(*rows.shape, self.num_classes), -1, 0)
        labels = jnp.arange(self.num_classes, dtype=jnp.int32)
        positives, negatives, not_finite, out_of_range = jax.lax.map(of_class, (labels, columns))
        kinds = jnp.maximum(rows - self.num_classes + 1, 0)
        pixels = count_numbers(kinds, 1 + NUM_ROWS)
        return self.merge(
            state,
            PixelAveragePrecisionState(
                positives=wide.widen(positives),
                negatives=wide.widen(negatives),
                pixels=wide.widen(pixels),
                not_finite=wide.total(wide.widen(not_finite), (0,)),
                out_of_range=wide.total(wide.widen(out_of_range), (0,)),
                configuration=jnp.asarray(self._words()),
            ),
        )

    @reads_any_sharding
    def compute(self, state: PixelAveragePrecisionState) -> PixelAveragePrecisionResult:
        """Integrates the counts, in float64 on the host or, inside `jit`, in float32 on the device."""
        return self._computed(_integrate, state)

    def _named(self, result: PixelAveragePrecisionResult) -> Mapping[str, Scalar]:
        return {name: getattr(result, name) for name in ("mean_average_precision", "mean_lowest", "mean_highest")}

    def _advise(self, result: PixelAveragePrecisionResult) -> Iterator[str]:
        counters = result.counters
        yield from advise_on_maps(np.asarray(result.num_positives), counters, self._labels)
        if counters.get("num_not_finite"):
            yield f"{counters['num_not_finite']} scores are NaN or infinite and are excluded"
        if counters.get("num_scores_out_of_range"):
            yield (
                f"{counters['num_scores_out_of_range']} scores are outside `score_range={self.score_range}`, and are "
                f"counted in its first or last bin"
            )


def _integrate(state: PixelAveragePrecisionState) -> PixelAveragePrecisionResult:
    positives, negatives = wide.as_float(state.positives), wide.as_float(state.negatives)
    num_positives = wide.total(state.positives, (1,))
    found, wrong = (wide.as_float(wide.running(counts)) for counts in (state.positives, state.negatives))
    found_before, wrong_before = (jnp.pad(counts[:, :-1], ((0, 0), (1, 0))) for counts in (found, wrong))

    # The precision at the j-th positive of a bin is h(t + j), where h(x) = x / (x + negatives so far). The sum is
    # replaced by the integral of h over unit steps centred on t + j, which is not larger, because h is concave. In the
    # average case the negatives of the bin are spread evenly between its positives, so that the precision moves from
    # its value before the bin towards that of the bin; in the worst case all negatives come first; in the best case
    # none does, and the positives are one step.
    before = found_before + 0.5 + wrong_before
    size = jnp.maximum(positives + negatives, 1.0)
    share = before / size * jnp.log1p(size / before)
    even = positives * ((1.0 - share) * positives / size + share * (found_before + 0.5) / before)
    worst = positives - wrong * jnp.log1p(positives / (found_before + 0.5 + wrong))
    best = positives * found / jnp.maximum(found + wrong_before, 1.0)
    sums = even, jnp.maximum(worst, 0.0), best
    average, lowest, highest = (wide.ratio(of_bins.sum(axis=1), wide.as_float(num_positives)) for of_bins in sums)
    unscored = state.pixels.select(slice(1, None))
    return PixelAveragePrecisionResult(
        average_precision=average,
        lowest=lowest,
        highest=highest,
        mean_average_precision=wide.mean_of_defined(average),
        mean_lowest=wide.mean_of_defined(lowest),
        mean_highest=wide.mean_of_defined(highest),
        num_positives=wide.as_array(num_positives),
        counters={
            "num_pixels": wide.as_array(state.pixels.select(0)),
            "num_ignored_pixels": wide.as_array(unscored.select(IGNORED)),
            "num_bad_true_labels": wide.as_array(unscored.select(BAD)),
            "num_padded_pixels": wide.as_array(unscored.select(PADDING)),
            "num_not_finite": wide.as_array(state.not_finite),
            "num_scores_out_of_range": wide.as_array(state.out_of_range),
        },
    )
