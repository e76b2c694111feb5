"""Damage to files: of their bytes, and of what is in JSON, safetensors and parquet files.

Each function takes a generator and a file, changes the file, and says in words what it did.
"""

import copy
import hashlib
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Mutation = Callable[[random.Random, Path], str]

# JSON that Python's own writer does not give, by what stands for it in a string.
RAW = {
    "@1": "1e999",
    "@2": "-Infinity",
    "@3": "NaN",
    "@4": "[" * 2000 + "]" * 2000,
    "@5": '{"a":' * 2000 + "0" + "}" * 2000,
    "@6": "9" * 5000,
    "@7": "[" * 200_000,
    "@8": "-0.0",
    "@9": "1" + "0" * 400,
    "@0": "01",
}
# Ends a key that becomes a second one of its name.
AGAIN = "\u0007"
OUTSIDE = ("../../outside", "/tmp/irasim_outside", "a/../../../outside", "..", ".", "~", "a\x00b")
TEXTS = ("", "x", "\ud800", "é́👾", "a" * 10_000, "nan", "1", "{0.__class__}", "{:9999999999d}")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.5, 1e-300, 1e300, 2**31, 2**63, 2**64),
    *(-(2**31), -(2**63) - 1, 10**9, 10**18, 10**30, 65_536, 100_000, [], {}, [[]], [[[]]], [0]),
    *([None], ["x"], [[1, 2], [3]], {"a": 1}, {"": None}, [1e308] * 3, [[0.0] * 7] * 3),
    *OUTSIDE,
    *TEXTS,
    *RAW,
)


def mutate_bytes(rng: random.Random, path: Path) -> str:
    """Flip, cut, insert, repeat or drop bytes of a file, or put another thing in its place."""
    content = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "flip", "few", "cut", "cut", "insert", "repeat", "drop", "number"])
    if rng.random() < 0.04:
        kind = rng.choice(["empty", "folder", "gone", "zeros", "text"])
    at = rng.randrange(len(content)) if content else 0
    if kind == "flip" and content:
        content[at] ^= 1 << rng.randrange(8)
    elif kind == "few":
        for _ in range(min(len(content), rng.randint(2, 40))):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == "cut":
        del content[at:]
    elif kind == "insert":
        content[at:at] = rng.randbytes(rng.randint(1, 30))
    elif kind == "repeat":
        content[at:at] = content[at : at + rng.randint(1, 200)] * rng.randint(1, 5)
    elif kind == "drop":
        del content[at : at + rng.randint(1, 200)]
    elif kind == "number":
        size = rng.choice([2, 4, 8])
        number = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**9, 65_536])
        order = rng.choice(["little", "big"])
        content[at : at + size] = (number % 256**size).to_bytes(size, order)
    elif kind == "empty":
        content.clear()
    elif kind == "zeros":
        content = bytearray(len(content))
    elif kind == "text":
        content = bytearray(b"\xef\xbb\xbfnot what you wanted\n")
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "gone":
        path.write_bytes(content)
    return f"{path.name}: {kind} at {at}"


def mutate_json(rng: random.Random, path: Path, key: str | None = None) -> str:
    """Change a few values of a JSON file; sometimes its text. `key` names one to change."""
    if rng.random() < 0.08:
        return mutate_bytes(rng, path)
    root = {"": json.loads(path.read_text())}
    said = [_change(rng, root, key) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    text = as_text(rng, root[""])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"{path.name}: " + "; ".join(said)


def as_text(rng: random.Random, value: Any) -> str:
    """JSON with what is odd put in; now and then in another encoding's shape."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.replace(json.dumps(AGAIN)[1:-1], "")


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside, but of long lists only some."""
    found = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))[:3] + list(enumerate(value))[-1:]
    else:
        return []
    for key, inner in items:
        found.append((*path, key))
        found += _places(inner, (*path, key))
    return found


