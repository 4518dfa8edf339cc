"""What `make hostile` found when it was run last, with 3,000 files of each kind; and that its mutations do what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
from hostile import DAMAGED, FOLDERS, FORMATS, RETYPED, fuzz, open_gguf, sound_gguf
from mutations import retype_gguf, retype_json

from minilora.interop.gguf_llama import KEYS
from minilora.interop.tokenizer import gguf_tokenizer

FIXED = (
    2**18
)  # bytes of Python's own objects, however small the file: a regular expression of 1,000 characters has 2**17


@pytest.fixture
def extra():
    """Skips where the extra hf is not installed."""
    for library in ("gguf", "safetensors", "tokenizers"):
        pytest.importorskip(library)


def test_no_mutation_crashed_a_loader():
    outcome = json.loads((Path(__file__).parent / "hostile.json").read_text(encoding="utf-8"))
    assert outcome["count"] >= 3000 and outcome["date"] >= "2026-11-28" and outcome["minilora"]
    assert set(outcome["results"]["bytes"]) == set(DAMAGED) == {*FORMATS, *FOLDERS}
    assert set(outcome["results"]["types"]) == set(RETYPED) == {*DAMAGED} - {"chat_template.jinja"}
    for how, kinds in outcome["results"].items():
        for name, kind in kinds.items():
            assert sum(kind["verdicts"].values()) == outcome["count"], name
            assert set(kind["verdicts"]) <= {"sound", "refused"}, name
            assert kind["beyond"] < FIXED, name
            assert how == "types" or kind["verdicts"]["refused"] > kind["verdicts"]["sound"], name


@pytest.mark.parametrize("name", RETYPED)
def test_a_field_of_another_type_is_read_or_refused(name, extra):
    outcome = fuzz(name, 25, seed=1, types=True)
    assert set(outcome["verdicts"]) <= {"sound", "refused"} and outcome["verdicts"]["refused"] > 2
    assert outcome["beyond"] < FIXED


@pytest.mark.parametrize("name", ["model.gguf", "sentencepiece.gguf"])
def test_every_key_that_is_read_may_take_another_type(name, extra, tmp_path):
    prepare, *_, fields = FOLDERS[name]
    prepare(tmp_path)
    read = {f"llama.{key}" for key in KEYS}

    class Metadata(dict):
        def get(self, key, default=None):
            read.add(key)
            return super().get(key, default)

    metadata = Metadata(open_gguf(tmp_path / name).metadata)
    gguf_tokenizer(metadata, name)
    assert read <= {*metadata, *fields}


def test_a_crash_and_a_warning_are_told(monkeypatch):
    def careless(path):
        if b"null" in path.read_bytes():
            np.float32(1e300)
        return {"a": {}}["ab"[b"true" in path.read_bytes()]]

    monkeypatch.setitem(
        FOLDERS, "x.json", (lambda f: (f / "x.json").write_text('["s"]', encoding="utf-8"), careless, retype_json, ())
    )
    verdicts = fuzz("x.json", 400, seed=0, types=True)["verdicts"]
    assert {"sound", "KeyError: 'b'", "RuntimeWarning: overflow encountered in cast"} <= set(verdicts)


def test_one_field_alone_changes(tmp_path):
    rng, kinds = np.random.default_rng(0), set()
    sound = {"a": [1, {"b": "x"}], "c": None}
    for _ in range(200):
        changed = json.loads(retype_json(json.dumps(sound), rng, ("new",)))
        (key,) = [key for key in changed if repr(changed[key]) != repr(sound.get(key, "nothing"))]
        kinds.add((key, type(changed[key])))
    assert len(kinds) > 15 and {key for key, _ in kinds} == {"a", "c", "new"}
    (tmp_path / "file").write_bytes(sound_gguf())
    before, kinds = dict(open_gguf(tmp_path / "file").metadata), set()
    for _ in range(200):
        (tmp_path / "file").write_bytes(retype_gguf(sound_gguf(), rng, ("new",)))
        file = open_gguf(tmp_path / "file")
        (key,) = [key for key in file.metadata if repr(file.metadata[key]) != repr(before.get(key, "nothing"))]
        kinds.add((key, type(file.metadata[key])))
        assert bytes(file["two"].raw()) == bytes(range(32, 68))
    assert len(kinds) > 20
