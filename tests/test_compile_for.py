"""What programs cost on a chip that is not there: the readers on small texts, and the command on one small program."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from types import ModuleType

import pytest

from support.benchmark_modules import FOLDER, module_fixture

PROGRAM = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8,4]{1,0:T(8,128)})->f32[8,4]{1,0:T(8,128)}}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%rows (table: f32[8,4], index: s32[6,1]) -> f32[6,4] {
  %table = f32[8,4]{1,0:T(8,128)} parameter(0)
  %index = s32[6,1]{1,0} parameter(1)
  ROOT %gather.1 = f32[6,4]{1,0} gather(%table, %index), offset_dims={1}, index_vector_dim=1, slice_sizes={1,4}
}

%body (carry: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %carry = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %x = f32[8,4]{1,0:T(8,128)} get-tuple-element(%carry), index=1
  %indices = s32[6,1]{1,0} constant({...})
  %fused = f32[6,4]{1,0} fusion(%x, %indices), kind=kCustom, calls=%rows, backend_config={"estimated_cycles":"70"}
  ROOT %next = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) tuple(%i, /*index=1*/%x)
}

%condition (carry.1: (s32[], f32[8,4])) -> pred[] {
  %carry.1 = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  %limit = s32[]{:T(128)} constant(12)
  ROOT %less = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

%cheap (p: f32[8,4]) -> f32[8,4] {
  ROOT %p = f32[8,4]{1,0:T(8,128)} parameter(0)
}

%dear (q: f32[8,4]) -> f32[8,4] {
  %q = f32[8,4]{1,0:T(8,128)} parameter(0)
  ROOT %slow = f32[8,4]{1,0:T(8,128)} negate(%q), backend_config={"estimated_cycles":"9000"}
}

ENTRY %main (x.1: f32[8,4], go: s32[]) -> f32[8,4] {
  %x.1 = f32[8,4]{1,0:T(8,128)} parameter(0)
  %go = s32[]{:T(128)} parameter(1)
  %start = s32[]{:T(128)} constant(2)
  %copy = s32[]{:T(128)} copy(%start)
  %sorted = (f32[8,4]{1,0}, s32[8,4]{1,0}) sort(%x.1, %x.1), dimensions={0}, to_apply=%add
  %first = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) tuple(%copy, %x.1)
  %while = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) while(%first), condition=%condition, body=%body
  %y = f32[8,4]{1,0:T(8,128)} get-tuple-element(%while), index=1
  ROOT %choice = f32[8,4]{1,0} conditional(%go, %y, %y), branch_computations={%dear, %cheap}, \
metadata={op_name="jit(f)/cond"}
}
"""

KERNEL = """\
     0   :  { %s9_s0 = smov 0  ;;  %v1_v0 = vmov 0 }
   0x1   :  { %s8_s1 = smov 2 }
   0x2 LB: > { %s5_s2 = sphi %s9_s0, %s6_s2  ;;  %s6_s2 = sadd.s32 1, %s5_s2 }
   0x3   : > { %s20_s4 = smov 0 }
   0x4 LB: >> { %s7_s3 = sphi %s20_s4, %s21_s3  ;;  %s21_s3 = sadd.s32 2, %s7_s3  ;;  %10 = dma.done.wait /* of
two lines */ }
   0x5   : >> { %p1_p1 = scmp.ge.s32.totalorder %s21_s3, 10 /* loop exit test */ }
   0x6   : >> { %33 = sbr.rel (!%p1_p1) target = $region4 }
   0x7   :  {}
   0x8   :  {}
   0x9   :  {}
   0xa   :  {}
   0xb   : > { %p2_p2 = scmp.ge.s32.totalorder %s6_s2, LIMIT }
   0xc   :  { %34 = sbr.rel (!%p2_p2) target = $region2 }
   0xd   :  {}
   0xe   :  {}
   0xf   :  {}
  0x10   :  {}
  0x11   :  { %v5_v5 = vst }
"""


hlo = module_fixture("optimized_hlo")
bundles = module_fixture("kernel_bundles")
chips = module_fixture("chips")
compile_for = module_fixture("compile_for")


