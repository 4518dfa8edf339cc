"""Text and records as tokens: the tokenizer, the corpus, the tasks, the batches."""

from minilora.data.batching import EpochBatches, RandomCrops
from minilora.data.records import Record, encode_records, exact_match, load_records
from minilora.data.tasks import TASKS, split
from minilora.data.tokenizer import ByteTokenizer

__all__ = [
    "TASKS",
    "ByteTokenizer",
    "EpochBatches",
    "RandomCrops",
    "Record",
    "encode_records",
    "exact_match",
    "load_records",
    "split",
]
