"""Average precision at k of ranked lists of items, in each of its four definitions.

    AP@k = 1 / D * sum over the first k places i with a relevant item of (relevant items among the first i) / i

| definition | D, for n relevant items | a row with n = 0 | used by |
|---|---|---|---|
| `kaggle` | min(n, k) | `zero` | ml_metrics `apk` and `mapk` (older copies: `one`), axlearn |
| `tensorflow` | min(n, k) | `nan` | `tf.compat.v1.metrics.average_precision_at_k` |
| `metrax` | n, so that a row with n > k never reaches 1 | `zero` | metrax `AveragePrecisionAtK` |
| `torchmetrics` | relevant items found in the first k places | `zero` | torchmetrics `RetrievalMAP(top_k=k)` |

In all of them, a repeated prediction takes a place and scores nothing. An item that is listed twice as relevant is
counted twice in n, as in ml_metrics and in TensorFlow's dense labels; mark repeats as not valid if n must be the size
of a set, as in TensorFlow's sparse labels.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._geometry import _double_float as df
from ..._geometry._double_float import DoubleFloat
from ..._integers import as_flags, as_numbers
from .._options import whole

__all__ = [
    "as_items",
    "average_precision_at_k",
    "exact",
    "get_definition",
    "rank_classes",
    "rank_rows",
    "total",
]


class RankingDefinition(NamedTuple):
    """A definition: its divisor, `min(n, k)`, `n` or `hits`, and its policy for rows with n = 0."""

    divisor: str
    empty: str


DEFINITIONS = {
    "kaggle": RankingDefinition("min(n, k)", "zero"),
    "tensorflow": RankingDefinition("min(n, k)", "nan"),
    "metrax": RankingDefinition("n", "zero"),
    "torchmetrics": RankingDefinition("hits", "zero"),
}
MAX_PAIRS = 1 << 28  # of items of a row that are compared with each other
VALUE_OF_EMPTY = {"zero": 0.0, "one": 1.0, "nan": np.nan, "skip": np.nan}


def get_definition(definition: str, empty: str | None) -> RankingDefinition:
    """Returns a definition by its name, with another policy for empty rows if one is given.

    Raises:
      ValueError: if a name is unknown.
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"`definition` must be one of {list(DEFINITIONS)}, got {definition!r}.")
    if empty is not None and empty not in VALUE_OF_EMPTY:
        raise ValueError(f"`empty` must be one of {list(VALUE_OF_EMPTY)} or None, got {empty!r}.")
    found = DEFINITIONS[definition]
    return found if empty is None else found._replace(empty=empty)


def average_precision_at_k(
    relevant: ArrayLike,
    predicted: ArrayLike,
    *,
    k: int = 10,
    definition: str = "kaggle",
    empty: str | None = None,
    relevant_valid: ArrayLike | None = None,
    predicted_valid: ArrayLike | None = None,
) -> jax.Array:
    """Scores ranked lists against sets of relevant items: AP@k in [0, 1] of each row; jittable.

    Args:
      relevant: `[..., G]` int, items in any order.
      predicted: `[..., P]` int, items, best first; only the first k valid ones are used. `rank_classes` makes it from
        the scores of classes.
      k: the number of places, even if fewer items are predicted.
      definition: `kaggle`, `tensorflow`, `metrax` or `torchmetrics`, see above.
      empty: the value of a row without relevant items: `zero`, `one`, or NaN (`nan`, or `skip`, which only differs in a
        mean); None for the policy of the definition.
      relevant_valid: `[..., G]` bool, False for padding; None means that all are real. For TensorFlow, whose labels may
        be out of range, it is `(labels >= 0) & (labels < num_classes)`.
      predicted_valid: `[..., P]` bool, False for padding, which takes no place. For torchmetrics, which drops scores of
        0 or less, it is `scores > 0`.

    Returns:
      `[...]` float32.

    Raises:
      ValueError: if shapes do not agree, k is less than 1, a name is unknown, or an item does not fit int32.
      TypeError: if items are not integers.

    Example:
      >>> relevant, predicted = jnp.array([1, 2, 3, 4, 5]), jnp.array([6, 4, 7, 1, 2])
      >>> for name in DEFINITIONS:
      ...     print(name, average_precision_at_k(relevant, predicted, k=2, definition=name))
      kaggle 0.25
      tensorflow 0.25
      metrax 0.1
      torchmetrics 0.5
    """
    chosen = get_definition(definition, empty)
    rows, num_relevant = rank_rows(relevant, predicted, relevant_valid, predicted_valid, k=k, divisor=chosen.divisor)
    return jnp.where(num_relevant > 0, rows.hi, VALUE_OF_EMPTY[chosen.empty])


def rank_classes(scores: ArrayLike, *, k: int = 10) -> jax.Array:
    """Returns the k classes with the highest scores, best first; of equal scores the lower class comes first, NaN last.

    Args:
      scores: `[..., K]` float, logits or probabilities.
      k: at most K.

    Returns:
      `[..., k]` int32.

    Raises:
      ValueError: if k is not between 1 and K.

    Example:
      >>> rank_classes(jnp.array([0.1, 0.4, 0.4, 0.2]), k=3).tolist()
      [1, 2, 3]
    """
    k, scores = whole("k", k), jnp.asarray(scores)
    if k > scores.shape[-1]:
        raise ValueError(f"`k` must lie between 1 and the number of classes, {scores.shape[-1]}, got {k}.")
    ordered = jnp.where(jnp.isnan(scores), -jnp.inf, jnp.where(scores == 0, 0.0, scores))  # -0 equals 0
    return jax.lax.top_k(ordered, k)[1]


