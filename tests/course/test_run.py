"""Comparing a notebook with what its committed copy says."""

from types import SimpleNamespace as Cell

import pytest

from minilora.course.run import blemishes, differences, main, texts, tolerance


def stream(text, name="stdout"):
    return Cell(output_type="stream", name=name, text=text, get={"name": name}.get)


class Output(dict):
    __getattr__ = dict.__getitem__


def code(*outputs, count=1, tags=()):
    return Cell(
        cell_type="code", execution_count=count, source="1", metadata={"tags": list(tags)}, outputs=list(outputs),
        get={"outputs": list(outputs)}.get,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "again", "rtol", "same"),
    [
        ("loss 1.000", "loss 1.0005", 1e-3, True),
        ("loss 1.000", "loss 1.01", 1e-3, False),
        ("loss 1.000", "loss 1.01", 0.1, True),
        ("loss 1.000", "gain 1.000", 1e-3, False),
        ("1,000 of 2", "1000 of 2", 1e-3, True),
        ("error 3e-10", "error 9e-10", 30, True),
        ("a 1 2", "a 1", 1e-3, False),
        ("| a |   1 |", "| a | 1 |", 1e-3, True),
        ("exact 0", "exact 1e-9", 1e-3, False),
    ],
)
def test_numbers_may_differ_a_little_and_words_not_at_all(stored, again, rtol, same):
    assert (not list(differences(stored, again, rtol))) == same


def test_a_difference_names_both_numbers():
    assert "stored 1.0, computed 2.0" in next(differences("x 1.0", "x 2.0", 1e-3))


def test_a_cell_may_state_its_tolerance():
    assert tolerance(code()) == 1e-3
    assert tolerance(code(tags=["rtol=0.2"])) == 0.2


def test_texts_leave_pictures_out():
    picture = Output(output_type="display_data", data={"image/png": "...", "text/plain": "<Figure size 1x1>"})
    table = Output(output_type="display_data", data={"text/markdown": "| a |", "text/plain": "<Markdown>"})
    stream = Output(output_type="stream", name="stdout", text="printed")
    assert texts(code(picture, table, stream)) == "| a |\nprinted"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (code(count=2), "in order"),
        (code(Output(output_type="error", ename="ValueError", evalue="no")), "ValueError"),
        (code(Output(output_type="stream", name="stderr", text="UserWarning")), "stderr"),
        (code(Output(output_type="stream", name="stdout", text="saved to /home/me/x")), "path"),
    ],
)
def test_blemishes_are_named(cell, words):
    faults = list(blemishes(Cell(cells=[cell])))
    assert len(faults) == 1 and words in faults[0]
    assert not list(blemishes(Cell(cells=[code(Output(output_type="stream", name="stdout", text="fine"))])))


def test_an_unknown_lesson_is_named():
    with pytest.raises(ValueError, match="00_start_here.*got 'nope'"):
        main("compare", ["nope"])


def test_where_there_are_no_lessons_a_checkout_is_asked_for(monkeypatch):
    monkeypatch.setattr("minilora.course.run.lessons", lambda: [])
    with pytest.raises(ValueError, match="the lessons are not part of the installed package"):
        main("compare", [])
