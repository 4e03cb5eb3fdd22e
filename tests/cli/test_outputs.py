"""What the command writes: whole files or none, checked before the work; one line of text whatever a name holds."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import jaxmap
from jaxmap import _outputs as outputs
from jaxmap._cli import main
from jaxmap._cli._interrupts import interrupts_deferred
from jaxmap.report import write_report
from support.command import GROUND_TRUTHS, RESULTS, SETTINGS, error_of, numbers, write_files

ROOT = pathlib.Path(jaxmap.__file__).parents[1]
UGLY = "a\x1b[31mred\x1b[0m\nclass"
SHOWN = r"a\x1b[31mred\x1b[0m\nclass"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if an input is read: what is wrong with an output is said before."""
    for name in ("read_coco_ground_truths", "read_coco_detections", "demo_scene"):
        monkeypatch.setattr(f"jaxmap.io.{name}", lambda *_, **__: pytest.fail("an input was read"))


def failing_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes half of every file, and then the disk is full."""

    def write_bytes(path: pathlib.Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", write_bytes)


# ---- files ----


@pytest.mark.parametrize("old", [None, "what was there"])
def test_full_disk_leaves_the_old_file_and_prints_the_table(
    capsys: pytest.CaptureFixture[str],
    files: list[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str | None,
) -> None:
    out = tmp_path / "out.json"
    if old is not None:
        out.write_text(old)
    before = sorted(tmp_path.iterdir())
    failing_disk(monkeypatch)
    assert main(["eval", *files, "--json", str(out)]) == 2
    text, message = capsys.readouterr()
    assert len(text.strip().splitlines()) == 12
    assert message == f"jaxmap: error: {out}: cannot be written: No space left on device\n"
    assert sorted(tmp_path.iterdir()) == before  # nor is a temporary file left
    assert old is None or out.read_text() == old


def test_full_device_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--demo", "--json", "/dev/full"]) == 2
    text, message = capsys.readouterr()
    assert len(text.strip().splitlines()) == 12
    assert message == "jaxmap: error: /dev/full: cannot be written: No space left on device\n"


def test_full_disk_leaves_the_old_page(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "index.html").write_text("the old page")
    failing_disk(monkeypatch)
    with pytest.raises(OSError, match="cannot be written: No space left on device") as caught:
        write_report(jaxmap.evaluate(*jaxmap.io.demo_scene()), tmp_path)
    assert caught.value.filename == str(tmp_path / "index.html")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == "the old page"


@pytest.mark.usefixtures("unread")
def test_output_is_checked_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    missing = tmp_path / "missing" / "out.json"
    assert f"{missing}: cannot be written: there is no folder" in error_of(
        capsys, "eval", *files, "--json", str(missing)
    )
    assert "it is a folder: name a file in it" in error_of(capsys, "eval", *files, "--json", str(tmp_path))
    below = f"{files[0]}/out.json"
    assert f"{below}: cannot be written: Not a directory" in error_of(capsys, "explain", "--demo", "--json", below)
    for option in (files[1], os.path.relpath(files[0])):
        message = error_of(capsys, "eval", *files, "--json", option)
        assert message == f"jaxmap: error: --json {option} would overwrite an input file\n"


@pytest.mark.usefixtures("unread")
def test_folder_that_cannot_be_written_is_named_first(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touch(path: pathlib.Path, **_: object) -> None:  # root may write to folders that are read-only
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "touch", touch)
    out = str(tmp_path / "out.json")
    assert (
        error_of(capsys, "eval", *files, "--json", out)
        == f"jaxmap: error: {out}: cannot be written: Permission denied\n"
    )
    pytest.importorskip("matplotlib")
    folder = str(tmp_path / "new" / "folder")
    message = error_of(capsys, "report", "--demo", "-o", folder)
    assert message == f"jaxmap: error: {folder}/index.html: cannot be written: Permission denied\n"
    assert not (tmp_path / "new").exists()
    assert "Not a directory" in error_of(capsys, "report", "--demo", "-o", files[0])


def test_written_file_keeps_its_permissions_and_its_links(tmp_path: pathlib.Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    outputs.write_output(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640
    plain = tmp_path / "plain"
    plain.touch()
    assert outputs.write_output(tmp_path / "made", "x").stat().st_mode == plain.stat().st_mode  # the user's umask


# ---- text ----


@pytest.mark.parametrize(
    "command", [["eval", "--per-class"], ["explain"], ["operating-points", "--per-class"], ["errors", "--per-class"]]
)
def test_names_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, command: list[str]
) -> None:
    categories = [GROUND_TRUTHS["categories"][0] | {"name": UGLY}, GROUND_TRUTHS["categories"][1] | {"name": UGLY}]
    gt, dt = tmp_path / "gt.json", tmp_path / "dt.json"
    false = RESULTS[0] | {"score": 1.0, "bbox": [300, 300, 9, 9]}
    gt.write_text(json.dumps(GROUND_TRUTHS | {"categories": categories}))
    dt.write_text(json.dumps([*RESULTS, false]))
    assert main([command[0], str(gt), str(dt), *command[1:]]) == 0
    out = capsys.readouterr().out
    assert SHOWN in out
    assert "\x1b" not in out


def test_messages_warnings_and_progress_are_escaped(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / UGLY
    folder.mkdir()
    files = write_files(folder, [*RESULTS, RESULTS[0] | {"category_id": 99}])
    assert f"{SHOWN}/nowhere: No such file or directory" in error_of(capsys, "eval", files[0], f"{folder}/nowhere")
    assert main(["eval", *files]) == 0
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert f"{SHOWN}/dt.json: ignored 1 of 3" in warning
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["eval", *files]) == 0
    assert f"jaxmap: reading {tmp_path}/{SHOWN}/gt.json\n" in capsys.readouterr().err
    assert f"area={SHOWN}" in main_out(capsys, "eval", "--demo", "--area-ranges", f"{UGLY}=0:9")


def test_names_stay_as_they_are_where_they_are_harmless() -> None:
    assert outputs.printable("größe 猫\u3000👩") == "größe 猫\u3000👩"
    assert outputs.printable("bad\udcffbyte") == r"bad\udcffbyte"


def main_out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_one_threshold_has_one_row_and_one_column(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    table, classes = main_out(capsys, "eval", *files, "--iou-thresholds", "0.5", "--per-class").split("\n\n")
    assert len(table.splitlines()) == len(set(table.splitlines())) == 10
    assert classes.split("\n")[0].split() == [
        "id",
        "class",
        "objects",
        "AP",
        "APs",
        "APm",
        "APl",
        "AR1",
        "AR10",
        "AR100",
        "ARs",
        "ARm",
        "ARl",
    ]
    assert numbers(capsys, *files, "--iou-thresholds", "0.5")["AP50"] == pytest.approx(51 / 101)  # JSON has all names


def test_score_thresholds_are_rounded_down(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    files = write_files(tmp_path, [RESULTS[0] | {"score": 0.8999999761581421}])
    text = main_out(capsys, "operating-points", *files)
    assert text.splitlines()[2].split()[2] == "0.8999"
    content = json.loads(main_out(capsys, "operating-points", *files, "--json", "-"))
    assert content["micro"]["score_threshold"] == 0.8999999761581421


# ---- as a program ----


def program(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | SETTINGS
    command = [sys.executable, "-m", "jaxmap", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


def test_ctrl_c_is_silent() -> None:
    code = (
        "import os, signal, sys, jaxmap.io; from jaxmap._cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # processes in the background ignore it
        "jaxmap.io.read_coco_ground_truths = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT); "
        "sys.exit(main(['eval', 'gt', 'dt']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, b"", b"")


def test_full_standard_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full, program("eval", "--demo", stdout=full) as process:
        assert process.stderr is not None
        assert process.stderr.read() == b"jaxmap: error: standard output: No space left on device\n"
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("package", "arguments", "cure"),
    [
        ("matplotlib", ["report", "--demo", "-o", "{}"], "pip install 'jaxmap[plot]'"),
        ("PIL", ["panoptic", "{}/gt.json", "{}/gt.json"], 'pip install "jaxmap[panoptic]"'),
    ],
)
def test_missing_package_is_one_line_with_its_cure(
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    arguments: list[str],
    cure: str,
) -> None:
    segment = {"id": 1, "category_id": 1}
    annotation = {"image_id": 1, "file_name": "1.png", "segments_info": [segment]}
    content = {
        "images": [{"id": 1, "width": 4, "height": 4}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "x", "isthing": 1}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "1.png").write_bytes(b"")
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert cure in error_of(capsys, *(argument.format(tmp_path) for argument in arguments))


def test_mistake_of_our_own_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxmap.io.demo_scene", lambda: {}["nothing"])
    assert main(["eval", "--demo"]) == 1
    expected = "jaxmap: error: unexpected KeyError: 'nothing' (`python -X dev -m jaxmap` shows where)\n"
    assert capsys.readouterr() == ("", expected)


def test_ctrl_c_while_modules_are_loaded_waits_for_them() -> None:
    done = []

    def load() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        load()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupts_deferred():
        pass  # and nothing is raised


def test_ctrl_c_stays_ignored_where_it_is_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
