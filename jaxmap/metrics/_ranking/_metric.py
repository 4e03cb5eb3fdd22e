"""Mean average precision at k as a metric: weighted means over rows, in any of its definitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._display import short_repr
from ..._geometry import _double_float as df
from ..._geometry._double_float import DoubleFloat
from ..._integers import as_flags
from ..._pytrees import register_container
from ...types import UNDEFINED, Array, Scalar
from .._contract import Contract, register_metric
from .._options import check_sizes
from .._placement import in_jit, keeps_sharding, reads_any_sharding
from ._at_k import as_items, exact, get_definition, rank_rows, total

__all__ = [
    "MeanAveragePrecisionAtK",
    "MeanAveragePrecisionAtKResult",
    "MeanAveragePrecisionAtKState",
    "mean_average_precision_at_k",
]


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MeanAveragePrecisionAtKState:
    """Sums over all rows, independent of the policy for empty rows; float sums have 47 bits.

    Attributes:
      total: weighted sum of AP@k.
      weight: sum of weights of rows with relevant items.
      empty_weight: sum of weights of rows without.
      num_rows: rows that are included.
      num_empty_rows: included rows without relevant items.
      num_padded_rows: rows marked as not valid.
      num_bad_weights: rows whose weight is negative, NaN or infinite; they are excluded.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    total: DoubleFloat  # []
    weight: DoubleFloat  # []
    empty_weight: DoubleFloat  # []
    num_rows: Array  # []
    num_empty_rows: Array  # []
    num_padded_rows: Array  # []
    num_bad_weights: Array  # []
    configuration: Array  # [2]

    __repr__ = short_repr


SUMS = ("total", "weight", "empty_weight")
COUNTERS = ("num_rows", "num_empty_rows", "num_padded_rows", "num_bad_weights")


