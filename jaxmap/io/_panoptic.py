"""COCO's panoptic files: a JSON file of segments, and a folder of PNG files whose colours are segment ids.

In: the two JSON files and their folders. Out: sequences of one mapping per image, as `panoptic_quality` takes them. An
image is read when it is accessed, so that only one is in memory at a time.

References: panopticapi utils.py, rgb2id; evaluation.py, pq_compute and pq_compute_single_core.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
import reprlib
import struct
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np

from .._display import short_repr
from ..types import HostArray, Ints
from ._files import PathLike, read_bytes
from ._identifiers import index_of
from ._json import Entries, first_few, load_json

__all__ = ["CocoPanoptic", "read_coco_panoptic_ground_truths", "read_coco_panoptic_predictions"]

Image = dict[str, HostArray]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NUM_COLOURS = 1 << 24
_PIXELS_AT_ONCE = 1 << 20
_LONGEST_NAME = 1024


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CocoPanoptic(Sequence[Image]):
    """The images of a panoptic file, read one by one: `segments` `[H, W]`, `ids`, `labels` and `crowd` `[S]` of each.

    Attributes:
      image_ids: `[I]`, in the order of the ground-truth file.
      class_ids: `[K]`, category ids in ascending order; `labels` are indices into it.
      class_names: K names.
      things: the labels of countable objects; None if the file has no `isthing`.
      folder: the folder of the PNG files.
      annotations: the annotations of each image.
      source: the name of the file in messages.
      image_sizes: height and width of each image from the ground-truth file, 0 if it does not have them.
    """

    image_ids: HostArray  # [I]
    class_ids: HostArray  # [K]
    class_names: tuple[str, ...]
    things: tuple[int, ...] | None
    folder: pathlib.Path
    annotations: list[Mapping[str, Any]]
    source: str
    image_sizes: Ints  # [I, 2]

    __repr__ = short_repr

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
          ValueError: if it is not a PNG file, is cut off or differs in size from the JSON file, has pixels of a segment
            that the JSON file does not list, or lacks one that it lists, or if a category is unknown.
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
        ids, path = rows.integers("id"), self.folder / annotation["file_name"]
        segments = _read_png(path, tuple(self.image_sizes[index].tolist()))
        _check_ids(ids, segments, str(path), rows.source)
        return {
            "segments": segments,
            "ids": ids,
            "labels": self._labels(rows),
            "crowd": rows.flags("iscrowd"),
        }

    def _labels(self, rows: Entries) -> Ints:
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

    A `file_name` may be in a subfolder of the folder of PNG files, but not outside of it. Links in that folder are
    followed.

    Args:
      path: a JSON file, plain or gzip-compressed, with `categories` (`id`, `name`, `isthing`) and `annotations`
        (`image_id`, `file_name`, `segments_info`: `id`, `category_id`, `iscrowd`). The PNG files must have the `height`
        and `width` in `images` (`id`, `height`, `width`), if that list exists.
      folder: the folder of the PNG files; None for the path without `.json` (and `.gz`).

    Returns:
      The images in the order of `annotations`. The area of a segment is its number of pixels, whatever the file says.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if it is not JSON, a list or a field is missing or has a wrong type, or an id is repeated.
    """
    source, content, annotations, image_ids = _read(path)
    if not annotations:
        raise ValueError(f"{source}: `annotations` must list at least one image, got none.")
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
        image_sizes=_image_sizes(content, image_ids, source),
    )


def read_coco_panoptic_predictions(
    path: PathLike, ground_truths: CocoPanoptic, *, folder: PathLike | None = None
) -> CocoPanoptic:
    """Reads COCO panoptic predictions: a file like that of the ground truths, of which only `annotations` are read.

    Args:
      path: a JSON file, plain or gzip-compressed.
      ground_truths: the ground truths, which define the images and categories.
      folder: the folder of the PNG files; None for the path without `.json` (and `.gz`).

    Returns:
      The images in the order of the ground truths. Images that the ground truths lack are excluded with a warning.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if it is not JSON, a list or a field is missing or has a wrong type, or an image has no annotation or
        two.
    """
    source, _, annotations, image_ids = _read(path)
    expected = np.sort(ground_truths.image_ids)
    index, known = index_of(image_ids, expected)
    _refuse_repeated(expected[index[known]], "annotations", "image_id", source)  # also if spelled differently
    if len(missing := np.delete(expected, index[known])):
        raise ValueError(
            f"{source}: {len(missing)} of {len(ground_truths)} images have no prediction: {first_few(missing)}; an "
            f"image without segments also needs one, with an empty `segments_info`."
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


def _read(path: PathLike) -> tuple[str, Mapping[str, Any], list[Any], HostArray]:
    """Returns the name of a file, its content, its annotations and their image ids."""
    source, content = str(path), load_json(path)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{source}: a panoptic file must be an object with `annotations`, got a {type(content).__name__}."
        )
    annotations = Entries(items=_list(content, "annotations", source), name="annotations", source=source)
    _check_file_names(annotations)
    image_ids = annotations.identifiers("image_id")
    _refuse_repeated(image_ids, "annotations", "image_id", source)
    return source, content, annotations.items, image_ids


def _list(content: Mapping[str, Any], name: str, source: str) -> list[Any]:
    if not isinstance(content.get(name), list):
        got = f"a {type(content[name]).__name__}" if name in content else f"only {sorted(map(str, content))}"
        raise ValueError(f"{source}: `{name}` must be a list of objects, got {got}.")
    return list(content[name])


