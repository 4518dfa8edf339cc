import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import decoders, models, pre_tokenizers, trainers  # noqa: E402

from minilora.data import Tokenizer  # noqa: E402
from minilora.interop import load_tokenizer  # noqa: E402
from minilora.interop.tokenizer import gguf_tokenizer  # noqa: E402

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "",
    " ",
    "Hello, world!",
    "In 1984 there were 12345 people, 007 and 3.14159",
    "don't you'll we've I'm THEY'RE it's",
    "  two  spaces   and a tab\t.\n\nnew\r\nlines  \n ",
    "x² + y³ = ½ ١٢٣ ൧ 四",
    "été naïve Straße 日本語 😀👩‍👩‍👧",
    "def f(x):\n    return x[0]**2  # 100%\n",
    "<|im_start|>user\nnot a turn<|im_end|>",
]


@pytest.fixture(scope="module")
def trained():
    """(tokens, merges) of a byte-level BPE, trained in no time; the special tokens come first."""
    reference = tokenizers.Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = Path(__file__).read_text(encoding="utf-8") + "1984 1985 2000 100 " * 50
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    reference.train_from_iterator([text], trainer)
    model = json.loads(reference.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [" ".join(pair) for pair in model["merges"]]


def metadata(trained, pre="smollm", **changes):
    tokens, merges = trained
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": np.array([3] * 3 + [1] * (len(tokens) - 3)),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": "a template",
    } | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}


def reference(trained, *splits):
    tokens, merges = trained
    vocabulary = {token: i for i, token in enumerate(tokens)}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    made.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    return made


def test_smollm_splits_digits_one_by_one_and_then_as_gpt2(trained):
    ours = gguf_tokenizer(metadata(trained), "file.gguf")
    theirs = reference(trained, pre_tokenizers.Digits(individual_digits=True))  # as SmolLM2's own tokenizer.json
    plain = reference(trained)  # what is left if the pre-type is overlooked
    for text in TEXTS:
        assert ours.encode(text).tolist() == theirs.encode(text).ids, text
        assert ours.decode(ours.encode(text)) == text
    assert isinstance(ours, Tokenizer) and ours.encode("").dtype == np.int64
    assert sum(plain.encode(text).ids != ours.encode(text).tolist() for text in TEXTS) >= 2
    gpt2 = gguf_tokenizer(metadata(trained, "gpt-2"), "file.gguf")
    for text in TEXTS:
        assert gpt2.encode(text).tolist() == plain.encode(text).ids, text


def test_llama3_takes_three_digits_and_whole_words_first(trained):
    ours = gguf_tokenizer(metadata(trained, "llama-bpe"), "file.gguf")
    pieces = ours._tokenizer.pre_tokenizer.pre_tokenize_str("it's 12345 words\n\n.x")
    assert [piece for piece, _ in pieces] == ["it", "'s", "Ġ", "123", "45", "Ġwords", "ĊĊ", ".x"]
    assert all(ours.decode(ours.encode(text)) == text for text in TEXTS)


def test_special_tokens_go_by_their_ids_alone(trained):
    ours = gguf_tokenizer(metadata(trained), "file.gguf")
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id, ours.sep_token_id) == (1, 2, 2, None)
    assert ours.token_id("<|im_start|>") == 1 and ours.token_id("<|nothing|>") is None
    assert not set(ours.encode("<|im_start|>user<|im_end|>").tolist()) & {1, 2}
    assert ours.decode([1, *ours.encode("user"), 2]) == "user"
    assert ours.vocab_size == len(trained[0]) and ours.chat_template == "a template"


def test_what_does_not_fit_is_named(trained):
    tokens, merges = trained
    for changes, message in (
        ({"model": "bert"}, "must be 'gpt2' .*got 'bert'"),
        ({"pre": "qwen2"}, "must be one of smollm, .*got 'qwen2'"),
        ({"merges": [*merges, "zz qq"]}, "do not fit together"),
        ({"merges": None}, "merges must be a list"),
        ({"tokens": None}, "tokens must be a list"),
        ({"tokens": [3] * len(tokens)}, "tokens must be a list of strings"),
        ({"tokens": [*tokens[:-1], tokens[0]]}, "must all differ"),
        ({"token_type": np.ones(3, int)}, "one entry per token"),
        ({"token_type": np.ones(len(tokens))}, "one entry per token, all of them integers"),
        ({"eos_token_id": 10**6}, "eos token must lie in"),
        ({"eos_token_id": "x"}, "eos token must lie in"),
        ({"eos_token_id": True}, "eos token must lie in .* got True"),
        ({"add_bos_token": 1}, "add_bos_token must be true or false, got 1"),
    ):
        with pytest.raises(ValueError, match=f"file.gguf.*{message}"):
            gguf_tokenizer(metadata(trained, **changes), "file.gguf")


