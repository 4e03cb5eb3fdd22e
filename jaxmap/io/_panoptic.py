"""COCO's panoptic files: a JSON file of segments beside a folder of PNG files whose colours are segment ids.

In: the two JSON files and their folders. Out: sequences of one mapping an image, as `panoptic_quality` takes them, each
of which is read when it is asked for, so that one image is in memory at a time.

References: panopticapi utils.py, rgb2id; evaluation.py, pq_compute and pq_compute_single_core.
"""

from __future__ import annotations

import dataclasses
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np

from ._identifiers import index_of
from ._json import Entries, PathLike, first_few, load_json

__all__ = ["CocoPanoptic", "read_coco_panoptic_ground_truths", "read_coco_panoptic_predictions"]

Image = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CocoPanoptic(Sequence[Image]):
    """The images of a panoptic file, read one by one: `segments` `[H, W]`, `ids`, `labels` and `crowd` `[S]` of each.

    Attributes:
      image_ids: `[I]`, in the order of the ground truths' file.
      class_ids: `[K]`, category ids in ascending order; `labels` are places in it.
      class_names: K names.
      things: the labels of countable objects; None where the file says of no category what it is.
      folder: of the PNG files.
      annotations: what the file says of each image.
      source: what messages call the file.
    """

    image_ids: np.ndarray  # [I]
    class_ids: np.ndarray  # [K]
    class_names: tuple[str, ...]
    things: tuple[int, ...] | None
    folder: pathlib.Path
    annotations: list[Mapping[str, Any]]
    source: str

    def __len__(self) -> int:
        return len(self.annotations)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | list[Image]:
        """Reads an image.

        Raises:
          FileNotFoundError: if there is no such PNG file.
          ValueError: if it is none, has pixels of a segment that the JSON file does not list, or lacks one that it
            lists, or a category is unknown.
          ImportError: if Pillow is not installed.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        annotation, image_id = self.annotations[index], self.image_ids[index]
        rows = Entries(
            items=_list(annotation, "segments_info", f"{self.source}: image {image_id}"),
            name="segments_info",
            source=f"{self.source}: image {image_id}",
        )
        ids, path = rows.integers("id"), self.folder / str(annotation["file_name"])
        segments = _read_png(path)
        _check_ids(ids, segments, str(path), rows.source)
        return {
            "segments": segments,
            "ids": ids,
            "labels": self._labels(rows),
            "crowd": rows.flags("iscrowd"),
        }

    def _labels(self, rows: Entries) -> np.ndarray:
        category_ids = rows.identifiers("category_id")
        labels, known = index_of(category_ids, self.class_ids)
        if not known.all():
            raise ValueError(
                f"{rows.source}: `segments_info` names categories that the ground truths do not list: "
                f"{first_few(np.unique(category_ids[~known]))}."
            )
        return labels


def read_coco_panoptic_ground_truths(path: PathLike, *, folder: PathLike | None = None) -> CocoPanoptic:
    """Reads a COCO panoptic annotation file; its PNG files are read later, one by one.

    Args:
      path: a JSON file, plain or gzip-compressed, with `categories` (`id`, `name`, `isthing`) and `annotations`
        (`image_id`, `file_name`, `segments_info`: `id`, `category_id`, `iscrowd`).
      folder: of the PNG files; the path without `.json` (and `.gz`) if None.

    Returns:
      The images in the order of `annotations`. A segment's area is that of its pixels, whatever the file says of it.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if it is not JSON, a list or a field is missing or of a wrong kind, or an id is repeated.
    """
    source, content, annotations, image_ids = _read(path)
    categories = Entries(items=_list(content, "categories", source), name="categories", source=source)
    class_ids = categories.identifiers("id")
    _refuse_repeated(class_ids, "categories", "id", source)
    order = np.argsort(class_ids)
    is_thing = categories.flags("isthing")[order]
    names = [categories.names("name")[place] for place in order]
    return CocoPanoptic(
        image_ids=image_ids,
        class_ids=class_ids[order],
        class_names=tuple(str(i if name is None else name) for i, name in zip(class_ids[order], names, strict=True)),
        things=tuple(np.flatnonzero(is_thing).tolist()) if any("isthing" in row for row in categories.items) else None,
        folder=_folder(path, folder),
        annotations=annotations,
        source=source,
    )


def read_coco_panoptic_predictions(
    path: PathLike, ground_truths: CocoPanoptic, *, folder: PathLike | None = None
) -> CocoPanoptic:
    """Reads COCO panoptic predictions: a file like that of the ground truths, of which only `annotations` count.

    Args:
      path: a JSON file, plain or gzip-compressed.
      ground_truths: define the images and categories.
      folder: of the PNG files; the path without `.json` (and `.gz`) if None.

    Returns:
      The images in the order of the ground truths. Those that the ground truths lack are left out with a warning.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if it is not JSON, a list or a field is missing or of a wrong kind, or an image has none or two.
    """
    source, _, annotations, image_ids = _read(path)
    expected = np.sort(ground_truths.image_ids)
    index, known = index_of(image_ids, expected)
    _refuse_repeated(expected[index[known]], "annotations", "image_id", source)  # also if spelled differently
    if len(missing := np.delete(expected, index[known])):
        raise ValueError(
            f"{source}: {len(missing)} of {len(ground_truths)} images have no prediction: {first_few(missing)}; an "
            "image without segments needs one as well, with an empty `segments_info`."
        )
    if len(unknown := np.unique(image_ids[~known])):
        warnings.warn(
            f"{source}: ignored {len(unknown)} `annotations` of images that the ground truths do not list: "
            f"{first_few(unknown)}.",
            UserWarning,
            stacklevel=2,
        )
    places = zip(expected[index].tolist(), annotations, known.tolist(), strict=True)
    of_image = {image_id: annotation for image_id, annotation, is_known in places if is_known}
    return dataclasses.replace(
        ground_truths,
        folder=_folder(path, folder),
        annotations=[of_image[image_id] for image_id in ground_truths.image_ids.tolist()],
        source=source,
    )


def _read(path: PathLike) -> tuple[str, Mapping[str, Any], list[Any], np.ndarray]:
    """Returns the name of a file, its content, its annotations and their image ids."""
    source, content = str(path), load_json(path)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{source}: a panoptic file must be an object with `annotations`, got a {type(content).__name__}."
        )
    annotations = Entries(items=_list(content, "annotations", source), name="annotations", source=source)
    annotations.values("file_name")
    image_ids = annotations.identifiers("image_id")
    _refuse_repeated(image_ids, "annotations", "image_id", source)
    return source, content, annotations.items, image_ids


def _list(content: Mapping[str, Any], name: str, source: str) -> list[Any]:
    if not isinstance(content.get(name), list):
        got = f"a {type(content[name]).__name__}" if name in content else f"only {sorted(map(str, content))}"
        raise ValueError(f"{source}: `{name}` must be a list of objects, got {got}.")
    return list(content[name])


def _refuse_repeated(ids: np.ndarray, name: str, field: str, source: str) -> None:
    distinct, counts = np.unique(ids, return_counts=True)
    if len(repeated := distinct[counts > 1]):
        raise ValueError(f"{source}: `{name}` must have distinct `{field}`s, these come again: {first_few(repeated)}.")


def _folder(path: PathLike, folder: PathLike | None) -> pathlib.Path:
    """Returns the folder of the PNG files, which must be there."""
    found = pathlib.Path(str(path).removesuffix(".gz").removesuffix(".json") if folder is None else folder)
    if not found.is_dir():
        raise FileNotFoundError(2, "no such folder; name the one with the PNG files", str(found))
    return found


def _read_png(path: pathlib.Path) -> np.ndarray:
    """Returns the segment ids `[H, W]` int32 of a PNG file: red + 256 green + 256^2 blue."""
    try:
        from PIL import Image as pillow  # noqa: N813
    except ImportError as error:
        raise ImportError('PNG files need Pillow, which is not installed: pip install "jaxmap[panoptic]"') from error
    try:
        with pillow.open(path) as image:
            if image.mode not in ("RGB", "RGBA"):
                raise ValueError(f"its pixels must be red, green and blue, got mode {image.mode!r}")
            colours = np.asarray(image)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises each of them about damaged files
        raise ValueError(f"{path}: not a PNG file of segment ids ({error}).") from error
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 65536 * blue


def _check_ids(ids: np.ndarray, segments: np.ndarray, png: str, source: str) -> None:
    """Refuses an image whose PNG and JSON do not name the same segments."""
    present = np.unique(segments)
    if (ids == 0).any():
        raise ValueError(f"{source}: `segments_info` has the id 0, which is that of void pixels.")
    if len(unlisted := np.setdiff1d(present[present != 0], ids)):
        raise ValueError(f"{png}: `segments_info` does not list segments that the PNG file has: {first_few(unlisted)}.")
    if len(absent := np.setdiff1d(ids, present)):
        raise ValueError(f"{source}: `segments_info` lists segments that {png} has no pixel of: {first_few(absent)}.")