def rank_rows(
    relevant: ArrayLike,
    predicted: ArrayLike,
    relevant_valid: ArrayLike | None,
    predicted_valid: ArrayLike | None,
    *,
    k: int,
    divisor: str,
) -> tuple[DoubleFloat, jax.Array]:
    """Returns AP@k of each row `[...]`, 0 without relevant items, and its number of relevant items `[...]` int32.

    Raises:
      ValueError: as in `average_precision_at_k`.
      TypeError: likewise.
    """
    k = whole("k", k)
    relevant, predicted = as_items("relevant", relevant), as_items("predicted", predicted)
    is_relevant = _flags("relevant", relevant, relevant_valid)
    is_predicted = _flags("predicted", predicted, predicted_valid)
    if relevant.shape[:-1] != predicted.shape[:-1]:
        raise ValueError(
            "`relevant` and `predicted` must hold the same rows, got leading axes "
            f"{list(relevant.shape[:-1])} and {list(predicted.shape[:-1])}."
        )
    if predicted_valid is None:
        predicted, is_predicted = predicted[..., :k], is_predicted[..., :k]  # the rest is quadratic in its length
    longest = max(items.shape[-1] for items in (relevant, predicted))
    if predicted.shape[-1] * longest > MAX_PAIRS:
        raise ValueError(
            f"`predicted` must have at most {MAX_PAIRS // max(longest, 1)} places for {longest} items, got "
            f"{predicted.shape[-1]}; lower `k`, or cut what comes after it."
        )
    k = min(k, longest)  # more places than items have no effect, and may not fit int32
    place = jnp.cumsum(is_predicted, axis=-1, dtype=jnp.int32)
    taken = is_predicted & (place <= k)
    is_known = ((predicted[..., :, None] == relevant[..., None, :]) & is_relevant[..., None, :]).any(-1)
    same = (predicted[..., :, None] == predicted[..., None, :]) & taken[..., None, :]
    earlier = jnp.tril(jnp.ones(same.shape[-2:], bool), k=-1)
    hits = taken & is_known & ~jnp.where(earlier, same, False).any(-1)

    # Divisions are multiplications by reciprocals from a table.
    of_integer = _reciprocals(longest)
    precision = df.multiply(exact(jnp.cumsum(hits, axis=-1, dtype=jnp.int32)), of_integer.select(place))
    summed = total(DoubleFloat(*(jnp.where(hits, part, 0.0) for part in precision)), (hits.ndim - 1,))
    num_relevant, num_hits = is_relevant.sum(-1, dtype=jnp.int32), hits.sum(-1, dtype=jnp.int32)
    divisors = {"min(n, k)": jnp.minimum(num_relevant, k), "n": num_relevant, "hits": num_hits}
    return df.multiply(summed, of_integer.select(divisors[divisor])), num_relevant


def exact(counts: jax.Array) -> DoubleFloat:
    """Converts integers below 2^24, or float32, exactly."""
    high = counts.astype(jnp.float32)
    return DoubleFloat(high, jnp.zeros_like(high))


def total(numbers: DoubleFloat, axes: tuple[int, ...]) -> DoubleFloat:
    """Sums over some axes, counted from the front, with an error of a few parts in 2^47 per step."""
    nothing = DoubleFloat(jnp.float32(0), jnp.float32(0))
    sums: DoubleFloat = jax.lax.reduce(numbers, nothing, df.add, axes)
    return sums


def _reciprocals(largest: int) -> DoubleFloat:
    """Returns 1 / i for i from 0 to the largest, with 0 for i = 0."""
    values = 1 / np.maximum(np.arange(largest + 1), 1) * (np.arange(largest + 1) > 0)
    high = values.astype(np.float32)
    return DoubleFloat(jnp.asarray(high), jnp.asarray((values - high).astype(np.float32)))


def as_items(name: str, items: ArrayLike) -> jax.Array:
    """Returns items as int32, or as int64 under x64.

    Raises:
      ValueError: if there is no axis of items, or, outside `jit`, an item does not fit.
      TypeError: if they are not integers, or, inside `jit`, their type does not fit.
    """
    numbers = as_numbers(name, items, "number the items from 0 instead")
    if numbers.ndim < 1:
        raise ValueError(f"`{name}` must have shape [..., items], got a single number.")
    return numbers


def _flags(name: str, items: jax.Array, valid: ArrayLike | None) -> jax.Array:
    if valid is None:
        return jnp.ones_like(items, bool)
    if jnp.shape(valid) != items.shape:
        raise ValueError(
            f"`{name}_valid` must have shape {list(items.shape)}, that of `{name}`, got {list(jnp.shape(valid))}."
        )
    return as_flags(f"{name}_valid", valid)
