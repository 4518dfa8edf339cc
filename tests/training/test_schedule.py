import pytest

from minilora.training import lr_factor


def test_schedule():
    def cosine(step):
        return lr_factor(step, max_steps=110, warmup_steps=10, floor=0.1)

    assert [cosine(0), cosine(9), cosine(10)] == [0.1, 1.0, 1.0]
    assert cosine(60) == pytest.approx(0.55) and cosine(110) == pytest.approx(0.1)
    assert lr_factor(60, max_steps=110, warmup_steps=10, kind="linear") == 0.5
    assert lr_factor(60, max_steps=110, kind="constant") == 1.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"step": -1}, ValueError, "step must be at least 0, got -1"),
        ({"step": 0.5}, TypeError, "step must be an int"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1"),
        ({"warmup_steps": 11}, ValueError, "warmup_steps must be between 0 and 10, got 11"),
        ({"floor": 1.5}, ValueError, "floor must be at most 1, got 1.5"),
        ({"kind": "up"}, ValueError, "kind must be one of 'cosine', 'linear', 'constant'"),
    ],
)
def test_bad_input_is_named(change, error, message):
    settings = {"step": 0, "max_steps": 10} | change
    with pytest.raises(error, match=message):
        lr_factor(settings.pop("step"), **settings)
