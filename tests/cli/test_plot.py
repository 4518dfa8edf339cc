import json


def test_it_draws_both_formats_the_same_twice(trained, command):
    code, said, _ = command("plot", "run")
    assert code == 0 and "step 6: training loss" in said and "best" in said
    before = {suffix: (trained / f"curves.{suffix}").read_bytes() for suffix in ("png", "svg")}
    assert before["png"].startswith(b"\x89PNG") and b"<svg" in before["svg"]
    command("plot", "run")
    assert before == {suffix: (trained / f"curves.{suffix}").read_bytes() for suffix in ("png", "svg")}


def test_a_run_that_still_trains_can_be_drawn(command, place):
    (place / "run").mkdir()
    lines = [{"step": i, "loss": 2.0 / i, "learning_rate": 0.1, "grad_norm": 1.0} for i in (1, 2, 3)]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo'
    (place / "run" / "log.jsonl").write_text(text, encoding="utf-8")
    code, said, _ = command("plot", "run", "--out", "now.svg")
    assert code == 0 and "step 3: training loss 0.6667" in said and (place / "now.svg").is_file()


def test_errors_that_a_user_meets(command, trained, place):
    code, _, said = command("plot", "nowhere")
    assert code == 2 and "log.jsonl does not exist; name the folder of a run" in said
    code, _, said = command("plot", "run", "--out", "x.pdf")
    assert code == 2 and "--out must end in .png or .svg" in said
    (trained / "log.jsonl").write_text("", encoding="utf-8")
    code, _, said = command("plot", "run")
    assert code == 2 and "holds no step yet" in said


def test_json_and_quiet(trained, command):
    code, said, _ = command("plot", "run", "--out", "x.svg", "--json")
    assert code == 0 and json.loads(said)["files"] == ["x.svg"] and "step 6" in json.loads(said)["caption"]
    assert command("plot", "run", "--out", "x.svg", "--quiet")[1] == "wrote     x.svg\n"
