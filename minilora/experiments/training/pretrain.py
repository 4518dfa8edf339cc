"""Training the base again: `make base`, or `python -m minilora base`. About six minutes on two cores."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minilora.assets.base import BASE_PATH, save_base
from minilora.data import corpus
from minilora.data.batching import RandomCrops
from minilora.data.tokenizer import ByteTokenizer
from minilora.nn import Llama, LlamaConfig, generate
from minilora.training import Trainer, TrainingConfig
from minilora.training.evaluation import HeldOut


@dataclass(frozen=True)
class Recipe:
    """What the base is and how it is trained, on crops of `length` bytes. `seed` draws the weights and the crops."""

    model: LlamaConfig = LlamaConfig(hidden_size=128, intermediate_size=352, num_hidden_layers=5)
    training: TrainingConfig = TrainingConfig(
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
    batch_size: int = 8
    length: int = 256
    seed: int = 0
    smoothing: int = 50  # steps whose mean loss is one point of the recorded curve
    prompts: tuple[str, ...] = ("The for statement", "Exceptions", "A list is")


@dataclass(frozen=True)
class Text:
    """A text cut for training: one row of training tokens, held-out windows, and the text's hash."""

    train_tokens: np.ndarray
    eval_ids: np.ndarray
    eval_labels: np.ndarray
    sha256: str


def pretrain(
    out: Path = BASE_PATH,
    *,
    recipe: Recipe = Recipe(),
    text: str | None = None,
    work_dir: Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a base, store its weights at `out`, and return what is stored with them (see `describe`).

    `text`: by default the language reference that Python carries. `work_dir`: where checkpoints go while it trains; a
    stopped run resumes from there, and they are removed at the end.
    """
    data = prepare(corpus.load_topics() if text is None else text, recipe.length)
    work_dir = Path(out).parent / ".pretraining" if work_dir is None else Path(work_dir)
    model, history = train(data, recipe, work_dir, progress)
    metadata = describe(model, data, recipe, history)
    save_base(model, metadata, out)
    for name in ("checkpoint.npz", "best.npz", "log.jsonl"):  # what the Trainer wrote
        (work_dir / name).unlink(missing_ok=True)
    if work_dir.is_dir() and not any(work_dir.iterdir()):
        work_dir.rmdir()
    return metadata


def prepare(text: str, length: int) -> Text:
    """Cut a text into sections, and those into training tokens and held-out windows of `length` tokens."""
    tokenizer = ByteTokenizer()
    training, held_out = corpus.split_sections(corpus.sections(text))
    windows = held_out_windows(corpus.encode_sections(held_out, tokenizer), length)
    return Text(corpus.encode_sections(training, tokenizer), *windows, corpus.sha256(text))


def train(data: Text, recipe: Recipe, work_dir: Path, progress: bool) -> tuple[Llama, dict[str, Any]]:
    """(the trained model, its history), resumed where a run was stopped."""
    model = Llama(recipe.model, rng=np.random.default_rng(recipe.seed))
    batches = RandomCrops(data.train_tokens, recipe.batch_size, recipe.length, seed=recipe.seed)
    scores = HeldOut(model, data.eval_ids, data.eval_labels)
    trainer = Trainer(model, recipe.training, batches, evaluate=scores, output_dir=work_dir, progress=progress)
    return model, trainer.train()


def describe(model: Llama, data: Text, recipe: Recipe, history: dict[str, Any]) -> dict[str, Any]:
    """How the base was made: config, training settings, the text's hash, versions, loss curve, samples."""
    tokenizer = ByteTokenizer()
    choices = {"batch_size": recipe.batch_size, "length": recipe.length, "init_seed": recipe.seed}
    return {
        "config": asdict(recipe.model),
        "training": asdict(recipe.training) | choices,
        "corpus": {
            "source": "pydoc_data.topics of the Python standard library (PSF license); the text is not shipped",
            "python": platform.python_version(),
            "sha256": data.sha256,
            "train_tokens": len(data.train_tokens),
            "eval_tokens": int(data.eval_ids.size),
        },
        "versions": {"numpy": np.__version__, "python": platform.python_version()},
        "curve": curve(history, recipe.smoothing),
        "samples": [sample(model, prompt, tokenizer, recipe.seed) for prompt in recipe.prompts],
    }


def curve(history: dict[str, Any], smoothing: int) -> dict[str, list[list[float]]]:
    """{"train": [[step, mean loss of the `smoothing` steps up to it]], "eval": [[step, held-out loss]]}."""
    loss = history["loss"]
    ends = range(smoothing, len(loss) + 1, smoothing)
    return {
        "train": [[end, round(float(np.mean(loss[end - smoothing : end])), 4)] for end in ends],
        "eval": [[entry["step"], round(entry["loss"], 4)] for entry in history["eval"]],
    }


def held_out_windows(tokens: np.ndarray, length: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """The held-out text cut into windows side by side, each token predicted once.    token_ids, labels: (N, T)

    ValueError if the text does not fill one window.
    """
    count = (len(tokens) - 1) // length
    if count < 1:
        raise ValueError(
            f"the held-out text must have more than {length} tokens, got {len(tokens)}; take a longer text"
        )
    token_ids = tokens[: count * length].reshape(count, length).astype(np.int64)
    labels = tokens[1 : count * length + 1].reshape(count, length).astype(np.int64)
    return token_ids, labels


def sample(model: Llama, prompt: str, tokenizer: ByteTokenizer, seed: int, new_tokens: int = 120) -> str:
    """`prompt` and how the model continues it, drawn at temperature 0.7."""
    ids = np.concatenate([[tokenizer.bos_token_id], tokenizer.encode(prompt)])[None]
    rng, end = np.random.default_rng(seed), tokenizer.eos_token_id
    out = generate(model, ids, new_tokens, temperature=0.7, top_p=0.95, rng=rng, eos_token_id=end)
    return tokenizer.decode(out[0])
