"""All cases, and what their processes need imported before they are forked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import PIL.Image  # noqa: F401
import pycocotools.cocoeval  # noqa: F401

import jaxmap.cli
import jaxmap.evaluation
import jaxmap.interop.pycocotools
import jaxmap.io
import jaxmap.metrics

from . import _coco, _files, _panoptic, _text
from ._case import Case

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    """Yields the whole corpus."""
    return itertools.chain.from_iterable(door.cases() for door in (_coco, _text, _panoptic, _files))
