"""Supported tasks: every entry of the README's table is one case here, and every case is an entry.

Each scene holds two objects, of which one is found exactly and one is missed, so that AP at the 101 recall points is 51
of 101, the area under the curve is one half, and panoptic quality is 1 / (1 + 1/2).
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._cli import main
from jaxmap.interop.pycocotools import COCO, COCOeval
from jaxmap.interop.torchmetrics import MeanAveragePrecision
from jaxmap.metrics import PanopticQuality, SemanticSegmentation, semantic_segmentation

POINTS, AREA, QUALITY = 51 / 101, 1 / 2, 2 / 3
SIDE = 64  # of the image
BOXES = np.array([[4.0, 4, 24, 24], [34, 34, 60, 60]])  # xyxy
PLACES = np.stack([np.linspace(BOXES[:, i], BOXES[:, i + 2], 17, axis=1) for i in (0, 1)], axis=-1)
MASKS = np.zeros((2, SIDE, SIDE), bool)
for one, (x0, y0, x1, y1) in zip(MASKS, BOXES.astype(int), strict=True):
    one[y0:y1, x0:x1] = True
SHAPES: dict[str, dict[str, np.ndarray]] = {
    "bbox": {"boxes": BOXES},
    "segm": {"masks": MASKS},
    "boundary": {"masks": MASKS},
    "keypoints": {"keypoints": np.concatenate([PLACES, np.full((2, 17, 1), 2.0)], axis=-1), "boxes": BOXES},
    "obb": {"boxes": np.array([[14.0, 14, 20, 10, 0.3], [47, 47, 20, 10, 2.0]])},
}
CLASSES = {"verified": [[True]], "not_exhaustive": [[False]]}
PROTOCOLS = {
    "boxes": jaxmap.COCO,
    "instance masks": jaxmap.COCO.customize(iou_type="segm"),
    "boundaries of masks": jaxmap.COCO.customize(iou_type="boundary"),
    "keypoints": jaxmap.COCO_KEYPOINTS,
    "keypoints, CrowdPose": jaxmap.CROWDPOSE,
    "oriented boxes": jaxmap.COCO.customize(iou_type="obb"),
    "LVIS": jaxmap.LVIS,
    "Open Images": jaxmap.OPEN_IMAGES,
}


def scene(task: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One image: detections and ground truths by the names of their fields."""
    shapes = SHAPES[PROTOCOLS[task].iou_type]
    found = {name: values[:1] for name, values in shapes.items()} | {"scores": [0.9], "labels": [0]}
    truth = shapes | {"labels": [0, 0]}
    if task in ("LVIS", "Open Images"):
        truth |= {name: flags[0] for name, flags in CLASSES.items()}
    return found, truth


def expected(task: str) -> float:
    return AREA if task == "Open Images" else POINTS


def call(task: str, _: pathlib.Path) -> float:
    found, truth = scene(task)
    return jaxmap.evaluate([found], [truth], protocol=PROTOCOLS[task], num_classes=1).summary["AP"]


def in_jit(task: str, _: pathlib.Path) -> float:
    found, truth = ({name: jnp.asarray(value)[None] for name, value in side.items()} for side in scene(task))
    metric = jaxmap.AveragePrecision(num_classes=1, max_images=1, protocol=PROTOCOLS[task])
    sides = jaxmap.Detections(**found), jaxmap.GroundTruths(**truth)
    state = jax.jit(metric.update)(metric.init(), *sides, image_id=jnp.array([3]))
    return metric.summarize(metric.compute(state))["AP"]