def cycles(module: object, *, overflow: bool, assumed_trips: int = 1) -> int:
    steps = module.steps(lambda instruction: instruction.cycles, assumed_trips)  # type: ignore[attr-defined]
    return sum(step.instruction.cycles * step.times for step in steps if step.overflow == overflow)


def test_instructions_are_read(hlo: ModuleType) -> None:
    module = hlo.read(PROGRAM)
    assert module.entry == "main"
    assert set(module.computations) == {"add", "rows", "body", "condition", "cheap", "dear", "main"}
    loop, choice = module.instructions["while"], module.instructions["choice"]
    assert (loop.opcode, loop.operands, loop.is_root) == ("while", ("first",), False)
    assert loop.shape == "(s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)})"
    assert (choice.called, choice.op_name, choice.is_root) == (("dear", "cheap"), "jit(f)/cond", True)
    assert module.instructions["limit"].inner == "12"


def test_cycles_are_those_of_loops_times_trips_and_of_the_cheap_branch(hlo: ModuleType) -> None:
    module = hlo.read(PROGRAM)
    assert module.trips(module.instructions["while"]) == 10  # from 2 to 11
    assert module.unread_loops() == []
    assert cycles(module, overflow=False) == 10 * 70
    assert cycles(module, overflow=True) == 9000


def test_trips_that_the_compiler_states_are_believed(hlo: ModuleType) -> None:
    stated = 'body=%body, backend_config={"known_trip_count":{"n":"3"}}'
    module = hlo.read(PROGRAM.replace("body=%body", stated))
    assert cycles(module, overflow=False) == 3 * 70


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("%limit = s32[]{:T(128)} constant(12)", "%limit = s32[]{:T(128)} get-tuple-element(%carry.1), index=0"),
        ("%copy = s32[]{:T(128)} copy(%start)", "%copy = s32[]{:T(128)} copy(%go)"),
        ("direction=LT", "direction=NE"),
    ],
    ids=["limit", "start", "direction"],
)
def test_trips_that_depend_on_data_are_assumed(hlo: ModuleType, before: str, after: str) -> None:
    assert before in PROGRAM
    module = hlo.read(PROGRAM.replace(before, after))
    assert [loop.name for loop in module.unread_loops()] == ["while"]
    assert cycles(module, overflow=False, assumed_trips=4) == 4 * 70


def test_rows_of_gathers_and_sorts_are_counted(hlo: ModuleType, chips: ModuleType) -> None:
    module = hlo.read(PROGRAM)
    found = chips._rows(module, module.steps(lambda instruction: instruction.cycles))
    assert {(row.opcode, row.rows, row.times) for row in found} == {("sort", 32, 1), ("gather", 6, 10)}


def test_rows_of_a_scatter_are_those_of_its_indices(hlo: ModuleType) -> None:
    scatter = (
        "  %s.1 = s32[5,2]{1,0} parameter(2)\n"
        "  %u.1 = f32[5]{0} parameter(3)\n"
        "  %scattered = f32[8,4]{1,0} scatter(%x.1, %s.1, %u.1), index_vector_dim=1, to_apply=%add\n"
    )
    module = hlo.read(PROGRAM.replace("  %sorted =", scatter + "  %sorted ="))
    assert module.rows(module.instructions["scattered"]) == 5


def test_the_largest_elements_count_as_a_sort(hlo: ModuleType, chips: ModuleType) -> None:
    sort = PROGRAM.replace("sort(%x.1, %x.1)", 'custom-call(%x.1), custom_call_target="TopK"')
    module = hlo.read(sort)
    found = chips._rows(module, module.steps(lambda instruction: instruction.cycles))
    assert ("sort", 32) in {(row.opcode, row.rows) for row in found}


def test_text_without_a_program_is_refused(hlo: ModuleType) -> None:
    with pytest.raises(ValueError, match="expected the text of an HLO module with an ENTRY"):
        hlo.read("HloModule nothing\n")


def test_bundles_of_a_kernel_count_as_often_as_their_loops_run(bundles: ModuleType) -> None:
    # The inner loop has 0x4 to 0x6 and four delay slots, and runs 5 times; the outer one has 0x2 to 0x10, and runs 7.
    cost = bundles.count_bundles(KERNEL.replace("LIMIT", "7"))
    assert (cost.bundles, cost.executed, cost.unread_loops) == (18, 2 + 7 * (8 + 5 * 7) + 1, 0)