def _refuse_repeated(ids: HostArray, name: str, field: str, source: str) -> None:
    distinct, counts = np.unique(ids, return_counts=True)
    if len(repeated := distinct[counts > 1]):
        raise ValueError(
            f"{source}: `{name}` must have distinct `{field}`s, these are repeated: {first_few(repeated)}."
        )


def _folder(path: PathLike, folder: PathLike | None) -> pathlib.Path:
    """Returns the folder of the PNG files, which must exist."""
    found = pathlib.Path(str(path).removesuffix(".gz").removesuffix(".json") if folder is None else folder)
    if not found.is_dir():
        raise FileNotFoundError(2, "no such folder; name the one with the PNG files", str(found))
    return found


def _check_file_names(annotations: Entries) -> None:
    """Refuses file names outside the folder, so that a JSON file from elsewhere cannot open other files."""
    for index, name in enumerate(annotations.values("file_name")):
        path = pathlib.PureWindowsPath(name if isinstance(name, str) else "")  # it knows both kinds of slash
        if not path.name or path.anchor or ".." in path.parts or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ValueError(
                f"{annotations.source}: `annotations[{index}].file_name` must be a file inside the folder of the PNG "
                f"files, got {reprlib.repr(name)}; absolute paths and `..` are not allowed."
            )


def _image_sizes(content: Mapping[str, Any], image_ids: HostArray, source: str) -> Ints:
    """Returns `[I, 2]` heights and widths, 0 if the file does not have them."""
    fields = {"id", "height", "width"}
    given = content.get("images")
    rows = (
        [row for row in given if isinstance(row, Mapping) and row.keys() >= fields] if isinstance(given, list) else []
    )
    images = Entries(items=rows, name="images", source=source)
    sizes = zip(images.integers("height").tolist(), images.integers("width").tolist(), strict=True)
    size_of = dict(zip(images.identifiers("id").tolist(), sizes, strict=True))
    return np.array([size_of.get(one, (0, 0)) for one in image_ids.tolist()], np.int64).reshape(-1, 2)


def _read_png(path: pathlib.Path, size: tuple[int, int]) -> Ints:
    """Returns the segment ids `[H, W]` int32 of a PNG file: red + 256 green + 256^2 blue.

    Args:
      path: the file.
      size: the height and width that it must have; zeros if they are not known.
    """
    try:
        from PIL import Image as pillow  # noqa: N813
    except ImportError as error:
        raise ImportError('PNG files need Pillow, which is not installed: pip install "jaxmap[panoptic]"') from error
    data = read_bytes(path)
    try:
        _check_header(data, size, pillow.MAX_IMAGE_PIXELS)
        pillow.open(io.BytesIO(data), formats=["PNG"]).verify()  # to the last chunk, which may be missing
        with pillow.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode not in ("RGB", "RGBA"):
                raise ValueError(f"its pixels must be red, green and blue, got mode {image.mode!r}")
            return _segments(image)
    except (OSError, SyntaxError, ValueError, IndexError, struct.error) as error:  # all raised for damaged files
        raise ValueError(f"{path}: not a PNG file of segment ids ({error}).") from error


def _check_header(data: bytes, size: tuple[int, int], max_pixels: int | None) -> None:
    """Refuses files that are not PNG, or of a wrong size or depth, before memory is allocated for the pixels."""
    if not data.startswith(_SIGNATURE):
        raise ValueError("it does not begin like a PNG file; other image formats are not supported")
    width, height, bits = struct.unpack(">IIB", data[16:25])
    if any(size) and (height, width) != size:
        raise ValueError(
            f"its height and width are {height} and {width}, but the JSON file says {size[0]} and {size[1]}"
        )
    if max_pixels is not None and height * width > max_pixels:
        raise ValueError(
            f"it has {height} x {width} pixels, more than the {max_pixels} that Pillow opens; if that is intended, "
            f"raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    if bits > 8:  # Pillow would drop half of the bits
        raise ValueError(f"its colours must have 8 bits, got {bits}")


def _segments(image: Any) -> Ints:
    """Returns `[H, W]` int32, computed by blocks of rows, so that it takes only twice the memory of the picture."""
    width, height = image.size
    segments, step = np.empty((height, width), np.int32), max(_PIXELS_AT_ONCE // width, 1)
    for top in range(0, height, step):
        rows = segments[top : top + step]
        colours = np.asarray(image.crop((0, top, width, top + len(rows))))
        rows[:] = colours[..., 2]
        for channel in (1, 0):
            rows *= 256
            rows += colours[..., channel]
    return segments


def _check_ids(ids: Ints, segments: Ints, png: str, source: str) -> None:
    """Refuses an image whose PNG and JSON files do not have the same segments."""
    flat = segments.ravel()
    present = np.unique(np.concatenate([flat[:1], flat[1:][flat[1:] != flat[:-1]]]))  # the start of each run of pixels
    if len(outside := ids[(ids < 0) | (ids >= _NUM_COLOURS)]):
        raise ValueError(f"{source}: `segments_info` has ids that are not colours, 0 to 2^24: {first_few(outside)}.")
    if (ids == 0).any():
        raise ValueError(f"{source}: `segments_info` has the id 0, which is reserved for void pixels.")
    if len(unlisted := np.setdiff1d(present[present != 0], ids)):
        raise ValueError(f"{png}: `segments_info` does not list segments that the PNG file has: {first_few(unlisted)}.")
    if len(absent := np.setdiff1d(ids, present)):
        raise ValueError(f"{source}: `segments_info` lists segments without pixels in {png}: {first_few(absent)}.")
