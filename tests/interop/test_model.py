import numpy as np
import pytest

pytest.importorskip("gguf")
pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from ggufs import write_gguf
from hostile import FOLDERS, fuzz

from minilora import Llama
from minilora.data.chat import UnknownTemplate
from minilora.data.template import Template
from minilora.interop import is_foreign, load_foreign, save_llama


@pytest.fixture
def model(make_model):
    return make_model(np.float32, hidden_size=64, vocab_size=64)


@pytest.mark.parametrize(("add_bos_token", "bos"), [(True, "{bos}"), (False, ""), (None, "")])
def test_a_folder_and_a_gguf_file_are_opened_alike(model, tmp_path, add_bos_token, bos):
    path = write_gguf(model, tmp_path / "model.gguf", changes={"tokenizer.ggml.add_bos_token": add_bos_token})
    opened = load_foreign(path)
    save_llama(opened.model, tmp_path / "folder", tokenizer=opened.tokenizer)
    again = load_foreign(tmp_path / "folder", quantize="nf4")
    assert is_foreign(path) and is_foreign(tmp_path / "folder") and not is_foreign(tmp_path)
    assert again.tokenizer.encode("!!!").tolist() == opened.tokenizer.encode("!!!").tolist()
    for one in (opened, again):
        assert isinstance(one.model, Llama) and one.template == Template(bos + "{input}\n{target}{eos}")


def test_a_chat_template_that_is_not_built_is_an_error_when_it_is_used(model, tmp_path):
    path = write_gguf(model, tmp_path / "model.gguf", changes={"tokenizer.chat_template": "{{ messages }}"})
    template = load_foreign(path).template
    assert template == UnknownTemplate(str(path))


def test_more_tokens_than_the_model_has(model, make_model, tmp_path):
    tokenizer = load_foreign(write_gguf(model, tmp_path / "model.gguf")).tokenizer
    save_llama(make_model(np.float32), tmp_path / "folder", tokenizer=tokenizer)
    with pytest.raises(ValueError, match="has 64 tokens for a model of 37"):
        load_foreign(tmp_path / "folder")


@pytest.mark.parametrize("name", FOLDERS)
def test_models_and_adapters_with_a_damaged_file_are_loaded_or_refused(name):
    results = fuzz(name, 25, seed=1)["verdicts"]
    assert set(results) <= {"sound", "refused"} and results["refused"] > 10
