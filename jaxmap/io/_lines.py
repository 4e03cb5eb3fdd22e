r"""Lines, numbers and names in text files, with byte order marks, line ends of all systems, and blanks.

Numbers are in plain decimal notation. Other forms that Python accepts (`1_000`, digits of other scripts) are refused,
because they are mistakes in files.

>>> lines_of("list.txt", b"\xef\xbb\xbfone\r\ntwo words\n")
['one', 'two words', '']
>>> [finite_number(text) for text in ("1e3", "-.5", "nan", "1_000", "0x10")]
[1000.0, -0.5, None, None, None]
"""

from __future__ import annotations

import codecs
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np

from ..types import Floats
from ._json import first_few

__all__ = [
    "IMAGE_SUFFIXES",
    "check_encoding",
    "ends_with_line",
    "finite_number",
    "finite_numbers",
    "image_name",
    "known_names",
    "lines_of",
    "shown",
    "warn_of_cut",
]

_MAX_SHOWN = 120
IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".mpo", ".dng", ".pfm", ".heic", ".heif", ".avif", ".jp2"),
}


def finite_number(text: str) -> float | None:
    """Returns the finite number that a text spells in plain decimal notation; None if it spells none."""
    if not _is_plain(text):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _is_plain(text: str) -> bool:
    """Returns False for `1_000` and for digits of other scripts, which Python accepts as numbers."""
    return "_" not in text and text.isascii()


def finite_numbers(texts: Sequence[str]) -> Floats | None:
    """Returns `[N]` float64; None if one of the texts is not a finite number in plain decimal notation."""
    if not _is_plain("".join(texts)):
        return None
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def check_encoding(name: str, data: bytes) -> None:
    """Refuses content that is not a text of 8-bit characters.

    Raises:
      ValueError: if it is UTF-16, or has zero bytes.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{name}: a text file in UTF-16, but UTF-8 is expected; save it as UTF-8.")
    if (place := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise ValueError(
            f"{name}, line {line}: not a text in UTF-8, because it has zero bytes; it is damaged, or in UTF-16."
        )


def lines_of(name: str, data: bytes) -> list[str]:
    """Returns the lines of a text file, which may have a byte order mark and line ends of any system.

    Raises:
      ValueError: if it is not UTF-8.
    """
    check_encoding(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not a text file in UTF-8 ({error}).") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # splitlines() splits at more than line ends


def ends_with_line(data: bytes) -> bool:
    """Returns False for a text whose last line has no line end, which suggests that it is cut off."""
    return not data or data.endswith((b"\n", b"\r"))


def warn_of_cut(names: Sequence[str]) -> None:
    """Warns once about files that end within a line that is shorter than the others."""
    if names:
        others = f" (like {len(names) - 1} more)" if len(names) > 1 else ""
        warnings.warn(
            f"{names[0]}: the file ends within a line that is shorter than others, as if it were cut off{others}; "
            f"copy it again, or end it with a line break if it is complete.",
            UserWarning,
            stacklevel=4,
        )


def shown(text: str | None) -> str:
    """Returns a text shortened for messages, because a file of another format may be one line of many megabytes."""
    return repr(text if text is None or len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def known_names(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Returns the known names, for a message about unknown ones, and which of them may have been meant."""
    text = f"known are {first_few(np.array(known))}" if known else "none is known"
    plain = {_plain_name(one): one for one in known}
    meant = next(((one, plain[_plain_name(one)]) for one in unknown if _plain_name(one) in plain), None)
    return text if meant is None else f"{text}; does {meant[0]!r} stand for {meant[1]!r}?"


def image_name(path: str) -> str:
    r"""Returns the name of an image without its folder and extension; other extensions are part of the name.

    >>> [image_name(path) for path in ("val/a.1.jpg", "a.1", r"val\a.PNG")]
    ['a.1', 'a.1', 'a']
    """
    name = pathlib.PurePosixPath(path.replace("\\", "/"))
    return name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name


def _plain_name(name: str) -> str:
    """Returns a name without folder, extension, leading zeros and capitals, which writers add or omit."""
    return image_name(name).lstrip("0").casefold()
