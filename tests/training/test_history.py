import json

import numpy as np

from minilora.training import as_arrays, read_log
from minilora.training.history import Log, empty_history

HISTORY = {
    "step": [1, 2, 3],
    "loss": [3.0, 2.5, 2.0],
    "learning_rate": [0.1, 0.1, 0.1],
    "grad_norm": [1.0, 1.5, 0.5],
    "eval": [{"step": 2, "loss": 2.25, "exact": 0.5}, {"step": 3, "loss": 1.75}],
}


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_evaluations_are_floats_at_whole_steps():
    arrays = as_arrays(HISTORY)
    assert arrays["eval_step"].dtype == np.int64 and arrays["eval_step"].tolist() == [2, 3]
    assert arrays["eval_loss"].dtype == np.float64 and arrays["eval_loss"].tolist() == [2.25, 1.75]
    np.testing.assert_array_equal(arrays["eval_exact"], [0.5, np.nan])  # only the first one counted it


def test_a_reader_passes_over_what_is_no_entry(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    assert log.read() == []
    log.append({"step": 1, "loss": 0.5})
    with open(log.path, "ab") as file:
        file.write(b'[1, 2]\n3\n{"loss": 1.0}\n{"step": "1"}\n\xff\xfe\n{"step": 2, "lo')
    assert log.read() == [{"step": 1, "loss": 0.5}]


def test_a_restart_writes_the_history_and_keeps_what_the_log_alone_knows(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (1, 2, 4):  # step 3 is missing, step 4 was trained after the checkpoint
        log.append({"step": step, "loss": 9.0, "seconds": 0.25 * step})
    log.append({"step": 2, "eval": {"loss": 9.0}, "seconds": 7.0})
    log.restart_from(HISTORY)
    entries = [{key: HISTORY[key][i] for key in HISTORY if key != "eval"} for i in range(3)]
    entries[0]["seconds"], entries[1]["seconds"] = 0.25, 0.5
    first = {"step": 2, "eval": {"exact": 0.5, "loss": 2.25}, "seconds": 7.0}
    assert lines(log.path) == [*entries[:2], first, entries[2], {"step": 3, "eval": {"loss": 1.75}}]
    assert list(lines(log.path)[2]["eval"]) == ["exact", "loss"]  # in one order, whoever evaluated
    assert read_log(log.path) == HISTORY


def test_a_restart_at_the_beginning_empties_the_log(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.append({"step": 1, "loss": 0.5})
    log.restart_from(empty_history())
    assert log.path.read_bytes() == b""


def test_a_line_that_lacks_a_number_is_not_in_the_history(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.append({"step": 1, "loss": 0.5, "learning_rate": 0.1})
    log.append({"step": 2, "loss": 0.25, "learning_rate": 0.1, "grad_norm": 1.0})
    log.append({"step": 2, "eval": 3})
    assert read_log(log.path) == empty_history() | {
        "step": [2],
        "loss": [0.25],
        "learning_rate": [0.1],
        "grad_norm": [1.0],
    }
