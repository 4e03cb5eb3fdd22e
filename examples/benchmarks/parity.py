"""Compares jaxmap with pycocotools on pairs of COCO files and prints the parity table of tests/README.md.

    python examples/benchmarks/parity.py GT.json DT.json [GT.json DT.json ...]

Files may be gzipped. Results are restricted to the images of the ground truths; if they cover less than half of them,
they are assumed to be for a part of the dataset, and the ground truths are restricted too. `entries` is the largest
difference over all entries of precision, recall and scores (host route, float64); `in jit` that over the 12 numbers of
the float32 route inside `jit`, with the same float32 input for both.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import jaxmap
from jaxmap._matching._padding import pad_detections, pad_ground_truths
from jaxmap.io import coco_detections, coco_ground_truths, load_json

Columns = dict[str, Any]


def common_images(truth: Columns, results: list[Columns]) -> tuple[Columns, list[Columns]]:
    """Cuts results to the images of the ground truths, and those to the results' where they are for a small part."""
    known = {str(image["id"]) for image in truth["images"]}
    shared = known & {str(result["image_id"]) for result in results}
    kept = shared if len(shared) < len(known) / 2 else known
    lists = {
        "images": [image for image in truth["images"] if str(image["id"]) in kept],
        "annotations": [one for one in truth["annotations"] if str(one["image_id"]) in kept],
    }
    cut = [result for result in results if str(result["image_id"]) in shared]
    for entry, field in (
        *((one, "id") for one in lists["images"]),
        *((one, "image_id") for one in lists["annotations"]),
        *((one, "image_id") for one in cut),
    ):
        entry[field] = int(entry[field])  # pycocotools compares ids as they are, and some files quote a few
    return truth | lists, cut


def run_pycocotools(truth: Columns, results: list[Columns]) -> COCOeval:
    """Returns pycocotools' evaluation."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([dict(result) for result in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def largest_difference(evaluation: jaxmap.Evaluation, oracle: COCOeval) -> float:
    """Returns the largest difference over all entries; infinite where only one side is defined."""
    largest = 0.0
    for name in ("precision", "recall", "scores"):
        ours, theirs = getattr(evaluation, name), oracle.eval[name]
        if not np.array_equal(np.isnan(ours), theirs == -1):
            return np.inf
        largest = max(largest, float(np.nanmax(np.abs(ours - np.where(theirs == -1, np.nan, theirs)), initial=0)))
    return largest


def in_jit_difference(found: jaxmap.DetectionTable, truth: jaxmap.GroundTruthTable) -> float:
    """Returns the largest difference of the 12 numbers between the jitted route and the host route, both in float32."""
    sides = pad_detections(found, len(truth.image_ids)), pad_ground_truths(truth)
    exact = jaxmap.evaluate(*sides, box_format="xywh", num_classes=len(truth.class_ids)).summary
    run = jax.jit(functools.partial(jaxmap.average_precision, num_classes=len(truth.class_ids), box_format="xywh"))
    numbers = run(*sides)
    return max(abs(float(numbers[name]) - value) for name, value in exact.items() if not np.isnan(value))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="GT DT", help="pairs of ground truths and results")
    files = parser.parse_args(arguments).files
    if len(files) % 2:
        parser.error(f"expected pairs of files, got {len(files)}")
    print("| ground truths | detections | images | boxes | pycocotools AP | jaxmap AP | entries | in jit |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for truth_path, results_path in zip(files[::2], files[1::2], strict=True):
        truth, results = common_images(load_json(truth_path), load_json(results_path))
        table = coco_ground_truths(truth)
        found = coco_detections(results, table)
        evaluation, oracle = jaxmap.evaluate(found, table), run_pycocotools(truth, results)
        names = (
            pathlib.Path(path).name.removesuffix(".gz").removesuffix(".json") for path in (truth_path, results_path)
        )
        print(
            "|",
            " | ".join(names),
            f"| {len(table.image_ids):,} | {len(results):,} | {oracle.stats[0]:.10f} | {evaluation.summary['AP']:.10f} "
            f"| {largest_difference(evaluation, oracle):.0e} | {in_jit_difference(found, table):.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
