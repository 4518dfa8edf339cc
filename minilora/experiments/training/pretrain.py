"""Training the base anew: `make base`, or `python -m minilora base`. About six minutes on two cores."""

import platform
from dataclasses import asdict
from pathlib import Path

import numpy as np

from minilora.assets.base import BASE_PATH, save_base
from minilora.data import corpus
from minilora.data.batching import RandomCrops
from minilora.data.tokenizer import ByteTokenizer
from minilora.nn import Llama, LlamaConfig, generate
from minilora.training import Trainer, TrainingConfig

CONFIG = LlamaConfig(hidden_size=128, intermediate_size=352, num_hidden_layers=5)
TRAINING = TrainingConfig(
    max_steps=1600,
    learning_rate=3e-3,
    warmup_steps=100,
    min_lr_ratio=0.05,
    weight_decay=0.1,
    adam_beta2=0.98,
    eval_steps=250,
    save_steps=250,
    seed=0,
)
BATCH_SIZE, LENGTH, SEED = 8, 256, 0
PROMPTS = ("The for statement", "Exceptions", "A list is")


def main(
    out: Path = BASE_PATH, *, training: TrainingConfig = TRAINING, work_dir: Path | None = None, progress: bool = True
) -> dict:
    """Train, store the weights at `out`, and return their metadata. A killed run goes on from its last checkpoint."""
    tokenizer = ByteTokenizer()
    text = corpus.load_topics()
    train_sections, eval_sections = corpus.split_sections(corpus.sections(text))
    train_tokens = corpus.encode_sections(train_sections, tokenizer)
    eval_ids, eval_labels = held_out_windows(corpus.encode_sections(eval_sections, tokenizer))
    model = Llama(CONFIG, rng=np.random.default_rng(SEED))

    def evaluate():
        return {"loss": float(model.loss(eval_ids, eval_labels, inference=True)[0])}

    work_dir = out.parent / ".pretraining" if work_dir is None else work_dir
    batches = RandomCrops(train_tokens, BATCH_SIZE, LENGTH, seed=SEED)
    trainer = Trainer(model, training, batches, evaluate=evaluate, output_dir=work_dir, progress=progress)
    history = trainer.train()
    metadata = {
        "config": asdict(CONFIG),
        "training": asdict(training) | {"batch_size": BATCH_SIZE, "length": LENGTH, "init_seed": SEED},
        "corpus": {
            "source": "pydoc_data.topics of the Python standard library (PSF license); the text is not shipped",
            "python": platform.python_version(),
            "sha256": corpus.sha256(text),
            "train_tokens": len(train_tokens),
            "eval_tokens": int(eval_ids.size),
        },
        "versions": {"numpy": np.__version__, "python": platform.python_version()},
        "curve": {
            "train": [[s, round(float(np.mean(history["loss"][s - 50 : s])), 4)] for s in history["step"][49::50]],
            "eval": [[entry["step"], round(entry["loss"], 4)] for entry in history["eval"]],
        },
        "samples": [sample(model, prompt, tokenizer) for prompt in PROMPTS],
    }
    save_base(model, metadata, out)
    for name in ("checkpoint.npz", "best.npz", "log.jsonl"):
        (work_dir / name).unlink(missing_ok=True)
    if not any(work_dir.iterdir()):
        work_dir.rmdir()
    return metadata


def held_out_windows(tokens: np.ndarray, length: int = LENGTH) -> tuple[np.ndarray, np.ndarray]:
    """The held-out text cut into windows side by side, each token predicted once.    token_ids, labels: (N, T)"""
    count = (len(tokens) - 1) // length
    token_ids = tokens[: count * length].reshape(count, length).astype(np.int64)
    labels = tokens[1 : count * length + 1].reshape(count, length).astype(np.int64)
    return token_ids, labels


def sample(model: Llama, prompt: str, tokenizer: ByteTokenizer, new_tokens: int = 120) -> str:
    """`prompt` and what the model makes of it, drawn at temperature 0.7."""
    ids = np.concatenate([[tokenizer.bos_token_id], tokenizer.encode(prompt)])[None]
    out = generate(
        model,
        ids,
        new_tokens,
        temperature=0.7,
        top_p=0.95,
        rng=np.random.default_rng(SEED),
        eos_token_id=tokenizer.eos_token_id,
    )
    return tokenizer.decode(out[0])
