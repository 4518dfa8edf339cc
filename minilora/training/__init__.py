"""AdamW, schedules, the training loop and its checkpoints, and how well a model does."""

from minilora.training.evaluation import answers, evaluate
from minilora.training.optim import AdamW, clip_grad_norm
from minilora.training.schedule import lr_factor
from minilora.training.trainer import Trainer, TrainingConfig

__all__ = ["AdamW", "Trainer", "TrainingConfig", "answers", "clip_grad_norm", "evaluate", "lr_factor"]
