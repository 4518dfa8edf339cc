"""Broken files from a sound one: `damage` hits its bytes, `forge` changes its content and makes all checksums right again.

Everything is drawn from the generator that is handed in. `content` reads a file with zipfile, numpy and json alone: what a
forged file says, independent of the code under test.
"""

import io
import json
import struct
import warnings
import zipfile

import numpy as np

METADATA = "metadata.json"
DTYPES = tuple(np.dtype(name).str for name in ("f2", "f4", "f8", ">f4", ">f2", "i1", "i4", "i8", "u1", "u8", "?", "c8"))
DTYPES += ("M8[s]", "m8[s]", "U3", "S5", "V4", "f4,i4")


def damage(sound: bytes, rng: np.random.Generator) -> bytes:
    """`sound` after one to three accidents: flipped bits, a cut, lost, doubled, moved, blanked or foreign bytes."""
    data = bytearray(sound)
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(0, len(data) + 1))
        length = int(min(2 ** rng.uniform(0, 12), len(data) - start))
        kind = rng.integers(0, 9)
        if kind <= 2 and data:
            for at in rng.integers(0, len(data), rng.integers(1, 5)):
                data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 3:
            del data[start:]
        elif kind == 4:
            del data[start : start + length]
        elif kind == 5:
            data[start:start] = data[start : start + length]
        elif kind == 6:
            data[start : start + length] = bytes(length)
        elif kind == 7:
            data[start : start + length] = rng.bytes(length)
        else:
            to = int(rng.integers(0, len(data) + 1))
            data[to : to + length] = data[start : start + length]
    return bytes(data) if rng.random() > 0.02 else rng.bytes(len(sound))


def content(data: bytes) -> tuple[dict[str, np.ndarray], dict]:
    """What a file says to zipfile, numpy and json. ValueError if it says something twice."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("a name is there twice")
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(archive.open(name), allow_pickle=False)
            for name in names
            if name != METADATA
        }
        return arrays, json.loads(archive.read(METADATA), object_pairs_hook=_unique)


def forge(sound: bytes, rng: np.random.Generator) -> bytes:
    """A file whose checksums are right and whose content was changed in one to three places."""
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        entries = [[name, archive.read(name)] for name in archive.namelist()]
    contents = {data for name, data in entries if name != METADATA}
    settings = {}
    for _ in range(rng.integers(1, 4)):
        kind = rng.choice(4, p=[0.5, 0.35, 0.1, 0.05])
        if kind == 0:
            _forge_metadata(entries, rng)
        elif kind == 1:
            _forge_array(entries, contents, rng)
        elif kind == 2:
            _forge_entries(entries, rng)
        else:
            settings |= [
                {"method": zipfile.ZIP_DEFLATED},
                {"comment": b"hello"},
                {"flag": 0x1},
                {"flag": 0x8},
                {"stamp": 1},
            ][rng.integers(0, 5)]
    return pack(entries, **settings)


def pack(entries, *, method=zipfile.ZIP_STORED, comment=b"", flag=0, stamp=0) -> bytes:
    """A zip archive of (name, content) pairs as minilora writes it, or with settings that it never writes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        archive.comment = comment
        for name, data in entries:
            info = zipfile.ZipInfo(name, date_time=(1980 + stamp, 1, 1, 0, 0, 0))
            info.compress_type, info.create_system = method, 3
            with archive.open(info, "w", force_zip64=True) as entry:
                entry.write(data)
    data = bytearray(file.getvalue())
    if flag:  # encrypted, or with sizes behind the content
        data[6] |= flag
        data[data.rindex(b"PK\1\2") + 8] |= flag
    return bytes(data)


def _forge_entries(entries, rng):
    """Names: renamed, doubled, lost, added, swapped, out of order."""
    i, j = rng.integers(0, len(entries), 2)
    kind = rng.integers(0, 6)
    if kind == 0:
        stem = entries[i][0].removesuffix(".npy")
        entries[i][0] = str(
            rng.choice([f"{stem}", f"{stem}x.npy", f"../{stem}.npy", ".npy", "é.npy", f"{stem}.npy.npy"])
        )
    elif kind == 1:
        entries.append(list(entries[i]))
    elif kind == 2 and len(entries) > 1:
        del entries[i]
    elif kind == 3:
        entries.append([f"more{rng.integers(9)}.npy", _npy(rng.standard_normal(3).astype(np.float32))])
    elif kind == 4:
        entries[i][1], entries[j][1] = entries[j][1], entries[i][1]
    else:
        entries[i], entries[j] = entries[j], entries[i]


