"""AdamW, schedules, the training loop and its checkpoints."""

from minilora.training.optim import AdamW, clip_grad_norm
from minilora.training.schedule import lr_factor
from minilora.training.trainer import Trainer, TrainingConfig

__all__ = ["AdamW", "Trainer", "TrainingConfig", "clip_grad_norm", "lr_factor"]
