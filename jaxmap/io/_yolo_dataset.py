"""The files of a YOLO dataset: which images there are, the label file of each, and the names of classes.

A dataset is named by its `data.yaml`, or is a folder. Paths are resolved as in Ultralytics: the label file of
`.../images/val/a.jpg` is `.../labels/val/a.txt`, and an image without a label file is a background image.

References: Ultralytics data/utils.py, `check_det_dataset`, `img2label_paths`; data/base.py, `get_img_files`.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ._files import PathLike, files_in, is_archive, names_in, read_bytes
from ._lines import IMAGE_SUFFIXES, lines_of, shown
from ._recognition import Contents, is_label

__all__ = ["ClassNames", "Files", "find_files", "is_yolo", "names_of_classes"]

ClassNames = PathLike | Sequence[str] | Mapping[int, str]
MAX_CLASSES = 1 << 16

_YAML = (".yaml", ".yml")
_LARGEST_YAML = 1 << 22  # bytes; names of 65,536 classes are far fewer
_CLASSES = ("classes.txt", "obj.names")  # which labelling tools write beside the labels


class Files(NamedTuple):
    """The files of a dataset, by the id of the image: its file name without suffix.

    Attributes:
      images: the path of each image, None where there is only a label file.
      labels: the name and content of each label file.
      class_names: the names of classes by number; None if the dataset has none.
      in_archive: whether the images are inside an archive.
    """

    images: dict[str, str | None]
    labels: dict[str, tuple[str, bytes]]
    class_names: dict[int, str] | None
    in_archive: bool


def _is_data_yaml(path: PathLike) -> bool:
    """Returns True for the name of a YAML file."""
    return os.fspath(path).lower().endswith(_YAML)


def is_yolo(path: PathLike, contents: Contents | None) -> bool:
    """Returns True for `data.yaml`, a folder that has one, and text files with lines of YOLO's labels.

    Args:
      path: a file, a folder or a tar archive.
      contents: what a folder or archive holds; None for another file.
    """
    if contents is None:
        return _is_data_yaml(path)
    if os.path.isdir(path) and not contents.suffixes[".xml"] and any(_is_data_yaml(name) for name in os.listdir(path)):
        return True
    return any(is_label(words) for words in contents.lines)


def find_files(source: PathLike, split: str) -> Files:
    """Returns the files of a dataset.

    Args:
      source: `data.yaml`, a folder that has one, or a folder or tar archive of label files.
      split: the key of `data.yaml` that names the images.

    Raises:
      FileNotFoundError: if there is no such file or folder.
      ValueError: if `data.yaml` is not as described in `read_yolo_ground_truths`, or two files have the same name.
    """
    if _is_data_yaml(source):
        return _files_of_yaml(source, split)
    if os.path.isdir(source):
        yamls = sorted(name for name in os.listdir(source) if _is_data_yaml(name) and not name.startswith("."))
        if len(yamls) > 1 and "data.yaml" not in yamls:
            raise ValueError(f"{source}: several YAML files in it, {', '.join(yamls)}; name the one to use.")
        if yamls:
            return _files_of_yaml(os.path.join(source, "data.yaml" if "data.yaml" in yamls else yamls[0]), split)
    labels = dict(files_in(source, ".txt"))
    classes = [name for name in labels if pathlib.PurePath(name).name in _CLASSES]
    contents = [(name, labels.pop(name)) for name in classes]
    names = _checked_names(_lines(*contents[0]), contents[0][0]) if contents else None
    images = _images_in(source)
    partner = _swapped(os.path.abspath(source), "labels", "images")
    if not images and partner is not None and os.path.isdir(partner):
        images = _images_in(partner)
    found = {image_id: (name, labels[name]) for image_id, name in _by_stem(labels).items()}
    return Files(dict.fromkeys(found) | _by_stem(images), found, names, is_archive(source))


def names_of_classes(class_names: ClassNames) -> dict[int, str]:
    """Returns the names of classes by number, from `data.yaml`, a text file with a name per line, or the names.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the names are not texts, or their numbers not whole.
    """
    if not isinstance(class_names, str | os.PathLike):
        return _checked_names(class_names, "class_names")
    if not _is_data_yaml(class_names):
        return _checked_names(_lines(os.fspath(class_names), read_bytes(class_names)), str(class_names))
    names = _names_in(_load(class_names), str(class_names))
    if names is None:
        raise ValueError(f"{class_names}: expected `names`, a list of the names of classes, got none.")
    return names


def _lines(name: str, data: bytes) -> list[str]:
    """Returns the lines of a file of class names, without blank ones at the end."""
    return "\n".join(map(str.strip, lines_of(name, data))).rstrip().split("\n")


def _files_of_yaml(path: PathLike, split: str) -> Files:
    data, source = _load(path), os.fspath(path)
    if "kpt_shape" in data:
        raise ValueError(f"{source}: `kpt_shape` says that the labels have keypoints, which are not read from YOLO's.")
    entries = data.get(split)
    if split == "val" and entries is None:
        entries = data.get("validation")
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, list) or not entries or not all(isinstance(one, str) and one for one in entries):
        known = ", ".join(sorted(name for name in ("train", "val", "test", "minival") if data.get(name))) or "none"
        raise ValueError(
            f"{source}: `{split}` must be a folder, a list of images in a .txt file, or several of them, got "
            f"{type(data.get(split)).__name__}; the splits in it: {known}."
        )
    files = [file for entry in entries for file in _files_of(entry, data, source)]
    images = _by_stem(file for file in files if not file.lower().endswith(".txt"))
    labels = _label_files(images) | _by_stem(file for file in files if file.lower().endswith(".txt"))
    found = {image_id: (name, read_bytes(name)) for image_id, name in labels.items()}
    return Files(dict.fromkeys(found) | images, found, _names_in(data, source), in_archive=False)


def _label_files(images: Mapping[str, str]) -> dict[str, str]:
    labels = {}
    for image_id, image in images.items():
        path = _swapped(image, "images", "labels") or image
        label = os.path.splitext(path)[0] + ".txt"
        if os.path.lexists(label):  # a link to nowhere is damage, and no background
            labels[image_id] = label
    return labels


def _files_of(entry: str, data: Mapping[str, Any], source: str) -> list[str]:
    """Returns the images of a split, or its label files if it has labels alone."""
    bases, beside = [], os.path.dirname(source)
    root = data.get("path")
    if root is not None and not isinstance(root, str):
        raise ValueError(f"{source}: `path` must be the folder of the dataset, got {type(root).__name__}.")
    if root:
        bases += [os.path.join(beside, root), root]  # Ultralytics: relative to the working folder
    bases.append(beside)
    # Roboflow writes `../valid/images` for a folder that is beside `data.yaml`, which Ultralytics corrects, too.
    tries = [os.path.join(base, one) for base in bases for one in dict.fromkeys([entry, entry.removeprefix("../")])]
    try:
        places = [place for place in tries if os.path.exists(place)]
    except ValueError as error:
        raise ValueError(f"{source}: {shown(entry)} cannot be the name of a folder ({error}).") from None
    if places and os.path.isdir(places[0]):
        return _images_in(places[0]) or _labels_instead(places) or _no_images(source, entry, places)
    if places:
        return _images_listed(places[0], bases)
    return _labels_instead(tries) or _no_images(source, entry, tries)


def _labels_instead(places: Iterable[str]) -> list[str]:
    for place in places:
        partner = _swapped(os.path.abspath(place), "images", "labels")
        if partner is not None and os.path.isdir(partner):
            return [name for name in names_in(partner) if name.lower().endswith(".txt")]
    return []


def _no_images(source: str, entry: str, places: Sequence[str]) -> list[str]:
    tried = ", ".join(dict.fromkeys(map(os.path.normpath, places)))
    raise ValueError(f"{source}: no images for {shown(entry)}, looked in {tried}; correct `path` or the split.")


def _images_listed(path: str, bases: Sequence[str]) -> list[str]:
    """Returns the images in a text file with a path per line, relative to the file or to the dataset."""
    found = []
    for number, line in enumerate(lines_of(path, read_bytes(path)), start=1):
        if not (name := line.strip()):
            continue
        if pathlib.PurePath(name).suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"{path}, line {number}: expected the path of an image, got {shown(name)}.")
        tries = [os.path.normpath(os.path.join(base, name)) for base in (os.path.dirname(path), *bases)]
        found.append(next(filter(os.path.exists, tries), tries[0]))
    if not found:
        raise ValueError(f"{path}: expected the path of an image per line, got none.")
    return found


def _images_in(folder: PathLike) -> list[str]:
    return [name for name in names_in(folder) if pathlib.PurePath(name).suffix.lower() in IMAGE_SUFFIXES]


def _by_stem(names: Iterable[str]) -> dict[str, str]:
    """Returns files by their name without suffix, sorted."""
    found: dict[str, str] = {}
    for name in names:
        stem = pathlib.PurePath(name).stem
        if found.setdefault(stem, name) != name:
            raise ValueError(
                f"{found[stem]} and {name} have the same name, {stem!r}, which is the id of the image; rename one."
            )
    return dict(sorted(found.items()))


def _swapped(path: str, old: str, new: str) -> str | None:
    """Returns the path with its last folder of one name replaced by another; None if it has no such folder."""
    parts = list(pathlib.PurePath(path).parts)
    places = [place for place, part in enumerate(parts) if part == old]
    if not places:
        return None
    parts[places[-1]] = new
    return str(pathlib.PurePath(*parts))


def _load(path: PathLike) -> dict[Any, Any]:
    """Returns the content of a YAML file, which must be a mapping."""
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            f'{path}: YAML files need PyYAML, which is not installed: pip install "jaxmap[yolo]"'
        ) from error
    data = read_bytes(path)
    if len(data) > _LARGEST_YAML:
        raise ValueError(f"{path}: {len(data)} bytes are too many for the YAML file of a dataset; is it the right one?")
    try:
        content = yaml.safe_load(data)
    # Values such as dates raise errors of their own.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not valid YAML ({reason[:200]}).") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected the YAML file of a dataset, with `names` and `val`, got a {type(content).__name__}."
        )
    return content


def _names_in(data: Mapping[Any, Any], source: str) -> dict[int, str] | None:
    """Returns the names of classes in `data.yaml`."""
    names, count = data.get("names"), data.get("nc")
    if count is not None and (type(count) is not int or not 0 < count <= MAX_CLASSES):
        raise ValueError(f"{source}: `nc` must be the number of classes, 1 to {MAX_CLASSES}, got {count!r:.40}.")
    if names is None:
        return None if count is None else {number: f"class_{number}" for number in range(count)}
    checked = _checked_names(names, source)
    if count is not None and count != len(checked):
        raise ValueError(f"{source}: `nc` is {count}, but `names` has {len(checked)} names; correct one of them.")
    return checked


def _checked_names(names: Any, source: str) -> dict[int, str]:
    if isinstance(names, Sequence) and not isinstance(names, str | bytes):
        names = dict(enumerate(names))
    if not isinstance(names, Mapping) or not names:
        raise ValueError(
            f"{source}: the names of classes must be a list, or a mapping from number to name, got a "
            f"{type(names).__name__}{'' if names else ' without names'}."
        )
    checked = {}
    for number, name in names.items():
        if type(number) is not int or not 0 <= number < MAX_CLASSES:
            raise ValueError(f"{source}: the number of a class must be 0 to {MAX_CLASSES - 1}, got {number!r:.40}.")
        if not isinstance(name, str | int | float) or not str(name):
            raise ValueError(f"{source}: the name of class {number} must be a text, got a {type(name).__name__}.")
        checked[number] = str(name)
    return dict(sorted(checked.items()))