def _forge_array(entries, sound, rng):
    """One array that is still sound: other values, dtype, shape, header or length."""
    arrays = [entry for entry in entries if entry[0].endswith(".npy") and entry[1] in sound]
    if not arrays:
        return
    entry = arrays[rng.integers(0, len(arrays))]
    array = np.lib.format.read_array(io.BytesIO(entry[1]), allow_pickle=False)
    kind = rng.integers(0, 6)
    if kind == 0 and array.size:
        array = array.copy()
        values = (
            [0, -1, 1, 3, 1e4, -0.0, 1e-7]
            if array.dtype.kind != "f"
            else [0, -0.0, 1.5, 1e-7, 6e4, np.nan, np.inf, -np.inf]
        )
        array.reshape(-1)[rng.integers(0, array.size)] = rng.choice(values)
        entry[1] = _npy(array)
    elif kind == 1:
        dtype = rng.choice(DTYPES)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                entry[1] = _npy(array.astype(np.dtype(dtype)))
            except (TypeError, ValueError):
                entry[1] = _npy(np.zeros(array.shape, np.dtype(dtype)))
    elif kind == 2:
        shapes = (
            [array.T, array[None], array.reshape(-1), array[:0], array[:1], np.zeros((), array.dtype)]
            if array.ndim
            else [array[None]]
        )
        shapes += [np.concatenate([array, array])] if array.ndim else [np.zeros((2, 2), array.dtype)]
        entry[1] = _npy(shapes[rng.integers(0, len(shapes))])
    elif kind == 3:
        sizes = [0, 1, 2**20, 2**31, 2**40, 2**62, 10**30, -1]
        shape = tuple(sizes[k] for k in rng.integers(0, len(sizes), rng.integers(0, 4)))
        entry[1] = (
            _header(f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}") + array.tobytes()
        )
    elif kind == 4:
        texts = [
            "(",
            "(" * 50_000,
            "{",
            "",
            "None",
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
            "\0",
            "[" * 900,
        ]
        entry[1] = _header(texts[rng.integers(0, len(texts))]) + array.tobytes()
    else:
        cut = int(rng.integers(0, len(entry[1]) + 1))
        entry[1] = entry[1][:cut] if rng.random() < 0.5 else entry[1] + rng.bytes(cut)


def _forge_metadata(entries, rng):
    """The JSON: one value, key or list changed somewhere in its tree, or its text broken."""
    entry = next((entry for entry in entries if entry[0] == METADATA), None)
    if entry is None:
        return
    if rng.random() < 0.15:
        entry[1] = _forge_text(entry[1], rng)
        return
    try:
        root = json.loads(entry[1])
    except (ValueError, RecursionError):
        return
    holders = list(_holders(root)) or [{}]
    holder = holders[rng.integers(0, len(holders))]
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    kind = rng.integers(0, 10)
    if kind == 0 or not keys:
        if isinstance(holder, dict):
            holder[str(rng.choice(["more", "", "r", "step", "é", "__class__"]))] = _value(rng)
        else:
            holder.append(_value(rng))
    elif kind == 1:
        del holder[keys[rng.integers(0, len(keys))]]
    elif kind == 2:
        one, two = (keys[k] for k in rng.integers(0, len(keys), 2))
        holder[one], holder[two] = holder[two], holder[one]
    elif kind <= 5:
        key = keys[rng.integers(0, len(keys))]
        holder[key] = _near(holder[key], rng)
    else:
        holder[keys[rng.integers(0, len(keys))]] = _value(rng)
    entry[1] = json.dumps(root, sort_keys=True, indent=1).encode()


def _forge_text(text, rng):
    kind = rng.integers(0, 9)
    cut = int(rng.integers(0, len(text) + 1))
    broken = [
        text[:cut],
        text + b" ",
        b"\xef\xbb\xbf" + text,
        text[:cut] + rng.bytes(3) + text[cut:],
        b"",
        b"[]",
        b"null",
    ]
    if kind < len(broken):
        return broken[kind]
    if kind == 7:  # larger than it looks
        many = [
            b" " * 200_000,
            b'"more": [' + b"[]," * 20_000 + b"[]], ",
            b'"more": ' + b"[" * 50_000 + b"]" * 50_000 + b", ",
        ]
        return b"{" + many[rng.integers(0, 3)] + text[1:]
    return b'{"step": 1, ' + text[1:] if b'"step"' in text else b'{"config": {}, ' + text[1:]


def _holders(node):
    """Every dict and list in a JSON tree."""
    if isinstance(node, (dict, list)):
        yield node
        for child in node.values() if isinstance(node, dict) else node:
            yield from _holders(child)


def _value(rng):
    values = [None, True, False, 0, 1, 2, 3, -3, 2**31, 2**63, 2**70, 10**300, 0.5, 8.0, 1e-9, 1e308, -1e308]
    values += [
        float("nan"),
        float("inf"),
        "",
        "8",
        "lora",
        "q_proj",
        ".*",
        "(",
        "all-linear",
        "\ud83d\ude00",
        "x" * 1000,
    ]
    values += [[], {}, [0], ["q_proj"], ["q_proj", "q_proj"], [None], {"q_proj": 4}, {"r": "8"}, [[[[]]]]]
    return values[rng.integers(0, len(values))]


def _near(value, rng):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        steps = [
            value + 1,
            value - 1,
            value * 2,
            -value,
            value + 0.5,
            float(value),
            10**6 * (value + 1),
            10**12 * (value + 1),
        ]
        return steps[rng.integers(0, len(steps))]
    if isinstance(value, str):
        return [value + "x", value[:-1], value.upper(), value[::-1]][rng.integers(0, 4)]
    if isinstance(value, list):
        return [value[::-1], value + value, value[:-1]][rng.integers(0, 3)]
    return _value(rng)


def _npy(array):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)
    return file.getvalue()


def _header(text):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def _unique(pairs):
    if len(made := dict(pairs)) < len(pairs):
        raise ValueError("a field is there twice")
    return made
