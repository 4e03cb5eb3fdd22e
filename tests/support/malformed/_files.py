"""Damaged files and wrong kinds of files, in the place of each file that a command reads."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pathlib
import random
import tarfile
from collections.abc import Callable, Iterator

from . import _coco, _text
from ._case import Case, Expected, Numbers
from ._process import run_command

__all__ = ["cases"]

Damage = Callable[[bytes], bytes]

# The files of each format that are damaged in turn.
FILES = {
    "coco": ("g.json", "d.json"),
    "voc": ("gt/im1.xml", "dt/comp4_det_test_cat.txt"),
    "dota": ("gt/im1.txt", "dt/Task1_cat.txt"),
    "openimages": ("gt.csv", "dt.csv"),
    "yolo": ("gt/im1.txt", "dt/im1.txt"),
    "kitti": ("gt/im1.txt", "dt/im1.txt"),
    "ultralytics": ("predictions.json",),
}
# Beside the files that are there: what is no file of any format.
NO_FORMAT = {
    "empty folder": {},
    "folder of text": {"gt/notes.md": "notes", "dt/notes.md": "notes"},
    "folder of YOLO labels": {"gt/1.txt": "0 0.5 0.5 0.1 0.1\n", "dt/1.txt": "0 0.5 0.5 0.1 0.1 0.9\n"},
    "folder of JSON": {"gt/1.json": "{}", "dt/1.json": "[]"},
    "folder of folders": {"gt/a/b/c/x": "", "dt/a/b/c/x": ""},
    "folder of empty XML": {"gt/1.xml": "", "dt/cat.txt": ""},
    "folder of other XML": {"gt/1.xml": "<svg/>", "dt/cat.txt": ""},
    "folder of billion laughs": {
        "gt/1.xml": '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "]><annotation><object><name>&i;</name></object></annotation>",
        "dt/cat.txt": "",
    },
    "folder of unknown encoding": {"gt/1.xml": '<?xml version="1.0" encoding="klingon"?><annotation/>', "dt/a.txt": ""},
    "folder of external entity": {
        "gt/1.xml": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><annotation><object><name>&e;</name>'
        "</object></annotation>",
        "dt/cat.txt": "",
    },
}


def cases() -> Iterator[Case]:
    """Yields all cases of the doors `damaged`, `archive`, `special` and `no format`."""
    for door, paths in FILES.items():
        for path in paths:
            for name, (damage, accepted) in _damages(door).items():
                run = functools.partial(_run_damaged, door, path, damage)
                yield Case(f"damaged/{door} {path} {name}", run, _expected(door, path, name, accepted))
            for name, (make, where) in SPECIAL.items():
                run = functools.partial(_run_special, door, path, make)
                in_folder = door in (
                    "voc",
                    "dota",
                    "yolo",
                    "kitti",
                )  # what is no regular file there is passed over: a warning, or no file
                expected = Expected(refused=("",), numbers=dict) if in_folder else Expected(refused=(where or path,))
                yield Case(f"special/{door} {path} {name}", run, expected)
    for door in ("voc", "dota", "yolo", "kitti"):
        for packed in ("tar", "tar.gz"):
            for name, damage in _binary_damages().items():
                run = functools.partial(_run_archive, door, packed, damage)
                # What is cut off or flipped may be the padding, and a tar archive has no sum of its content.
                right = _right(door) if packed == "tar" or name in ("whole", "zeros after") else None
                words = "gt.tar|GT|class" if packed == "tar" else "gt.tar.gz|GT"
                yield Case(f"archive/{door} {packed} {name}", run, Expected(numbers=right, refused=(words,)))
    for name, files in NO_FORMAT.items():
        for options in ((), ("--iou-type", "obb"), ("--protocol", "lvis")):
            run = functools.partial(_run_no_format, files, options)
            yield Case(f"no format/{name} {' '.join(options)}", run, Expected(refused=("gt",)))


def _right(door: str) -> Callable[[], Numbers]:
    def numbers() -> Numbers:
        right = _coco.numbers_of("coco")
        return {name: right[name] for name in ("AP", "AP50", "AP75", "AR10")}

    return numbers


def _expected(door: str, path: str, name: str, accepted: str) -> Expected:
    words = (pathlib.PurePath(path).name,)
    if accepted == "same":
        return Expected(numbers=_right(door))
    nothing = name in ("empty", "blank", "gzip of nothing")  # no object, or no detection
    if path.endswith(".txt") and accepted == "no" and nothing:
        return Expected(numbers=dict, refused=("",))
    if accepted == "either":
        return Expected(numbers=_right(door), refused=words)
    return Expected(refused=words)


def _damages(door: str) -> dict[str, tuple[Damage, str]]:
    """Returns what is done to a file, and whether the right number is right: `no`, `either` or `same`."""
    made: dict[str, tuple[Damage, str]] = {
        "as it is": (lambda data: data, "same"),
        "empty": (lambda data: b"", "no"),
        "blank": (lambda data: b" \n\n ", "no"),
        "nul": (lambda data: b"\0" * 100, "no"),
        "byte order mark": (lambda data: b"\xef\xbb\xbf" + data, "same"),
        "CRLF": (lambda data: data.replace(b"\n", b"\r\n"), "same"),
        "UTF-16": (lambda data: data.decode().encode("utf-16"), "either"),
        "UTF-32": (lambda data: data.decode().encode("utf-32"), "either"),
        "Latin-1 at the end": (lambda data: data.rstrip() + b"\xe9\n", "no"),
        "words at the end": (lambda data: data + b"<a b c>", "no"),
        "twice": (lambda data: data + data, "no"),
        "HTML": (lambda data: b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "no"),
        "PNG": (lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "no"),
        "ZIP": (lambda data: b"PK\x03\x04" + bytes(range(256)), "no"),
        "Git LFS": (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "no"),
        "pickle": (lambda data: b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.", "no"),
        "JSON lines": (lambda data: b'{"image_id": 1}\n{"image_id": 2}\n', "no"),
        "JSON null": (lambda data: b"null", "no"),
        "JSON number": (lambda data: b"3", "no"),
        "JSON text": (lambda data: b'"{}"', "no"),
        "gzip of nothing": (lambda data: gzip.compress(b""), "no"),
    }
    if door != "coco":  # lines again are objects again
        del made["twice"]
    if door in ("coco", "openimages", "ultralytics"):
        made["gzip"] = (gzip.compress, "same")
        for name, change in _binary_damages().items():
            if name not in ("whole", "zeros after"):
                made[f"gzip {name}"] = (lambda data, change=change: change(gzip.compress(data)), "no")
    for eighths in range(1, 8):
        made[f"cut at {eighths}/8"] = (functools.partial(_cut_in_a_line, eighths=eighths), "no")
    for seed in range(6):
        made[f"high bit {seed}"] = (functools.partial(_high_bit, seed=seed), "either")
    return made


def _cut_in_a_line(data: bytes, eighths: int) -> bytes:
    """Cuts inside a line, after its second character: columns or brackets are missing then."""
    place = len(data) * eighths // 8
    start = data.rfind(b"\n", 0, place) + 1
    if data[:1] in b"{[<":
        return data[:place]
    return data[: start + 2]


def _high_bit(data: bytes, seed: int) -> bytes:
    """Damages one byte, so that the text is no UTF-8."""
    changed = bytearray(data)
    changed[random.Random(seed).randrange(len(data))] |= 0x80
    return bytes(changed)


def _binary_damages() -> dict[str, Damage]:
    """Returns what is done to a compressed file or an archive."""
    made: dict[str, Damage] = {
        "whole": lambda data: data,
        "zeros after": lambda data: data + bytes(1024),
        "header alone": lambda data: data[:10],
        "header and one byte": lambda data: data[:11],
        "magic alone": lambda data: data[:2],
    }
    for eighths in range(1, 8):
        made[f"cut at {eighths}/8"] = lambda data, eighths=eighths: data[: len(data) * eighths // 8]
    for eighths in range(1, 8, 2):
        made[f"flipped at {eighths}/8"] = lambda data, eighths=eighths: _flipped(data, len(data) * eighths // 8)
    return made


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def _write(door: str, folder: pathlib.Path) -> tuple[str, ...]:
    if door == "ultralytics":
        gt, _, *options = _text.write("yolo", folder)
        entries = [row | {"image_id": f"im{row['image_id']}"} for row in _coco.scene("coco")[1]]
        (folder / "predictions.json").write_text(json.dumps(entries))
        return gt, "predictions.json", *options
    if door != "coco":
        return _text.write(door, folder)
    for name, data in zip(("g.json", "d.json"), _coco.scene("coco"), strict=True):
        (folder / name).write_text(json.dumps(data))
    return "g.json", "d.json"


def _run_damaged(door: str, path: str, damage: Damage, folder: pathlib.Path) -> Numbers:
    arguments = _write(door, folder)
    (folder / path).write_bytes(damage((folder / path).read_bytes()))
    return run_command("eval", *arguments, "--json", "-")


def _run_special(door: str, path: str, make: Callable[[pathlib.Path], object], folder: pathlib.Path) -> Numbers:
    arguments = _write(door, folder)
    (folder / path).unlink()
    make(folder / path)
    return run_command("eval", *arguments, "--json", "-")


def _run_archive(door: str, packed: str, damage: Damage, folder: pathlib.Path) -> Numbers:
    gt, dt, *options = _write(door, folder)
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz" if packed.endswith("gz") else "w") as archive:
        archive.add(folder / gt, gt)
    (folder / f"gt.{packed}").write_bytes(damage(memory.getvalue()))
    return run_command("eval", f"gt.{packed}", dt, *options, "--json", "-")


def _run_no_format(files: dict[str, str], options: tuple[str, ...], folder: pathlib.Path) -> Numbers:
    for name in ("gt", "dt"):
        (folder / name).mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return run_command("eval", "gt", "dt", *options, "--json", "-")


# What stands in a file's place, and what the refusal names if not the file.
SPECIAL: dict[str, tuple[Callable[[pathlib.Path], object], str]] = {
    "missing": (lambda path: None, ""),
    "folder": (lambda path: path.mkdir(), "gt|dt|json|csv"),
    "FIFO": (os.mkfifo, ""),
    "link to nowhere": (lambda path: path.symlink_to("nowhere"), ""),
    "link to itself": (lambda path: path.symlink_to(path.name), ""),
    "link to /dev/zero": (lambda path: path.symlink_to("/dev/zero"), ""),
    "link to /dev/null": (lambda path: path.symlink_to("/dev/null"), ""),
}
