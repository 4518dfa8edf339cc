"""Malformed files, and mutations of sound ones: the cases that the peers test their own loaders with, and more.

`python tests/interop/hostile.py --count 3000 --out FILE` loads that many files of each kind whose bytes were damaged, and
as many one field of which holds a value of another type. It writes what came of each: accepted, refused with one
ValueError that names the file, or crashed (a warning counts as that); and the memory that it took.
"""

import argparse
import gc
import io
import json
import platform
import struct
import sys
import tempfile
import tracemalloc
import warnings
from collections import Counter
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mutations import mutate, retype_gguf, retype_json, retype_npz, retype_safetensors

# ---- safetensors ----------------------------------------------------------------------------------------------------


def st(header, data=b"", length=None):
    """A .safetensors file of a header, given as an object or as bytes, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape, start, end, dtype="I32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def twice(size):
    """A header that names a tensor twice, first of `size` bytes, then of one."""
    one, two = (json.dumps(entry([n], 0, n, "I8")) for n in (size, 1))
    return f'{{"a":{one},"a":{two}}}'.encode()


# name -> (file, is it sound?). The first group are the cases of the library's own tests (safetensors/src/tensor.rs and
# bindings/python/tests), the second more of the same kind.
SAFETENSORS = {
    "sound": (st({"test": entry([2, 2], 0, 16)}, bytes(16)), True),
    "empty file": (b"", False),
    "header length 2^63": (struct.pack("<Q", 2**63) + b"{}", False),
    "header over 100 MB": (struct.pack("<Q", 100_000_001) + b"{}", False),
    "header longer than the file": (struct.pack("<Q", 60), False),
    "header is not UTF-8": (st(b"\xff"), False),
    "header is not JSON": (st(b"{"), False),
    "whitespace after the header": (st(b"{}\r \t\n"), True),
    "whitespace before the header": (st(b"\t\n{}\r "), True),
    "a dimension of zero": (st({"test": entry([2, 0], 0, 0)}), True),
    "size and offsets disagree": (st({"test": entry([2, 2], 0, 4)}), False),
    "shape overflows": (st({"test": entry([2, 2**64 - 2], 0, 16)}, bytes(16)), False),
    "shape times item size overflows": (st({"test": entry([2, 2**63 - 1], 0, 16)}, bytes(16)), False),
    "tensors overlap": (st({f"t{i}": entry([2, 2], 0, 16) for i in range(10)}, bytes(16)), False),
    "a hole between tensors": (st({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)), False),
    "data after the last tensor": (st({"a": entry([1], 0, 4)}, bytes(5)), False),
    "data end too early": (st({"a": entry([1], 0, 4)}, bytes(3)), False),
    "the end before the start": (st({"a": entry([1], 4, 0)}, bytes(4)), False),
    "dtype unknown": (st({"a": entry([1], 0, 4, "I33")}, bytes(4)), False),
    # more
    "shape beyond 64 bits": (st({"a": entry([2**65], 0, 4)}, bytes(4)), False),
    "a dimension is negative": (st({"a": entry([-1], 0, 4)}, bytes(4)), False),
    "a dimension is not an integer": (st({"a": entry([1.0], 0, 4)}, bytes(4)), False),
    "three offsets": (st({"a": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(4)), False),
    "a key is missing": (st({"a": {"dtype": "I32", "shape": [1]}}, bytes(4)), False),
    "a key too many": (st({"a": entry([1], 0, 4) | {"x": 1}}, bytes(4)), True),
    "a list for the object": (st({"a": ["I32", [1], [0, 4]]}, bytes(4)), True),
    "zero values of a huge shape": (st({"a": entry([0, 2**63], 0, 0)}), True),
    "nested without end": (st(b'{"a":' + b"[" * 10**5), False),
    "the header is a list": (st(b"[]"), False),
    "metadata that is no text": (st({"__metadata__": {"a": 1}}), False),
    "metadata null": (st(b'{"__metadata__":null}'), True),
    "duplicate names, the same place": (st(twice(1), bytes(1)), True),
    "duplicate names, the last shorter": (st(twice(2), bytes(2)), False),
    "NaN as a dimension": (st(b'{"a":{"dtype":"I8","shape":[NaN],"data_offsets":[0,1]}}', b"1"), False),
    "a byte-order mark": (st(b"\xef\xbb\xbf{}"), False),
    "a lone surrogate": (st(b'{"\\ud800":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}', b"1"), False),
}


# ---- GGUF -----------------------------------------------------------------------------------------------------------

F32, Q4_0, I8, I64, TYPES = 0, 2, 24, 27, 42  # TYPES: one more than the largest number of a type


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key, kind, value):
    """One key-value pair; `value` is packed already."""
    return string(key) + struct.pack("<i", kind) + value


def tensor(name, shape, kind, offset, dims=None):
    """The description of a tensor, its shape as GGUF has it: the contiguous axis first."""
    dims = len(shape) if dims is None else dims
    return string(name) + struct.pack(f"<I{len(shape)}qiQ", dims, *shape, kind, offset)


def gguf(pairs=(), tensors=(), data=b"", magic=b"GGUF", version=3, counts=None, alignment=32):
    counts = (len(tensors), len(pairs)) if counts is None else counts
    header = magic + struct.pack("<I", version) + struct.pack("<2q", *counts) + b"".join(pairs) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data


PAIRS = [
    pair("a.string", 8, string("text")),
    pair("a.number", 4, struct.pack("<I", 7)),
    pair("strings", 9, struct.pack("<iQ", 8, 2) + string("x") + string("")),
    pair("numbers", 9, struct.pack("<iQ3h", 3, 3, 1, -2, 3)),
    pair("bools", 9, struct.pack("<iQ2B", 7, 2, 0, 5)),
]
TENSORS = [tensor("one", (3, 2), F32, 0), tensor("two", (32, 2), Q4_0, 32)]  # 24 bytes and 36, each padded to 32
DATA = bytes(96)


def align(number, kind=4):
    return pair("general.alignment", kind, struct.pack("<I", number))


# The cases of llama.cpp's tests/test-gguf.cpp under its names: (file, is it sound?, with data?). The verdicts are those that
# its tests and source say; no llama.cpp is run.
GGUF = {
    "HEADER_BAD_MAGIC": (gguf(magic=b"FUGG"), False, False),
    "HEADER_BAD_VERSION_0": (gguf(version=0), False, False),
    "HEADER_BAD_VERSION_1": (gguf(version=1), False, False),
    "HEADER_BAD_VERSION_FUTURE": (gguf(version=4), False, False),
    "HEADER_BAD_N_KV": (gguf(counts=(0, -1)), False, False),
    "HEADER_BAD_N_TENSORS": (gguf(counts=(-1, 0)), False, False),
    "HEADER_EMPTY": (gguf(), True, False),
    "KV_BAD_KEY_SIZE": (gguf([struct.pack("<Q", 2**64 - 1) + PAIRS[0][8:]]), False, False),
    "KV_EMPTY_KEY": (gguf([pair("", 4, bytes(4))]), False, False),
    "KV_BAD_TYPE": (gguf([pair("k", 13, bytes(4))]), False, False),
    "KV_BAD_VALUE_SIZE": (gguf([pair("k", 8, struct.pack("<Q", 2**40))]), False, False),
    "KV_DUPLICATE_KEY": (gguf([PAIRS[0], PAIRS[0]]), False, False),
    "KV_BAD_ALIGN": (gguf([*PAIRS, align(13)], alignment=13), False, False),
    "KV_WRONG_TYPE_ALIGN": (gguf([*PAIRS, align(32, 5)]), False, False),
    "KV_SUCCESS": (gguf(PAIRS), True, False),
    "TENSORS_BAD_NAME_SIZE": (gguf(PAIRS, [tensor("n" * 64, (3, 2), F32, 0)]), False, False),
    "TENSORS_BAD_N_DIMS": (gguf(PAIRS, [tensor("one", (3, 2), F32, 0, dims=5)]), False, False),
    "TENSORS_BAD_SHAPE": (gguf(PAIRS, [tensor("one", (-1, -1), F32, 0)]), False, False),
    "TENSORS_ZERO_DIM": (gguf(PAIRS, [tensor("one", (32, 0), Q4_0, 0)]), True, False),
    "TENSORS_NE_TOO_BIG": (gguf(PAIRS, [tensor("one", (4 * (2**31 - 1),) * 2, F32, 0)]), False, False),
    "TENSORS_NBYTES_TOO_BIG": (gguf(PAIRS, [tensor("one", (1_534_000_000,) * 2, I64, 0)]), False, False),
    "TENSORS_BAD_TYPE": (gguf(PAIRS, [tensor("one", (3, 2), TYPES, 0)]), False, False),
    "TENSORS_BAD_OFFSET": (gguf(PAIRS, [tensor("one", (3, 2), F32, 2**64 - 1)]), False, False),
    "TENSORS_DUPLICATE_NAME": (gguf(PAIRS, [TENSORS[0], tensor("one", (3, 2), F32, 32)]), False, False),
    "TENSORS_BAD_ALIGN": (gguf([*PAIRS, align(13)], [TENSORS[0]], alignment=13), False, False),
    "TENSORS_INCONSISTENT_ALIGN": (gguf(PAIRS, [TENSORS[0], tensor("two", (32, 2), Q4_0, 24)]), False, False),
    "TENSORS_SUCCESS": (gguf(PAIRS, TENSORS), True, False),
    "TENSORS_CUSTOM_ALIGN": (
        gguf([*PAIRS, align(1)], [TENSORS[0], tensor("two", (32, 2), Q4_0, 24)], alignment=1),
        True,
        False,
    ),
    "DATA_NOT_ENOUGH_DATA": (gguf(PAIRS, TENSORS, DATA[:-1]), False, True),
    "DATA_BAD_ALIGN": (gguf([*PAIRS, align(13)], TENSORS, DATA, alignment=13), False, True),
    "DATA_INCONSISTENT_ALIGN": (gguf(PAIRS, [TENSORS[0], tensor("two", (32, 2), Q4_0, 24)], DATA), False, True),
    "DATA_MEM_SIZE_OVERFLOW": (
        gguf(PAIRS, [tensor("a", (2**63 - 64,), I8, 0), tensor("b", (2**63 - 64,), I8, 2**63 - 64)], DATA),
        False,
        True,
    ),
    "DATA_SUCCESS": (gguf(PAIRS, TENSORS, DATA), True, True),
    "DATA_CUSTOM_ALIGN": (
        gguf([*PAIRS, align(1)], [TENSORS[0], tensor("two", (32, 2), Q4_0, 24)], DATA[:60], alignment=1),
        True,
        True,
    ),
    # more, by the rules of ggml/src/gguf.cpp
    "empty file": (b"", False, False),
    "big endian": (gguf(version=0x03000000), False, False),
    "a million dimensions": (gguf(PAIRS, [tensor("one", (3, 2), F32, 0, dims=10**6)]), False, False),
    "an array longer than the file": (gguf([pair("k", 9, struct.pack("<iQ", 4, 2**29))]), False, False),
    "an array of 2^64 - 1": (gguf([pair("k", 9, struct.pack("<iQ", 0, 2**64 - 1))]), False, False),
    "strings longer than the file": (gguf([pair("k", 9, struct.pack("<iQ", 8, 2**29))]), False, False),
    "an array of arrays": (gguf([pair("k", 9, struct.pack("<iQ", 9, 1) + bytes(12))]), False, False),
    "a product that overflows": (gguf(PAIRS, [tensor("one", (2**32, 2**32, 2**32, 2**32), F32, 0)]), False, False),
    "a row of half a block": (gguf(PAIRS, [tensor("one", (16, 4), Q4_0, 0)], DATA), False, True),
    "a type that was given up": (gguf(PAIRS, [tensor("one", (32, 2), 4, 0)], DATA), False, True),
    "tensors out of order": (gguf(PAIRS, TENSORS[::-1], DATA), False, True),
    "a hole between tensors": (gguf(PAIRS, [TENSORS[0], tensor("two", (32, 2), Q4_0, 64)], DATA + DATA), False, True),
    "names equal up to a zero byte": (
        gguf(PAIRS, [tensor(b"one\0a", (3, 2), F32, 0), tensor(b"one\0b", (3, 2), F32, 32)]),
        False,
        False,
    ),
    "a key that is not UTF-8": (gguf([pair(b"\xff", 4, bytes(4))]), True, False),
    "bytes after the tensors": (gguf(PAIRS, TENSORS, DATA + b"more"), True, True),
    "alignment 0": (gguf([align(0)], [TENSORS[0]], DATA), False, True),
    "alignment 2^31": (gguf([align(2**31)], [TENSORS[0]], DATA), False, False),
}


def sound_safetensors():
    tensors = {
        "a": entry([3, 4], 0, 48, "F32"),
        "b": entry([5], 48, 58, "BF16"),
        "c.weight": entry([2, 2], 58, 62, "U8"),
    }
    return st({"__metadata__": {"format": "pt"}} | tensors, bytes(range(62)))


WORDS = [struct.pack("<Q", n) for n in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1)]
DIGITS = [
    b"0",
    b"9",
    b"18446744073709551615",
    b"-1",
    b"1e9",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"null",
    b"BF16",
    b"F4",
]


def open_safetensors(path):
    from minilora.interop.safetensors import SafetensorsFile

    return SafetensorsFile(path)


def sound_gguf():
    return gguf(PAIRS, TENSORS, bytes(range(96)))


def open_gguf(path, data=True):
    from minilora.interop.gguf import GGUFFile

    file = GGUFFile(path, data=data)
    for key in file.metadata:
        file.metadata[key]
    return file


def sound_npz():
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(12, dtype=np.float32).reshape(3, 4), b=np.arange(5, dtype=np.int16))
    return file.getvalue()


def open_npz(path):
    from minilora.interop.npz import NpzFile

    return NpzFile(path)


# name -> (a sound file, how it is opened, numbers worth putting in, how a field takes another type)
FORMATS = {
    "safetensors": (sound_safetensors, open_safetensors, WORDS + DIGITS, retype_safetensors),
    "npz": (
        sound_npz,
        open_npz,
        WORDS + [b"PK", b"\1\2", b"(", b"9", b"'<f8'", b"'|O'", struct.pack("<H", 99)],
        retype_npz,
    ),
    "gguf": (sound_gguf, open_gguf, WORDS + [struct.pack("<i", n) for n in range(-1, 43)], retype_gguf),
}


class Verdict(NamedTuple):
    """ "sound", "refused" (a ValueError that names the file or its folder), or what else was raised; bytes at the highest,
    and of those the bytes of what was returned, as tracemalloc counts them (Python's and numpy's)."""

    result: str
    peak: int
    kept: int


def verdict(opener, data, folder, read=False, name="hostile.bin"):
    """The Verdict on a file of `data`. `read`: its tensors as well, where they are of a dtype that is known."""
    path = Path(folder) / name
    path.write_bytes(data)
    opened, kept = None, 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        try:
            opened = opener(path)
            result, kept = "sound", tracemalloc.get_traced_memory()[0]
            for tensor in opened.values() if read else ():
                tensor.read()
        except (ValueError, FileNotFoundError) as error:  # the latter for a shard that an index names
            result = "refused" if str(folder) in str(error) else f"a ValueError that does not name the file: {error}"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            result = f"{type(error).__name__}: {error}"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return Verdict(result, peak, kept)


def fuzz(name, count, seed, types=False):
    """What came of `count` mutations of a format, or of one file in a folder, the rest of which is sound.

    `types`: one field takes a value of another type, instead of damaged bytes. {"verdicts": a Counter, "peak": the most
    bytes that one load took beside what it returned, "file": the size of all that this load could read, "beyond": the
    most bytes of any load beyond twice that size}
    """
    rng = np.random.default_rng(seed)
    verdicts, peak, file, beyond = Counter(), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        sound, opener, numbers, retype, fields = _prepared(name, Path(folder))
        options = {"read": True} if name in FORMATS else {"name": name}
        assert verdict(opener, sound, folder, **options).result == "sound"  # and all is imported
        others = sum(path.stat().st_size for path in Path(folder).iterdir()) - len(sound)
        for _ in range(count):
            data = retype(sound, rng, fields) if types else mutate(sound, rng, numbers)
            gc.collect(0)
            result, most, kept = verdict(opener, data, folder, **options)
            most, size = most - kept, others + len(data)
            verdicts[result] += 1
            beyond = max(beyond, most - 2 * size)
            if most > peak:
                peak, file = most, size
    return {"verdicts": verdicts, "peak": peak, "file": file, "beyond": beyond}


def _prepared(name, folder):
    """(the sound file, how it is opened, numbers worth putting in, how a field takes another type, fields it may have)"""
    if name in FORMATS:
        make, opener, numbers, retype = FORMATS[name]
        return make(), opener, numbers, retype, ("general.alignment",) if name == "gguf" else ()
    prepare, opener, retype, fields = FOLDERS[name]
    prepare(folder)
    return (folder / name).read_bytes(), opener, WORDS + DIGITS, retype, fields


# ---- whole models and adapters: one file of a sound folder is damaged ------------------------------------------------


@cache
def small_model(dtype=np.float32):
    from minilora import Llama, LlamaConfig

    sizes = {"vocab_size": 37, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    return Llama(LlamaConfig(**sizes, max_position_embeddings=32), rng=np.random.default_rng(0), dtype=dtype)


def write_model(folder):
    from ggufs import write_gguf

    write_gguf(small_model(), folder / "model.gguf", "Q4_1")


def write_sentencepiece(folder):
    from ggufs import write_gguf

    scores = [-float(i) for i in range(small_model().config.vocab_size)]
    changes = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": scores, "tokenizer.ggml.merges": None}
    write_gguf(small_model(), folder / "sentencepiece.gguf", "Q8_0", changes=changes)


def write_folder(folder):
    from minilora.interop import load_gguf, save_llama

    write_model(folder)
    _, tokenizer = load_gguf(folder / "model.gguf")
    save_llama(small_model(), folder, max_shard_size=9000, tokenizer=tokenizer)
    (folder / "model.gguf").unlink()


def write_special_tokens(folder):
    write_folder(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = {name: {"content": settings.pop(name)} for name in ("bos_token", "eos_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_chat_template(folder):
    write_folder(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }} äöü 日本語", encoding="utf-8")


def write_adapter(folder):
    from minilora import LoraConfig, apply_lora
    from minilora.adapters import delete_adapter
    from minilora.interop import save_peft_adapter

    model = small_model()
    apply_lora(model, LoraConfig(r=2, rank_pattern={"v_proj": 1}), rng=np.random.default_rng(0))
    save_peft_adapter(model, folder)
    delete_adapter(model, "default")


def load_model_file(path):
    from minilora.interop import load_foreign

    return load_foreign(path)


def load_folder(path):
    from minilora.interop import load_foreign

    return load_foreign(path.parent)


def load_adapter_file(path):
    from minilora.adapters import delete_adapter
    from minilora.interop import load_peft_adapter

    model = small_model()
    load_peft_adapter(model, path.parent)
    delete_adapter(model, "default")


# What a file may say beside what the sound one does.
GGUF_FIELDS = ("llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.scaling.finetuned", "llama.new")
GGUF_FIELDS += ("llama.rope.scaling.original_context_length",)
GGUF_FIELDS += ("tokenizer.chat_template", "general.alignment", "general.name")
GGUF_TOKENIZER = ("model", "pre", "scores", "merges", "add_bos_token", "add_space_prefix")
GGUF_TOKENIZER += ("padding_token_id", "seperator_token_id")
GGUF_FIELDS += tuple(f"tokenizer.ggml.{name}" for name in GGUF_TOKENIZER)
CONFIG_FIELDS = ("rope_scaling", "rope_parameters", "partial_rotary_factor", "quantization_config", "hidden_act", "new")
TOKENIZER_FIELDS = ("chat_template", "add_bos_token", "bos_token", "eos_token", "pad_token", "sep_token", "unk_token")
ADAPTER_FIELDS = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "new")
ADAPTER_FIELDS += ("alpha_pattern", "init_lora_weights", "eva_config", "modules_to_save", "num_virtual_tokens")

# name of the file -> (how its folder is written, how it is opened, how a field takes another type, fields it may have)
FOLDERS = {
    "model.gguf": (write_model, load_model_file, retype_gguf, GGUF_FIELDS),
    "sentencepiece.gguf": (write_sentencepiece, load_model_file, retype_gguf, GGUF_FIELDS),
    "config.json": (write_folder, load_folder, retype_json, CONFIG_FIELDS),
    "model.safetensors.index.json": (write_folder, load_folder, retype_json, ("weight_map", "metadata")),
    "tokenizer.json": (write_folder, load_folder, retype_json, ("truncation", "padding", "added_tokens", "decoder")),
    "tokenizer_config.json": (write_folder, load_folder, retype_json, TOKENIZER_FIELDS),
    "special_tokens_map.json": (write_special_tokens, load_folder, retype_json, TOKENIZER_FIELDS),
    "chat_template.jinja": (write_chat_template, load_folder, None, ()),
    "adapter_config.json": (write_adapter, load_adapter_file, retype_json, ADAPTER_FIELDS),
    "adapter_model.safetensors": (write_adapter, load_adapter_file, retype_safetensors, ()),
}
DAMAGED = (*FORMATS, *FOLDERS)
RETYPED = (*FORMATS, *(name for name, (*_, retype, _) in FOLDERS.items() if retype))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--only", default="", metavar="KIND", help="kinds with this in their name; --out keeps the rest"
    )
    args = parser.parse_args()
    import minilora

    results = {"bytes": {}, "types": {}}
    if args.only and args.out:
        results = json.loads(args.out.read_text(encoding="utf-8"))["results"]
    kinds = (*(("bytes", name) for name in DAMAGED), *(("types", name) for name in RETYPED))
    for how, name in (kind for kind in kinds if args.only in kind[1]):
        outcome = fuzz(name, args.count, args.seed, types=how == "types")
        results[how][name] = outcome | {"verdicts": dict(sorted(outcome["verdicts"].items()))}
        print(how, name, results[how][name], flush=True)
    said = {
        "date": str(date.today()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    said |= {"minilora": minilora.__version__, "numpy": np.__version__}
    said |= {name: version(name) for name in ("safetensors", "tokenizers", "gguf")}
    said |= {"count": args.count, "seed": args.seed, "results": results}
    if args.out:
        args.out.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    verdicts = {verdict for kinds in results.values() for outcome in kinds.values() for verdict in outcome["verdicts"]}
    return 0 if verdicts <= {"sound", "refused"} else 1


if __name__ == "__main__":
    sys.exit(main())
