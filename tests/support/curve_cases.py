"""Random rows as matching may leave them, the host's curves of them, and what the device's may differ by."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmap._curves import _host as host
from jaxmap._planes import num_words, plane_bit
from jaxmap.protocols import EvaluationProtocol
from jaxmap.types import UNDEFINED, DetectionRecords, GroundTruthRecords, PrecisionRecall, Records

K, N = 4, 300
# One float32 quotient, up to 1, of two integers below 2^24. Rounded once it would be off by 2^-25, but compilers take
# the reciprocal first. The float64 reference adds np.spacing(1) to a denominator, 2e-16.
ATOL = 2.0**-23


def ground_truths_of(counts: np.ndarray) -> GroundTruthRecords:
    """Returns rows of which `[K, A]` count, in no order, with padding."""
    most = 2 * N  # of a class; more than ever count
    counted = np.arange(most)[:, None] < counts[:, None, :]  # [K, G, A]
    labels = np.repeat(np.arange(len(counts)), most)
    order = np.random.default_rng(0).permutation(len(labels))
    return GroundTruthRecords(
        labels=labels[order].astype(np.int32),
        image_index=np.zeros(len(labels), np.int32),
        counted=counted.reshape(-1, counts.shape[1])[order],
    )


def random_records(seed: int, protocol: EvaluationProtocol) -> Records:
    """Returns rows in no order as matching may leave them, with padding."""
    rng = np.random.default_rng(seed)
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    valid = rng.random(N) < 0.8
    labels, images = rng.integers(0, K, N), rng.integers(0, 12, N)
    scores = rng.choice([rng.random(N), rng.integers(0, 6, N) / 5])  # all different, or mostly tied
    position = np.zeros(N, np.int64)
    rank = np.zeros(N, np.int64)
    for image in range(12):
        rows = np.flatnonzero(images == image)
        position[rows] = rng.permutation(len(rows))
        for label in range(K):
            of_class = rows[(labels[rows] == label) & valid[rows]]
            rank[of_class[np.lexsort((position[of_class], -scores[of_class]))]] = np.arange(len(of_class))
    # A row matches up to some threshold in some area ranges, a counted ground truth or an ignored one; where it matches
    # nothing, it is ignored if its own area is out of range.
    levels = np.where(rng.random(N) < 0.6, rng.integers(1, grid[0] + 1, N), 0)
    matches = (np.arange(grid[0]) < levels[:, None])[:, None, :] & (rng.random((N, grid[1], 1)) < 0.9)
    ignored = np.where(matches, rng.random((N, grid[1], grid[0])) < 0.2, rng.random((N, grid[1], 1)) < 0.3)
    words = np.zeros((2, N, num_words(*grid)), np.uint32)
    for area in range(grid[1]):
        for threshold in range(grid[0]):
            word, bit = plane_bit(area, threshold, grid[0])
            for flags, into in zip((matches, ignored), words, strict=True):
                into[:, word] |= flags[:, area, threshold].astype(np.uint32) << np.uint32(bit)
    true_positives = np.zeros((K, *grid[::-1]), np.int64)
    np.add.at(true_positives, labels[valid], (matches & ~ignored)[valid])
    missed = rng.choice([0, 0, 1, 5, 40], (K, grid[1]))  # some classes are found to the last, so that recall is 1
    counts = true_positives.max(-1) + missed
    counts[0, -1] = 0 if not true_positives[0, -1].any() else counts[0, -1]
    rubbish = np.where(valid, 0, rng.integers(-5, 100, N))
    detections = DetectionRecords(
        scores=np.where(valid, scores, np.nan).astype(np.float32),
        labels=np.where(valid, labels, rubbish).astype(np.int32),
        image_index=images.astype(np.int32),
        position=position.astype(np.int32),
        rank=rank.astype(np.int32),
        matched=words[0],
        ignored=words[1],
        valid=valid,
    )
    return Records(detections=detections, ground_truths=ground_truths_of(counts))


def on_host(records: Records, protocol: EvaluationProtocol) -> PrecisionRecall:
    """The host's curves of the same rows, in float64."""
    found = records.detections
    rows = np.flatnonzero(found.valid)
    keys = (found.position, found.image_index, -found.scores.astype(np.float64), found.labels)
    order = rows[np.lexsort([key[rows] for key in keys])]
    widened = dataclasses.replace(found, scores=found.scores.astype(np.float64), labels=found.labels.astype(np.int64))
    records = dataclasses.replace(records, detections=widened)
    num_images = int(found.image_index.max(initial=0)) + 1
    return host.precision_recall(records, protocol=protocol, num_classes=K, order=order, num_images=num_images)


def assert_equal_curves(device: PrecisionRecall, exact: PrecisionRecall) -> None:
    for name in ("precision", "recall", "scores"):
        ours, theirs = np.asarray(getattr(device, name)), getattr(exact, name)
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours == UNDEFINED, np.isnan(theirs), err_msg=name)  # no score is -1 here
        atol = 0.0 if name == "scores" else ATOL
        np.testing.assert_allclose(np.where(ours == UNDEFINED, np.nan, ours), theirs, rtol=0, atol=atol, err_msg=name)
    np.testing.assert_array_equal(device.num_ground_truths, exact.num_ground_truths)
