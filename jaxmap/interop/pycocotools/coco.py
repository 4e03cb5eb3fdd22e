"""`pycocotools.coco.COCO`: a COCO dataset, or results, with lookups by id."""
# ruff: noqa: N802  (the methods' names are pycocotools')

from __future__ import annotations

import copy
import itertools
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._geometry._rle import decode_mask, mask_of_segmentation
from ..._outputs import printable
from ...io._json import Entries, load_json
from ._drawing import draw_annotations
from ._tables import complete_results, segmentation_of

__all__ = ["COCO", "as_list", "ascending"]


class COCO:
    """A COCO dataset, or results, with lookups by id.

    Attributes:
      dataset: the parsed file; assign it and call `createIndex` to build one by hand.
      anns, cats, imgs: annotations, categories and images by id.
      imgToAnns: annotations by image id.
      catToImgs: image ids by category id, one per annotation.
    """

    def __init__(self, annotation_file: str | os.PathLike[str] | None = None) -> None:
        """Reads a JSON file, plain or gzip-compressed; None starts empty."""
        self.dataset: dict[str, Any] = {}
        self.anns: dict[Any, dict[str, Any]] = {}
        self.cats: dict[Any, dict[str, Any]] = {}
        self.imgs: dict[Any, dict[str, Any]] = {}
        self.imgToAnns: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self.catToImgs: dict[Any, list[Any]] = defaultdict(list)
        if annotation_file is not None:
            print("loading annotations into memory...")
            start = time.time()
            dataset = load_json(annotation_file)
            if not isinstance(dataset, dict):
                raise AssertionError(f"annotation file format {type(dataset)} not supported")
            print(f"Done (t={time.time() - start:0.2f}s)")
            self.dataset = dataset
            self.createIndex()

    def createIndex(self) -> None:
        """Builds the lookups from `dataset`."""
        print("creating index...")
        annotations = self.dataset.get("annotations", [])
        self.imgs, self.cats, self.anns = (
            _by_id(self.dataset.get(name, []), name) for name in ("images", "categories", "annotations")
        )
        _warn_of_ids(annotations, self.anns)
        self.imgToAnns, self.catToImgs = defaultdict(list), defaultdict(list)
        entries = Entries(items=annotations, name="annotations", source="dataset")
        image_ids = entries.values("image_id")
        for image_id, annotation in zip(image_ids, annotations, strict=True):
            self.imgToAnns[image_id].append(annotation)
        if "categories" in self.dataset:
            for category_id, image_id in zip(entries.values("category_id"), image_ids, strict=True):
                self.catToImgs[category_id].append(image_id)
        print("index created!")

    def info(self) -> None:
        """Prints the `info` of the file."""
        for name, value in self.dataset.get("info", {}).items():
            print(printable(f"{name}: {value}"))

    def getAnnIds(
        self, imgIds: Any = (), catIds: Any = (), areaRng: Sequence[float] = (), iscrowd: bool | int | None = None
    ) -> list[Any]:
        """Returns the ids of the annotations that pass every given filter.

        Args:
          imgIds, catIds: one id or several.
          areaRng: (low, high), both excluded.
          iscrowd: the value of that field.
        """
        images, categories = as_list(imgIds), set(as_list(catIds))
        if images:
            chosen: Iterable[Any] = itertools.chain.from_iterable(
                self.imgToAnns[i] for i in images if i in self.imgToAnns
            )
        else:
            chosen = self._rows("annotations")
        return [
            row["id"]
            for row in chosen
            if (not categories or row["category_id"] in categories)
            and (len(areaRng) == 0 or areaRng[0] < row["area"] < areaRng[1])
            and (iscrowd is None or row["iscrowd"] == iscrowd)
        ]

    def getCatIds(self, catNms: Any = (), supNms: Any = (), catIds: Any = ()) -> list[Any]:
        """Returns the ids of the categories that pass every filter: names, names of supercategories, ids."""
        names, groups, ids = as_list(catNms), as_list(supNms), as_list(catIds)
        return [
            row["id"]
            for row in self._rows("categories")
            if (not names or row["name"] in names)
            and (not groups or row["supercategory"] in groups)
            and (not ids or row["id"] in ids)
        ]

    def getImgIds(self, imgIds: Any = (), catIds: Any = ()) -> list[Any]:
        """Returns the ids of the images among `imgIds` that have annotations of all `catIds`."""
        images, categories = as_list(imgIds), as_list(catIds)
        if not images and not categories:
            return list(self.imgs)
        sets = [set(self.catToImgs.get(category, [])) for category in categories]
        return list(set.intersection(*([set(images)] if images else []), *sets))

    def loadAnns(self, ids: Any = ()) -> list[dict[str, Any]]:
        """Returns the annotations of one id or several."""
        return [self.anns[i] for i in as_list(ids)]

    def loadCats(self, ids: Any = ()) -> list[dict[str, Any]]:
        """Returns the categories of one id or several."""
        return [self.cats[i] for i in as_list(ids)]

    def loadImgs(self, ids: Any = ()) -> list[dict[str, Any]]:
        """Returns the images of one id or several."""
        return [self.imgs[i] for i in as_list(ids)]

    def loadRes(self, resFile: Any) -> COCO:
        """Returns results as a dataset of the same images and categories; their ids are 1, 2, ... in their order.

        Args:
          resFile: a path; a list of dictionaries with `image_id`, `category_id`, `score`, and `bbox` (xywh),
            `segmentation`, `keypoints` or `caption`; or an `[N, 7]` array of image id, x, y, width, height, score and
            category id. If the first has a box, all need one, and the area is that of the box; otherwise it is that of
            the mask, or of the box around the keypoints. With captions, only their images are kept.

        Raises:
          AssertionError: if the results are not a list, or name an image that this dataset does not have.
          ValueError: if a result lacks a field that the first one has, or cannot be read.
        """
        print("Loading and preparing results...")
        start = time.time()
        if isinstance(resFile, str | os.PathLike):
            rows = load_json(resFile)
        elif hasattr(resFile, "__array__"):
            rows = self.loadNumpyAnnotations(resFile)
        else:
            rows = resFile
        if not isinstance(rows, list):
            raise AssertionError("results in not an array of objects")
        unknown = set(Entries(items=rows, name="results", source="loadRes").values("image_id")) - self.imgs.keys()
        if unknown:
            raise AssertionError(
                f"Results do not correspond to current coco set: {len(unknown)} of their image ids are not in it, for "
                f"example {next(iter(unknown))!r}"
            )
        result = COCO()
        result.dataset = {"info": copy.deepcopy(self.dataset.get("info", {})), "images": list(self._rows("images"))}
        if rows and "caption" in rows[0]:
            captioned = {row["image_id"] for row in rows}
            result.dataset["images"] = [image for image in result.dataset["images"] if image["id"] in captioned]
        else:
            result.dataset["categories"] = copy.deepcopy(self._rows("categories"))
        result.dataset["annotations"] = complete_results(rows, self.imgs)
        print(f"DONE (t={time.time() - start:0.2f}s)")
        result.createIndex()
        return result

    def loadNumpyAnnotations(self, data: Any) -> list[dict[str, Any]]:
        """Returns the rows of an `[N, 7]` array as results."""
        table = np.asarray(data)
        if table.ndim != 2 or table.shape[1] != 7:
            raise AssertionError(f"an array of results must have shape [N, 7], got {list(table.shape)}")
        ids = table[:, [0, 6]]
        if (ids != np.floor(ids)).any():
            raise ValueError(f"image ids and category ids must be whole numbers, got {ids[ids != np.floor(ids)][0]}.")
        return [
            {"image_id": int(row[0]), "bbox": row[1:5], "score": row[5], "category_id": int(row[6])}
            for row in table.tolist()
        ]

    def annToRLE(self, ann: dict[str, Any]) -> dict[str, Any]:
        """Returns the mask of an annotation as a run-length encoding with compressed counts.

        Raises:
          ValueError: if its segmentation is invalid, or differs in size from its image.
        """
        image = self.imgs[ann["image_id"]]
        return mask_of_segmentation(segmentation_of(ann), image["height"], image["width"])

    def annToMask(self, ann: dict[str, Any]) -> NDArray[np.uint8]:
        """Returns the mask of an annotation as `[H, W]` uint8, 0 and 1."""
        return decode_mask(self.annToRLE(ann))

    def showAnns(self, anns: list[dict[str, Any]], draw_bbox: bool = False) -> None:
        """Draws annotations, or results, on pyplot's current axes; prints captions.

        Args:
          anns: the annotations; each with a `segmentation`, `keypoints`, a `bbox` or a `caption`.
          draw_bbox: whether to also draw the boxes of those that have more.

        Raises:
          ImportError: if matplotlib is missing.
          ValueError: if an annotation has nothing to draw, or its mask is invalid.
        """
        if anns and "caption" in anns[0]:
            for ann in anns:
                print(printable(ann["caption"]))
        elif anns:
            draw_annotations(self, anns, draw_bbox)

    def _rows(self, name: str) -> list[Any]:
        """Returns a list of the dataset; an empty list if the dataset is empty."""
        if self.dataset and name not in self.dataset:
            raise KeyError(f"`dataset` has no `{name}`, only {sorted(map(str, self.dataset))}")
        rows: list[Any] = self.dataset.get(name, [])
        return rows


