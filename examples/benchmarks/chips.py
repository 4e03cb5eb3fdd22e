"""Compiles a program for a TPU or an NVIDIA H100 that is not there, and reads what it costs.

Nothing runs. The compilers come with pip packages, and need neither the chip nor its driver. `prepare` has to be called
before JAX is imported, because the compilers read their options from the environment.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import dataclasses
import importlib.util
import multiprocessing
import os
import pathlib
import re
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from kernel_bundles import KernelCost, count_bundles
from optimized_hlo import ROW_OPCODES, Instruction, Module, Step, read

if TYPE_CHECKING:
    import jax
    from programs import Program

__all__ = ["CHIPS", "Compiled", "Compiler", "Rows", "missing_packages", "prepare"]

CHIPS = ("tpu", "gpu")
H100 = pathlib.Path(__file__).with_name("h100.txtpb")
_MODULES = {"tpu": ("libtpu",), "gpu": ("jax_plugins.xla_cuda13", "nvidia.cu13.nvvm")}
_INSTALL = {
    "tpu": "pip install 'jax[tpu]' chex",
    "gpu": "pip install jax jax-cuda13-plugin jax-cuda13-pjrt nvidia-cuda-nvcc chex",
}
_TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # another process may have it open
}
# They hold others, or wait for them.
_NO_LAUNCH = {"kSequential", "kCommandBuffer", "kWhile", "kConditional", "kAsyncDone"}
_WIDE = re.compile(r"\b(f64|s64|u64|c64|c128|bf16|f16)\[")
_KERNEL, _ANALYSIS = "tpu_custom_call", "schedule-analysis"  # the target of a Pallas kernel; a dump beside its code
_STRUCTURE = ("while", "conditional", "call")


def missing_packages(chip: str) -> str | None:
    """Returns what to install before programs can be compiled for a chip; None if nothing is missing."""

    def is_there(module: str) -> bool:
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            return False

    missing = [module for module in ("jax", "chex", *_MODULES[chip]) if not is_there(module)]
    return f"{', '.join(missing)} not found; install: {_INSTALL[chip]}" if missing else None


def prepare(chip: str, *, dumps_kernels: bool = False) -> pathlib.Path:
    """Sets the environment that a compiler reads, and returns the empty folder into which it dumps.

    Args:
      chip: `tpu` or `gpu`.
      dumps_kernels: whether the TPU compiler dumps final code, which costs a third more time.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compile_for_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_PLATFORMS"] = "cpu"
    if chip == "tpu":
        os.environ.update(_TPU_ENVIRONMENT)
        if dumps_kernels:
            what = "--xla_jf_dump_llo_text=true --xla_jf_dump_llo_pass_label_regex=.*final_bundles.*"
            os.environ["LIBTPU_INIT_ARGS"] = f"--xla_jf_dump_to={folder} {what}"
    else:
        found = importlib.util.find_spec("nvidia.cu13.nvvm")
        places = list(found.submodule_search_locations or ()) if found else []
        cuda = pathlib.Path(places[0]).parent if places else pathlib.Path()
        options = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={cuda} --xla_dump_to={folder}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {options}"
    return folder


