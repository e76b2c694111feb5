"""What pages may say, and to whom the server listens."""

import json

import numpy as np
import pytest

from irasim_env.browser.messages import MessageError, pack, parse, picture_file, unpack
from irasim_env.browser.settings import Settings, make_token
from tests.irasim_env.browser.pages import decode

INPUT = {"type": "input", "seq": 1, "held": ["up"], "pointer": [0, 0.5]}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "join", "token": ""},
        INPUT,
        INPUT | {"pointer": None, "held": []},
        {"type": "begin", "start": None, "seed": 3},
        {"type": "snapshot"},
        {"type": "uncertainty", "on": True},
    ],
)
def test_messages_of_the_right_form_are_read(message):
    read = parse(json.dumps(message))
    assert {"type": read.type, **read.fields} == message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"{}", "binary"),
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 2000, "no JSON"),
        ('{"type": "ack", "frame": NaN}', "no JSON"),
        ('{"type": "ack", "frame": 1' + "0" * 1990 + "}", "whole number"),
        ("[]", "no JSON object"),
        ("{}", "expected one of join"),
        ('{"type": ["join"]}', "expected one of join"),
        ('{"type": "\\ud800"}', "expected one of join"),
        ('{"type": "snapshot", "more": 1}', "none besides the type"),
        (json.dumps({"type": "input", "seq": 1, "held": []}), "seq, held, pointer"),
        (json.dumps(INPUT | {"seq": -1}), "seq of 'input'"),
        (json.dumps(INPUT | {"seq": True}), "seq of 'input'"),
        (json.dumps(INPUT | {"seq": 1.5}), "seq of 'input'"),
        (json.dumps(INPUT | {"held": "up"}), "list of at most 32"),
        (json.dumps(INPUT | {"held": ["up"] * 33}), "list of at most 32"),
        (json.dumps(INPUT | {"held": [1]}), "list of at most 32"),
        (json.dumps(INPUT | {"pointer": [0.5]}), "pointer of 'input'"),
        (json.dumps(INPUT | {"pointer": [0, 1.01]}), "pointer of 'input'"),
        ('{"type": "input", "seq": 1, "held": [], "pointer": [1e999, 0]}', "pointer of 'input'"),
        ('{"type": "begin", "start": "0", "seed": 0}', "start of 'begin'"),
        ('{"type": "begin", "start": 0, "seed": 9007199254740992}', "seed of 'begin'"),
        ('{"type": "uncertainty", "on": 1}', "true or false"),
    ],
)
def test_others_are_refused_in_words_that_can_be_sent(text, word):
    with pytest.raises(MessageError, match=word.replace("^", r"\^")) as told:
        parse(text)
    str(told.value).encode()


@pytest.mark.parametrize(("side", "kind"), [(96, b"\x89PNG"), (256, b"\xff\xd8")])
def test_pictures_are_packed_behind_their_message(side, kind):
    frame = np.full((side, side, 3), (200, 30, 60), np.uint8)
    file = picture_file(frame)
    assert file.startswith(kind)
    content, files = unpack(pack({"type": "view"}, file, b"more"))
    assert content == {"type": "view", "sizes": [len(file), 4]}
    assert files == [file, b"more"]
    assert np.abs(decode(file).astype(int) - frame).max() <= (0 if side == 96 else 4)


def test_only_a_loopback_address_is_served_without_a_token():
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        Settings(host=host)
    for host in ("0.0.0.0", "::", "192.168.1.2", "gpu-box", ""):
        with pytest.raises(ValueError, match="--token"):
            Settings(host=host)
        Settings(host=host, token=make_token())


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"port": 65536}, "port"),
        ({"players": 0}, "at least 1"),
        ({"idle_seconds": 0}, "positive"),
        ({"idle_seconds": float("nan")}, "positive"),
        ({"uncertain_above": -1}, "0 or more"),
        ({"origins": ("robots.example.org",)}, "scheme"),
        ({"origins": ("https://robots.example.org/play",)}, "scheme"),
    ],
)
def test_wrong_settings_name_the_cure(settings, word):
    with pytest.raises(ValueError, match=word):
        Settings(**settings)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765", True),
        ("http://localhost:9000", "localhost:9000", True),  # through a tunnel
        ("http://[::1]:8765", "[::1]:8765", True),
        ("http://10.0.0.2:8765", "10.0.0.2:8765", True),
        ("https://robots.example.org", "robots.example.org", True),  # a proxy before it
        ("http://localhost:3000", "localhost:8765", False),  # another program's page
        ("https://localhost:8765", "localhost:8765", False),
        ("null", "localhost:8765", False),
        (None, "localhost:8765", False),
        ("http://evil.example.org", "localhost:8765", False),
        # A name that leads here for a moment.
        ("http://evil.example.org:8765", "evil.example.org:8765", False),
        ("http://localhost.evil.example.org", "localhost.evil.example.org", False),
        ("http://[", "[", False),
        (None, None, False),
    ],
)
def test_pages_of_others_may_not_connect(origin, host, allowed):
    settings = Settings(origins=("https://robots.example.org",))
    assert (settings.allows_host(host) and settings.allows_origin(origin, host)) == allowed


def test_tokens():
    token = make_token()
    assert len(token) == 32 and token != make_token()
    settings = Settings(token=token)
    assert settings.allows_token(token)
    for wrong in ("", token[:-1], token + "x", token.swapcase(), "\ud800", "é"):
        assert not settings.allows_token(wrong)
    assert settings.address(80) == f"http://127.0.0.1:80/#{token}"
    assert Settings(host="::1").address(80) == "http://[::1]:80/"
