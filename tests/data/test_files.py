import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora.data import Record, hold_out, load_records, read_file


def test_records_from_files(tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text('\ufeff{"input": "a", "target": "b"}\n\n{"input": "c", "target": "d"}\n', encoding="utf-8")
    table = tmp_path / "a.csv"
    table.write_text('input,target\na,b\n"c",d\n', encoding="utf-8")
    assert load_records(lines) == load_records(table) == [Record("a", "b"), Record("c", "d")]


def test_lines_are_counted_as_an_editor_does(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"input": "a\u2028", "target": "b"}\r\n\r\n{"input": "c", "target": "d"}\r\n'.encode())
    data = read_file(path)
    assert (data.lines, data.blank) == ([1, 3], [2])
    table = tmp_path / "a.csv"
    table.write_text('input,target\n"two\nlines",b\n\nc,d\n', encoding="utf-8")
    data = read_file(table)
    assert (data.lines, data.blank) == ([2, 5], [4])
    assert data.records[0].input == "two\nlines"


def test_fields_have_names_of_ones_own(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "a", "answer": "b", "id": 7}\n', encoding="utf-8")
    assert load_records(path, input_field="question", target_field="answer") == [Record("a", "b")]
    with pytest.raises(ValueError, match="no field 'input'; its fields are 'question', 'answer', 'id'"):
        load_records(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"input": "a"}', "there is no field 'target'"),
        ('{"input": "a", "target": 3}', r"'target' must be a text that is not empty, got 3 \(int\)"),
        ('{"input": "", "target": "b"}', "'input' must be a text"),
        ("[1]", "must be an object"),
        ("{oops", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"input": "a", "target": "b"}) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"a.jsonl, line 2: .*{reason}"):
        load_records(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("input,target\na,b,c\n", "line 2: has 3 fields where the header has 2"),
        ("text,label\na,b\n", "no field 'input'; its fields are 'text', 'label'"),
        ('input,target\n"a,b\n', "not CSV"),
        ("input,target\n", "holds no records"),
    ],
)
def test_a_bad_table_is_named(tmp_path, text, reason):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        load_records(path)


def test_what_is_not_utf8_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"input": "a", "target": "b"}\n{"input": "caf\xe9", "target": "b"}\n')
    with pytest.raises(ValueError, match="a.jsonl, line 2: byte 0xe9 is not UTF-8"):
        load_records(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_an_empty_file_and_no_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
        read_file(tmp_path / name)
    (tmp_path / name).write_text("\n \n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"{name} holds no (records|text)|line 2: "):
        read_file(tmp_path / name)


def test_text_is_paragraphs_or_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n \n\nthree\n", encoding="utf-8")
    data = read_file(path)
    assert data.is_text and data.records == [("", "one\ntwo"), ("", "three")] and data.lines == [1, 5]
    path.write_text("one\r\ntwo\r\n", encoding="utf-8", newline="")
    assert [r.target for r in read_file(path).records] == ["one", "two"]


@given(st.lists(st.integers(0, 8), min_size=2, max_size=40), st.floats(0.05, 0.9), st.integers(0, 99))
def test_no_input_is_on_both_sides(inputs, fraction, seed):
    records = [Record(str(i), "x") for i in inputs]
    if len(set(inputs)) == 1:
        with pytest.raises(ValueError, match="at least two different inputs"):
            hold_out(records, fraction, seed=seed)
        return
    try:
        training, held_out = hold_out(records, fraction, seed=seed)
    except ValueError:  # a large fraction took every group
        return
    assert sorted(training + held_out) == list(range(len(records)))
    assert training and held_out and hold_out(records, fraction, seed=seed) == (training, held_out)
    assert not {inputs[i] for i in training} & {inputs[i] for i in held_out}
