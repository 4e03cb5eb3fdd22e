"""Images with ground truths and detections drawn on them, small enough to be embedded in a page."""

from __future__ import annotations

import base64
import io
import os
import pathlib
import struct
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._geometry._rle import dense_mask
from .._matching._host import MatchedDataset
from ..types import DetectionTable, Floats, GroundTruthTable, Ints

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DETECTION_COLOUR", "GROUND_TRUTH_COLOUR", "Photo", "Photos", "thumbnail"]

GROUND_TRUTH_COLOUR, DETECTION_COLOUR = "#56B4E9", "#E69F00"  # Okabe and Ito's, visible on dark and bright photographs
MOST_BYTES = 60_000  # of a thumbnail
_SIDE = 480  # pixels of the longer side of a thumbnail
_CONTEXT = 1.0  # around a detection, as a share of its longer side
_SMALLEST = 96  # pixels of the image around a detection
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
# Those that Pillow decodes by itself; for others it may start programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
_DAMAGES = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)


class Photo(NamedTuple):
    """An image of the dataset: its pixels, and how many of them there are per unit of the boxes, in x and y."""

    pixels: Image
    scale: tuple[float, float]


class Photos:
    """The images of a dataset in a folder, opened by the file name of an image, or by its id without one."""

    def __init__(self, folder: str | os.PathLike[str], truth: GroundTruthTable) -> None:
        self._folder = pathlib.Path(folder).resolve()
        if not self._folder.is_dir():
            raise ValueError(f"`images` must be a folder of images, but {str(folder)!r} is not a folder.")
        self._truth = truth

    def open(self, index: int) -> Photo | str:
        """Returns an image, given by its index, or a sentence that says why it cannot be shown."""
        from PIL import Image, ImageOps

        path = self._path(index)
        if isinstance(path, str):
            return path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(path, formats=_FORMATS) as file:
                    stored = file.convert("RGB")
                    turned = ImageOps.exif_transpose(file).convert("RGB")
        except (*_DAMAGES, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            return f"{path.name} cannot be read ({type(error).__name__})"
        sizes = self._truth.image_sizes
        height, width = (turned.height, turned.width) if sizes is None else sizes[index].tolist()
        # Boxes refer to the image as its EXIF orientation turns it, unless the size in the file says otherwise.
        pixels = stored if stored.size == (width, height) else turned
        return Photo(pixels, (pixels.width / width, pixels.height / height))

    def _path(self, index: int) -> pathlib.Path | str:
        files = self._truth.image_files
        name = None if files is None else files[index]
        stem = str(self._truth.image_ids[index])
        names = [stem + suffix for suffix in _SUFFIXES] if name is None else [name, pathlib.PurePath(name).name]
        outside = False
        for one in names:
            try:
                path = (self._folder / one).resolve()  # follows links, which may lead out of the folder, too
                inside = path.is_relative_to(self._folder)
                if inside and path.is_file():
                    return path
            except (OSError, ValueError):  # a name that no file can have
                continue
            outside |= not inside
        return f"{name or stem} {'is outside' if outside else 'is not in'} the folder"


def thumbnail(photo: Photo, matched: MatchedDataset, truths: Ints, found: Ints, *, around: int | None = None) -> str:
    """Returns a JPEG of at most `MOST_BYTES` as a data URI: an image with ground truths and detections.

    Args:
      photo: the image.
      matched: the dataset.
      truths: rows of its ground truths to draw.
      found: rows of its detections to draw.
      around: the row of a detection, to show only the surroundings of its box; None for the whole image.
    """
    left, top, right, bottom = view = _view(photo, None if around is None else matched.detections.boxes[around])
    zoom = min(_SIDE / max(right - left, bottom - top), 4.0)
    size = max(round((right - left) * zoom), 1), max(round((bottom - top) * zoom), 1)
    image = photo.pixels.resize(size, resample=2, box=view, reducing_gap=2.0)  # bilinear
    # From coordinates of boxes to pixels of the thumbnail.
    scale, origin = np.array(photo.scale) * zoom, np.array([left, top]) * zoom
    for table, rows, colour in (
        (matched.ground_truths, truths, GROUND_TRUTH_COLOUR),
        (matched.detections, found, DETECTION_COLOUR),
    ):
        for row in rows.tolist():
            image = _drawn(image, table, row, colour, scale, origin)
    return _embedded(image)


def _view(photo: Photo, box: Floats | None) -> tuple[float, float, float, float]:
    """Returns the part of an image to show, in its pixels: left, top, right, bottom."""
    width, height = photo.pixels.size
    if box is None:
        return 0.0, 0.0, float(width), float(height)
    low, high = box[:2] * photo.scale, (box[:2] + box[2:]) * photo.scale
    side = max(float((high - low).max()) * (1 + 2 * _CONTEXT), _SMALLEST)
    centre = np.clip((low + high) / 2, 0, [width, height])
    half = min(side, max(width, height)) / 2
    (left, top), (right, bottom) = np.clip([centre - half, centre + half], 0, [width, height]).tolist()
    return left, top, right, bottom


def _drawn(
    image: Image, table: GroundTruthTable | DetectionTable, row: int, colour: str, scale: Floats, origin: Floats
) -> Image:
    """Returns the image with an object: its mask, or the outline of its box, and its keypoints."""
    from PIL import Image as pillow  # noqa: N813
    from PIL import ImageChops, ImageDraw, ImageFilter

    if table.masks is not None:
        mask = pillow.fromarray(dense_mask(table.masks, row) * np.uint8(255))
        # `transform` asks where each pixel of the thumbnail comes from.
        inverse = (1 / scale[0], 0, origin[0] / scale[0], 0, 1 / scale[1], origin[1] / scale[1])
        mask = mask.transform(image.size, pillow.Transform.AFFINE, inverse)
        inner = mask.filter(ImageFilter.MinFilter(3))
        cover = ImageChops.add(ImageChops.subtract(mask, inner), inner.point(lambda value: value * 0.35))
        return pillow.composite(pillow.new("RGB", image.size, colour), image, cover)
    draw = ImageDraw.Draw(image)
    corners = [tuple(point) for point in (_corners(table, row) * scale - origin).tolist()]
    for shade, width in (("#000000", 5), (colour, 3)):  # a dark edge keeps the line visible on any photograph
        draw.line([*corners, *corners[:2]], fill=shade, width=width)
    if table.keypoints is not None:
        for x, y, visible in table.keypoints[row].tolist():
            if visible > 0:
                (x, y), radius = (np.array([x, y]) * scale - origin).tolist(), 2.5
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour, outline="#000000")
    return image


def _corners(table: GroundTruthTable | DetectionTable, row: int) -> Floats:
    """Returns the corners of a box, `[4, 2]`."""
    if table.oriented is None:
        x, y, width, height = table.boxes[row]
        return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    x, y, width, height, angle = table.oriented[row]
    across = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    along = np.array([-np.sin(angle), np.cos(angle)]) * height / 2
    corners: Floats = np.stack([-across - along, across - along, across + along, along - across]) + np.array([[x, y]])
    return corners


def _embedded(image: Image) -> str:
    """Returns an image as a data URI, of the highest quality that is small enough, or else of fewer pixels."""
    while True:
        for quality in (80, 60, 40):
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, subsampling=0)  # thin lines keep their colour
            if file.tell() <= MOST_BYTES:
                return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
        image = image.reduce(2)
