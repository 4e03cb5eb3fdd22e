"""What the torchmetrics-like metric keeps of its images, and its base class where torchmetrics is not installed.

A state is a list with one array per image, as in torchmetrics, and has its name. Masks are kept as one array of
integers per image, which any process can send to another: how many there are, their sizes, the number of runs of each,
and the runs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .._geometry._rle import masks_of_runs, runs_of_masks
from .._inputs._foreign import to_numpy
from ..types import HostArray, Ints, Masks
from ._torch_images import Image

__all__ = ["STATES", "Alone", "any_tensor", "as_tensors", "images_of", "states_of"]

ARRAYS = {
    "detection_labels": "labels",
    "detection_scores": "scores",
    "groundtruth_labels": "true_labels",
    "groundtruth_crowds": "crowd",
    "groundtruth_area": "area",
}
SHAPES = {"boxes": "box", "masks": "mask"}
STATES = (*ARRAYS, *(f"{side}_{name}" for side in ("detection", "groundtruth") for name in SHAPES.values()))
HARMLESS_OPTIONS = ("compute_on_cpu", "compute_with_cache")
SYNC_OPTIONS = ("dist_sync_on_step", "process_group", "dist_sync_fn", "distributed_available_fn", "sync_on_compute")


class Alone:
    """The part of `torchmetrics.Metric` that the metric needs, for when torchmetrics is not installed.

    Attributes:
      device: None; only torchmetrics' metrics have one.
    """

    device: Any = None

    def __init__(self, **kwargs: Any) -> None:
        unknown = sorted(kwargs.keys() - {*HARMLESS_OPTIONS, *SYNC_OPTIONS})
        if unknown:
            raise ValueError(f"Unexpected keyword arguments: {', '.join(f'`{name}`' for name in unknown)}")
        sync = [name for name in SYNC_OPTIONS if kwargs.get(name)]
        if sync:
            raise ValueError(
                f"{sync} request synchronisation, which needs torchmetrics, and that is not installed: pip install "
                "torchmetrics, or gather the inputs."
            )

    def add_state(self, name: str, default: list[Any], dist_reduce_fx: None = None) -> None:
        setattr(self, name, default)

    def reset(self) -> None:
        """Removes all images."""
        for name in STATES:
            setattr(self, name, [])

    def __call__(self, preds: Any, target: Any) -> dict[str, Any]:
        """Adds a batch of images and returns the numbers of that batch."""
        before = {name: getattr(self, name) for name in STATES}
        self.reset()
        try:
            self.update(preds, target)
            return self.compute()
        finally:
            for name, values in before.items():
                setattr(self, name, values + getattr(self, name))

    def update(self, preds: Any, target: Any) -> None:
        raise NotImplementedError

    def compute(self) -> dict[str, Any]:
        raise NotImplementedError

    def _plot(self, val: Any, ax: Any) -> Any:
        raise ImportError("`plot` needs torchmetrics, which is not installed: pip install torchmetrics matplotlib")


def states_of(image: Image) -> dict[str, HostArray]:
    """Returns what to add to each state for an image."""
    added: dict[str, HostArray] = {name: getattr(image, field) for name, field in ARRAYS.items()}
    for side, shapes in (("detection", image.shapes), ("groundtruth", image.true_shapes)):
        for field, values in shapes.items():
            added[f"{side}_{SHAPES[field]}"] = _packed(values) if field == "masks" else values
    return added


def images_of(states: Mapping[str, Sequence[Any]]) -> list[Image]:
    """Returns the images of states.

    Raises:
      ValueError: if the states of masks are damaged.
    """
    images = []
    for row in range(len(states["groundtruth_labels"])):
        shapes: list[dict[str, Any]] = [{}, {}]
        for side, found in zip(("detection", "groundtruth"), shapes, strict=True):
            for field, name in SHAPES.items():
                values = states[f"{side}_{name}"]
                if len(values):
                    array = to_numpy(values[row])
                    found[field] = _unpacked(array) if field == "masks" else array
        arrays = {field: to_numpy(states[name][row]) for name, field in ARRAYS.items()}
        images.append(Image(shapes=shapes[0], true_shapes=shapes[1], **arrays))
    return images


def any_tensor(images: Iterable[Mapping[str, Any]]) -> bool:
    """Returns whether any value of dictionaries is a tensor of torch."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and any(isinstance(value, torch.Tensor) for image in images for value in image.values())


def as_tensors(values: Any, device: Any = None) -> Any:
    """Returns arrays, also those in dictionaries, as tensors; other values unchanged."""
    if isinstance(values, dict):
        return {name: as_tensors(value, device) for name, value in values.items()}
    if not isinstance(values, np.ndarray | np.generic):
        return values
    torch: Any = importlib.import_module("torch")
    array = np.asarray(values)
    # JAX's bfloat16 and the like are no dtypes of NumPy, and torch does not read them.
    return torch.as_tensor(array.astype(np.float32) if array.dtype.kind == "V" else array, device=device)


def _packed(masks: Masks) -> Ints:
    runs, counts = runs_of_masks(masks)
    return np.concatenate([[len(masks)], masks.sizes.ravel(), counts, runs])


def _unpacked(words: Ints) -> Masks:
    num_masks = int(words[0])
    sizes, counts, runs = np.split(words[1:], [2 * num_masks, 3 * num_masks])
    return masks_of_runs(runs.astype(np.int32), counts, sizes.reshape(-1, 2), lambda row: f"state of mask {row}")
