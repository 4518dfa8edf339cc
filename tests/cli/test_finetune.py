import json
import signal

import pytest

from minilora import storage
from minilora.adapters import METHODS, read_adapter
from minilora.cli import methods
from minilora.cli.folder import RunFolder
from minilora.training import Trainer, read_log

FILES = {"adapter.npz", "best.npz", "checkpoint.npz", "log.jsonl", "run.json"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def interrupt(monkeypatch, at_step, how):
    """Let `how()` happen in the training step after `at_step` steps, once."""
    step, left = Trainer._train_step, [1]

    def train_step(self):
        if self.step == at_step and left:
            left.pop()
            how()
        return step(self)

    monkeypatch.setattr(Trainer, "_train_step", train_step)


def kill():
    raise SystemExit("killed")


def test_a_run_says_what_it_trains_and_leaves_five_files(finetune, place):
    code, said, _ = finetune()
    assert code == 0 and names(place / "run") == FILES
    for part in (
        "my.jsonl: 24 records",
        "22 records to train on, 2 held out (drawn by seed 0)",
        "parameters to train,",
        "memory: weights",
        "activations",
        "estimated",
        "6 steps of 4 rows",
        "peak memory of the process",
        "held-out loss",
        "exactly right",
    ):
        assert part in said
    run = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
    assert (
        run["settings"]["method_config"]["r"] == 2
        and run["settings"]["method_config"]["target_modules"] == "all-linear"
    )
    assert run["plan"]["parameters"] == sum(
        a.size for a in storage.load_arrays(place / "run" / "adapter.npz")[0].values()
    )
    assert run["plan"]["bytes"]["optimizer"] == 2 * run["plan"]["bytes"]["gradients"] == 8 * run["plan"]["parameters"]
    assert [entry["step"] for entry in read_log(place / "run" / "log.jsonl")["eval"]] == [3, 6]


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ("--r 2", methods.RATE),
        ("--method bottleneck", methods.LEARNING_RATES["bottleneck"]),
        ("--method prompt", methods.LEARNING_RATES["prompt"]),
        ("--method prompt --learning-rate 0.5", 0.5),
    ],
)
def test_the_rate_that_was_trained_with_is_recorded(command, place, words, rate):
    code, said, _ = command(
        *f"finetune --model tiny.npz --data my.jsonl --out run --max-steps 1 --batch-size 2 {words}".split()
    )
    assert code == 0 and f"rate {rate:g}, warm-up" in said
    assert json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))["settings"]["learning_rate"] == rate
    assert read_adapter(place / "run" / "adapter.npz").notes["training"]["learning_rate"] == rate


@pytest.mark.parametrize(
    ("words", "decay"),
    [("", 0.5), ("--weight-decay 0.1", 0.1), ("--weight-decay-type l2", 0), ("--init-lora-weights pissa", 0)],
)
def test_the_decay_that_was_trained_with_is_recorded(finetune, place, words, decay):
    assert finetune("run", *words.split(), "--quiet", steps=1)[0] == 0
    assert json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))["settings"]["weight_decay"] == decay
    assert read_adapter(place / "run" / "adapter.npz").notes["training"]["weight_decay"] == decay


def test_json_is_one_line_and_quiet_is_short(finetune):
    code, said, noise = finetune("one", "--json")
    result = json.loads(said)
    assert code == 0 and said.count("\n") == 1 and noise == ""
    assert {"loss", "exact", "n", "steps", "best", "peak_bytes"} <= result.keys() and result["n"] == 2
    code, said, noise = finetune("two", "--quiet")
    assert code == 0 and said.count("\n") == 1 and noise == "" and "held-out loss" in said


def test_equal_runs_give_equal_bytes(finetune, place):
    for out in ("one", "two"):
        assert finetune(out)[0] == 0
    for name in ("adapter.npz", "best.npz", "checkpoint.npz"):
        assert (place / "one" / name).read_bytes() == (place / "two" / name).read_bytes()


