"""How well a model does on records: held-out loss and exact match by one forward, answers by generating."""

from collections.abc import Sequence

import numpy as np

from minilora import checks
from minilora.data.records import exact_match
from minilora.data.tokenizer import ByteTokenizer
from minilora.nn import Llama, generate


def evaluate(model: Llama, token_ids: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """{"loss": mean nats per counted byte, "exact": share of rows all right} of encoded records.    (N, T), (N, T)"""
    loss, _ = model.loss(token_ids, labels, inference=True)
    logits, _ = model(token_ids, inference=True)
    return {"loss": float(loss), "exact": exact_match(logits, labels)}


def answers(model: Llama, inputs: Sequence[str], tokenizer: ByteTokenizer, *, max_new_tokens: int = 32) -> list[str]:
    """What the model says to each input by greedy decoding, up to its end or `max_new_tokens`.

    ValueError if `inputs` is empty.
    """
    if isinstance(inputs, str) or not len(inputs):
        raise ValueError(f"inputs must be a list of at least one text, got {checks.shown(inputs)}")
    found = []
    for text in inputs:
        ids = [tokenizer.bos_token_id, *tokenizer.encode(text), tokenizer.sep_token_id]
        row = generate(model, np.array([ids]), max_new_tokens, eos_token_id=tokenizer.eos_token_id)
        found.append(tokenizer.decode(row[0, len(ids) :]))
    return found
