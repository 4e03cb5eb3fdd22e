"""What a check found, as text and as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

from .._display import described, html_text
from .._outputs import printable

__all__ = ["KINDS", "DataCheck", "Finding"]

# The kinds of findings. Of those with False, which are notes, many datasets have some and are as they should be.
KINDS = {
    **dict.fromkeys(("reader", "repeated-id", "annotated-twice", "detected-twice", "no-area", "outside-image"), True),
    **dict.fromkeys(("box-format", "fractions", "area", "empty-mask", "equal-scores", "score-range"), True),
    **dict.fromkeys(("misread", "shifted-images"), True),
    **dict.fromkeys(("unused-class", "class-only-detected"), False),
    **dict.fromkeys(("image-without-ground-truths", "image-without-detections"), False),
}

_SIDES = {"ground_truths": "ground truths", "detections": "detections", "files": "files"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is, or may be, wrong.

    Attributes:
      kind: one of the kinds that `check_data` lists, or `reader`, for what the reader of a file warned of.
      side: `ground_truths`, `detections`, or `files`.
      message: what was found, in one sentence.
      count: of how many rows, images or classes it was found; 0 where it is about all.
      examples: the first few: for a row `image_id` and `id`, else the id of the image or the name of the class.
    """

    kind: str
    side: str
    message: str
    count: int = 0
    examples: tuple[Any, ...] = ()

    @property
    def level(self) -> str:
        """`warning`; or `note`, of what is often as it should be, such as an image without objects."""
        return "warning" if KINDS[self.kind] else "note"

    @property
    def where(self) -> str:
        """The examples in words, and how many more there are; empty if it is about all."""
        more = f", and {self.count - len(self.examples):,} more" if self.count > len(self.examples) else ""
        return f"{', '.join(map(_shown, self.examples))}{more}" if self.examples else ""

    def __str__(self) -> str:
        listed = f" ({self.where})" if self.where else ""
        return printable(f"{self.level}: {_SIDES[self.side]}: {self.message}{listed} [{self.kind}]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataCheck:
    """The result of `check_data`.

    Attributes:
      findings: all findings, those about ground truths first.
      num_images: how many images the ground truths list.
      num_ground_truths: how many ground truths were checked.
      num_detections: how many detections were checked; None if none were given.
    """

    findings: tuple[Finding, ...]
    num_images: int
    num_ground_truths: int
    num_detections: int | None = None

    @property
    def clean(self) -> bool:
        """Whether there are no findings but notes."""
        return not any(one.level == "warning" for one in self.findings)

    def __str__(self) -> str:
        warnings = sum(one.level == "warning" for one in self.findings)
        levels = _counted(warnings, "warning"), _counted(len(self.findings) - warnings, "note")
        tables = [_counted(self.num_ground_truths, "ground truth")]
        if self.num_detections is not None:
            tables.append(_counted(self.num_detections, "detection"))
        about = f"{' and '.join(tables)} of {_counted(self.num_images, 'image')}"
        return "\n".join([*map(str, self.findings), f"{' and '.join(levels)} about {about}"])

    def __repr__(self) -> str:
        kinds = [one.kind for one in self.findings]
        return described(self, findings=kinds, images=self.num_images, ground_truths=self.num_ground_truths)

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain Python values, ready for JSON."""
        findings = [dataclasses.asdict(one) | {"level": one.level} for one in self.findings]
        return dataclasses.asdict(self) | {"findings": findings, "clean": self.clean}


def _shown(example: Any) -> str:
    if isinstance(example, dict):
        return f"{example['id']!r} in image {example['image_id']!r}"
    return repr(example)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