@register_container
class MeanAveragePrecisionAtKResult(NamedTuple):
    """The result of `compute`.

    Attributes:
      mean_average_precision: float64, NaN if undefined; from inside `jit`, float32, `UNDEFINED` if undefined.
      counters: the counters of the state, int32 scalars by name.
      configuration: the configuration of the state.
    """

    mean_average_precision: Scalar  # []
    counters: Mapping[str, Scalar]
    configuration: Array | None = None  # [2]

    def __repr__(self) -> str:
        return short_repr(self)


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanAveragePrecisionAtK(Contract[MeanAveragePrecisionAtKState, MeanAveragePrecisionAtKResult]):
    """The mean of AP@k over rows, `sum(weight * AP@k) / sum(weight)`, accumulated batch by batch.

    With `definition="tensorflow"`, a single row without relevant items makes the mean NaN, whatever its weight, as in
    TensorFlow; `empty="skip"` excludes such rows. If all weights are 0 the mean is undefined, whereas TensorFlow
    returns 0. Float sums depend on the order of rows, here in the 14th digit.

    Attributes:
      k: the number of places.
      definition: `kaggle`, `tensorflow`, `metrax` or `torchmetrics`, see `average_precision_at_k`.
      empty: the value of rows without relevant items: `zero`, `one`, `nan`, which makes the mean undefined, or `skip`;
        None for the policy of the definition.

    Example:
      >>> metric = MeanAveragePrecisionAtK(k=2)
      >>> relevant, predicted = jnp.array([[1, 2, 3], [4, 5, 6]]), jnp.array([[1, 9], [4, 5]])
      >>> state = jax.jit(metric.update)(metric.init(), relevant, predicted, weights=jnp.array([1.0, 3.0]))
      >>> metric.summarize(metric.compute(state))["mean_average_precision"]
      0.875
    """

    k: int = 10
    definition: str = "kaggle"
    empty: str | None = None

    _STATE, _RESULT = MeanAveragePrecisionAtKState, MeanAveragePrecisionAtKResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_sizes(self, "k")
        get_definition(self.definition, self.empty)

    def init(self) -> MeanAveragePrecisionAtKState:
        """Returns the empty state."""
        sums: dict[str, Any] = {name: exact(jnp.zeros((), jnp.float32)) for name in SUMS}
        counts: dict[str, Any] = {name: jnp.zeros((), jnp.int32) for name in COUNTERS}
        return MeanAveragePrecisionAtKState(**sums, **counts, configuration=jnp.asarray(self._words()))

    @keeps_sharding
    def update(
        self,
        state: MeanAveragePrecisionAtKState,
        relevant: ArrayLike,
        predicted: ArrayLike,
        *,
        relevant_valid: ArrayLike | None = None,
        predicted_valid: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        valid: ArrayLike | None = None,
    ) -> MeanAveragePrecisionAtKState:
        """Adds a batch; jittable.

        Args:
          state: from `init`, `update` or `merge`.
          relevant: `[..., G]` int, as in `average_precision_at_k`.
          predicted: `[..., P]` int, likewise.
          relevant_valid: `[..., G]` bool, likewise.
          predicted_valid: `[..., P]` bool, likewise.
          weights: `[...]` float, the weight of each row, or a scalar; None means 1.
          valid: `[...]` bool, False for rows that only pad the batch; None means that all are real.

        Raises:
          ValueError: while tracing, if shapes do not agree, k is less than 1, or a name is unknown.
          TypeError: while tracing, if items are not integers.
        """
        self._accept(state=state)
        divisor = get_definition(self.definition, self.empty).divisor
        rows, num_relevant = rank_rows(relevant, predicted, relevant_valid, predicted_valid, k=self.k, divisor=divisor)
        shape = num_relevant.shape
        weights, valid = (1.0 if weights is None else weights), (True if valid is None else valid)
        for name, value in (("weights", weights), ("valid", valid)):
            if jnp.shape(value) not in ((), shape):
                raise ValueError(f"`{name}` must have shape {list(shape)}, one per row, got {list(jnp.shape(value))}.")
        real = jnp.broadcast_to(as_flags("valid", valid), shape)
        weight = df.rounded(jnp.broadcast_to(jnp.asarray(weights).astype(jnp.float32), shape))
        sound = (weight >= 0) & (weight < jnp.inf)
        taken, is_empty = real & sound, num_relevant == 0

        def summed(numbers: DoubleFloat, flags: jax.Array) -> DoubleFloat:
            return total(DoubleFloat(*(jnp.where(flags, part, 0.0) for part in numbers)), tuple(range(len(shape))))

        return self.merge(
            state,
            MeanAveragePrecisionAtKState(
                total=summed(df.multiply(rows, exact(weight)), taken),  # 0 in rows without relevant items
                weight=summed(exact(weight), taken & ~is_empty),
                empty_weight=summed(exact(weight), taken & is_empty),
                num_rows=taken.sum(dtype=jnp.int32),
                num_empty_rows=(taken & is_empty).sum(dtype=jnp.int32),
                num_padded_rows=(~real).sum(dtype=jnp.int32),
                num_bad_weights=(real & ~sound).sum(dtype=jnp.int32),
                configuration=jnp.asarray(self._words()),
            ),
        )

    @reads_any_sharding
    def compute(self, state: MeanAveragePrecisionAtKState) -> MeanAveragePrecisionAtKResult:
        """Divides the sums, in float64 outside `jit` and in float32 inside."""
        configuration = self._accept(state=state)
        counters = {name: getattr(state, name) for name in COUNTERS}
        mean, defined = _divide(get_definition(self.definition, self.empty).empty, state)
        if in_jit(state):
            return MeanAveragePrecisionAtKResult(jnp.where(defined, mean.hi, UNDEFINED), counters, configuration)
        mean, defined, counters = jax.device_get((mean, defined, counters))
        value = np.float64(mean.hi) + np.float64(mean.lo) if defined else np.float64(np.nan)
        return MeanAveragePrecisionAtKResult(value, counters, configuration)

    def _named(self, result: MeanAveragePrecisionAtKResult) -> Mapping[str, Scalar]:
        return {"mean_average_precision": result.mean_average_precision}

    def _advise(self, result: MeanAveragePrecisionAtKResult) -> Iterator[str]:
        if bad := result.counters["num_bad_weights"]:
            yield f"{bad} rows have a weight that is negative, NaN or infinite, and are excluded"