def test_loop_of_unknown_length_counts_once_and_is_reported(bundles: ModuleType) -> None:
    cost = bundles.count_bundles(KERNEL.replace("LIMIT", "%s40_s9"))
    assert (cost.executed, cost.unread_loops) == (2 + 8 + 5 * 7 + 1, 1)


def test_launches_are_the_thunks_of_an_instruction_that_are_kernels_or_copies(chips: ModuleType) -> None:
    launch = ["kCustomKernel", "kCustomKernel", "kCopy", "kAsyncStart", "kDynamicSliceFusion"]
    kinds = [*launch, "kDynamicSliceFusion", "kWhile", "kCommandBuffer", "kAsyncDone"]
    names = ["sort.1", "sort.1", "copy.2", "start.3", "fusion.4", "inside start.3", "while.5", "buffer", "done.6"]
    thunks = "".join(
        f'thunk_metadata {{\n  thunk_info {{\n    profile_annotation: "{name}"\n  }}\n  thunk_kind: "{kind}"\n}}\n'
        for name, kind in zip(names, kinds, strict=True)
    )
    found = chips._launches(thunks, {"sort.1", "copy.2", "start.3", "fusion.4", "while.5", "done.6"})
    assert found == {"sort.1": 2, "copy.2": 1, "start.3": 1, "fusion.4": 1}


def test_missing_packages_are_named_with_the_command_that_installs_them(
    chips: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(chips._MODULES, "tpu", ("json", "no_such_compiler", "no_such.thing"))
    assert chips.missing_packages("tpu") == (
        "no_such_compiler, no_such.thing not found; install: pip install 'jax[tpu]' chex"
    )
    monkeypatch.setitem(chips._MODULES, "tpu", ("json",))
    assert chips.missing_packages("tpu") is None


def test_check_complains_of_more_than_a_tenth(compile_for: ModuleType) -> None:
    before = {"temporaries": 1_000_000, "cycles": 100_000}
    same = {"temporaries": 1_099_000, "cycles": 109_000, "bytes": 7.0}
    assert list(compile_for.complaints(same, before)) == []
    worse = list(compile_for.complaints({"temporaries": 1_101_000, "cycles": 111_000}, before))
    assert [line.split()[0] for line in worse] == ["temporaries", "cycles"]
    assert list(compile_for.complaints({"spills": True, "launches": 4}, {"spills": False, "launches": 4})) == [
        "registers of a kernel spill, which none did before"
    ]
    assert list(compile_for.complaints(same, None)) == ["not in the record; write the record again"]


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["tpu", "gpu"])
def test_small_program_compiles_within_what_was_recorded(chips: ModuleType, tmp_path: pathlib.Path, chip: str) -> None:
    missing = chips.missing_packages(chip)
    if missing:
        pytest.skip(missing)
    written = tmp_path / "figures.json"
    command = [sys.executable, FOLDER / "compile_for.py", chip, "--case", "box_iou", "--markdown", "--json", written]
    record = FOLDER / "results" / f"compile_for_{chip}.json"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    done = subprocess.run([*command, "--check", record], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| `box_iou` 100 x 100 |" in done.stdout
    figures = json.loads(written.read_text())["programs"]["box_iou"]
    assert figures["cycles" if chip == "tpu" else "launches"] > 0

    tight = json.loads(record.read_text())
    tight["programs"]["box_iou"]["temporaries"] = -(10**6)
    written.write_text(json.dumps(tight))
    done = subprocess.run([*command, "--check", written], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "failed: box_iou: temporaries" in done.stderr


@pytest.mark.slow
def test_capacity_asks_the_compiler(chips: ModuleType) -> None:
    missing = chips.missing_packages("gpu")
    if missing:
        pytest.skip(missing)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    command = [sys.executable, FOLDER / "capacity.py", "gpu", "--images", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"`compute` needs ([\d,]+) bytes per detection", done.stdout)[0].replace(",", "")) > 0
