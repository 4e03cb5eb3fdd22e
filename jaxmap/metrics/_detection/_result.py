"""The result of average precision, and its named numbers on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from ..._counts64 import check_counts
from ..._display import short_repr
from ..._matching._checked import BatchRules
from ..._matching._data_checks import advise, warn_once
from ..._pytrees import register_container
from ..._summary import summarize
from ...types import UNDEFINED, Array, Floats, PrecisionRecall, Scalar
from .._contract import Contract, as_integers

__all__ = ["AveragePrecisionResult", "CurveMetric", "check_overflow", "summarize_result", "warn_of_oddities"]

State = TypeVar("State")

# The counters of exceeded capacities, and the capacity to raise.
OVERFLOWS = {
    "num_images_over_capacity": "max_images",
    "num_detections_over_capacity": "max_detections_per_image",
    "num_ground_truths_over_capacity": "max_ground_truths_per_image",
}


@register_container
class AveragePrecisionResult(NamedTuple):
    """The result of `compute`.

    Attributes:
      curves: float64 NumPy arrays with NaN where undefined; from inside `jit`, float32 with `UNDEFINED`.
      counters: the counters of the state, int32 scalars by name.
      checks: counts that `summarize` may warn about, int32 scalars by name.
      configuration: the configuration of the state.
    """

    curves: PrecisionRecall[Array]
    counters: Mapping[str, Scalar]
    checks: Mapping[str, Scalar]
    configuration: Array | None = None  # [2]

    def __repr__(self) -> str:
        return short_repr(self)


class CurveMetric(Contract[State, AveragePrecisionResult]):
    """A metric of detectors whose result is curves."""

    num_classes: int
    protocol: Any
    box_format: str
    class_group: tuple[str, ...] | None

    def summarize(self, result: AveragePrecisionResult) -> dict[str, float]:
        """Returns the protocol's numbers by name, NaN where undefined, and the counters; warns about likely mistakes.

        Raises:
          ValueError: if the result has another configuration, or a count reached 2^31 - 1.
          TypeError: if it is not a result of such a metric, or inside `jit`.
        """
        self._accept_result(result)
        return summarize_result(result, self._rules, class_group=self.class_group, allow_overflow=False)

    @property
    def _rules(self) -> BatchRules:
        return BatchRules(self.protocol, self.num_classes, self.box_format)


def check_overflow(counters: Mapping[str, Scalar], *, allow_overflow: bool) -> None:
    """Raises if a capacity was exceeded, unless that is allowed.

    Raises:
      ValueError: if a capacity was exceeded; the message names it.
    """
    lost = [f"{name} = {int(counters[name])} (raise `{OVERFLOWS[name]}`)" for name in OVERFLOWS if counters.get(name)]
    if lost and not allow_overflow:
        raise ValueError(
            f"the state overflowed, so its numbers do not cover all data: {', '.join(lost)}; or pass "
            f"`allow_overflow=True` to see them."
        )


def warn_of_oddities(
    counters: Mapping[str, Scalar], checks: Mapping[str, Scalar], rules: BatchRules, *, stacklevel: int
) -> None:
    """Gives one `UserWarning` about likely mistakes; a `stacklevel` of 2 points at the caller."""
    warn_once(
        advise(as_integers(checks), as_integers(counters), num_classes=rules.num_classes, box_format=rules.box_format),
        stacklevel=stacklevel + 1,
    )


def summarize_result(
    result: AveragePrecisionResult,
    rules: BatchRules,
    *,
    class_group: tuple[str, ...] | None,
    allow_overflow: bool,
) -> dict[str, float]:
    """Returns the protocol's numbers by name, NaN where undefined, and the counters; warns about likely mistakes.

    Raises:
      ValueError: if a count reached 2^31 - 1; if a capacity was exceeded (the message names it), unless
        `allow_overflow`; or if `class_group` does not name a group for every class.
    """
    check_counts((result.curves.num_ground_truths, result.counters))
    counters = as_integers(result.counters)
    check_overflow(counters, allow_overflow=allow_overflow)
    warn_of_oddities(counters, result.checks, rules, stacklevel=4)
    curves = jax.device_get(result.curves)
    defined = np.asarray(curves.num_ground_truths) > 0

    def on_host(values: NDArray[np.floating[Any]]) -> Floats:
        values = np.asarray(values, np.float64)
        return np.where(defined[:, :, None] & (values != UNDEFINED), values, np.nan)

    curves = PrecisionRecall(
        precision=on_host(curves.precision),
        recall=on_host(curves.recall),
        scores=on_host(curves.scores),
        num_ground_truths=curves.num_ground_truths,
        average_precision=None if curves.average_precision is None else on_host(curves.average_precision),
        at_best_score={name: on_host(values) for name, values in curves.at_best_score.items()},
        miss_rate=None if curves.miss_rate is None else on_host(curves.miss_rate),
    )
    return summarize(curves, rules.protocol, class_group) | counters