def test_arguments(trained):
    ours = gguf_tokenizer(metadata(trained), "file.gguf")
    with pytest.raises(TypeError, match="text must be a str"):
        ours.encode(3)
    with pytest.raises(ValueError, match="lone surrogate"):
        ours.encode("a\ud800")
    with pytest.raises(ValueError, match="token_ids must lie in 0 .."):
        ours.decode([ours.vocab_size])
    with pytest.raises(TypeError, match="one row of integers"):
        ours.decode([[1]])


def test_a_folder_there_and_back(trained, tmp_path):
    ours = gguf_tokenizer(metadata(trained), "file.gguf")
    ours.save(tmp_path)
    again = load_tokenizer(tmp_path)
    for text in TEXTS:
        assert again.encode(text).tolist() == ours.encode(text).tolist()
    for name in (
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "sep_token_id",
        "vocab_size",
        "chat_template",
        "add_bos_token",
    ):
        assert getattr(again, name) == getattr(ours, name), name
    # tokens as objects, and the template within the settings, as many folders have it
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["eos_token"] = {"content": settings["eos_token"], "special": True}
    settings["chat_template"] = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "chat_template.jinja").unlink()
    again = load_tokenizer(tmp_path)
    assert again.eos_token_id == 2 and again.chat_template == "yes"


@pytest.mark.parametrize(
    ("pre", "says", "puts"),
    [
        ("smollm", None, False),
        ("gpt-2", None, False),
        ("llama-bpe", None, True),
        ("llama3", False, False),
        ("smollm", True, True),
    ],
)
def test_a_text_begins_as_llama_cpp_begins_it(trained, pre, says, puts):
    """llama.cpp's own choice where the file says nothing: Llama 3's pre-types and SentencePiece have bos, others do not."""
    changes = {} if says is None else {"add_bos_token": says}
    assert gguf_tokenizer(metadata(trained, pre, **changes), "file.gguf").add_bos_token is puts


def test_a_text_begins_as_the_folder_says(trained, tmp_path):
    """tokenizer_config.json first, and else what tokenizer.json does by itself, as in transformers."""
    gguf_tokenizer(metadata(trained), "file.gguf").save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))

    def puts_bos(**says):
        path.write_text(
            json.dumps({k: v for k, v in settings.items() if k != "add_bos_token"} | says), encoding="utf-8"
        )
        return load_tokenizer(tmp_path).add_bos_token

    assert [puts_bos(), puts_bos(add_bos_token=True), puts_bos(add_bos_token=None)] == [False, True, False]
    own = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    own.post_processor = tokenizers.processors.TemplateProcessing(
        "<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    own.save(str(tmp_path / "tokenizer.json"))
    assert [puts_bos(), puts_bos(add_bos_token=False)] == [True, False]
    with pytest.raises(ValueError, match="tokenizer_config.json: add_bos_token must be true or false, got 'no'"):
        puts_bos(add_bos_token="no")


def test_a_folder_that_cannot_be_used(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="tokenizer.json is not a file; check the path$"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="tokenizer.model alone is of an older kind"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="tokenizer.json is not a sound tokenizer"):
        load_tokenizer(tmp_path)
    gguf_tokenizer(metadata(trained), "file.gguf").save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|other|>"}), encoding="utf-8")
    with pytest.raises(ValueError, match="eos_token must be a token of tokenizer.json"):
        load_tokenizer(tmp_path)


def test_a_panic_of_the_library_is_one_error_and_ctrl_c_is_none(trained, tmp_path, monkeypatch):
    gguf_tokenizer(metadata(trained), "file.gguf").save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["continuing_subword_prefix"] = "longer than a merge"
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="tokenizer.json is not a sound tokenizer .*; get it again"):
        load_tokenizer(tmp_path)
    interrupted = SimpleNamespace(from_file=lambda path: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(tokenizers, "Tokenizer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", {"chat_template": [1]}, r"chat_template must be a str, got \[1\] \(list\)"),
        ("tokenizer_config.json", {"chat_template": {"default": "x"}}, r"chat_template must be a str, got \{'default'"),
        (
            "tokenizer_config.json",
            {"chat_template": [{"name": "default", "template": 3}]},
            "chat_template must be a str, got 3",
        ),
        ("tokenizer_config.json", {"chat_template": "\ud800"}, "chat_template must be text that UTF-8 can hold"),
        ("tokenizer_config.json", {"eos_token": "\ud800"}, r"eos_token must be a token of .* got '\\ud800'"),
        ("special_tokens_map.json", {"bos_token": [1]}, r"bos_token must be a token of .* got \[1\]"),
        ("chat_template.jinja", b"\xff", "is not UTF-8"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_its_file(trained, tmp_path, name, content, message):
    gguf_tokenizer(metadata(trained), "file.gguf").save(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ValueError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path / name) in str(caught.value)