def mean_average_precision_at_k(
    relevant: ArrayLike,
    predicted: ArrayLike,
    *,
    k: int = 10,
    definition: str = "kaggle",
    empty: str | None = None,
    relevant_valid: ArrayLike | None = None,
    predicted_valid: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    valid: ArrayLike | None = None,
) -> Scalar:
    """Scores ranked lists against sets of relevant items: the mean AP@k over rows.

    Args:
      relevant: `[..., G]` int, as in `average_precision_at_k`.
      predicted: `[..., P]` int.
      k: the number of places.
      definition: `kaggle`, `tensorflow`, `metrax` or `torchmetrics`.
      empty: the value of rows without relevant items: `zero`, `one`, `nan`, which makes the mean NaN, or `skip`; None
        for the policy of the definition.
      relevant_valid: `[..., G]` bool.
      predicted_valid: `[..., P]` bool.
      weights: `[...]` float, the weight of each row, or a scalar; None means 1.
      valid: `[...]` bool, False for rows that only pad the batch; None means that all are real.

    Returns:
      A float64 scalar, or float32 inside `jit`; NaN if no row has weight.

    Raises:
      ValueError: if shapes do not agree, k is less than 1, a name is unknown, an item does not fit int32, or, outside
        `jit` (inside, the mean is NaN), a weight is negative, NaN or infinite.
      TypeError: if items are not integers.

    Example:
      >>> relevant, predicted = np.array([[1, 2, 3, 4], [1, 2, 3, 5]]), np.array([[1, 2, 3, 4], [4, 2, 1, 3]])
      >>> round(float(mean_average_precision_at_k(relevant, predicted, k=3)), 6)
      0.694444
    """
    metric = MeanAveragePrecisionAtK(k=k, definition=definition, empty=empty)
    state = _first_update(
        metric,
        as_items("relevant", relevant),
        as_items("predicted", predicted),
        relevant_valid=relevant_valid,
        predicted_valid=predicted_valid,
        weights=weights,
        valid=valid,
    )
    result = metric.compute(state)
    if in_jit(state):
        sound = (state.num_bad_weights == 0) & (result.mean_average_precision != UNDEFINED)
        return jnp.where(sound, result.mean_average_precision, jnp.nan)
    if result.counters["num_bad_weights"]:
        raise ValueError(
            f"`weights` must be finite and not negative, got {result.counters['num_bad_weights']} that are not, among "
            f"{np.asarray(weights).min()} to {np.asarray(weights).max()}."
        )
    return result.mean_average_precision


@partial(jax.jit, static_argnums=0)
def _first_update(
    metric: MeanAveragePrecisionAtK, relevant: ArrayLike, predicted: ArrayLike, **options: Array | None
) -> MeanAveragePrecisionAtKState:
    return metric.update(metric.init(), relevant, predicted, **options)


@partial(jax.jit, static_argnums=0)
def _divide(empty: str, state: MeanAveragePrecisionAtKState) -> tuple[DoubleFloat, jax.Array]:
    """Returns the mean under a policy for empty rows, and whether it is defined."""
    part = df.add(state.total, state.empty_weight) if empty == "one" else state.total
    whole = state.weight if empty in ("nan", "skip") else df.add(state.weight, state.empty_weight)
    defined = whole.hi > 0
    if empty == "nan":
        defined &= state.num_empty_rows == 0
    return df.divide(part, df.where(defined, whole, df.constant(1.0))), defined