@dataclasses.dataclass(frozen=True)
class Rows:
    """A gather, scatter or sort: its opcode, rows of one run, number of runs, and where it comes from."""

    opcode: str
    rows: int
    times: int
    overflow: bool
    op_name: str


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler says of a program. The chip decides what is known; the rest is None.

    Attributes:
      seconds: of CPU, to compile.
      temporaries: bytes of memory beside inputs and outputs.
      bytes_accessed: the compiler's estimate; it counts loops once and all branches.
      steps: what one call executes.
      costs: of each instruction by name: estimated cycles on a TPU, kernels and copies to launch on a GPU.
      rows: its gathers, scatters and sorts.
      kernels: its Pallas kernels by name, on a TPU.
      spills: whether registers spill in any of its kernels, on a GPU.
      unread_loops: where loops come from whose trips depend on the data.
      text: the optimized HLO.
      wide_types: types of more than 32 bits, and floats of 16, that it holds.
    """

    seconds: float
    temporaries: int
    bytes_accessed: float | None
    steps: list[Step]
    costs: dict[str, int]
    rows: list[Rows]
    kernels: dict[str, KernelCost]
    spills: bool
    unread_loops: list[str]
    text: str
    wide_types: tuple[str, ...]

    def total(self, *, overflow: bool = False) -> int:
        """Returns the cycles, or the launches, of the ordinary path, or of what only other branches execute."""
        chosen = [step for step in self.steps if step.overflow == overflow]
        return sum(self.costs.get(step.instruction.name, 0) * step.times for step in chosen)

    def count(self, opcode: str) -> tuple[int, int]:
        """Returns how many gathers, scatters or sorts are on the ordinary path, and the rows of all their runs."""
        chosen = [row for row in self.rows if row.opcode == opcode and not row.overflow]
        return len(chosen), sum(row.rows * row.times for row in chosen)


class Compiler:
    """Compiles for one chip.

    Args:
      chip: `tpu` or `gpu`.
      topology: of the TPU, such as `v5e:2x2`; programs are compiled for one of its chips, unless they are spread.
      dumped: the folder that `prepare` returned.
    """

    def __init__(self, chip: str, topology: str, dumped: pathlib.Path) -> None:
        import jax
        from jax.experimental import topologies

        if chip == "tpu":
            described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
        else:
            target = re.sub(r"^#.*\n", "", H100.read_text(), flags=re.MULTILINE)
            described = topologies.get_topology_desc(platform="cuda", target_config=target, topology="1x1x1")
        self.chip, self.topology, self.dumped = chip, topology, dumped
        self.device: Any = described.devices[0]  # has attributes that its type does not declare
        self.mesh = jax.sharding.Mesh(described.devices, ("chips",))

    def __call__(self, program: Program) -> Compiled:
        """Compiles a program and reads the result."""
        lowered = self.lower(program)
        compiled, seconds, spills = self._compile(lowered)
        text = compiled.as_text()
        module = read(text)
        has_kernels = any(instruction.target == _KERNEL for instruction in module.instructions.values())
        kernels = _kernels_of_another_process(self.topology, program.name) if has_kernels else {}
        costs = self._costs(module, kernels)
        shutil.rmtree(self.dumped)
        self.dumped.mkdir()
        steps = module.steps(lambda instruction: costs.get(instruction.name, 0), program.assumed_trips)
        return Compiled(
            seconds=seconds,
            temporaries=compiled.memory_analysis().temp_size_in_bytes,
            bytes_accessed=(compiled.cost_analysis() or {}).get("bytes accessed"),
            steps=steps,
            costs=costs,
            rows=_rows(module, steps),
            kernels=kernels,
            spills=spills,
            unread_loops=[loop.op_name for loop in module.unread_loops()],
            text=text,
            wide_types=tuple(sorted(set(_WIDE.findall(text)))),
        )

    def lower(self, program: Program, *, keep_unused: bool = False) -> jax.stages.Lowered:
        """Returns the program as JAX gives it to the compiler.

        Args:
          program: what to lower.
          keep_unused: whether arguments that it does not use stay parameters.
        """
        import jax

        def sharding(leaf: Any) -> jax.sharding.Sharding:
            if not program.spread:
                return jax.sharding.SingleDeviceSharding(self.device)
            axes = ["chips"] if leaf.ndim and leaf.shape[0] % self.mesh.size == 0 else []
            return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*axes))

        def placed(leaf: Any) -> Any:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding(leaf))  # type: ignore[no-untyped-call]

        function, arguments = program.make()
        jitted = jax.jit(function, donate_argnums=(0,) if program.donates else (), keep_unused=keep_unused)
        shapes = jax.tree.map(placed, arguments)
        if self.chip == "tpu":
            return jitted.lower(*shapes)
        # Triton kernels ask for the facts of a GPU while they are lowered.
        cores = self.device.core_count
        device = jax.sharding.AbstractDevice(self.device.device_kind, cores, "gpu")
        with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device)):
            return jitted.lower(*shapes)

    def _compile(self, lowered: jax.stages.Lowered) -> tuple[Any, float, bool]:
        """Returns the compiled program, the seconds of CPU, and whether registers of any of its kernels spill."""
        import jax

        start = _cpu_seconds()
        if self.chip == "gpu":
            try:
                compiled = lowered.compile({"xla_gpu_fail_ptx_compilation_on_register_spilling": True})
                return compiled, _cpu_seconds() - start, False
            except jax.errors.JaxRuntimeError as error:
                if "register spilling" not in str(error):
                    raise
                start = _cpu_seconds()
        compiled = lowered.compile()
        return compiled, _cpu_seconds() - start, self.chip == "gpu"

    def _costs(self, module: Module, kernels: dict[str, KernelCost]) -> dict[str, int]:
        if self.chip == "gpu":
            launches = _launches(max(self.dumped.glob("*.thunk_metadata.txt")).read_text(), module.instructions)
            unknown = launches.keys() - module.instructions
            if unknown:
                raise ValueError(f"expected every launch to be that of an instruction, got {sorted(unknown)}")
            return launches
        estimated = {name: instruction.cycles for name, instruction in module.instructions.items()}
        return estimated | {name: kernel.executed for name, kernel in kernels.items()}


def _kernels_of_another_process(topology: str, name: str) -> dict[str, KernelCost]:
    """Compiles a program once more, with dumps, for which the compiler has to be started with other options."""
    spawned = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawned) as pool:
        return pool.submit(_kernels, topology, name).result()


def _kernels(topology: str, name: str) -> dict[str, KernelCost]:
    """Returns what the Pallas kernels of a program cost, by the names of their instructions."""
    dumped = prepare("tpu", dumps_kernels=True)
    from programs import PROGRAMS

    program = next(program for program in PROGRAMS if program.name == name)
    compiled: Any = Compiler("tpu", topology, dumped).lower(program).compile()
    module = read(compiled.as_text())
    found = {}
    for instruction in module.instructions.values():
        if instruction.target == _KERNEL:
            paths = [
                path for path in dumped.glob(f"*-{instruction.name}-*final_bundles.txt") if _ANALYSIS not in path.name
            ]
            if not paths:
                raise ValueError(f"{instruction.name}: expected its final code among the dumps, found none")
            found[instruction.name] = count_bundles(max(paths).read_text())
    return found


def _launches(thunks: str, instructions: Container[str]) -> dict[str, int]:
    """Returns how many kernels and copies each instruction launches: a sort is dozens of kernels."""
    names: Counter[str] = Counter()
    for thunk in thunks.split("thunk_metadata {")[1:]:
        name, kind = (
            re.search(pattern, thunk) for pattern in (r'profile_annotation: "([^"]*)"', r'thunk_kind: "(\w+)"')
        )
        if not name or not kind or kind[1] in _NO_LAUNCH:
            continue
        if kind[1] == "kDynamicSliceFusion" and name[1] not in instructions:
            continue  # an asynchronous instruction holds it, and counts
        names[name[1]] += 1
    return dict(names)


def _rows(module: Module, steps: list[Step]) -> list[Rows]:
    found = []
    for step in steps:
        if step.instruction.opcode not in _STRUCTURE:
            fused: list[Instruction] = [inner for inner in module.inside(step.instruction) if inner.kind in ROW_OPCODES]
            found += [Rows(inner.kind, module.rows(inner), step.times, step.overflow, inner.op_name) for inner in fused]
    return found


def _cpu_seconds() -> float:
    """Returns the CPU time of this process and of those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
