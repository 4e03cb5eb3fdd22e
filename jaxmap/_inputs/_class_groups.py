"""Groups of classes, such as base and novel: from names and ids to the group of each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..types import GroundTruthTable

__all__ = ["check_class_groups", "with_class_groups"]

NO_GROUP = ""


def with_class_groups(truth: GroundTruthTable, groups: Mapping[str, Iterable[Any]]) -> GroundTruthTable:
    """Returns the table with other groups of classes.

    Args:
      truth: the ground truths, which define the classes.
      groups: the classes of each group, by name or id; a text is a name, or else an id. A class may be in no
        group.

    Raises:
      ValueError: if a class is unknown or in two groups, or several classes have a name.
      TypeError: if the groups are not a mapping, or the classes of one are not a sequence.
    """
    if not isinstance(groups, Mapping):
        raise TypeError(
            f"`class_groups` must map the name of a group to its classes, got {type(groups).__name__}; such as "
            '{"base": ["cat"], "novel": ["dog"]}.'
        )
    of_id = {str(one): [label] for label, one in enumerate(truth.class_ids.tolist())}
    of_name: dict[str, list[int]] = {}
    for label, name in enumerate(truth.class_names):
        of_name.setdefault(name, []).append(label)
    group_of = [NO_GROUP] * len(of_id)
    for group, classes in groups.items():
        if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
            raise TypeError(f"`class_groups[{group!r}]` must be a sequence of class names or ids, got {classes!r}.")
        for one in classes:
            labels = (of_name.get(one) if isinstance(one, str) else None) or of_id.get(str(one), [])
            if len(labels) != 1:
                what = f"is the name of {len(labels)} classes; give their ids" if labels else "is unknown"
                raise ValueError(
                    f"`class_groups[{group!r}]` must hold names or ids of classes, but {one!r} {what}. The classes are "
                    f"{_some(truth)}."
                )
            [label] = labels
            if group_of[label] not in (NO_GROUP, group):
                raise ValueError(
                    f"`class_groups` must put each class into one group, but {truth.class_names[label]!r} is in "
                    f"{group_of[label]!r} and in {group!r}."
                )
            group_of[label] = group
    return dataclasses.replace(truth, class_group=np.array(group_of, str))


def check_class_groups(truth: GroundTruthTable, groups: Sequence[str]) -> None:
    """Refuses groups of classes that the protocol does not have; `NO_GROUP` is the class of none.

    Raises:
      ValueError: if there is one.
    """
    if truth.class_group is not None and groups:
        if np.shape(truth.class_group) != (len(truth.class_ids),):
            raise ValueError(
                f"`ground_truths.class_group` must have shape [{len(truth.class_ids)}], one name for each class, got "
                f"{list(np.shape(truth.class_group))}."
            )
        if len(unknown := np.setdiff1d(truth.class_group, [*groups, NO_GROUP])):
            raise ValueError(
                f"`ground_truths.class_group` must be of the protocol's `class_groups` {list(groups)}, got "
                f"{unknown[:5].tolist()}."
            )


def _some(truth: GroundTruthTable) -> str:
    """Returns the first classes, each with its id, and the number of the others."""
    names = [f"{name!r} ({one})" for name, one in zip(truth.class_names, truth.class_ids.tolist(), strict=True)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
