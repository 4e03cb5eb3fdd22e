"""All cases, and what their processes need imported before they are forked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import PIL.Image  # noqa: F401
import pycocotools.cocoeval  # noqa: F401

from . import _arrays, _coco, _commands, _files, _metrics, _panoptic, _text
from ._case import Case

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    """Yields the whole corpus."""
    return itertools.chain.from_iterable(
        door.cases() for door in (_coco, _text, _panoptic, _files, _arrays, _metrics, _commands)
    )