def as_list(values: Any) -> list[Any]:
    """Returns one value or several as a list; text is one value."""
    if isinstance(values, np.ndarray | np.generic):
        values = values.tolist()
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]


def ascending(name: str, ids: Any) -> list[Any]:
    """Returns distinct ids, ascending, as Python numbers or texts, because an array could round large ones.

    Raises:
      TypeError: if they cannot be compared with each other.
    """
    try:
        return sorted({one.item() if hasattr(one, "item") else one for one in as_list(ids)})
    except TypeError as error:
        raise TypeError(f"`params.{name}` must be ids of one kind, numbers or texts, got both or others.") from error


def _by_id(rows: list[Any], name: str) -> dict[Any, Any]:
    ids = Entries(items=rows, name=name, source="dataset").values("id")
    return dict(zip(ids, rows, strict=True))


def _warn_of_ids(annotations: list[Any], by_id: dict[Any, Any]) -> None:
    """Warns about ids that make pycocotools' numbers differ from those of the annotations."""
    if len(by_id) < len(annotations):
        warnings.warn(
            f"{len(annotations) - len(by_id)} of {len(annotations)} `annotations` have the id of another one; `anns` "
            "keeps the last of each, which is scored in place of the others, as in pycocotools. Make the ids unique: "
            "1, 2, ...",
            UserWarning,
            stacklevel=3,
        )
    if 0 in by_id:
        warnings.warn(
            "An annotation has the id 0, which pycocotools reads as no match; its match counts here, so numbers may "
            "be higher. Number the annotations from 1 to get equal numbers.",
            UserWarning,
            stacklevel=3,
        )
