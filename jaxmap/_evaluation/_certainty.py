"""How certain the numbers of an evaluation are, and where they come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._display import Columns
from ..analysis import Bootstrap, bootstrap
from ..analysis._influence import influence_of_images
from ._explanations import Explanations

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
          >>> there, nowhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
          >>> truth = [{"boxes": [there], "labels": [0]}] * 20
          >>> found = [{"boxes": [box], "labels": [0], "scores": [0.5]} for box in [there] * 15 + [nowhere] * 5]
          >>> interval = evaluate(found, truth).bootstrap().summary["AP"]
          >>> round(interval.value, 3), interval.low < interval.value < interval.high
          (0.565, True)
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
