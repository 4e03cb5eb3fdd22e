"""The form of a function is that of the backend, or of several devices, for which a program is compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxmap
from jaxmap._lowering import by_backend

TRACED: list[str] = []


def form(x: jax.Array, *, name: str, plus: int) -> dict[str, jax.Array]:
    TRACED.append(name)
    return {"of": jnp.sin(x) if name == "cpu" else jnp.cos(x) if name == "tpu" else jnp.tan(x), "plus": x + plus}


def call(x: Any, plus: int = 0) -> Any:
    cpu, tpu, gpu = (partial(form, name=name, plus=plus) for name in ("cpu", "tpu", "gpu"))
    return by_backend(x, cpu=cpu, tpu=tpu, default=gpu)


def added(x: jax.Array) -> jax.Array:
    return x + 1


def multiplied(x: jax.Array) -> jax.Array:
    return x * 2


def divided_or_not(x: jax.Array) -> jax.Array:
    result: jax.Array = by_backend(x, default=added, partitioned=multiplied)
    return result


def mesh(axis_type: AxisType = AxisType.Auto) -> Mesh:
    return jax.make_mesh((4,), ("devices",), axis_types=(axis_type,), devices=jax.devices()[:4])


@pytest.mark.parametrize("wrap", [lambda call: call, jax.jit, jax.vmap, lambda call: jax.jit(jax.vmap(jax.vmap(call)))])
def test_the_form_of_the_backend_is_called(wrap: Any) -> None:
    x = np.ones((2, 3), np.float32)
    result = wrap(call)(x)
    np.testing.assert_allclose(result["of"], np.sin(x), rtol=1e-6)  # a few roundings
    np.testing.assert_array_equal(result["plus"], x)


def test_only_what_is_mapped_is_mapped() -> None:
    def outer(x: jax.Array, y: jax.Array) -> jax.Array:
        result: jax.Array = by_backend(x, y, default=jnp.subtract)
        return result

    x, y = np.arange(3, dtype=np.int32), np.arange(4, dtype=np.int32)
    both = jax.vmap(jax.vmap(outer, in_axes=(0, None)), in_axes=(None, 0))(x, y)
    np.testing.assert_array_equal(both, x[None] - y[:, None])


def test_each_platform_has_its_form_also_in_a_program_for_all() -> None:
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    for platform, operation in (("cpu", "sine"), ("tpu", "cosine"), ("cuda", "tan"), ("rocm", "tan")):
        text = jax.export.export(jax.jit(call), platforms=[platform])(shape).mlir_module()
        assert {name for name in ("sine", "cosine", "tan") if f"stablehlo.{name} " in text} == {operation}
    every = jax.export.export(jax.jit(call), platforms=["cpu", "tpu", "cuda"])(shape)
    assert all(f"stablehlo.{name} " in every.mlir_module() for name in ("sine", "cosine", "tan"))
    x = np.ones(3, np.float32)
    np.testing.assert_allclose(every.call(x)["of"], np.sin(x), rtol=1e-6)


def test_a_form_is_traced_when_it_is_needed_and_once() -> None:
    x = np.arange(7, dtype=np.float32)
    TRACED.clear()
    jax.jit(lambda x: call(call(x, 5)["plus"], 5))(x)
    call(x, 5)
    assert TRACED == ["cpu"]
    call(x, 6)
    assert TRACED == ["cpu", "cpu"]


def down_to_zero(x: jax.Array) -> jax.Array:
    result: jax.Array = jax.lax.while_loop(lambda x: x > 0, lambda x: x - 1, x)
    return result


def test_loops_run_where_jit_is_disabled() -> None:
    with jax.disable_jit():
        assert by_backend(np.int32(3), default=down_to_zero) == 0


def test_gradients_stop() -> None:
    def loss(x: jax.Array) -> tuple[jax.Array, Any]:
        return (x**2).sum(), call(x)

    x = np.ones(3, np.float32)
    (_, result), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(x)
    np.testing.assert_allclose(result["of"], np.sin(x), rtol=1e-6)
    np.testing.assert_array_equal(gradient, 2 * x)


def test_programs_that_are_divided_over_devices_have_their_own_form() -> None:
    x = np.arange(8, dtype=np.int32)
    spread = jax.device_put(x, NamedSharding(mesh(), P("devices")))
    np.testing.assert_array_equal(jax.jit(divided_or_not)(x), x + 1)
    np.testing.assert_array_equal(divided_or_not(spread), x * 2)
    np.testing.assert_array_equal(jax.jit(jax.vmap(divided_or_not))(spread), x * 2)
    of_device = jax.shard_map(divided_or_not, mesh=mesh(), in_specs=P("devices"), out_specs=P("devices"))
    np.testing.assert_array_equal(jax.jit(of_device)(x), x + 1)
    grid = jax.make_mesh((2, 2), ("a", "b"), axis_types=2 * (AxisType.Auto,), devices=jax.devices()[:4])
    along_one = jax.shard_map(divided_or_not, mesh=grid, in_specs=P("a"), out_specs=P("a"), axis_names={"a"})
    np.testing.assert_array_equal(jax.jit(along_one)(x), x * 2)  # "b" is still the compiler's to divide


KERNEL = "tpu_custom_call"  # what JAX calls a Pallas kernel


def test_updates_on_several_tpus_compile_and_keep_the_kernel_where_they_can() -> None:
    metric = jaxmap.AveragePrecision(num_classes=2, max_images=8, box_format="xyxy")
    found = jaxmap.Detections(
        boxes=np.zeros((8, 5, 4), np.float32),
        scores=np.zeros((8, 5), np.float32),
        labels=np.zeros((8, 5), np.int32),
        valid=np.ones((8, 5), bool),
    )
    truth = jaxmap.GroundTruths(
        boxes=np.zeros((8, 6, 4), np.float32), labels=np.zeros((8, 6), np.int32), valid=np.ones((8, 6), bool)
    )

    def update(state: Any, *batch: Any) -> Any:
        found, truth, image_id = batch
        return metric.update(state, found, truth, image_id=image_id)

    def compiled_for_tpus(step: Any, *arguments: Any) -> str:
        return str(jax.jit(step).trace(*arguments).lower(lowering_platforms=("tpu",)).as_text())

    arguments = metric.init(), found, truth, np.arange(8, dtype=np.int32)
    assert KERNEL in compiled_for_tpus(update, *arguments)
    for axis_type in (AxisType.Auto, AxisType.Explicit):
        everywhere, by_image = (NamedSharding(mesh(axis_type), spec) for spec in (P(), P("devices")))
        spread = jax.device_put(arguments, (everywhere, by_image, by_image, by_image))
        assert KERNEL not in compiled_for_tpus(update, *spread)  # JAX cannot divide a kernel
    stacked = partial(jax.tree.map, lambda leaf: leaf[None])
    specs = P(), P("devices"), P("devices"), P("devices")
    on_each = jax.shard_map(
        lambda *batch: stacked(update(*batch)), mesh=mesh(), in_specs=specs, out_specs=P("devices"), check_vma=False
    )
    assert KERNEL in compiled_for_tpus(on_each, *arguments)