def coco_files(task: str, folder: pathlib.Path) -> tuple[str, str]:
    """Writes COCO's or LVIS's two files."""
    iou_type = PROTOCOLS[task].iou_type
    rows = []
    for index, (x0, y0, x1, y1) in enumerate(BOXES.tolist()):
        row = {"id": index + 1, "image_id": 7, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        row |= {"area": (x1 - x0) * (y1 - y0), "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
        if iou_type == "keypoints":
            count = len(PROTOCOLS[task].keypoint_sigmas)
            row |= {"keypoints": SHAPES["keypoints"]["keypoints"][index][:count].ravel().tolist()}
            row |= {"num_keypoints": count}
        rows.append(row)
    image = {"id": 7, "height": SIDE, "width": SIDE, "crowdIndex": 0.5}
    image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    truth = {"images": [image], "categories": [{"id": 1, "name": "a", "frequency": "r"}], "annotations": rows}
    if iou_type in ("segm", "boundary"):
        encoding = {"size": [SIDE, SIDE], "counts": counts_of(MASKS[0])}
        found = [{"image_id": 7, "category_id": 1, "score": 0.9, "segmentation": encoding}]
    else:
        shape = "keypoints" if iou_type == "keypoints" else "bbox"
        found = [{"image_id": 7, "category_id": 1, "score": 0.9, shape: rows[0][shape]}]
    paths = folder / "truth.json", folder / "found.json"
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return str(paths[0]), str(paths[1])


def counts_of(mask: np.ndarray) -> list[int]:
    """The uncompressed run-length encoding, column by column, first of what is not set."""
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], edges])).tolist()


def command(task: str, folder: pathlib.Path) -> float:
    protocol = PROTOCOLS[task]
    options = ["--protocol", protocol.name, "--iou-type", protocol.iou_type]
    if task == "Open Images":
        files = open_images_files(folder)
    elif task == "oriented boxes":
        files = dota_files(folder)
    else:
        files = coco_files(task, folder)
    assert main(["eval", *files, *options, "--json", str(folder / "out.json")]) == 0
    return json.loads((folder / "out.json").read_text())["AP"]


def open_images_files(folder: pathlib.Path) -> tuple[str, str]:
    share = BOXES / SIDE
    lines = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"]
    lines += [f"i,x,/m/a,1,{x0},{x1},{y0},{y1},0,0,0" for x0, y0, x1, y1 in share]
    x0, y0, x1, y1 = share[0]
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")
    (folder / "found.csv").write_text(f"ImageID,LabelName,Score,XMin,XMax,YMin,YMax\ni,/m/a,0.9,{x0},{x1},{y0},{y1}\n")
    return str(folder / "truth.csv"), str(folder / "found.csv")


def dota_files(folder: pathlib.Path) -> tuple[str, str]:
    quads = [" ".join(map(str, (x0, y0, x1, y0, x1, y1, x0, y1))) for x0, y0, x1, y1 in BOXES]
    (folder / "labels").mkdir()
    (folder / "labels" / "P1.txt").write_text("".join(f"{quad} plane 0\n" for quad in quads))
    (folder / "found").mkdir()
    (folder / "found" / "Task1_plane.txt").write_text(f"P1 0.9 {quads[0]}\n")
    return str(folder / "labels"), str(folder / "found")


def torchmetrics_like(task: str, _: pathlib.Path) -> float:
    metric = MeanAveragePrecision(iou_type=PROTOCOLS[task].iou_type)
    found, truth = ({name: np.asarray(value) for name, value in side.items()} for side in scene(task))
    metric.update([found], [truth])
    return float(metric.compute()["map"])


def pycocotools_like(task: str, folder: pathlib.Path) -> float:
    truth, found = coco_files(task, folder)
    dataset = COCO(truth)
    run = COCOeval(dataset, dataset.loadRes(found), PROTOCOLS[task].iou_type)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return float(run.stats[0])


def panoptic_maps() -> tuple[np.ndarray, np.ndarray]:
    """Segment maps of `[1, H, W]`, prediction and truth: 1 and 2 are the objects, 0 is nothing."""
    truth = MASKS[0] + 2 * MASKS[1]
    return np.where(truth == 1, 1, 0)[None], truth[None]


def panoptic_call(_: str, __: pathlib.Path) -> float:
    found, truth = panoptic_maps()
    return jaxmap.panoptic_quality(
        [{"segments": found[0], "ids": [1], "labels": [0]}],
        [{"segments": truth[0], "ids": [1, 2], "labels": [0, 0]}],
        num_classes=1,
    ).summary["PQ"]


def panoptic_in_jit(_: str, __: pathlib.Path) -> float:
    found, truth = (jnp.asarray(segments) - 1 for segments in panoptic_maps())
    metric = PanopticQuality(num_classes=1)
    labels = {"predicted_labels": jnp.array([[0]]), "truth_labels": jnp.array([[0, 0]])}
    return metric.summarize(metric.compute(jax.jit(metric.update)(metric.init(), found, truth, **labels)))["PQ"]