@pytest.mark.parametrize("step", [0, 1, 3, 5])
def test_a_killed_run_resumes_to_the_same_bytes(finetune, command, place, monkeypatch, step):
    finetune("whole")
    interrupt(monkeypatch, step, kill)
    with pytest.raises(SystemExit):
        finetune()
    assert "adapter.npz" not in names(place / "run")
    code, said, _ = command("finetune", "--out", "run", "--resume")  # run.json knows the settings
    assert code == 0 and names(place / "run") == FILES
    for name in ("adapter.npz", "best.npz", "checkpoint.npz"):
        assert (place / "run" / name).read_bytes() == (place / "whole" / name).read_bytes()
    assert read_log(place / "run" / "log.jsonl") == read_log(place / "whole" / "log.jsonl")
    assert len((place / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 8


def test_killed_before_anything_is_there_resume_starts(finetune, place):
    (place / "run").mkdir()
    (place / "run" / ".lock").write_text("99999999\n", encoding="utf-8")  # left by the dead
    code, said, _ = finetune("run", "--resume")
    assert code == 0 and "holds nothing to resume yet; starting" in said and names(place / "run") == FILES


def test_ctrl_c_ends_the_step_keeps_it_and_the_run_resumes(finetune, command, place, monkeypatch):
    finetune("whole")
    interrupt(monkeypatch, 2, lambda: signal.raise_signal(signal.SIGINT))
    code, _, said = finetune()
    assert code == 130 and "stopped; step 3 is kept in run" in said and "--resume continues" in said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert command("finetune", "--out", "run", "--resume", "--quiet")[0] == 0
    assert (place / "run" / "adapter.npz").read_bytes() == (place / "whole" / "adapter.npz").read_bytes()


def test_ctrl_c_twice_does_not_wait(finetune, monkeypatch):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    interrupt(monkeypatch, 3, twice)
    code, _, said = finetune()
    assert code == 130 and "step 2 is kept" in said


def test_a_finished_run_resumes_to_itself(trained, command):
    before = {name: (trained / name).read_bytes() for name in FILES - {"run.json"}}
    assert command("finetune", "--out", "run", "--resume", "--quiet")[0] == 0
    assert before == {name: (trained / name).read_bytes() for name in FILES - {"run.json"}}


def test_a_folder_with_a_run_is_not_overwritten(trained, finetune):
    code, _, said = finetune()
    assert code == 2 and "holds a run already (step 6 is kept); pass --resume" in said


def test_resuming_with_other_settings_names_them_all(trained, finetune, command):
    code, _, said = command("finetune", "--out", "run", "--resume", "--r", 4, "--seed", 3, "--learning-rate", 0.006)
    assert code == 2 and "--seed was 0, is 3" in said and "--r was 2, is 4" in said and "learning-rate" not in said


def test_resuming_with_other_data_is_refused(finetune, command, place, monkeypatch):
    interrupt(monkeypatch, 3, kill)
    with pytest.raises(SystemExit):
        finetune()
    text = (place / "my.jsonl").read_text(encoding="utf-8")
    (place / "my.jsonl").write_text(text.replace("2 plus 2", "2 plus two"), encoding="utf-8")
    code, _, said = command("finetune", "--out", "run", "--resume")
    assert code == 2 and "belongs to another run: data.rows was" in said


VARIANTS = [
    *(f"--method {method}" + " --r 4" * (method == "lora") for method in METHODS),
    "--r 4 --use-dora --lora-dropout 0.1",
    "--r 4 --init-lora-weights pissa",
    "--r 4 --init-lora-weights loftq",
    "--r 4 --trainable-alpha --loraplus-lr-ratio 16",
    '--r 4 --rank-pattern {"q_proj":2} --modules-to-save norm',
    "--method prefix --prefix-projection --encoder-hidden-size 8",
    "--method partial --last-blocks 1 --norms",
    "--method bottleneck --quantize nf4",
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_method_trains_and_what_it_learned_is_found_again(variant, command, place):
    code, said, error = command(
        "finetune", "--data", "my.jsonl", "--eval-data", "my.jsonl", "--out", "run", "--model", "tiny.npz",
        "--max-steps", 3, "--batch-size", 4, "--max-length", 40, "--json", *variant.split(),
    )  # fmt: skip
    assert code == 0, error
    result = json.loads(said)
    code, said, error = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--json")
    assert code == 0, error
    assert json.loads(said)["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert command("finetune", "--out", "run", "--resume", *variant.split(), "--quiet")[0] == 0  # the same, said again


def test_in_four_bits_with_dropout_over_accumulated_epochs(finetune, command, place):
    code, said, _ = finetune(
        "run", "--quantize", "nf4", "--double-quant", "--epochs", 1, "--gradient-accumulation-steps", 2,
        "--lora-dropout", 0.1, "--use-rslora", "--target-modules", "q_proj,v_proj", "--gradient-checkpointing",
        "--weight-decay", 0.1, "--weight-decay-type", "l2", "--lr-scheduler-type", "linear", steps=None,
    )  # fmt: skip
    assert code == 0 and "3 steps of 8 rows" in said and "linear layers in nf4" in said
    code, said, _ = command("adapters", "run", "--json")
    (one,) = json.loads(said)
    assert one["config"]["target_modules"] == ["q_proj", "v_proj"] and one["config"]["use_rslora"]
    assert one["notes"]["quantization"] == {"block_size": 64, "code": "nf4", "double_quant": True}
    held_out = one["notes"]["scores"]["loss"]
    code, said, _ = command("evaluate", "--data", "my.jsonl", "--adapter", "run", "--json")
    assert code == 0 and json.loads(said)["loss"] == pytest.approx(held_out, rel=0.5)


def test_the_best_adapter_by_choice(finetune, place, monkeypatch):
    losses = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr("minilora.training.HeldOut.__call__", lambda self: {"loss": next(losses), "exact": 0.0})
    code, said, _ = finetune("run", "--load-best-model-at-end", "--early-stopping-patience", 1, "--json", steps=12)
    result = json.loads(said)
    assert code == 0 and result["steps"] == 6 and result["stopped_early"]
    assert (place / "run" / "adapter.npz").read_bytes() == (place / "run" / "best.npz").read_bytes()


def test_held_out_data_of_ones_own_and_what_they_share(finetune, records):
    records("held.jsonl", ("9 plus 9", "18"), ("1 plus 1", "2"))
    code, said, _ = finetune("run", "--eval-data", "held.jsonl")
    assert code == 0 and "24 records to train on, 2 held out" in said
    assert "1 of the held-out inputs are trained on, too" in said and "line 2" in said


def test_plain_text_is_continued_pretraining(finetune, command, place):
    text = "\n\n".join(f"Paragraph {i} says nothing new." for i in range(20))
    (place / "my.txt").write_text(text, encoding="utf-8")
    code, said, _ = finetune(data="my.txt", steps=3)
    assert code == 0 and "20 paragraphs" in said and "exactly right" not in said
    code, said, _ = command("evaluate", "--data", "my.txt", "--adapter", "run", "--json")
    assert code == 0 and json.loads(said)["exact"] is None


def test_what_was_cut_and_dropped_is_reported_by_line(finetune, records):
    pairs = [(f"{i} and more", "x") for i in range(8)]
    records("my.jsonl", *pairs, ("a long input " * 5, "y"), ("short", "a long target " * 5))
    code, _, said = finetune("run", "--max-length", 40)
    assert code == 2 and "my.jsonl, line 10: its target alone needs more than --max-length 40 tokens" in said
    code, _, said = finetune("run", "--max-length", 40, "--truncation", "error", "--eval-fraction", 0.3)
    assert code == 2 and "line" in said
    code, said, _ = finetune("run", "--max-length", 40, "--truncation", "drop")
    assert code == 0 and "1 inputs lost their start to fit 40 tokens: line 9" in said
    assert "1 records left out, for their target does not fit: line 10" in said


ERRORS = [
    (("--data", "nothing.jsonl"), 2, "nothing.jsonl does not exist"),
    (("--data", "empty.jsonl"), 2, "empty.jsonl holds no records"),
    (("--data", "tiny.npz"), 2, "path must end in .jsonl or .csv or .txt"),
    (("--input-field", "question"), 2, "there is no field 'question'; its fields are 'input', 'target'"),
    (
        ("--model", "gpt2"),
        2,
        "--model must be base, a .npz that merge wrote, a Hugging Face folder or a .gguf file; got 'gpt2'",
    ),
    (("--model", "my.npz"), 2, "my.npz is damaged, forged or not a file of minilora"),
    (("--model", "absent.npz"), 2, "absent.npz does not exist"),
    (("--r", 17), 2, "r must be at most 16 for layers.0.self_attn.q_proj of shape (16, 16), got 17"),
    (("--target-modules", "query"), 2, "'query'"),
    (("--method", "prompt"), 2, "--method prompt has no --r; it has --num-virtual-tokens"),
    (("--max-length", 65), 2, "--max-length must be at most 64 with this model, got 65"),
    (("--eval-fraction", 1.5), 2, "fraction must be less than 1"),
    (("--quantize", "nf0"), 2, "nf0"),
    (("--learning-rate", 0), 2, "learning_rate must be greater than 0"),
    (("--template", "{input}"), 2, "pattern must hold {target} once"),
    (("--learning-rate", 1e30, "--quiet"), 1, "training diverged at step"),
]


@pytest.mark.parametrize(("change", "code", "named"), ERRORS, ids=[" ".join(map(str, e[0])) for e in ERRORS])
def test_errors_that_a_user_meets(finetune, place, change, code, named):
    (place / "empty.jsonl").write_text("", encoding="utf-8")
    (place / "my.npz").write_bytes(b"nothing of the kind")
    got, said, error = finetune("run", *change)
    assert got == code and error.startswith("minilora: ") and named in error and error.count("\n") == 1
    run = place / "run"  # a run that could not start leaves nothing behind
    assert run.exists() == (code == 1) and not (run / ".lock").exists()


def test_without_data_there_is_nothing_to_do(command):
    code, _, said = command("finetune", "--out", "run")
    assert code == 2 and "--data must be given" in said


def test_a_folder_in_use_is_left_alone(finetune, trained, command):
    before = {name: (trained / name).read_bytes() for name in FILES}
    with RunFolder(trained).locked():
        code, _, said = command("finetune", "--out", "run", "--resume")
    assert code == 2 and "run is in use by another run (process" in said
    assert before == {name: (trained / name).read_bytes() for name in FILES}


def test_a_full_disk_keeps_the_old_state(finetune, command, place, monkeypatch):
    finetune("whole")
    write, calls = storage.write_atomically, []

    def full(path, content):
        if path.name == "checkpoint.npz":
            calls.append(path)
            if len(calls) == 2:
                raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(storage, "write_atomically", full)
    code, _, said = finetune()
    assert code == 1 and "the disk is full" in said and "checkpoint.npz" in said and "step 2 is kept" in said
    assert command("finetune", "--out", "run", "--resume", "--quiet")[0] == 0
    assert (place / "run" / "adapter.npz").read_bytes() == (place / "whole" / "adapter.npz").read_bytes()


def test_out_of_memory_says_what_to_lower(finetune, monkeypatch):
    def exhausted():
        raise MemoryError

    interrupt(monkeypatch, 4, exhausted)
    code, _, said = finetune()
    assert code == 1 and "out of memory; lower --batch-size" in said and "step 4 is kept" in said


def test_damaged_settings_are_named(trained, command):
    (trained / "run.json").write_text("{", encoding="utf-8")
    code, _, said = command("finetune", "--out", "run", "--resume")
    assert code == 2 and "run.json is damaged" in said
    (trained / "run.json").write_text('{"settings": {"r": 2}}', encoding="utf-8")
    code, _, said = command("finetune", "--out", "run", "--resume")
    assert code == 2 and "run.json lacks adam_beta1, " in said


def test_a_config_is_said_in_a_line(finetune):
    said = finetune("run", "--lora-alpha", 1, "--use-rslora", "--lora-dropout", 0.5, steps=1)[1]
    assert "lora r 2, lora_alpha 1, target_modules all-linear, lora_dropout 0.5, use_rslora: " in said


def test_a_small_set_makes_small_batches(finetune):
    code, said, _ = finetune("run", "--batch-size", 64)
    assert code == 0 and "a batch has all 22 of them, for --batch-size 64 is more" in said
