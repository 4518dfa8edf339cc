"""Text and records as tokens: the tokenizer, the corpus, the tasks, the batches."""

from minilora.data.batching import EpochBatches, RandomCrops
from minilora.data.evaluation import answers, evaluate
from minilora.data.records import Record, encode_records, exact_match, load_records
from minilora.data.tasks import TASKS, split
from minilora.data.tokenizer import ByteTokenizer

__all__ = [
    "TASKS",
    "ByteTokenizer",
    "EpochBatches",
    "RandomCrops",
    "Record",
    "answers",
    "encode_records",
    "evaluate",
    "exact_match",
    "load_records",
    "split",
]
