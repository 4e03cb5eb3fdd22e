"""How certain the numbers of an evaluation are, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .._display import Columns
from ..analysis import Bootstrap, bootstrap
from ..analysis._influence import influence_of_images
from ..analysis._learning_curve import learning_curve
from ..analysis._slices import masks_of
from ..analysis._units import units_of
from ._explanations import Explanations
from ._slices import Slice, Slices

if TYPE_CHECKING:
    from ._result import Evaluation

__all__ = ["Certainty"]


class Certainty(Explanations):
    """The methods of an `Evaluation` that weight its images."""

    def bootstrap(
        self,
        num_replicates: int = 1000,
        *,
        seed: int = 0,
        confidence: float = 0.95,
        unit: Any = "image",
    ) -> Bootstrap:
        """Returns standard errors and confidence intervals of every number, from resampled images.

        A replicate draws as many images as there are, with replacement. Copies of an image count like images of their
        own, with the same scores.

        Args:
          num_replicates: how many replicates to draw.
          seed: from 0 to 2^32 - 1; the same seed draws the same images on every machine.
          confidence: the share of datasets whose interval should contain the true number.
          unit: `image`; or, where images depend on each other, the group of each image, such as its video or patient:
            a mapping from image id, or one name for each of `image_ids`. Then groups are drawn.

        Raises:
          ValueError: if an argument is not as described, or there are fewer than two images or groups.

        Example:
          >>> from jaxmap import evaluate
          >>> there, nowhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
          >>> truth = [{"boxes": [there], "labels": [0]}] * 20
          >>> found = [{"boxes": [box], "labels": [0], "scores": [0.5]} for box in [there] * 15 + [nowhere] * 5]
          >>> interval = evaluate(found, truth).bootstrap().summary["AP"]
          >>> round(interval.value, 3), interval.low < interval.value < interval.high
          (0.752, True)
        """
        return bootstrap(
            self.dataset, self.protocol, num_replicates=num_replicates, seed=seed, confidence=confidence, unit=unit
        )

    def influence(self) -> dict[str, Any]:
        """Returns what each image adds to each number of the summary: the number minus that without the image.

        Returns:
          Columns of `[I]`: `image_id`, and each number of the summary; sorted by the size of the first, the largest
          first. NaN where a number is undefined with or without the image.
        """
        names, influence = influence_of_images(self.dataset, self.protocol)
        order = np.argsort(-np.abs(np.nan_to_num(influence[0])), kind="stable")
        return Columns({"image_id": self.image_ids[order]} | dict(zip(names, influence[:, order], strict=True)))

    def slices(
        self,
        table: Any,
        by: str | Sequence[str] | None = None,
        *,
        num_replicates: int | None = 1000,
        seed: int = 0,
        confidence: float = 0.95,
        unit: Any = "image",
    ) -> Slices:
        """Returns the numbers of parts of the images, each with its interval.

        Args:
          table: columns by name, a mapping or a data frame, with one row per image in the order of `image_ids`; or in
            any order with a column `image_id`. A column of bools is one slice, its true images; any other is one slice
            for each of its values, named `weather=rain`. Images with a missing value are in no slice of the column.
          by: the columns to slice by; None for all.
          num_replicates: for the intervals, as `bootstrap` takes it; None for no intervals.
          seed, confidence, unit: as `bootstrap` takes them. A slice of fewer than two images or groups has no interval.

        Returns:
          The slices by name, after `all`, the whole dataset; `print` it for a table.

        Raises:
          ValueError: if a column is unknown or of another length, an image has no row or several, or a column has more
            than 100 values.
          TypeError: if the table has no columns.

        Example:
          >>> from jaxmap import evaluate
          >>> there, nowhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
          >>> truth = [{"boxes": [there], "labels": [0]}] * 4
          >>> found = [{"boxes": [box], "labels": [0], "scores": [0.5]} for box in [there, there, nowhere, nowhere]]
          >>> slices = evaluate(found, truth).slices({"night": [False, False, True, True]})
          >>> slices["night"].summary["AP"], slices["night"].num_images
          (0.0, 2)
        """
        group = None if isinstance(unit, str) else units_of(unit, self.image_ids)[0]
        parts = {"all": np.ones(len(self.image_ids), bool)} | masks_of(table, by, self.image_ids)
        slices = {}
        for name, images in parts.items():
            one = self.of_images(images)
            drawn, interval = unit if group is None else group[images], None
            enough = len(one.image_ids) > 1 if group is None else len(np.unique(drawn)) > 1
            if num_replicates is not None and enough:
                interval = one.bootstrap(num_replicates, seed=seed, confidence=confidence, unit=drawn)
            slices[name] = Slice(evaluation=cast("Evaluation", one), bootstrap=interval)
        return Slices(slices=slices)

    def learning_curve(
        self,
        sizes: Sequence[int] | None = None,
        *,
        num_samples: int = 100,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> dict[str, Any]:
        """Returns how every number depends on the number of images: random samples of several sizes, scored.

        Args:
          sizes: ascending numbers of images; 10 that double towards all images if None.
          num_samples: how many samples to draw of each size, without replacement.
          seed: from 0 to 2^32 - 1; the same seed draws the same images on every machine.
          confidence: the share of samples between `low` and `high`.

        Returns:
          A row for each size and number of the summary: `num_images`, `number`, `mean`, `low`, `high`. Samples in which
          a number is undefined are excluded.

        Raises:
          ValueError: if an argument is not as described.
        """
        return learning_curve(
            self.dataset, self.protocol, sizes=sizes, num_samples=num_samples, seed=seed, confidence=confidence
        )
