"""Functions of which each backend compiles a form of its own, and programs on several devices another one.

`jax.lax.platform_dependent` traces the forms of all backends. A Pallas kernel in one of them can be compiled neither in
a program for several backends, as `jax.export` writes, nor in one that the compiler divides over several devices. Here
the form is chosen and traced when a program is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

__all__ = ["by_backend"]

PLATFORMS = ("cpu", "tpu", None)  # None: any other


class _Form(NamedTuple):
    """A form and its arguments but the arrays; compared by value, so that JAX finds a trace again.

    Attributes:
      function: takes pytrees of arrays.
      static: names and values of further arguments.
      structure: of the pytrees.
      mesh: around the call.
      mapped: for each `jax.vmap` around the call, the innermost first, the axis that it maps of each array.
    """

    function: Callable[..., Any]
    static: tuple[tuple[str, Any], ...]
    structure: Any
    mesh: jax.sharding.AbstractMesh
    mapped: tuple[tuple[int | None, ...], ...] = ()


def by_backend(
    *arguments: Any,
    default: Callable[..., Any],
    cpu: Callable[..., Any] | None = None,
    tpu: Callable[..., Any] | None = None,
    partitioned: Callable[..., Any] | None = None,
) -> Any:
    """Calls the form of a function for the backend that the program is compiled for. Gradients stop here.

    A form is a function of a module, or a `functools.partial` of one with keyword arguments that can be hashed, so that
    it is traced once for each shape. All forms return the same shapes and types.

    Args:
      *arguments: pytrees of arrays.
      default: the form for GPUs, and for every backend without one.
      cpu: the form for CPUs.
      tpu: the form for TPUs.
      partitioned: the form, on every backend, for programs of which the compiler divides the arrays over several
        devices. Inside `jax.shard_map` each device has a program of its own, which is not divided.
    """
    leaves, structure = jax.tree.flatten(jax.lax.stop_gradient(arguments))
    forms = tuple(_form(function, structure) for function in (cpu or default, tpu or default, default))
    return _bind(leaves, forms, _form(partitioned, structure) if partitioned else None)


def _form(function: Callable[..., Any], structure: Any) -> _Form:
    mesh = jax.sharding.get_abstract_mesh()
    if isinstance(function, partial) and not function.args:
        return _Form(function.func, tuple(function.keywords.items()), structure, mesh)
    return _Form(function, (), structure, mesh)


def _call(form: _Form, *leaves: jax.Array) -> Any:
    # While a program is compiled, no mesh is set. Without `jit`, the loops of a form could not be traced.
    with jax.sharding.use_abstract_mesh(form.mesh), jax.disable_jit(False):
        return _traced(form, *leaves)


@partial(jax.jit, static_argnums=0)  # JAX keeps the traces
def _traced(form: _Form, *leaves: jax.Array) -> Any:
    def flat(*leaves: jax.Array) -> Any:
        return form.function(*jax.tree.unflatten(form.structure, leaves), **dict(form.static))

    for axes in form.mapped:
        flat = jax.vmap(flat, in_axes=axes)
    return flat(*leaves)


def _bind(leaves: Sequence[Any], forms: tuple[_Form, ...], partitioned: _Form | None) -> Any:
    traced, shapes = jax.make_jaxpr(partial(_call, forms[0]), return_shape=True)(*leaves)
    parameters = {"forms": forms, "partitioned": partitioned, "avals": tuple(traced.out_avals)}
    flat = _choice.bind(*leaves, **parameters)  # type: ignore[no-untyped-call]
    return jax.tree.unflatten(jax.tree.structure(shapes), flat)


def _map(
    leaves: Sequence[Any], axes: Sequence[int | None], *, forms: Sequence[_Form], partitioned: _Form | None, avals: Any
) -> Any:
    def mapped(form: _Form) -> _Form:
        return form._replace(mapped=(*form.mapped, tuple(axes)))

    result = _bind(leaves, tuple(map(mapped, forms)), mapped(partitioned) if partitioned else None)
    return jax.tree.leaves(result), [0] * len(avals)


def _lower(
    context: Any, *values: Any, place: int, forms: Sequence[_Form], partitioned: _Form | None, avals: Any
) -> Any:
    form = forms[place]
    if partitioned is not None and _is_partitioned(context.module_context.axis_context):
        form = partitioned
    return mlir.lower_fun(lambda *leaves: jax.tree.leaves(_call(form, *leaves)))(context, *values)


def _is_partitioned(axes: Any) -> bool:
    """Returns whether the compiler divides a program over several devices; `axes` is JAX's description of it."""
    if isinstance(axes, mlir.ShardingContext):
        return axes.num_devices != 1
    if isinstance(axes, mlir.SPMDAxisContext):
        return {*axes.manual_axes, *axes.mesh.manual_axes} != {*axes.mesh.axis_names}
    return False


@partial(jax.jit, static_argnums=0)
def _run(parameters: tuple[tuple[str, Any], ...], *leaves: jax.Array) -> Any:
    return _choice.bind(*leaves, **dict(parameters))  # type: ignore[no-untyped-call]


def _run_alone(*leaves: Any, **parameters: Any) -> Any:
    """Runs a call outside `jit`, as a program of its own: only a compiled one knows its backend."""
    with jax.disable_jit(False):
        return _run(tuple(parameters.items()), *leaves)


_choice = Primitive("jaxmap_by_backend")
_choice.multiple_results = True
_choice.def_impl(_run_alone)  # type: ignore[no-untyped-call]
_choice.def_abstract_eval(lambda *_, avals, **__: list(avals))  # type: ignore[no-untyped-call]
batching.primitive_batchers[_choice] = _map
for _place, _platform in enumerate(PLATFORMS):
    mlir.register_lowering(_choice, partial(_lower, place=_place), platform=_platform)
