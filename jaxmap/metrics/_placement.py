"""Where the steps of a metric run: inside `jit` or on the host, and on which mesh.

On a mesh of explicit axes, JAX asks for the sharding of every array that it cannot deduce. Inside a step the axes are
automatic, so that the compiler decides, as on other meshes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

__all__ = ["in_jit", "keeps_sharding", "reads_any_sharding"]

Step = TypeVar("Step", bound=Callable[..., Any])


def in_jit(tree: Any) -> bool:
    """Returns whether values are traced, so that results stay on the device; else they are computed on the host."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def keeps_sharding(step: Step) -> Step:
    """Decorates a method of a metric that takes a state and returns one: the new one is sharded as the given one."""

    @functools.wraps(step)
    def on_any_mesh(metric: Any, state: Any, *given: Any, **named: Any) -> Any:
        mesh = _explicit_mesh((state, given, named))
        if mesh is None:
            return step(metric, state, *given, **named)
        shardings = jax.tree.map(lambda leaf: NamedSharding(mesh, jax.typeof(leaf).sharding.spec), state)
        return _in_auto_axes(functools.partial(step, metric), shardings, (state, *given), named)

    return cast(Step, on_any_mesh)


def reads_any_sharding(step: Step) -> Step:
    """Decorates a method of a metric that takes arrays and returns results: inside `jit`, every device has them."""

    @functools.wraps(step)
    def on_any_mesh(metric: Any, state: Any, *given: Any, **named: Any) -> Any:
        mesh = _explicit_mesh((state, given, named))
        if mesh is None:
            return step(metric, state, *given, **named)
        if not in_jit(state):  # the host computes
            return step(metric, jax.device_get(state), *given, **named)
        everywhere = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
        return _in_auto_axes(functools.partial(step, metric), everywhere, (state, *given), named)

    return cast(Step, on_any_mesh)


def _explicit_mesh(tree: Any) -> AbstractMesh | None:
    """Returns the mesh of explicit axes on which arrays are; None if there is none."""
    try:
        leaves = jax.tree.leaves(tree)
    except AttributeError:  # a state of another version, which the step refuses
        return None
    meshes = (jax.typeof(leaf).sharding.mesh for leaf in leaves if isinstance(leaf, jax.Array))
    return next((mesh for mesh in meshes if mesh.explicit_axes), None)


def _in_auto_axes(step: Callable[..., Any], shardings: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    # `auto_axes` converts positional arguments only.
    of_trees = jax.sharding.auto_axes(lambda given, named: step(*given, **named), out_sharding=shardings)
    return of_trees(given, named)
