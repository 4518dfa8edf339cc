"""How well a model does on records: held-out loss and exact match by one forward, answers by generating."""

from collections.abc import Sequence

import numpy as np

from minilora import checks
from minilora.data.batching import sha256
from minilora.data.records import IGNORED
from minilora.data.template import Layout, Template
from minilora.data.tokenizer import Tokenizer, check_tokenizer
from minilora.nn import Llama, decoder_for, generate, ops
from minilora.nn.llama import check_labels

LOGITS = 2**25  # held at a time, 128 MB in float32: a vocabulary of 49,152 words would fill gigabytes


def evaluate(model: Llama, token_ids: np.ndarray, labels: np.ndarray, *, batch_size: int = 64) -> dict[str, float]:
    """{"loss", "exact"} of encoded records, computed `batch_size` rows at a time, or fewer
    where the vocabulary is large.    token_ids, labels: (N, T)

    "loss": mean nats per counted token over all rows (each batch weighs as much as it counts tokens, so the batch size
    does not matter but for rounding). "exact": the share of rows whose every counted label has the largest logit.
    ValueError for a row without a label that counts.
    """
    checks.instance("model", model, Llama, hint="load_base() gives one")
    model.check_tokens(token_ids)
    check_labels(labels, token_ids, model.config.vocab_size)
    batch_size = checks.integer("batch_size", batch_size, low=1)
    counted = labels != IGNORED
    if not counted.any(axis=1).all():
        row = int(np.argmin(counted.any(axis=1)))
        raise ValueError(f"labels must count at least one token in each row, got only {IGNORED} in row {row}")
    nats, right = 0.0, 0
    # Rows of like length side by side: a batch is cut where the last of its rows ends.
    ends = counted.shape[1] - np.argmax(counted[:, ::-1], axis=1)
    order = np.argsort(ends, kind="stable")
    at_once = min(batch_size, max(1, LOGITS // (counted.shape[1] * model.config.vocab_size)))
    for start in range(0, len(order), at_once):
        rows = order[start : start + at_once]
        width = int(ends[rows].max())
        some = labels[rows, :width]
        logits, _ = model(token_ids[rows, :width], inference=True)
        loss, _ = ops.cross_entropy(logits, some)
        nats += float(loss) * int((some != IGNORED).sum())
        right += round(exact_match(logits, some) * len(rows))
    return {"loss": nats / int(counted.sum()), "exact": right / len(labels)}


class HeldOut:
    """`evaluate` on the same held-out rows again and again: what a Trainer calls.    token_ids, labels: (N, T)

    Its `fingerprint()` binds a checkpoint to these rows. Raises ValueError or TypeError as `evaluate` does.
    """

    def __init__(self, model: Llama, token_ids: np.ndarray, labels: np.ndarray, *, batch_size: int = 64):
        checks.instance("model", model, Llama, hint="load_base() gives one")
        model.check_tokens(token_ids)
        check_labels(labels, token_ids, model.config.vocab_size)
        self.model, self.token_ids, self.labels = model, token_ids, labels
        self.batch_size = checks.integer("batch_size", batch_size, low=1)

    def __call__(self) -> dict[str, float]:
        return evaluate(self.model, self.token_ids, self.labels, batch_size=self.batch_size)

    def fingerprint(self) -> dict[str, str]:
        """What decides the scores, beside the model: the rows' SHA-256."""
        return {"rows": sha256(self.token_ids, self.labels)}


def exact_match(logits: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose every counted label has the largest logit.    logits: (N, T, V)   labels: (N, T)

    Greedy decoding produces a target exactly if and only if, given the target so far, each next token has the
    largest logit (induction over its length), so one forward tells what generating would, without generating.
    ValueError or TypeError for arrays of other shapes or kinds.
    """
    checks.float_array("logits", logits, ndim=(3,))
    if checks.integer_array("labels", labels).shape != logits.shape[:2]:
        raise ValueError(f"labels must be integers of shape {logits.shape[:2]}, got {checks.shown(labels)}")
    right = (np.argmax(logits, axis=-1) == labels) | (labels == IGNORED)
    return float(right.all(axis=-1).mean())


def answers(
    model: Llama,
    inputs: Sequence[str],
    tokenizer: Tokenizer,
    *,
    template: Layout | None = None,
    max_new_tokens: int = 32,
) -> list[str]:
    """What the model says to each input by greedy decoding, up to its end or `max_new_tokens`.

    `template`: the one it was trained with (by default the one that suits the tokenizer). ValueError if `inputs` is empty.
    """
    checks.instance("model", model, Llama, hint="load_base() gives one")
    check_tokenizer("tokenizer", tokenizer)
    inputs = checks.strings("inputs", inputs, hint="pass a list of at least one text")
    if not inputs:
        raise ValueError("inputs must be a list of at least one text, got an empty one")
    if template is not None:
        checks.instance("template", template, Layout, hint="such as Template() or ChatTemplate()")
    template = Template.suited_to(tokenizer) if template is None else template
    max_new_tokens = checks.integer("max_new_tokens", max_new_tokens, low=1, high=model.config.max_position_embeddings)
    texts, decoder = [], decoder_for(model, len(inputs) * max_new_tokens)
    ends = template.end_token_ids(tokenizer) or None
    for text in inputs:
        ids = template.prompt(text, tokenizer)
        row = generate(model, ids[None], max_new_tokens, eos_token_id=ends, decoder=decoder)
        texts.append(tokenizer.decode(row[0, len(ids) :]))
    return texts
