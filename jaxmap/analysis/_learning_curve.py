"""How the numbers settle as images come in, and when a comparison may stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._display import Columns
from .._records._host import DatasetRecords, of_images
from ..protocols import EvaluationProtocol
from ..types import Ints
from ._compare import compare_datasets
from ._comparison import Comparison
from ._intervals import check_confidence
from ._replicates import WeightedSummary
from ._units import check_count, check_seed

__all__ = ["learning_curve", "sequential_comparison", "sizes_of_looks", "sizes_of_samples"]

NUM_SIZES = 10


def learning_curve(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    *,
    sizes: Sequence[int] | None = None,
    num_samples: int = 100,
    seed: int = 0,
    confidence: float = 0.95,
) -> Columns:
    """Scores random samples of several sizes; arguments as `Evaluation.learning_curve` takes them."""
    check_confidence(confidence)
    num_samples, seed = check_count("num_samples", num_samples, 2), check_seed(seed)
    num_images = len(dataset.image_ids)
    sizes = sizes_of_samples(sizes, num_images)
    weighted = WeightedSummary(dataset, protocol)

    def samples(first: int, last: int) -> Ints:
        drawn = np.zeros((last - first, num_images), np.int32)
        for row, number in enumerate(range(first, last)):
            drawn[row, _shuffled(seed, number, num_images)[: sizes[number // num_samples]]] = 1
        return drawn

    summary = weighted(samples, len(sizes) * num_samples).summary.reshape(len(weighted.names), len(sizes), num_samples)
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    rows = []
    for size, of_size in zip(sizes, summary.transpose(1, 0, 2), strict=True):
        for name, values in zip(weighted.names, of_size, strict=True):
            defined = values[~np.isnan(values)]
            ends = np.quantile(defined, tails).tolist() if len(defined) else [np.nan, np.nan]
            rows.append((size, name, float(defined.mean()) if len(defined) else np.nan, *ends))
    columns = zip(*rows, strict=True)
    return Columns(zip(("num_images", "number", "mean", "low", "high"), map(_column, columns), strict=True))


def sequential_comparison(comparison: Comparison, sizes: Sequence[int] | None = None, *, seed: int = 0) -> Columns:
    """Returns how early a comparison could have stopped, had its images come in at random.

    At each size, the first so many images are compared. The level of each interval and p-value is corrected for the
    number of looks (Bonferroni), so that a stop at the first difference is wrong no more often than a single look. An
    interval of few images is too narrow, so the test that exchanges the detectors, which is exact for any number of
    images, must find the difference, too.

    Args:
      comparison: from `jaxmap.compare`.
      sizes: ascending numbers of images; 10 that double towards all images if None.
      seed: decides the order of the images.

    Returns:
      A row for each size and other model: `num_images`, `model`, `difference` of the first number of the summary (AP),
      `low`, `high`, `p_permutation`, and `decided`, whether the interval excludes zero and the p-value is below 1 minus
      the confidence.

    Raises:
      ValueError: if a size is not a number of images, they do not ascend, the comparison has too few replicates for so
        many looks, or it drew groups of images, which come in together.
    """
    num_images = len(comparison.image_ids)
    sizes = sizes_of_looks(sizes, num_images, comparison.num_replicates, comparison.confidence)
    if comparison.num_units != num_images:
        raise ValueError(
            f"the comparison drew {comparison.num_units} groups of {num_images} images, and looks take single images, "
            "which would make them too certain; pass a comparison with `unit='image'` if the images are independent."
        )
    level = 1 - comparison.confidence
    order = _shuffled(check_seed(seed), 0, num_images)
    rows = []
    for size in sizes:
        seen = np.zeros(num_images, bool)
        seen[order[:size]] = True
        look = compare_datasets(
            [of_images(dataset, seen) for dataset in comparison.datasets],
            comparison.protocol,
            comparison.names,
            num_replicates=comparison.num_replicates,
            seed=seed,
            confidence=comparison.confidence,
            num_looks=len(sizes),
        )
        for model, table in look.summary.items():
            first = next(iter(table.values()))
            change, p = first.difference, first.p_permutation
            decided = (change.low > 0 or change.high < 0) and p <= level
            rows.append((size, model, change.value, change.low, change.high, p, decided))
    names = ("num_images", "model", "difference", "low", "high", "p_permutation", "decided")
    return Columns(zip(names, map(_column, zip(*rows, strict=True)), strict=True))


def sizes_of_looks(sizes: Sequence[int] | None, num_images: int, num_replicates: int, confidence: float) -> list[int]:
    """Returns the sizes of a sequential comparison.

    Raises:
      ValueError: if they are not as `sequential_comparison` takes them, or there are too few replicates for them.
    """
    sizes = sizes_of_samples(sizes, num_images)
    level = 1 - confidence
    if len(sizes) / (num_replicates + 1) > level:
        needed = math.ceil(len(sizes) / level)
        raise ValueError(
            f"{len(sizes)} looks need at least {needed} replicates, or no p-value can be below {level:.2g}; the "
            f"comparison has {num_replicates}."
        )
    return sizes


def sizes_of_samples(sizes: Sequence[int] | None, num_images: int) -> list[int]:
    """Returns ascending sizes of samples, at least 2 and at most all images.

    Raises:
      ValueError: if they are not, or there are fewer than two images.
    """
    if num_images < 2:
        raise ValueError(f"samples of images need at least two images, got {num_images}.")
    if sizes is None:
        halves = (-(-num_images >> power) for power in range(NUM_SIZES))
        return sorted({max(size, 2) for size in (num_images, *halves)})
    checked = [check_count("sizes", size, 2) for size in sizes]
    if not checked or checked != sorted(set(checked)) or checked[-1] > num_images:
        raise ValueError(f"`sizes` must be ascending numbers of images from 2 to {num_images}, got {list(sizes)}.")
    return checked


def _shuffled(seed: int, number: int, num_images: int) -> Ints:
    """Returns a random order of the images, the same for a seed and a number on every machine."""
    order: Ints = np.random.Generator(np.random.Philox(key=[seed, number])).permutation(num_images)
    return order


def _column(values: tuple[object, ...]) -> object:
    return list(values) if isinstance(values[0], str) else np.array(values)