def panoptic_command(_: str, folder: pathlib.Path) -> float:
    image = pytest.importorskip("PIL.Image")
    for name, segments in zip(("found", "truth"), panoptic_maps(), strict=True):
        (folder / name).mkdir()
        rgb = np.stack([segments[0], np.zeros_like(segments[0]), np.zeros_like(segments[0])], axis=-1)
        image.fromarray(rgb.astype(np.uint8)).save(folder / name / "7.png")
        rows = [{"id": int(index), "category_id": 1, "iscrowd": 0} for index in np.unique(segments) if index]
        annotations = [{"image_id": 7, "file_name": "7.png", "segments_info": rows}]
        content: dict[str, Any] = {"annotations": annotations}
        if name == "truth":
            content |= {"images": [{"id": 7}], "categories": [{"id": 1, "name": "a", "isthing": 1}]}
        (folder / f"{name}.json").write_text(json.dumps(content))
    files = [str(folder / f"{name}.json") for name in ("truth", "found")]
    assert main(["panoptic", *files, "--json", str(folder / "out.json")]) == 0
    return json.loads((folder / "out.json").read_text())["PQ"]


def semantic_maps() -> tuple[np.ndarray, np.ndarray]:
    """Class maps: the first half of class 0 is found, and class 1 is all of the rest but that."""
    truth = np.repeat([[0, 0, 1, 1]], 4, axis=0)[None]
    return np.where(np.arange(4)[None, :, None] < 2, truth, 1), truth


def semantic_call(_: str, __: pathlib.Path) -> float:
    return float(semantic_segmentation(*semantic_maps(), num_classes=2).mean_iou)


def semantic_in_jit(_: str, __: pathlib.Path) -> float:
    metric = SemanticSegmentation(num_classes=2)
    state = jax.jit(metric.update)(metric.init(), *map(jnp.asarray, semantic_maps()))
    return metric.summarize(metric.compute(state))["mean_iou"]


Check = Callable[[str, pathlib.Path], float]
DOORS = ("Python call", "inside `jit`", "command", "torchmetrics-like", "pycocotools-like")
SHELLS: dict[str, tuple[Check | None, ...]] = {
    "boxes": (torchmetrics_like, pycocotools_like),
    "instance masks": (torchmetrics_like, pycocotools_like),
    "keypoints": (None, pycocotools_like),
}
GRID: dict[str, tuple[Check | None, ...]] = {
    task: (
        None if task == "keypoints, CrowdPose" else call,  # its images need a crowd index: files alone have one
        None if task == "keypoints, CrowdPose" else in_jit,
        command,
        *SHELLS.get(task, (None, None)),
    )
    for task in PROTOCOLS
}
GRID |= {
    "panoptic segmentation": (panoptic_call, panoptic_in_jit, panoptic_command, None, None),
    "semantic segmentation": (semantic_call, semantic_in_jit, None, None, None),
}
CASES = [
    pytest.param(task, check, id=f"{task}-{door}")
    for task, row in GRID.items()
    for door, check in zip(DOORS, row, strict=True)
    if check is not None
]


@pytest.mark.parametrize(("task", "check"), CASES)
def test_door_serves_task(task: str, check: Check, tmp_path: pathlib.Path) -> None:
    # Class 0 of the semantic maps has half of its 8 pixels and class 1 all of its 8 and 4 more.
    others = {"panoptic segmentation": QUALITY, "semantic segmentation": (4 / 8 + 8 / 12) / 2}
    value = others.get(task) or expected(task)
    assert check(task, tmp_path) == pytest.approx(value, abs=1e-6)  # float32 inside jit


def test_readme_ticks_what_is_tested_here() -> None:
    text = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    start = next(index for index, line in enumerate(lines) if line.startswith("| task |"))
    assert [cell.strip() for cell in lines[start].strip("|").split("|")][1:] == list(DOORS)
    ticked = {}
    for line in lines[start + 2 : start + 2 + len(GRID)]:
        task, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        ticked[task] = tuple(cell not in ("", "-") for cell in cells)
    assert ticked == {task: tuple(check is not None for check in row) for task, row in GRID.items()}
