"""Files as such: what is opened and what is refused, packed and cut data, archives, folders, standard input."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pathlib
import socket
import stat
import sys
import tarfile
from collections.abc import Callable

import pytest

from jaxmap.io import is_voc, load_json, read_voc_detections, read_voc_ground_truths
from jaxmap.io._files import files_in, is_archive, names_in, read_bytes

PACKERS = pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
TEXT = b"some text, " * 99
XML = (
    "<annotation><object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>"
)


def tar_of(files: dict[str, bytes], **fields: object) -> bytes:
    """Returns a plain tar archive; `fields` are set in the header of each file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def two_annotations() -> dict[str, bytes]:
    return {"a/1.xml": XML.format("car").encode(), "a/2.xml": XML.format("dog").encode()}


# ---- what is opened ----


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is a pipe, but a regular file was expected; write - to read standard input"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "is a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    ],
    ids=["pipe", "socket", "device"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_only_regular_files_are_opened(
    tmp_path: pathlib.Path, make: Callable[[pathlib.Path], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may be short only
    make(pathlib.Path("odd.xml"))
    for read in (read_bytes, load_json, read_voc_ground_truths):
        with pytest.raises(ValueError, match=f"odd.xml: {message}"):
            read("odd.xml")
    with pytest.raises(ValueError, match=f"odd.xml: {message}"):  # in a folder it is not left out either
        read_voc_ground_truths(tmp_path)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("a\0b", ValueError, r"'a\\x00b': no file can have this name"),
        ("\ud800", ValueError, "no file can have this name"),
        ("x" * 999, OSError, "File name too long"),
        ("missing", FileNotFoundError, "missing"),
        (".", IsADirectoryError, "is a folder, but a file was expected"),
        ("loop", OSError, "symbolic links.*loop"),
        ("dangling", FileNotFoundError, "dangling"),
        ("file/inside", NotADirectoryError, "file/inside"),
    ],
)
def test_names_that_open_nothing_are_named(
    tmp_path: pathlib.Path, name: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    os.symlink("nowhere", "dangling")
    pathlib.Path("file").write_bytes(b"{}")
    with pytest.raises(error, match=message) as caught:
        load_json(name)
    assert "\n" not in str(caught.value)


def test_unreadable_files_and_folders_are_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "closed").mkdir()
    (tmp_path / "1.xml").write_text(XML.format("car"))
    monkeypatch.setattr(os, "scandir", refuse)  # the tests may run as root, who may read everything
    with pytest.raises(PermissionError, match=str(tmp_path)):
        read_voc_ground_truths(tmp_path)


def test_an_error_without_a_name_gets_it(tmp_path: pathlib.Path) -> None:
    memory = pathlib.Path("/proc/self/mem")
    if not memory.exists() or not stat.S_ISREG(memory.stat().st_mode):
        pytest.skip(f"{memory} is no regular file on this system")
    with pytest.raises(OSError, match="/proc/self/mem"):
        read_bytes(memory)


def test_what_does_not_fit_into_the_memory_is_said(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        try:
            file.truncate(1 << 43)  # all of it a hole
        except OSError:
            pytest.skip(f"the file system of {path} holds no file of 8 TiB")
    with pytest.raises(OSError, match=r"does not fit into memory: .*huge\.json"):
        load_json(path)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'{"a": 1}'))))
    assert load_json("-") == {"a": 1}
    with pytest.raises(ValueError, match="standard input is empty; it can only be read once"):
        load_json("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="there is no standard input"):
        load_json("-")
    with open("/dev/zero") as zeros:
        monkeypatch.setattr(sys, "stdin", zeros)
        with pytest.raises(ValueError, match="standard input is a terminal or a device"):
            load_json("-")


# ---- packed data ----


@PACKERS
def test_packed_data_is_unpacked_whole_or_refused(tmp_path: pathlib.Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "packed"
    packed = pack(TEXT)
    for whole, expected in ((packed, TEXT), (packed + pack(b"!"), TEXT + b"!"), (packed + bytes(512), TEXT)):
        path.write_bytes(whole)
        assert read_bytes(path) == expected
    for length in range(6, len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(ValueError, match=r"packed: broken .* data .* is damaged or cut off, copy it again"):
            read_bytes(path)
    damaged = bytearray(packed)
    damaged[-5] ^= 1
    for broken in (bytes(damaged), packed + b"more", packed + pack(b"!")[:-1]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"broken .* data"):
            read_bytes(path)


@PACKERS
def test_data_that_unpacks_out_of_all_proportion_is_refused(
    tmp_path: pathlib.Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxmap.io._files._ALWAYS_ALLOWED", 1 << 16)
    path = tmp_path / "bomb"
    path.write_bytes(pack(bytes(1 << 16)))
    assert read_bytes(path) == bytes(1 << 16)
    path.write_bytes(pack(bytes(1 << 20)))
    with pytest.raises(ValueError, match=r"bytes of .* data unpack to more than .*; unpack the file"):
        read_bytes(path)


@pytest.mark.parametrize(("data", "kind"), [(b"PK\x03\x04", "a ZIP archive"), (b"\x28\xb5\x2f\xfd", "packed by zstd")])
def test_other_ways_of_packing_are_named(tmp_path: pathlib.Path, data: bytes, kind: str) -> None:
    (tmp_path / "gt").write_bytes(data)
    with pytest.raises(ValueError, match=f"gt: is {kind}, which is not supported; unpack it"):
        load_json(tmp_path / "gt")


# ---- archives ----


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_archives_are_read_however_they_are_packed(tmp_path: pathlib.Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "xml.tar"
    path.write_bytes(pack(tar_of(two_annotations() | {"a/readme": b"", "a/.1.xml": b""})))
    assert is_archive(path)
    assert [(name, data) for name, data in files_in(path, ".xml")] == [
        (f"{path}/{name}", data) for name, data in two_annotations().items()
    ]
    assert read_voc_ground_truths(path).class_names == ("car", "dog")


def test_an_archive_cut_anywhere_is_refused(tmp_path: pathlib.Path) -> None:
    whole, path = tar_of(two_annotations()), tmp_path / "cut.tar"
    end = 4 * tarfile.BLOCKSIZE  # of two headers with one block of data each
    for length in [*range(tarfile.BLOCKSIZE, end + tarfile.BLOCKSIZE, 37), end, end + 1, end + tarfile.BLOCKSIZE - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.tar: broken archive \(.*it is damaged or cut off"):
            read_voc_ground_truths(path)
        path.write_bytes(gzip.compress(whole[:length]))  # cut before it was packed
        with pytest.raises(ValueError, match=r"cut\.tar: broken archive \(.*it is damaged or cut off"):
            read_voc_ground_truths(path)
    path.write_bytes(whole[: end + tarfile.BLOCKSIZE])
    assert read_voc_ground_truths(path).class_names == ("car", "dog")
    damaged = bytearray(whole)
    damaged[2 * tarfile.BLOCKSIZE] ^= 1  # the second header: its sum is wrong, which tarfile takes for the end
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="its end marker is missing"):
        read_voc_ground_truths(path)


@pytest.mark.parametrize("name", ["cut.tar", "cut.tgz", "cut.TAR.GZ", "cut.tar.xz"])
def test_an_archive_of_which_little_is_left_is_known_by_its_name(tmp_path: pathlib.Path, name: str) -> None:
    whole = tar_of(two_annotations())
    for content in (b"", whole[:100], gzip.compress(whole)[:2], gzip.compress(whole)[:10], lzma.compress(whole)[:10]):
        (tmp_path / name).write_bytes(content)
        assert is_voc(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name}: broken .* is damaged or cut off"):
            read_voc_ground_truths(tmp_path / name)


def test_links_in_an_archive_are_followed_or_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "links.tar"
    one = {"1.xml": XML.format("car").encode()}

    def write(target: str) -> None:
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("1.xml")
            member.size = len(one["1.xml"])
            archive.addfile(member, io.BytesIO(one["1.xml"]))
            link = tarfile.TarInfo("2.xml")
            link.type, link.linkname = tarfile.LNKTYPE, target
            archive.addfile(link)

    write("1.xml")
    assert read_voc_ground_truths(path).image_ids.tolist() == ["1", "2"]
    for target in ("missing.xml", "2.xml"):
        write(target)
        with pytest.raises(ValueError, match=r"links\.tar: broken archive"):
            read_voc_ground_truths(path)
    path.write_bytes(tar_of({"1.xml": b""}, type=tarfile.FIFOTYPE))
    with pytest.raises(ValueError, match=r"broken archive \('1.xml' is not a file\)"):
        read_voc_ground_truths(path)


def test_an_archive_of_impossible_sizes_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxmap.io._files._ALWAYS_ALLOWED", 1 << 10)
    path = tmp_path / "bad.tar"
    member = tarfile.TarInfo("1.xml")
    member.size = -(1 << 10)
    path.write_bytes(member.tobuf() + bytes(1 << 10))
    with pytest.raises(ValueError, match="negative size"):
        read_voc_ground_truths(path)
    member.size = 1 << 40
    path.write_bytes(member.tobuf() + bytes(1 << 10))
    with pytest.raises(ValueError, match="broken archive"):
        read_voc_ground_truths(path)


# ---- folders ----


def test_files_of_a_folder_are_found_whatever_the_case_and_through_links(tmp_path: pathlib.Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/1.XML", "2.xml", ".3.xml", "4.txt"):
        (tmp_path / name).write_text(XML.format("car"))
    os.symlink(tmp_path, tmp_path / "b" / "up")  # a circle
    elsewhere = tmp_path.parent / f"{tmp_path.name}_elsewhere"
    elsewhere.mkdir()
    (elsewhere / "5.xml").write_text(XML.format("dog"))
    os.symlink(elsewhere, tmp_path / "linked")
    assert [pathlib.Path(name).name for name in names_in(tmp_path)] == ["2.xml", "4.txt", "1.XML", "5.xml"]
    assert read_voc_ground_truths(tmp_path).image_ids.tolist() == ["1", "2", "5"]


def test_a_link_to_nothing_in_a_folder_is_not_left_out(tmp_path: pathlib.Path) -> None:
    (tmp_path / "1.xml").write_text(XML.format("car"))
    os.symlink("nowhere.xml", tmp_path / "2.xml")
    with pytest.raises(FileNotFoundError, match=r"2\.xml"):
        read_voc_ground_truths(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it has no file; check that it is the right folder or archive"),
        ({"gt.json": "{}", "a.jpg": ""}, r"it has 1 of \.jpg, 1 of \.json; name the \*\.json file itself"),
        ({"1.txt": "0 0.5 0.5 0.25 0.125\n"}, r"1 of \.txt; it looks like YOLO's labels .* or with --format yolo"),
        ({"1.txt": "", "2.txt": "0 0.1 0.2 0.3 0.4 0.5 0.6\n"}, "it looks like YOLO's labels"),
        ({"1.txt": "imagesource:x\ngsd:1\n1 2 3 4 5 6 7 8 ship 0\n"}, "looks like DOTA's labels, .* --iou-type obb"),
        ({"1.txt": "any other text"}, "check that it is the right folder or archive"),
    ],
)
@pytest.mark.parametrize("in_archive", [False, True])
def test_a_folder_of_another_format_is_told_from_what_is_in_it(
    tmp_path: pathlib.Path, files: dict[str, str], message: str, in_archive: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    if in_archive and files:
        folder = tmp_path / "folder.tar"
        folder.write_bytes(tar_of({name: text.encode() for name, text in files.items()}))
    with pytest.raises(ValueError, match=rf"folder\S*: no \*\.xml file in it, .*{message}"):
        read_voc_ground_truths(folder)


def test_a_folder_of_yolo_results_is_told_from_the_names_of_images(tmp_path: pathlib.Path) -> None:
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "000012.xml").write_text(XML.format("car"))
    (tmp_path / "txt").mkdir()
    (tmp_path / "txt" / "000012.txt").write_text("0 0.5 0.5 0.25 0.125 0.9\n")
    truth = read_voc_ground_truths(tmp_path / "xml")
    with pytest.raises(
        ValueError, match=r"'000012' is not among the 1 classes .*'car'; it has the name of an image, but"
    ):
        read_voc_detections(tmp_path / "txt", truth)


def test_the_program_says_one_line_about_each(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    from jaxmap._cli import main

    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(tar_of(two_annotations()))[:15])
    (tmp_path / "gt.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    for path in ("/dev/zero", tmp_path / "pipe.json", "a\0b", tmp_path / "cut.tar.gz", tmp_path, "x" * 999):
        assert main(["eval", str(path), str(tmp_path / "gt.json")]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("jaxmap: error: ")
