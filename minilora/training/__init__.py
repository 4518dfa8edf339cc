"""AdamW, schedules, the training loop with its checkpoints and its log, and how well a model does."""

from minilora.training.checkpoint import CheckpointError
from minilora.training.evaluation import HeldOut, answers, evaluate, exact_match
from minilora.training.groups import rate_groups
from minilora.training.history import as_arrays, read_log
from minilora.training.optim import AdamW, clip_grad_norm
from minilora.training.schedule import lr_factor
from minilora.training.trainer import DivergenceError, Trainer, TrainingConfig

__all__ = [
    "AdamW",
    "CheckpointError",
    "DivergenceError",
    "HeldOut",
    "Trainer",
    "TrainingConfig",
    "answers",
    "as_arrays",
    "clip_grad_norm",
    "evaluate",
    "exact_match",
    "lr_factor",
    "rate_groups",
    "read_log",
]
