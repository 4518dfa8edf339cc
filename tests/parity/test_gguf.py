"""The same GGUF file, read here and by transformers: the same logits."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")
sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from ggufs import write_gguf  # noqa: E402

from minilora import Llama, LlamaConfig  # noqa: E402
from minilora.interop import load_gguf  # noqa: E402


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_1"])
@pytest.mark.parametrize("heads", [2, 4])
def test_logits(kind, heads, tmp_path):
    sizes = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    config = LlamaConfig(**sizes, num_key_value_heads=heads, initializer_range=0.2, tie_word_embeddings=heads == 2)
    model = Llama(config, rng=np.random.default_rng(0))
    write_gguf(model, tmp_path / "model.gguf", kind)
    ours, _ = load_gguf(tmp_path / "model.gguf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    ids = np.random.default_rng(1).integers(0, 64, (2, 30))
    with torch.no_grad():
        np.testing.assert_allclose(ours(ids)[0], theirs(torch.tensor(ids)).logits.numpy(), atol=1e-4)