def _change(rng: random.Random, root: dict[str, Any], key: str | None) -> str:
    places = _places(root)
    if key is not None:
        places = [place for place in places if key in place] or places
    # Few levels deep as often as many: there are so many more of these.
    depth = rng.choice(sorted({len(place) for place in places}))
    place = rng.choice([place for place in places if len(place) == depth])
    parent: Any = root
    for step in place[:-1]:
        parent = parent[step]
    last, old = place[-1], parent[place[-1]]
    kind = rng.choice(["value"] * 6 + ["gone", "gone", "wrap", "number", "other", "more", "twice"])
    if kind == "value":
        parent[last] = copy.deepcopy(rng.choice(VALUES))
    elif kind == "gone" and len(place) > 1:
        del parent[last]
    elif kind == "wrap":
        parent[last] = rng.choice([[old], {"a": old}, str(old), [old, old]])
    elif kind == "number" and isinstance(old, int | float) and not isinstance(old, bool):
        parent[last] = rng.choice([-old, old + 1, old - 1, old * 1000, old / 3, float(old), -1])
    elif kind == "other":
        other: Any = root
        for step in rng.choice(places):
            other = other[step]
        parent[last] = json.loads(json.dumps(other))
    elif kind == "more" and isinstance(old, list):
        parent[last] = rng.choice([old * 2, old[:-1], old[::-1], old + [None], old * 300])
    elif kind == "more" and isinstance(old, dict):
        old[rng.choice(["unknown", "../x", "", "é"])] = copy.deepcopy(rng.choice(VALUES))
    elif kind == "twice" and isinstance(old, dict) and old:
        twice = rng.choice(list(old))
        old[f"{twice}{AGAIN}"] = copy.deepcopy(rng.choice(VALUES))
        return f"{place}: a second {twice!r}"
    else:
        parent[last] = copy.deepcopy(rng.choice(VALUES))
    return f"{place} {kind} {str(parent.get(last) if isinstance(parent, dict) else '')[:60]!r}"


def mutate_safetensors(rng: random.Random, path: Path) -> str:
    """Change the header of a safetensors file, or the bytes of the file."""
    if rng.random() < 0.25:
        return mutate_bytes(rng, path)
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    entry = header[name]
    kind = rng.choice(
        ["length", "offsets", "overlap", "shape", "huge", "dtype", "gone", "json", "name", "cut"]
    )
    if kind == "offsets":
        entry["data_offsets"] = rng.choice(
            [[0, 0], [5, 1], [-1, 4], [0, 2**63], [2**64 - 1, 2**64], [0.5, 8], [0], "x", None]
        )
    elif kind == "overlap":
        entry["data_offsets"] = list(header[rng.choice(names)]["data_offsets"])
    elif kind == "shape":
        entry["shape"] = rng.choice(
            [[], [0], [-1], entry["shape"][::-1], [*entry["shape"], 1], [1, *entry["shape"]], None]
            + [[1.5], ["2"], [0, *entry["shape"]], [_product(entry["shape"])]]
        )
    elif kind == "huge":
        _resize(header, names, name, rng.choice([[10**5, 10**5], [2**40], [2**62], [10**10, 1]]))
    elif kind == "dtype":
        entry["dtype"] = rng.choice(["F64", "I64", "BF16", "BOOL", "U8", "F8_E5M2", "F16", "X", 3])
        width = {"F64": 8, "I64": 8, "BF16": 2, "F16": 2, "BOOL": 1, "U8": 1, "F8_E5M2": 1}
        if entry["dtype"] in width and rng.random() < 0.7:
            data = _retyped(header, names, name, width[entry["dtype"]], data)
    elif kind == "gone":
        header = {key: value for key, value in header.items() if key != name}
    elif kind == "json":
        _change(rng, {"": header}, None)
    elif kind == "name":
        header = {
            (rng.choice(["x", "", "é", name + ".y", "../x"]) if key == name else key): value
            for key, value in header.items()
        }
    elif kind == "cut":
        data = data[: rng.randrange(len(data) + 1)]
    text = as_text(rng, header).encode("utf-8", "surrogatepass")
    length = len(text)
    if kind == "length":
        length = rng.choice([0, 1, length - 1, length + 1, 2**32, 2**63, 2**64 - 1, 10**8])
    path.write_bytes(struct.pack("<Q", length) + text + data)
    return f"{path.name}: {name} {kind} {str(entry)[:80]}"


