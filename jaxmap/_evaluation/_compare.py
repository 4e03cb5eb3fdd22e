"""`compare`: several evaluations of the same images, image by image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._expected import expect
from ..analysis import Comparison
from ..analysis._compare import compare_datasets
from ..types import HostArray
from ._result import Evaluation

__all__ = ["compare"]


def compare(
    evaluation: Evaluation,
    *others: Evaluation,
    names: Sequence[str] | None = None,
    num_replicates: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    unit: Any = "image",
    num_looks: int = 1,
    permutation: bool = True,
) -> Comparison:
    """Compares detectors on the same images: is the difference of each number more than luck?

    Images are drawn with replacement, again and again, and each replicate scores all detectors on the same images. So
    what makes an image hard for all of them cancels out, and differences are far more certain than the numbers
    themselves.

    Args:
      evaluation: the first one, from which the differences are measured.
      others: one or several evaluations of the same ground truths under the same protocol.
      names: the names of the detectors, the first one first; `A`, `B`, ... if None.
      num_replicates: how many replicates to draw.
      seed: from 0 to 2^32 - 1; the same seed draws the same images on every machine.
      confidence: the share of comparisons whose interval should contain the true difference.
      unit: what is drawn, as `Evaluation.bootstrap` takes it.
      num_looks: how many times you make this comparison while images come in, if you stop at the first interval that
        excludes zero. Each look is then held to a stricter level (Bonferroni), so that the chance of a wrong stop is
        that of one look.
      permutation: whether to test differences also by exchanging the detectors at random in each image.

    Raises:
      ValueError: if the images, classes, ground truths or protocols differ (the message says which), or an argument is
        not as described.
      TypeError: if one is not an `Evaluation`.

    Example:
      >>> from jaxmap import evaluate
      >>> there, nowhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
      >>> truth = [{"boxes": [there], "labels": [0]}] * 40
      >>> def found(number):
      ...     boxes = [there] * number + [nowhere] * (40 - number)
      ...     return [{"boxes": [box], "labels": [0], "scores": [0.5]} for box in boxes]
      >>> change = compare(evaluate(found(10), truth), evaluate(found(30), truth)).summary["B"]["AP"]
      >>> change.difference.low > 0, change.p_value < 0.01
      (True, True)
    """
    evaluations = evaluation, *others
    for index, one in enumerate(evaluations):
        expect(f"evaluation {index}", one, Evaluation)
    if not others:
        raise ValueError("`compare` needs at least two evaluations, got 1.")
    if names is None:
        names = [chr(ord("A") + index) if index < 26 else f"model {index + 1}" for index in range(len(evaluations))]
    names = [str(name) for name in names]
    if len(names) != len(evaluations) or len(set(names)) != len(names):
        raise ValueError(f"`names` must be {len(evaluations)} different names, one for each evaluation, got {names}.")
    for name, other in zip(names[1:], others, strict=True):
        _check_same(evaluation, other, names[0], name)
    return compare_datasets(
        [one.dataset for one in evaluations],
        evaluation.protocol,
        names,
        num_replicates=num_replicates,
        seed=seed,
        confidence=confidence,
        unit=unit,
        num_looks=num_looks,
        permutation=permutation,
        matched=[one.matched for one in evaluations],
    )


def _check_same(one: Evaluation, other: Evaluation, name: str, other_name: str) -> None:
    """Raises a `ValueError` that says what differs unless both are of the same ground truths and protocol."""
    pair = f"{name!r} and {other_name!r}"
    if one.protocol != other.protocol:
        raise ValueError(f"{pair} were evaluated under different protocols: {one.protocol!r}, {other.protocol!r}.")
    for what, ids, other_ids in (
        ("images", one.image_ids, other.image_ids),
        ("classes", one.class_ids, other.class_ids),
    ):
        if not np.array_equal(ids, other_ids):
            only, other_only = set(ids.tolist()) - set(other_ids.tolist()), set(other_ids.tolist()) - set(ids.tolist())
            raise ValueError(
                f"{pair} have different {what}: {_some(only)} only in {name!r}, {_some(other_only)} only in "
                f"{other_name!r}. Evaluate both against the same ground truths."
            )
    groups, other_groups = (evaluation.dataset.class_group for evaluation in (one, other))
    if not np.array_equal(np.asarray(groups), np.asarray(other_groups)):
        raise ValueError(f"{pair} have different groups of classes. Evaluate both with the same `class_groups`.")
    counts, other_counts = (_objects(evaluation) for evaluation in (one, other))
    if len(counts) != len(other_counts) or (counts != other_counts).any():
        rows, other_rows = (set(map(tuple, values.tolist())) for values in (counts, other_counts))
        images = one.image_ids[sorted({row[0] for row in rows ^ other_rows})].tolist()
        raise ValueError(
            f"{pair} have different ground truths in {len(images)} images: {_some(images)}. Evaluate both against the "
            "same ground truths."
        )


def _objects(evaluation: Evaluation) -> HostArray:
    """Returns rows of image, class and number of ground truths, those of each set of area ranges by themselves."""
    truth = evaluation.dataset.records.ground_truths
    ranges = truth.counted @ (1 << np.arange(truth.counted.shape[1]))
    rows = np.stack([truth.image_index, truth.labels, ranges], axis=1)[truth.counted.any(axis=1)]
    unique, count = np.unique(rows, axis=0, return_counts=True)
    return np.column_stack([unique, count])


def _some(values: Any) -> str:
    """Returns the number of values and the first few."""
    listed = sorted(values, key=str)
    return f"{len(listed)}" + (f" (such as {', '.join(map(str, itertools.islice(listed, 3)))})" if listed else "")
