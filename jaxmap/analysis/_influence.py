"""What each image adds to each number or takes from it: every image left out once, all in one call.

An image changes the curves of only those classes that it has objects or detections of. So the images of each class are
left out among themselves, the w-th image of every class at once, and the classes are averaged afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from .._ordering import rank_in_group
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Bools, DetectionRecords, Floats, GroundTruthRecords, HostArray, Ints, Records
from ._replicates import WeightedSummary, Weights

__all__ = ["influence_of_images"]


def influence_of_images(dataset: DatasetRecords, protocol: EvaluationProtocol) -> tuple[tuple[str, ...], Floats]:
    """Returns the names of the L numbers of the summary, and `[L, I]` float64: what each image adds to each number.

    That is the number minus the number without the image; NaN where either is undefined.
    """
    of_all = WeightedSummary(dataset, protocol)
    if protocol.has_miss_rate:  # false positives per image: every image changes every class
        without = of_all(_each_left_out(of_all.num_images), of_all.num_images).summary
        return of_all.names, of_all.of_dataset().summary - without
    ((_, whole),) = of_all.of_classes(lambda first, last: np.ones((last - first, of_all.num_images), np.int32), 1)
    # The sum over the defined classes of each number, and their count, image by image.
    base = [np.zeros((of_all.num_classes, 1)) if values is None else values for values in whole]
    groups = of_all.groups
    total = np.stack(
        [np.repeat(np.nansum(values[group]), of_all.num_images) for values, group in zip(base, groups, strict=True)]
    )
    defined = [~np.isnan(values[:, 0]) & group for values, group in zip(base, groups, strict=True)]
    count = np.repeat(np.array([flags.sum() for flags in defined])[:, None], of_all.num_images, axis=1)
    count[[values is None for values in whole]] = 0  # their threshold is not in the protocol
    with_all = _means(total, count)
    for part, images in _classes_of_similar_size(dataset):
        weighted = WeightedSummary(part, protocol)
        num_images = weighted.num_images
        for block, numbers in weighted.of_classes(_each_left_out(num_images), num_images):
            for label, ids in images.items():
                some = ids[block]
                for line, values in enumerate(numbers):
                    if values is not None and groups[line][label]:
                        changed = values[label, : len(some)]
                        gone = np.isnan(changed)
                        total[line, some] += np.nan_to_num(changed) - np.nan_to_num(base[line][label, 0])
                        count[line, some] += ~gone & ~defined[line][label]
                        count[line, some] -= gone & defined[line][label]
    return of_all.names, with_all - _means(total, count)


def _means(total: Floats, count: Ints) -> Floats:
    """Returns the means of so many values; NaN of none."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _each_left_out(num_images: int) -> Weights:
    """Returns the weights that leave out each of the images."""
    return lambda first, last: 1 - np.eye(last - first, num_images, first, dtype=np.int32)


def _classes_of_similar_size(dataset: DatasetRecords) -> Iterator[tuple[DatasetRecords, dict[int, Ints]]]:
    """Yields groups of classes with similar numbers of images.

    For each group: its records, in which the image of a row is its place among the images of its class, and the images
    of each class, by label.
    """
    found, truth = dataset.records.detections, dataset.records.ground_truths
    num_classes = max(len(dataset.class_ids), 1)
    keys = [rows.labels * np.int64(len(dataset.image_ids)) + rows.image_index for rows in (found, truth)]
    pairs, pair = np.unique(np.concatenate(keys), return_inverse=True)
    label, image = np.divmod(pairs, max(len(dataset.image_ids), 1))
    place = rank_in_group(label)[pair]
    sizes = np.bincount(label, minlength=num_classes)
    starts = np.cumsum(sizes) - sizes
    for power in np.unique(np.frexp(sizes[sizes > 0])[1]).tolist():
        chosen = (np.frexp(sizes)[1] == power) & (sizes > 0)
        images = {one: image[starts[one] : starts[one] + sizes[one]] for one in np.flatnonzero(chosen).tolist()}
        yield _of_classes(dataset, chosen, place[: len(found.labels)], place[len(found.labels) :], sizes), images


def _of_classes(
    dataset: DatasetRecords, chosen: Bools, found_place: Ints, truth_place: Ints, sizes: Ints
) -> DatasetRecords:
    """Returns the records of the chosen classes, with other indices of images."""
    found, truth = dataset.records.detections, dataset.records.ground_truths
    kept = chosen[truth.labels]
    columns: dict[str, HostArray] = {name: column[kept] for name, column in vars(truth).items()}
    return dataclasses.replace(
        dataset,
        records=Records(
            detections=DetectionRecords(**vars(found) | {"image_index": found_place}),
            ground_truths=GroundTruthRecords(**columns | {"image_index": truth_place[kept]}),
        ),
        by_class=dataset.by_class[chosen[found.labels[dataset.by_class]]],
        image_ids=np.arange(sizes[chosen].max()),
    )
