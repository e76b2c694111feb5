"""JSON that cannot be taken as it is, is told by its source."""

import pytest

from world_model.io.json_files import parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        ("[" * 100_000, "recursion"),
        ('{"a":' * 5000 + "0" + "}" * 5000, "recursion"),
        ("9" * 5000, "digits"),
        (b"\xff\xfe{", "UTF-16|utf-16|decode"),
        ('"\\ud800"', "surrogates not allowed"),
        ("{", "line 1"),
    ],
)
def test_it_is_named(text: str | bytes, message: str):
    with pytest.raises(ValueError, match=f"^here: is not readable as JSON .*(?i:{message})"):
        parse_json(text, "here")


def test_characters_of_two_halves_are_taken():
    assert parse_json('"\\ud83d\\udc7e"', "here") == "\N{ALIEN MONSTER}"
