"""Every example runs as a user runs it, on settings that take seconds, and says what it promises."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(name: str, *options: str) -> str:
    """Runs an example in a process of its own and returns what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def numbers_after(name: str, output: str) -> list[str]:
    return re.findall(rf"\b{name} +([0-9.]+)", output)


def test_training_shows_a_rising_average_precision_that_the_files_confirm() -> None:
    pytest.importorskip("flax")
    pytest.importorskip("optax")
    settings = {"epochs": 3, "train-images": 192, "eval-images": 40, "batch-size": 16, "width": 16}
    output = run("train_detector.py", "--measure", *(f"--{name}={value}" for name, value in settings.items()))
    scores = [float(score) for score in re.findall(r"^ +\d+ +\S+ +(\S+)", output, flags=re.MULTILINE)]
    assert len(scores) == 3
    assert 0 < scores[0] < scores[-1]
    assert "images 40, padding images excluded 8" in output
    assert numbers_after("COCO files: AP", output) == [f"{scores[-1]:.4f}"]
    difference = re.search(r"largest difference of any number (\S+)", output)
    assert difference is not None
    assert float(difference[1]) <= 1e-6
    assert re.search(r"inference [0-9.]+ ms, update [0-9.]+ ms, which is [0-9.]+% of an evaluation step", output)


def test_all_ways_to_use_many_devices_agree() -> None:
    output = run("multi_device.py", "--images=40", "--batch-size=24", "--devices=4")
    assert len(numbers_after("AP", output)) == 3
    assert len(set(numbers_after("AP", output))) == len(set(numbers_after("AP50", output))) == 1
    assert output.count("40 images, 8 padding images excluded") == 2


def test_processes_with_uneven_shares_agree() -> None:
    output = run("multi_host.py", "--processes", "3", "--images=40")
    assert len(numbers_after("AP", output)) == 4
    assert len(set(numbers_after("AP", output))) == 1
    assert re.findall(r"(\d+) images of it", output) == ["13", "27", "0"]
    assert output.count("40 images in all") == 3


def test_pooled_and_per_image_numbers_are_explained() -> None:
    output = run("pooled_vs_per_image.py")
    # 51 recall points at precision 1 and 50 at 2/3; 84 up to five of six objects at 1 and 17 at 6/8, where two false
    # positives have come in; and the first again, of true, true, false, false, true, true: 4/6 to the end.
    together = [(51 + 50 * 2 / 3) / 101, (84 + 17 * 6 / 8) / 101, (51 + 50 * 4 / 6) / 101]
    assert numbers_after("the pooled AP is", output) == [f"{value:.4f}" for value in together]
    assert numbers_after("images is", output) == ["1.0000", "0.6667", "0.8350"]
    assert output.count("Ranking takes 0.1650") == output.count("Ranking adds 0.2913") == 1
