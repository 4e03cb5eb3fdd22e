"""The evaluators that `run.py` compares, and the worker process that holds one of them.

    python examples/benchmarks/tools.py TOOL GT DT bbox|segm

A worker imports its tool and obeys one word a line from its standard input: `load` reads the files, `prepare` brings
what was loaded into the form that the tool's users hold in memory, `evaluate` computes the twelve numbers. It answers
each line, and the import, with a line of JSON: the seconds that it took and the numbers, if any. Nothing outside the
standard library is imported before the tool is, so that the tool pays for all that it needs.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

__all__ = ["NUMBERS", "TOOLS"]

NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


class Tool(Protocol):
    iou_type: str  # set before anything is asked

    def load(self, ground_truths: str, detections: str) -> None:
        """Reads two COCO files."""

    def prepare(self) -> None:
        """Does whatever is not part of a warm call."""

    def evaluate(self) -> list[float | None]:
        """Returns the `NUMBERS`; None where there is nothing to measure."""


class CocoApi:
    """pycocotools, and whatever has its two classes."""

    def __init__(self, dataset: Callable[..., Any], evaluator: Callable[..., Any]) -> None:
        self.dataset = dataset
        self.evaluator = evaluator
        self.iou_type = "bbox"
        self.max_detections: list[int] | None = None  # instead of 1, 10, 100

    def load(self, ground_truths: str, detections: str) -> None:
        self.ground_truths = self.dataset(ground_truths)
        self.detections = self.ground_truths.loadRes(detections)

    def prepare(self) -> None:
        pass

    def evaluate(self) -> list[float | None]:
        evaluation = self.evaluator(self.ground_truths, self.detections, self.iou_type)
        if self.max_detections:
            evaluation.params.maxDets = self.max_detections
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return [None if value == -1 else float(value) for value in evaluation.stats[: len(NUMBERS)]]


class Jaxmap:
    """Tables after `load`; padded NumPy arrays after `prepare`, if boxes are compared."""

    def __init__(self) -> None:
        import jaxmap
        import jaxmap._evaluation
        import jaxmap.io

        self.jaxmap = jaxmap
        self.iou_type = "bbox"

    def load(self, ground_truths: str, detections: str) -> None:
        self.ground_truths: Any = self.jaxmap.io.read_coco_ground_truths(ground_truths, iou_type=self.iou_type)
        self.detections: Any = self.jaxmap.io.read_coco_detections(
            detections, self.ground_truths, iou_type=self.iou_type
        )
        self.options: dict[str, Any] = {"iou_type": self.iou_type}

    def prepare(self) -> None:
        if self.iou_type != "bbox":
            return
        from loads import pad

        images, classes = len(self.ground_truths.image_ids), len(self.ground_truths.class_ids)
        columns = [
            {name: getattr(table, name) for name in ("boxes", "labels", *more)}
            for table, more in ((self.detections, ("scores",)), (self.ground_truths, ("area", "crowd", "ignore")))
        ]
        detections = pad(self.detections.image_index, images, **columns[0])
        ground_truths = pad(self.ground_truths.image_index, images, **columns[1])
        self.detections = self.jaxmap.Detections(**detections)
        self.ground_truths = self.jaxmap.GroundTruths(**ground_truths)
        self.options |= {"box_format": "xywh", "num_classes": classes}

    def evaluate(self) -> list[float | None]:
        summary = self.jaxmap.evaluate(self.detections, self.ground_truths, **self.options).summary
        return [None if math.isnan(value) else float(value) for value in summary.values()]  # in the order of `NUMBERS`


class Vernier:
    """Boxes stay JSON, which its evaluator parses, until `prepare` makes its matrix of them; masks are a list."""

    def __init__(self) -> None:
        from vernier import instance

        self.instance = instance
        self.iou_type = "bbox"

    def load(self, ground_truths: str, detections: str) -> None:
        self.ground_truths = self.instance.CocoDataset.from_json(Path(ground_truths).read_bytes())
        self.detections: Any = Path(detections).read_bytes()
        if self.iou_type == "segm":  # it needs boxes, and takes the areas of masks from them; pycocotools does neither
            self.detections = [one | {"bbox": [0, 0, one["area"], 1]} for one in json.loads(self.detections)]

    def prepare(self) -> None:
        if self.iou_type == "segm":
            return
        import numpy as np

        results = json.loads(self.detections)
        rows = [(one["image_id"], *one["bbox"], one["score"], one["category_id"]) for one in results]
        self.detections = np.array(rows, np.float64)

    def evaluate(self) -> list[float | None]:
        kernel = self.instance.Segm() if self.iou_type == "segm" else self.instance.Bbox()
        evaluator = self.instance.Evaluator(iou=kernel, parity_mode="strict")  # pycocotools' numbers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        summary = evaluator.evaluate(self.ground_truths, self.detections, num_threads=cores)
        return [None if value == -1 else float(value) for value in summary.stats]


def _pycocotools() -> CocoApi:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return CocoApi(COCO, COCOeval)


def _faster_coco_eval() -> CocoApi:
    from faster_coco_eval import COCO, COCOeval_faster

    return CocoApi(COCO, COCOeval_faster)


def _hotcoco() -> CocoApi:
    from hotcoco import COCO, COCOeval

    return CocoApi(COCO, COCOeval)


def _ultrafast_pycocotools() -> CocoApi:
    from ultrafast_pycocotools import COCO, COCOeval

    return CocoApi(COCO, COCOeval)


# In the order of a round. Each constructor imports its tool.
TOOLS: dict[str, Callable[[], Tool]] = {
    "jaxmap": Jaxmap,
    "hotcoco": _hotcoco,
    "ultrafast-pycocotools": _ultrafast_pycocotools,
    "vernier": Vernier,
    "faster-coco-eval": _faster_coco_eval,
    "pycocotools": _pycocotools,
}


def main(name: str, ground_truths: str, detections: str, iou_type: str) -> None:
    # The tools print as they go, some of them from native code: what they write goes nowhere.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def answer(action: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = action()
        seconds = time.perf_counter() - start
        numbers = result if isinstance(result, list) else None
        print(json.dumps({"seconds": seconds, "numbers": numbers}), file=answers, flush=True)
        return result

    tool = answer(TOOLS[name])
    tool.iou_type = iou_type
    actions = {
        "load": lambda: tool.load(ground_truths, detections),
        "prepare": tool.prepare,
        "evaluate": tool.evaluate,
    }
    for line in sys.stdin:
        answer(actions[line.strip()])


if __name__ == "__main__":
    main(*sys.argv[1:])
