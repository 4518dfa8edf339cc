from types import SimpleNamespace

import pytest

from minilora.cli.output import Output, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (372_000, "372 kB"),
        (4_200_000, "4.2 MB"),
        (999_900_000, "1,000 MB"),
        (3.34e9, "3.34 GB"),
    ],
)
def test_sizes_are_for_people(count, text):
    assert size(count) == text


@pytest.mark.parametrize(("json", "quiet"), [(False, False), (False, True), (True, False), (True, True)])
def test_who_is_told_what(capsys, json, quiet):
    out = Output(SimpleNamespace(json=json, quiet=quiet))
    out.say("data", "one", "two")
    out.result({"a": "é"}, "loss 1")
    talk = "" if json or quiet else "data      one\n          two\n"
    assert capsys.readouterr().out == talk + ('{"a": "é"}\n' if json else "loss 1\n")
