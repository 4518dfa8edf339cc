"""Random changes to sound files: of their bytes, or of what a field of theirs holds, the rest of the file still in order."""

import ast
import io
import json
import struct
import zipfile


def mutate(sound, rng, numbers):
    """One to three random edits of `sound`. `numbers`: byte strings worth putting in (lengths, counts, digits)."""
    data = bytearray(sound)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, max(1, len(data))))
        match rng.integers(0, 6):
            case 0 if data:  # a bit flips
                data[place % len(data)] ^= 1 << int(rng.integers(8))
            case 1:  # cut off
                del data[place:]
            case 2:  # more at the end
                data += rng.bytes(int(rng.integers(1, 100)))
            case 3:  # a number of interest somewhere
                number = numbers[rng.integers(len(numbers))]
                data[place : place + len(number)] = number
            case 4:  # a piece is repeated or moved
                piece = data[place : place + int(rng.integers(1, 64))]
                where = int(rng.integers(0, len(data) + 1))
                data[where:where] = piece
            case 5:  # a piece is lost
                del data[place : place + int(rng.integers(1, 64))]
    return bytes(data)


# ---- one field holds a value of another type -------------------------------------------------------------------------

VALUES = [None, True, False, 0, -1, 1, 7, 2**31, 10**30, 0.5, -0.0, 1e300, float("nan"), float("inf")]
VALUES += ["", "x", "7", "linear", "default", "(", "\ud800", "\0", "é", "x" * 1000]
VALUES += [[], [0], [1, True], [0.5], ["x"], ["q_proj", None], [[]], [{}], [{"name": "default"}], [None] * 37]
VALUES += [{}, {"x": 1}, {"rope_type": ["linear"]}, {"content": [1]}, {"": None}, {"q_proj": "x"}, {"q_proj": 2**40}]


def retype_json(sound, rng, fields=()):
    """A JSON file, one value of which, at any depth, or one of `fields` became a value of another type."""
    content = json.loads(sound)
    if fields and rng.random() < 0.5:
        place, key = content, fields[rng.integers(len(fields))]
    else:
        place, key = _field(content, rng)
    old = place[key] if isinstance(place, list) else place.get(key)
    place[key] = _other(VALUES, rng, type(old))
    return json.dumps(content).encode()


def retype_safetensors(sound, rng, fields=()):
    """A .safetensors file, one value of whose header became a value of another type."""
    end = 8 + int.from_bytes(sound[:8], "little")
    header = retype_json(sound[8:end], rng, fields)
    return len(header).to_bytes(8, "little") + header + sound[end:]


def retype_npz(sound, rng, fields=()):
    """An .npz file, one value of the header of one of whose arrays became a value of another type."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound)) as archive, zipfile.ZipFile(file, "w") as changed:
        names = archive.namelist()
        chosen = names[rng.integers(len(names))]
        for name in names:
            data = archive.read(name)
            changed.writestr(name, _retype_npy(data, rng) if name == chosen else data)
    return file.getvalue()


def _retype_npy(data, rng):
    end = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:end].decode())
    place, key = _field(header, rng)
    place[key] = _other([*VALUES, "<f8", "|O", "<U3", (), (3,), (3.0, 4), ("x",), (True, 2), (2**40,)], rng, None)
    text = (repr(header) + "\n").encode("utf-8", "backslashreplace")
    return data[:8] + len(text).to_bytes(2, "little") + text + data[end:]


def _field(content, rng):
    """(container, key) of a value somewhere in `content`: half of the time that deep, else deeper where there is more."""
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = keys[rng.integers(len(keys))]
        deeper = place[key]
        if not isinstance(deeper, (dict, list)) or not deeper or rng.random() < 0.5:
            return place, key
        place = deeper


def _other(values, rng, kind):
    """One of `values` that is not of the type `kind`, a copy."""
    values = [value for value in values if kind is None or type(value) is not kind]
    value = values[rng.integers(len(values))]
    return value.copy() if isinstance(value, (dict, list)) else value


# ---- GGUF ------------------------------------------------------------------------------------------------------------

STRING, ARRAY = 8, 9
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
NUMBERS = {"f": (0.5, 0.0, -1.0, float("nan"), float("inf")), "d": (0.5, 1e300, float("nan"))}
WORDS = (b"", b"x", b"7", b"linear", b"none", b"llama", b"gpt2", b"smollm", b"\xff", b"\0", b"x" * 1000)


def retype_gguf(sound, rng, fields=()):
    """A GGUF file, one key of which, or one of `fields`, holds a value of another type, or an array of some."""
    pairs, tensors, data = split_gguf(sound)
    keys = fields if fields and rng.random() < 0.5 else list(pairs)
    key = keys[rng.integers(len(keys))]
    old = pairs.get(key, b"")[:8]
    while (new := _gguf_value(rng))[:8] == old:
        pass
    pairs[key] = new
    header = sound[:16] + struct.pack("<q", len(pairs))
    header += b"".join(_gguf_string(key.encode()) + value for key, value in pairs.items()) + tensors
    return header + bytes(-len(header) % 32) + data


def split_gguf(sound):
    """({key: type and value as bytes}, descriptions of the tensors, their data) of a sound file of alignment 32."""
    count, place = struct.unpack_from("<qq", sound, 8), 24
    pairs = {}
    for _ in range(count[1]):
        start = _after_strings(sound, place, 1)
        end = _after_value(sound, start)
        pairs[sound[place + 8 : start].decode()] = sound[start:end]
        place = end
    end = place
    for _ in range(count[0]):
        end = _after_strings(sound, end, 1)
        end += 4 + 8 * struct.unpack_from("<I", sound, end)[0] + 4 + 8
    return pairs, sound[place:end], sound[end + -end % 32 :]


def _after_value(sound, place):
    kind, count, place = *struct.unpack_from("<i", sound, place), 1, place + 4
    if kind == ARRAY:
        (kind, count), place = struct.unpack_from("<iQ", sound, place), place + 12
    return _after_strings(sound, place, count) if kind == STRING else place + count * struct.calcsize(CODES[kind])


def _after_strings(sound, place, count):
    for _ in range(count):
        place += 8 + struct.unpack_from("<Q", sound, place)[0]
    return place


def _gguf_value(rng):
    kinds = [*CODES, STRING, STRING]
    kind = kinds[rng.integers(len(kinds))]
    if rng.random() < 0.6:
        return struct.pack("<i", kind) + _gguf_items(kind, 1, rng)
    count = (0, 1, 2, 37)[rng.integers(4)]  # 37: as many as there are tokens
    return struct.pack("<iiQ", ARRAY, kind, count) + _gguf_items(kind, count, rng)


def _gguf_items(kind, count, rng):
    if kind == STRING:
        return b"".join(_gguf_string(WORDS[rng.integers(len(WORDS))]) for _ in range(count))
    code = CODES[kind]
    highest = 2 ** (8 * struct.calcsize(code) - code.islower()) - 1
    numbers = NUMBERS.get(code) or (0, 1, 7, highest, -1 if code.islower() else 37)
    return struct.pack(f"<{count}{code}", *(numbers[rng.integers(len(numbers))] for _ in range(count)))


def _gguf_string(raw):
    return struct.pack("<Q", len(raw)) + raw
