"""Registration of containers with JAX: as pytrees, and by name for the files of `jax.export`.

What is defined before JAX is imported is registered by that import.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ._jax_import import with_jax

__all__ = ["register_container", "register_static"]

Kind = TypeVar("Kind")


def register_container(kind: type[Kind]) -> type[Kind]:
    """Registers a dataclass of arrays, or a named tuple, as a pytree that exported programs may take and return.

    Fields of a dataclass with the metadata `static` are part of the structure; JSON must be able to hold them.
    """
    with_jax(partial(_register_container, kind))
    return kind


def register_static(kind: type[Kind], to_text: Callable[[Any], str], from_text: Callable[[str], Any]) -> type[Kind]:
    """Registers a class whose values have no arrays, are compared by `==`, and are written as text."""
    with_jax(partial(_register_static, kind, to_text, from_text))
    return kind


def _register_container(kind: type) -> None:
    import jax.export
    import jax.tree_util

    if not dataclasses.is_dataclass(kind):
        jax.export.register_namedtuple_serialization(kind, serialized_name=_name_in_files(kind))
        return
    jax.tree_util.register_dataclass(kind)
    _register_structure(kind, json.dumps, lambda text: tuple(json.loads(text)))


def _register_static(kind: type, to_text: Callable[[Any], str], from_text: Callable[[str], Any]) -> None:
    import jax.tree_util

    jax.tree_util.register_static(kind)
    _register_structure(kind, to_text, from_text)


def _register_structure(kind: type, to_text: Callable[[Any], str], from_text: Callable[[str], Any]) -> None:
    import jax.export

    jax.export.register_pytree_node_serialization(
        kind,
        serialized_name=_name_in_files(kind),
        serialize_auxdata=lambda value: to_text(value).encode(),
        deserialize_auxdata=lambda text: from_text(text.decode()),
    )


def _name_in_files(kind: type) -> str:
    """Returns a name without the module, so that a class may move to another one; a renamed class breaks old files."""
    return f"jaxmap.{kind.__name__.removeprefix('_')}"
