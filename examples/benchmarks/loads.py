"""Loads of any size, made from a seed: the same call gives the same boxes everywhere.

COCO-like: a few classes hold most objects, an image holds about three classes, four objects in ten are small, one in a
hundred is a crowd. Most objects are found, often several times, and a better box tends to score higher; the rest of an
image's detections are low-scored noise, more often of the image's own classes than of any other. Scores have six
decimals, so ties occur.

Crowds, as in the sets that people count in: one class, from a few objects an image to a thousand, the smaller the more
there are, neighbours overlapping, and five detections for each, as before any suppression.

    python examples/benchmarks/loads.py --images 5000 --detections 500000 -o DIR
    python examples/benchmarks/loads.py --crowds --images 3000 --columns -o DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from masks import add_masks

__all__ = ["Load", "make_crowds", "make_load", "pad"]

CROWD_SHARE = 0.01
HITS_PER_OBJECT = 1.6  # detections near an object, on average; about one object in five has none
NEAR_SHARE = 0.5  # and at most this share of all detections is near an object
RIGHT_CLASS_SHARE = 0.9  # of the detections near an object
OWN_CLASS_SHARE = 0.75  # of the noise: drawn from the classes of the image's objects
IMAGE_SIZES = np.array([[640, 480], [480, 640], [640, 427], [500, 375]])
# The sides of boxes are log-normal: their median in pixels, or as a share of a scale, and the spread of the logarithm.
# This puts about 4 in 10 objects below 32^2 and 2 in 10 above 96^2, close to COCO.
COCO_SIDES = (46.0, 1.1)

CROWD_IMAGE_SIZE = np.array([1920, 1080])
CROWD_COUNTS = (150.0, 1.0)  # objects an image, log-normal too: a mean of about 210
CROWD_LARGEST = 1000
CROWD_DETECTIONS = 5  # an object
CROWD_NEAR_SHARE = 0.8
CROWD_SIDES = (0.6, 0.5)  # the scale: the distance to the next object, were they spread evenly


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Load:
    """Ground truths (N rows) and detections (M rows) as columns; boxes are xywh in pixels with two decimals."""

    image_ids: np.ndarray  # [I], ascending, with gaps
    image_sizes: np.ndarray  # [I, 2], width and height
    category_ids: np.ndarray  # [K], ascending, with gaps
    gt_image: np.ndarray  # [N], index into image_ids
    gt_label: np.ndarray  # [N], index into category_ids
    gt_boxes: np.ndarray  # [N, 4]
    gt_area: np.ndarray  # [N], as of a mask: 0.5 to 0.9 of the box
    gt_crowd: np.ndarray  # [N]
    dt_image: np.ndarray  # [M]
    dt_label: np.ndarray  # [M]
    dt_boxes: np.ndarray  # [M, 4]
    dt_scores: np.ndarray  # [M]

    def ground_truth_dict(self) -> dict[str, list[dict[str, object]]]:
        """Returns the ground truths as a COCO annotation file holds them."""
        images = [
            {"id": image_id, "width": width, "height": height, "file_name": f"{image_id:012d}.jpg"}
            for image_id, (width, height) in zip(self.image_ids.tolist(), self.image_sizes.tolist(), strict=True)
        ]
        names = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        columns = (
            np.arange(1, len(self.gt_boxes) + 1),  # from 1: an id of 0 counts as unmatched in pycocotools
            self.image_ids[self.gt_image],
            self.category_ids[self.gt_label],
            self.gt_boxes,
            self.gt_area,
            self.gt_crowd.astype(int),
        )
        categories = [{"id": category_id, "name": f"class_{category_id}"} for category_id in self.category_ids.tolist()]
        return {"images": images, "annotations": _rows(names, columns), "categories": categories}

    def results(self) -> list[dict[str, object]]:
        """Returns the detections as a COCO result file holds them."""
        names = ("image_id", "category_id", "bbox", "score")
        columns = (self.image_ids[self.dt_image], self.category_ids[self.dt_label], self.dt_boxes, self.dt_scores)
        return _rows(names, columns)

    def write(self, directory: Path | str, *, masks: bool = False) -> tuple[Path, Path]:
        """Writes `ground_truth.json` and `detections.json`, boxes or masks, and returns their paths."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        paths = directory / "ground_truth.json", directory / "detections.json"
        ground_truths, results = self.ground_truth_dict(), self.results()
        if masks:
            add_masks(ground_truths["annotations"], self.image_sizes[self.gt_image], seed=1)
            add_masks(results, self.image_sizes[self.dt_image], seed=2)
            for row in results:  # pycocotools would read the results as boxes
                del row["bbox"]
        for path, content in zip(paths, (ground_truths, results), strict=True):
            path.write_text(json.dumps(content))
        return paths

    def save(self, directory: Path | str) -> Path:
        """Writes the columns as they are to `load.npz`, for `Load.read`, and returns its path."""
        path = Path(directory) / "load.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **vars(self))
        return path

    @classmethod
    def read(cls, path: Path | str) -> Load:
        """Reads what `save` wrote."""
        with np.load(path) as columns:
            return cls(**columns)

    def padded(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns the arguments of `jaxmap.Detections` and of `jaxmap.GroundTruths`."""
        images = len(self.image_ids)
        detections = pad(self.dt_image, images, boxes=self.dt_boxes, scores=self.dt_scores, labels=self.dt_label)
        ground_truths = pad(
            self.gt_image, images, boxes=self.gt_boxes, labels=self.gt_label, crowd=self.gt_crowd, area=self.gt_area
        )
        return detections, ground_truths

    def figures(self) -> dict[str, int]:
        """Counts what decides the work of an evaluation; a pair is a detection and an object of one image and class."""
        num_classes = len(self.category_ids)
        gt_group = self.gt_image * num_classes + self.gt_label
        dt_group = self.dt_image * num_classes + self.dt_label
        order = np.argsort(gt_group, kind="stable")
        first, last = (np.searchsorted(gt_group[order], dt_group, side) for side in ("left", "right"))
        detection = np.repeat(np.arange(len(dt_group)), last - first)
        start = np.cumsum(last - first) - (last - first)
        ground_truth = order[first[detection] + np.arange(len(detection)) - start[detection]]
        overlap = iou(self.dt_boxes[detection], self.gt_boxes[ground_truth])
        return {
            "images": len(self.image_ids),
            "ground truths": len(self.gt_boxes),
            "crowds": int(self.gt_crowd.sum()),
            "detections": len(self.dt_boxes),
            "detections of one score with another": len(self.dt_scores) - len(np.unique(self.dt_scores)),
            "image-class groups with ground truth": len(np.unique(gt_group)),
            "pairs": len(detection),
            "pairs of IoU >= 0.5": int((overlap >= 0.5).sum()),
        }


def make_load(
    num_images: int = 5000,
    num_ground_truths: int = 36_000,
    num_detections: int = 500_000,
    num_classes: int = 80,
    seed: int = 0,
) -> Load:
    """Makes a load; every image gets the same number of detections, or one more."""
    rng = np.random.default_rng(seed)
    sizes = IMAGE_SIZES[rng.integers(len(IMAGE_SIZES), size=num_images)]
    frequency = rng.permutation(1.0 / np.arange(1, num_classes + 1) ** 0.9)
    frequency /= frequency.sum()

    # Images differ in how many objects they hold, and each draws its objects from at most five classes of its own.
    crowdedness = rng.gamma(1.2, size=num_images)
    gt_image = rng.choice(num_images, size=num_ground_truths, p=crowdedness / crowdedness.sum())
    palette = rng.choice(num_classes, size=(num_images, 5), p=frequency)
    gt_label = _draw_own_class(rng, palette[gt_image])
    gt_crowd = rng.random(num_ground_truths) < CROWD_SHARE
    gt_boxes = _random_boxes(rng, sizes[gt_image], np.where(gt_crowd, 3.0, 1.0), COCO_SIDES)
    gt_area = np.round(gt_boxes[:, 2] * gt_boxes[:, 3] * rng.uniform(0.5, 0.9, num_ground_truths), 4)

    quota = np.full(num_images, num_detections // num_images)
    quota[: num_detections % num_images] += 1
    return _detect(
        rng,
        quota=quota,
        num_near=int(min(HITS_PER_OBJECT * num_ground_truths, NEAR_SHARE * num_detections)),
        image_sizes=sizes,
        palette=palette,
        frequency=frequency,
        scale=np.ones(num_images),
        sides=COCO_SIDES,
        gt_image=gt_image,
        gt_label=gt_label,
        gt_boxes=gt_boxes,
        gt_area=gt_area,
        gt_crowd=gt_crowd,
    )


def make_crowds(num_images: int = 3000, seed: int = 0) -> Load:
    """Makes a load of one class; an image gets five detections for each of its objects, 5,000 at most."""
    rng = np.random.default_rng(seed)
    median, spread = CROWD_COUNTS
    counts = rng.lognormal(np.log(median), spread, size=num_images).clip(1, CROWD_LARGEST).astype(int)
    sizes = np.broadcast_to(CROWD_IMAGE_SIZE, (num_images, 2))
    scale = np.sqrt(sizes.prod(axis=1) / counts)
    gt_image = np.repeat(np.arange(num_images), counts)
    gt_boxes = _random_boxes(rng, sizes[gt_image], scale[gt_image], CROWD_SIDES)
    return _detect(
        rng,
        quota=CROWD_DETECTIONS * counts,
        num_near=int(CROWD_NEAR_SHARE * CROWD_DETECTIONS * len(gt_image)),
        image_sizes=sizes,
        palette=np.zeros((num_images, 1), int),
        frequency=np.ones(1),
        scale=scale,
        sides=CROWD_SIDES,
        gt_image=gt_image,
        gt_label=np.zeros(len(gt_image), int),
        gt_boxes=gt_boxes,
        gt_area=gt_boxes[:, 2] * gt_boxes[:, 3],
        gt_crowd=np.zeros(len(gt_image), bool),
    )


def pad(image_index: np.ndarray, num_images: int, **columns: np.ndarray) -> dict[str, np.ndarray]:
    """Returns each column as `[I, longest image, ...]`, rows in their order, and `valid`."""
    shape = num_images, int(np.bincount(image_index, minlength=num_images).max(initial=1))
    place = image_index, _rank_in_group(image_index)
    result = {"valid": np.ones(len(image_index), bool)} | columns
    for name, column in result.items():
        result[name] = np.zeros(shape + column.shape[1:], column.dtype)
        result[name][place] = column
    return result


def jitter(rng: np.random.Generator, boxes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Moves and resizes xywh boxes by normal noise of a share of their size, to two decimals."""
    size = boxes[:, 2:]
    shift = size * rng.normal(size=size.shape) * noise[:, None]
    grown = size * np.exp(rng.normal(size=size.shape) * noise[:, None])
    return np.round(np.concatenate([boxes[:, :2] + shift, np.maximum(grown, 1.0)], axis=1), 2)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the IoU of xywh boxes row by row, computed as pycocotools does (maskApi.c, bbIou)."""
    overlap = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = np.prod(np.maximum(overlap, 0), axis=1)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - intersection
    return np.asarray(intersection / union)


def _detect(
    rng: np.random.Generator,
    *,
    quota: np.ndarray,
    num_near: int,
    image_sizes: np.ndarray,
    palette: np.ndarray,
    frequency: np.ndarray,
    scale: np.ndarray,
    sides: tuple[float, float],
    **ground_truths: np.ndarray,
) -> Load:
    """Adds detections to a scene: `quota` an image, at most `num_near` of all near objects and the rest noise.

    The arrays are `[I]` but for `image_sizes` [I, 2], `palette` [I, classes], `frequency` [K] and a load's columns of
    ground truths; `scale` and `sides` are of the boxes of the noise.
    """
    num_images, num_classes = len(quota), len(frequency)
    gt_image, gt_label, gt_boxes = (ground_truths[name] for name in ("gt_image", "gt_label", "gt_boxes"))
    target = rng.integers(len(gt_image), size=num_near) if num_near else np.zeros(0, int)
    target = target[_rank_in_group(gt_image[target]) < quota[gt_image[target]]]
    near_image = gt_image[target]
    near_boxes = jitter(rng, gt_boxes[target], rng.exponential(0.08, size=len(target)))
    near_label = np.where(
        rng.random(len(target)) < RIGHT_CLASS_SHARE, gt_label[target], rng.choice(num_classes, len(target), p=frequency)
    )
    quality = iou(near_boxes, gt_boxes[target]) * (near_label == gt_label[target])
    near_scores = 1.0 / (1.0 + np.exp(4.0 - 6.0 * quality - rng.normal(size=len(target))))

    noise_image = np.repeat(np.arange(num_images), quota - np.bincount(near_image, minlength=num_images))
    num_noise = len(noise_image)
    own_label = _draw_own_class(rng, palette[noise_image])
    other_label = rng.choice(num_classes, size=num_noise, p=frequency)
    noise_label = np.where(rng.random(num_noise) < OWN_CLASS_SHARE, own_label, other_label)
    noise_boxes = _random_boxes(rng, image_sizes[noise_image], scale[noise_image], sides)
    noise_scores = rng.beta(0.8, 12.0, size=num_noise)

    dt_image = np.concatenate([near_image, noise_image])
    dt_scores = np.round(np.concatenate([near_scores, noise_scores]), 6)
    order = np.lexsort([-dt_scores, dt_image])  # image by image, best first, as detectors write them
    return Load(
        image_ids=np.cumsum(rng.integers(1, 100, size=num_images)),
        image_sizes=image_sizes,
        category_ids=1 + np.arange(num_classes) * 9 // 8,
        dt_image=dt_image[order],
        dt_label=np.concatenate([near_label, noise_label])[order],
        dt_boxes=np.concatenate([near_boxes, noise_boxes])[order],
        dt_scores=dt_scores[order],
        **ground_truths,
    )


def _random_boxes(
    rng: np.random.Generator, image_sizes: np.ndarray, scale: np.ndarray, sides: tuple[float, float]
) -> np.ndarray:
    median, spread = sides
    side = scale * np.exp(rng.normal(np.log(median), spread, size=len(scale)))
    stretch = np.exp(rng.normal(0.0, 0.3, size=len(scale)))
    size = np.clip(np.stack([side * stretch, side / stretch], axis=1), 2.0, 0.98 * image_sizes)
    corner = rng.random(size.shape) * (image_sizes - size)
    return np.round(np.concatenate([corner, size], axis=1), 2)


def _draw_own_class(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    # The power makes the first of an image's classes about three times as common as its last.
    slot = (palette.shape[1] * rng.random(len(palette)) ** 1.5).astype(int)
    return np.take_along_axis(palette, slot[:, None], axis=1)[:, 0]


def _rank_in_group(group: np.ndarray) -> np.ndarray:
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    rank = np.empty(len(group), int)
    rank[order] = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def _rows(names: Sequence[str], columns: Sequence[np.ndarray]) -> list[dict[str, object]]:
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Writes a load as two COCO files, or as its columns.")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--ground-truths", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crowds", action="store_true", help="of which --images and --seed decide the rest")
    parser.add_argument("--masks", action="store_true", help="write masks in place of boxes; needs pycocotools")
    parser.add_argument("--columns", action="store_true", help="write load.npz, for scale.py, and count nothing")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    if options.crowds:
        load = make_crowds(options.images, options.seed)
    else:
        load = make_load(options.images, options.ground_truths, options.detections, options.classes, options.seed)
    for path in [load.save(options.output)] if options.columns else load.write(options.output, masks=options.masks):
        print(f"{path.stat().st_size:>10,} bytes in {path.name}")
    if not options.columns:
        for name, count in load.figures().items():
            print(f"{count:>10,} {name}")


if __name__ == "__main__":
    main()
