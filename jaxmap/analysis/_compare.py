"""Paired differences of models: the same images are drawn for all, or models are exchanged image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._matching._host import MatchedDataset
from .._records._host import DatasetRecords, side_by_side
from ..protocols import EvaluationProtocol
from ..types import Floats, Ints
from ._bootstrap import Resampled, resample
from ._comparison import Comparison, Difference
from ._intervals import SAME, check_confidence, intervals
from ._replicates import Replicates, WeightedSummary
from ._units import check_count, check_seed, units_of

__all__ = ["compare_datasets"]


def compare_datasets(
    datasets: Sequence[DatasetRecords],
    protocol: EvaluationProtocol,
    names: Sequence[str],
    *,
    num_replicates: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    unit: Any = "image",
    num_looks: int = 1,
    permutation: bool = True,
    matched: Sequence[MatchedDataset | None] | None = None,
) -> Comparison:
    """Compares models on the same images; arguments as `jaxmap.compare` takes them, and the matches of each model."""
    check_confidence(confidence)
    num_replicates, seed = check_count("num_replicates", num_replicates, 2), check_seed(seed)
    num_looks = check_count("num_looks", num_looks, 1)
    index, num_units = units_of(unit, datasets[0].image_ids)
    runs = [resample(dataset, protocol, num_replicates, seed, index, num_units) for dataset in datasets]
    summary, of_class = {}, {}
    for name, dataset, run in zip(names[1:], datasets[1:], runs[1:], strict=True):
        exchanged = None
        if permutation:
            exchanged = _exchanged((datasets[0], dataset), protocol, index, num_units, seed, num_replicates)
        numbers, classes = (
            _differences(runs[0], run, exchanged, part, confidence=confidence, num_looks=num_looks)
            for part in Replicates._fields
        )
        summary[name] = dict(zip(run.names, numbers, strict=True))
        of_class[name] = _corrected(classes)
    return Comparison(
        names=tuple(names),
        summary=summary,
        of_class=of_class,
        datasets=tuple(datasets),
        matched=(None,) * len(datasets) if matched is None else tuple(matched),
        confidence=confidence,
        num_looks=num_looks,
        num_replicates=num_replicates,
        num_units=num_units,
        protocol=protocol,
        class_ids=datasets[0].class_ids,
        class_names=datasets[0].class_names,
    )


def _differences(
    first: Resampled, other: Resampled, exchanged: Replicates | None, part: str, *, confidence: float, num_looks: int
) -> list[Difference]:
    """Returns the differences of all numbers of a part of the replicates: of the summary, or of the classes."""
    ones, others = ([getattr(one, part) for one in (run.whole, run.drawn, run.left_out)] for run in (first, other))
    whole, drawn, left_out = (b - a for a, b in zip(ones, others, strict=True))
    change = whole[:, 0]
    # Each of several looks gets an equal part of the chance of error (Bonferroni).
    estimates = intervals(change, drawn, left_out, 1 - (1 - confidence) / num_looks)
    swapped = np.full((len(change), 1), np.nan) if exchanged is None else getattr(exchanged, part)
    rows = []
    for index, interval in enumerate(estimates):
        sign, size = _p_of_sign(drawn[index]), _p_of_size(float(change[index]), swapped[index])
        p_of_sign, p_of_size = (float(np.minimum(p * num_looks, 1.0)) for p in (sign, size))
        numbers = float(ones[0][index, 0]), float(others[0][index, 0])
        rows.append(Difference(*numbers, interval, p_of_sign, p_of_size, p_of_sign))
    return rows


def _p_of_sign(drawn: Floats) -> float:
    """Returns twice the share of replicates on the rarer side of zero; those that are zero count on both sides."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return np.nan
    rarer = min(np.count_nonzero(defined <= SAME), np.count_nonzero(defined >= -SAME))
    return min(2 * (rarer + 1) / (len(defined) + 1), 1.0)


def _p_of_size(change: float, swapped: Floats) -> float:
    """Returns the share of exchanges that differ by at least as much."""
    defined = np.abs(swapped[~np.isnan(swapped)])
    if not len(defined) or np.isnan(change):
        return np.nan
    return float((np.count_nonzero(defined >= abs(change) - SAME) + 1) / (len(defined) + 1))


def _corrected(classes: list[Difference]) -> list[Difference]:
    """Returns the differences with p-values corrected for the number of classes.

    References: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    p_values = np.array([one.p_value for one in classes])
    order = np.argsort(p_values, kind="stable")[: np.count_nonzero(~np.isnan(p_values))]
    corrected = np.full(len(p_values), np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return [one._replace(p_holm=p_holm) for one, p_holm in zip(classes, corrected.tolist(), strict=True)]


def _exchanged(
    datasets: tuple[DatasetRecords, DatasetRecords],
    protocol: EvaluationProtocol,
    index: Ints,
    num_units: int,
    seed: int,
    num_replicates: int,
) -> Replicates:
    """Returns the differences of two models that are exchanged in half of the images, at random in each replicate."""
    weighted = WeightedSummary(side_by_side(*datasets), protocol)

    def chosen(first: int, last: int, *, other: bool) -> Ints:
        takes_other = np.stack([_coins(seed, number, num_units) for number in range(first, last)])[:, index] != other
        return np.stack([~takes_other, takes_other], axis=-1).reshape(last - first, -1).astype(np.int32)

    one, two = (
        weighted(lambda first, last, side=side: chosen(first, last, other=side), num_replicates)  # type: ignore[misc]
        for side in (False, True)
    )
    return Replicates(two.summary - one.summary, two.of_class - one.of_class)


def _coins(seed: int, number: int, num_units: int) -> Ints:
    """Returns a coin for each unit, `[num_units]` bool, the same for a seed and a replicate on every machine."""
    coins: Ints = np.random.Generator(np.random.Philox(key=[seed, number])).integers(0, 2, num_units, np.int8) == 1
    return coins
