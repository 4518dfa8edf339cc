"""Text and records as tokens: files, the tokenizer, the template, the corpus, the tasks, the batches."""

from minilora.data.batching import EpochBatches, RandomCrops
from minilora.data.chat import ChatTemplate, Message
from minilora.data.files import DataFile, hold_out, load_records, read_file
from minilora.data.records import Encoded, Record, encode, encode_records, encode_text
from minilora.data.tasks import TASKS, split
from minilora.data.template import Layout, Template
from minilora.data.tokenizer import ByteTokenizer, Tokenizer

__all__ = [
    "TASKS",
    "ByteTokenizer",
    "ChatTemplate",
    "DataFile",
    "Encoded",
    "EpochBatches",
    "Layout",
    "Message",
    "RandomCrops",
    "Record",
    "Template",
    "Tokenizer",
    "encode",
    "encode_records",
    "encode_text",
    "hold_out",
    "load_records",
    "read_file",
    "split",
]
