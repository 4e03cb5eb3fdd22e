"""Annotations on matplotlib's current axes, as `COCO.showAnns` draws them.

References: pycocotools coco.py, `COCO.showAnns`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._geometry._rle import decode_mask
from ...types import Floats

__all__ = ["draw_annotations"]

CROWD_COLOUR = np.array([2, 166, 101]) / 255
MASK_OPACITY = 0.5


def draw_annotations(coco: Any, annotations: list[dict[str, Any]], draw_boxes: bool) -> None:
    """Draws polygons as areas, run-length encodings as images, keypoints with their skeleton, and boxes.

    Args:
      coco: the dataset, for the sizes of images and the skeletons of categories.
      annotations: each with a `segmentation`, `keypoints` or a `bbox`.
      draw_boxes: whether to draw the boxes of those that have more.

    Raises:
      ImportError: if matplotlib is missing.
      ValueError: if an annotation has nothing to draw, or its mask is invalid.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Patch, Polygon, Rectangle
    except ImportError as error:
        raise ImportError("showAnns needs matplotlib, which is not installed: pip install 'jaxmap[plot]'") from error
    axes = pyplot.gca()
    axes.set_autoscale_on(False)
    rng = np.random.default_rng()
    patches: list[Patch] = []
    colours: list[Floats] = []
    for index, annotation in enumerate(annotations):
        colour = 0.4 + 0.6 * rng.random(3)
        segmentation = annotation.get("segmentation")
        only_box = segmentation is None and "keypoints" not in annotation
        if only_box and "bbox" not in annotation:
            raise ValueError(f"`anns[{index}]` must have a `segmentation`, `keypoints`, a `bbox` or a `caption`.")
        if isinstance(segmentation, dict):
            mask = decode_mask(coco.annToRLE(annotation))
            shade = CROWD_COLOUR if annotation.get("iscrowd") else colour
            axes.imshow(np.dstack([np.broadcast_to(shade, (*mask.shape, 3)), MASK_OPACITY * mask]))
        elif segmentation is not None:
            patches += [Polygon(np.reshape(corners, (-1, 2))) for corners in segmentation]
        if annotation.get("keypoints"):
            _draw_keypoints(axes, coco.loadCats(annotation["category_id"])[0], annotation["keypoints"], colour)
        if draw_boxes or only_box:
            x, y, width, height = annotation["bbox"]
            patches.append(Rectangle((x, y), width, height))
        colours += [colour] * (len(patches) - len(colours))
    axes.add_collection(PatchCollection(patches, facecolor=colours, linewidths=0, alpha=0.4))
    axes.add_collection(PatchCollection(patches, facecolor="none", edgecolors=colours, linewidths=2))


def _draw_keypoints(axes: Any, category: dict[str, Any], keypoints: Any, colour: Any) -> None:
    """Draws the skeleton between labelled keypoints, and circles, which are filled with the colour if visible."""
    x, y, visibility = np.reshape(keypoints, (-1, 3)).T
    for one, other in np.reshape(category.get("skeleton", []), (-1, 2)).astype(np.int64) - 1:
        if visibility[one] > 0 and visibility[other] > 0:
            axes.plot([x[one], x[other]], [y[one], y[other]], linewidth=3, color=colour)
    for least, edge in ((0, "k"), (1, colour)):
        drawn = visibility > least
        axes.plot(
            x[drawn], y[drawn], "o", markersize=8, markerfacecolor=colour, markeredgecolor=edge, markeredgewidth=2
        )
