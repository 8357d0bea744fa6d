"""What the text at the start of an NRRD or MetaImage file promises, before a C++ reader may look at it.

NRRD: http://teem.sourceforge.net/nrrd/format.html. MetaImage: https://itk.org/Wiki/MetaIO/Documentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import psutil

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import check_file, looks_like
from maskmatch_med.io.guard import Limits

_HEADER_BYTES = 1 << 20
_BEST_RATIO = {"raw": 1, "gzip": 1040, "gz": 1040}
"""How many bytes one stored byte can become; a text needs a byte a number at least."""
_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
    "float": 4,
}
_META_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG", "MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_MM_PER_UNIT = {"mm": 1.0, "m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001, "microns": 0.001, "micron": 0.001}
_MANY_FILES = "names several data files; save it as one file, or import the slices themselves"


@dataclass(frozen=True)
class Promise:
    """What the header says is there.

    Args:
        format: the name of the format.
        reader: ITK's name of its reader.
        value_bytes: of all values, decompressed.
        stored_bytes: of the file that holds the values.
        mm_per_unit: millimetres in its unit of length.
        placed: whether it states the directions of its axes in the world.
    """

    format: str
    reader: str
    value_bytes: int
    stored_bytes: int
    mm_per_unit: float = 1.0
    placed: bool = True

    def limits(self) -> Limits:
        """What reading it may cost."""
        return Limits.of(self.stored_bytes, self.value_bytes)


def read_promise(path: Path) -> Promise:
    """Read the text header of a file and hold it against the size of the file that has the values.

    Raises:
        InputError: it promises more than the file can hold or this machine has memory for, or names data files that
            are missing, several, or outside its own folder.
        ValueError, KeyError, IndexError: the header is damaged.
    """
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    if start.startswith(b"NRRD"):
        return _nrrd(path, start)
    if path.suffix.lower() in {".nrrd", ".nhdr"}:
        raise InputError(
            f"{path} does not start as an NRRD file does{looks_like(path)}; check the file or export it anew"
        )
    return _meta(path, start)


def _nrrd(path: Path, start: bytes) -> Promise:
    fields: dict[str, str] = {}
    for line in start.decode("latin-1").splitlines()[1:]:
        if not line.strip():
            break
        if line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"the line {line[:60]!r} is no field")
        fields[name.strip().lower()] = value.strip()
    sizes = [int(n) for n in fields["sizes"].split()]
    if int(fields["dimension"]) != len(sizes):
        raise ValueError(f"dimension {fields['dimension']} with {len(sizes)} sizes")
    kind = " ".join(fields["type"].lower().split())
    if kind not in _NRRD_BYTES:
        raise ValueError(f"type {kind[:40]!r}")
    data = _data_file(path, fields.get("data file", fields.get("datafile")))
    stored = _held(path, data, sizes, _NRRD_BYTES[kind], fields["encoding"].lower())
    values = math.prod(sizes) * _NRRD_BYTES[kind]
    unit = _unit(path, fields.get("space units", ""))
    return Promise("NRRD", "NrrdImageIO", values, stored, unit, placed={"space", "space directions"} <= set(fields))


def _meta(path: Path, start: bytes) -> Promise:
    fields: dict[str, str] = {}
    for raw in start.split(b"\n"):
        name, equals, value = raw.decode("latin-1").partition("=")
        if not equals:
            raise ValueError(f"the line {name[:60]!r} is no field")
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    sizes = [int(n) for n in fields["DimSize"].split()]
    if int(fields["NDims"]) != len(sizes):
        raise ValueError(f"NDims {fields['NDims']} with {len(sizes)} sizes")
    number = fields["ElementType"].removesuffix("_ARRAY")
    if number not in _META_BYTES:
        raise ValueError(f"ElementType {number[:40]!r}")
    components = int(fields.get("ElementNumberOfChannels", "1"))
    name = fields["ElementDataFile"]
    data = _data_file(path, None if name.upper() == "LOCAL" else name)
    encoding = "gzip" if fields.get("CompressedData", "").lower() == "true" else "raw"
    if fields.get("BinaryData", "True").lower() == "false":
        encoding = "text"
    stored = _held(path, data, [components, *sizes], _META_BYTES[number], encoding)
    if encoding == "gzip" and int(fields.get("CompressedDataSize", "0")) > stored:
        raise InputError(f"{path} is cut off: {data.name} is shorter than its header promises; copy or export it anew")
    values = components * math.prod(sizes) * _META_BYTES[number]
    placed = bool({"TransformMatrix", "Rotation", "Orientation", "AnatomicalOrientation"} & set(fields))
    return Promise("MetaImage", "MetaImageIO", values, stored, placed=placed)


def _data_file(path: Path, name: str | None) -> Path:
    """The file with the values: the file itself, or one in its folder."""
    if name is None:
        return path
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{path} {_MANY_FILES}")
    data = path.parent / name
    if not data.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{path} takes its values from {name[:200]}, outside its own folder; copy them beside it")
    if not data.exists():
        raise InputError(f"{path} has no values beside it: the file {name[:200]} is missing; copy it there")
    check_file(data)
    return data


def _held(path: Path, data: Path, sizes: list[int], itemsize: int, encoding: str) -> int:
    """The size of the data file, after the promise was held against it and against the memory of this machine."""
    if min(sizes) < 1:
        raise ValueError(f"sizes {sizes}")
    if encoding in {"bzip2", "bz2"}:
        raise InputError(f"{path} is compressed with bzip2, which ITK does not read; save it with gzip")
    stored, count = data.stat().st_size, math.prod(sizes)
    least = count * itemsize if encoding in _BEST_RATIO else count
    if least > stored * _BEST_RATIO.get(encoding, 1):
        raise InputError(f"{path} is cut off: its header promises {tuple(sizes)} voxels, more than the file can hold")
    if count * (itemsize + 8) > psutil.virtual_memory().total:
        raise InputError(f"{path} with {tuple(sizes)} voxels does not fit into memory; crop or downsample it")
    return stored


def _unit(path: Path, text: str) -> float:
    """Millimetres in the unit of an NRRD file: of the first three that it states; millimetres where it states none."""
    units = {unit.strip('"').strip().lower() for unit in text.replace('" "', '"\n"').splitlines()} - {""}
    if len(units) > 1:
        raise InputError(f"{path} states different units of length {sorted(units)}; save it in millimetres")
    return _MM_PER_UNIT.get(next(iter(units), "mm"), 1.0)