def with_checksum(path: Path) -> None:
    """Let a world's config say that a file beside it is right."""
    config = path.with_name("config.json")
    content = json.loads(config.read_text())
    if path.is_file():
        content["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    config.write_text(json.dumps(content))


def _product(shape: list[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


def _resize(header: dict[str, Any], names: list[str], name: str, shape: list[int]) -> None:
    """A shape whose bytes would be in the file if it were as long as the header says."""
    width = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "U8": 1}[header[name]["dtype"]]
    begin, end = header[name]["data_offsets"]
    grown = _product(shape) * width - (end - begin)
    for one in names:
        offsets = header[one]["data_offsets"]
        if offsets[0] >= end:
            header[one]["data_offsets"] = [offsets[0] + grown, offsets[1] + grown]
    header[name]["shape"] = shape
    header[name]["data_offsets"] = [begin, end + grown]


def _retyped(header: dict[str, Any], names: list[str], name: str, width: int, data: bytes) -> bytes:
    """The data with a tensor's bytes made as many as its new type takes."""
    begin, end = header[name]["data_offsets"]
    size = _product(header[name]["shape"]) * width
    for one in names:
        offsets = header[one]["data_offsets"]
        if offsets[0] >= end:
            header[one]["data_offsets"] = [at + size - (end - begin) for at in offsets]
    header[name]["data_offsets"] = [begin, begin + size]
    return data[:begin] + (data[begin:end] * 8)[:size].ljust(size, b"\x3f") + data[end:]


def mutate_parquet(rng: random.Random, path: Path) -> str:
    """Change columns, types or rows of a parquet file, or its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rng.random() < 0.3:
        return mutate_bytes(rng, path)
    table = pq.read_table(path)
    at = rng.randrange(table.num_columns)
    name, column = table.column_names[at], table.column(at)
    rows = table.num_rows
    kind = rng.choice(
        ["gone", "null", "some", "type", "value", "value", "name", "rows", "twice", "value", "none"]
    )
    if kind == "gone":
        table = table.remove_column(at)
    elif kind == "null":
        table = table.set_column(at, name, pa.nulls(rows))
    elif kind == "some":
        values = column.to_pylist()
        values[rng.randrange(rows)] = None
        table = table.set_column(at, name, pa.array(values, column.type))
    elif kind == "type":
        other = rng.choice(["text", "list", "uneven", "struct", "bytes", "float", "time", "deep"])
        table = table.set_column(at, name, _column_of(other, rows))
        kind = f"type {other}"
    elif kind == "value":
        value = rng.choice([-1, 2**62, 0, 1, float("nan"), float("inf"), -1e300, "../../x", 10**6])
        which = rng.choice(["all", "one"])
        values = column.to_pylist()
        for row in range(rows) if which == "all" else [rng.randrange(rows)]:
            values[row] = [value] * len(values[row]) if isinstance(values[row], list) else value
        try:
            table = table.set_column(at, name, pa.array(values))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            table = table.set_column(at, name, pa.array([str(one) for one in values]))
        kind = f"value {which} {value}"
    elif kind == "name":
        names = list(table.column_names)
        names[at] = rng.choice(["x", "", "../x", rng.choice(names)])
        table = table.rename_columns(names)
    elif kind == "rows":
        order = rng.choice([[], [0], list(range(rows))[::-1], [*range(rows), 0], [0] * rows])
        table = table.take(pa.array(order, pa.int64()))
    elif kind == "twice":
        table = table.append_column(name, column)
    elif kind == "none":
        table = table.select([])
    try:
        pq.write_table(table, path)
    except pa.ArrowException:
        return mutate_bytes(rng, path)
    return f"{path.name}: {name} {kind}"


def _column_of(kind: str, rows: int) -> Any:
    import pyarrow as pa

    return {
        "text": lambda: pa.array(["x"] * rows),
        "list": lambda: pa.array([[1.0, 2.0]] * rows),
        "uneven": lambda: pa.array([[1.0] * (row % 3) for row in range(rows)]),
        "struct": lambda: pa.array([{"bytes": b"x", "path": "../../x"}] * rows),
        "bytes": lambda: pa.array([b"\xff\x00"] * rows),
        "float": lambda: pa.array([0.5] * rows),
        "time": lambda: pa.array([10**9] * rows, pa.timestamp("ns")),
        "deep": lambda: pa.array([[[[1.0]]]] * rows),
    }[kind]()
