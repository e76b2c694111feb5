"""The page's server: what a player can do, without a browser."""

import contextlib
import json
import re
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from irasim_env.browser import server as serving_module
from irasim_env.browser.server import FULL, IDLE, NO_JOIN, PAGES, TOO_MUCH, WRONG_TOKEN
from irasim_env.play import PlayConfig, make_player
from tests.irasim_env.browser.chromium import wait_for
from tests.irasim_env.browser.pages import Page, serving
from tests.irasim_env.players import run
from world_model.video import read_video

# Faster than hands: tests wait for steps.
QUICK = {"max_episode_steps": 0, "fps": 50.0}
STATIC = Path(serving_module.__file__).parent / "static"


@pytest.fixture(scope="module")
def served(endless_world):
    """A server that several tests use."""
    with serving(endless_world, make=QUICK) as server:
        yield server


def get(server, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    return urllib.request.urlopen(request, timeout=30)


def closed(page):
    """The code that a page is closed with."""
    try:
        while True:
            page.receive()
    except ConnectionClosed as end:
        return end.rcvd.code


def test_the_page_is_served_and_asks_for_nothing_from_outside(served):
    for path, (name, kind) in PAGES.items():
        with get(served, path) as answer:
            text = answer.read().decode()
            assert text == (STATIC / name).read_text()
            assert answer.headers["Content-Type"] == kind
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.findall(r"https?://(?!www\.w3\.org)", text), name
    assert {path.name for path in STATIC.iterdir()} == {name for name, _ in PAGES.values()}
    for path in ("/nothing", "/../server.py", "/static/app.js"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(served, path)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(served, "/", Host="evil.example.org")


def test_keys_and_pointer_drive_the_world_as_they_do_in_a_window(served, endless_world):
    player = make_player(PlayConfig(world=endless_world, start=0, max_episode_steps=0))
    with Page(served) as page:
        page.pause()
        page.begin(0, 0)
        assert (page.pictures[0] == player.session.frame).all()
        for keys, script in ((["right"], "right"), (["right", "down"], "right+down"), ([], "wait")):
            shown = page.step(*keys)
            run(player, script)
            assert (shown == player.session.frame).all()
            assert page.view["action"] == pytest.approx(player.session.action, abs=1e-3)
        page.input(pointer=[1, 0])
        page.command("n")
        page.await_view(lambda view: view["steps"] == 4)
        assert page.view["action"] == [512, 0]
        assert page.view["target"] == [1, 0]
        assert page.view["seen"] == page.seq
    player.close()


def test_held_keys_step_at_the_worlds_rate_until_they_are_released(endless_world):
    with serving(endless_world, make={"fps": 20.0}) as server, Page(server) as page:
        page.input("right")
        page.await_view(lambda view: view["action"][0] == 512)
        page.input("left")
        page.await_view(lambda view: view["action"][0] < 512)
        page.input()
        page.await_view(lambda view: view["seen"] == page.seq)
        rested = page.view["action"]
        page.await_view()
        assert page.view["action"] == rested
        assert page.view["pace"] < 22


def test_starts_seeds_and_commands(served):
    with Page(served) as page:
        page.pause()
        page.begin(2, 5)
        first = page.step("up")
        page.begin(2, 5)
        assert (page.step("up") == first).all()
        assert page.view["seed"] == 5
        page.command("]")
        page.await_view(lambda view: view["start"] == 3)
        page.command("1")
        page.await_view(lambda view: view["start"] == 1)
        page.send(type="begin", start=99, seed=0)
        page.await_view(lambda view: "no start 99" in view["message"])
        assert page.view["start"] == 1


def test_a_branch_goes_on_from_its_snapshot(served):
    with Page(served) as page:
        page.pause()
        page.step("right")
        page.send(type="snapshot")
        kept, files = page.await_type("snapshot")
        assert kept["steps"] == page.view["steps"] and len(files) == 1
        ways = []
        for keys in (["down"], ["up"], ["down"]):
            page.send(type="branch", snapshot=kept["snapshot"])
            page.await_view(lambda view: view["steps"] == kept["steps"])
            ways.append([page.step(*keys) for _ in range(3)])
        assert np.array_equal(ways[0], ways[2])
        assert not np.array_equal(ways[0], ways[1])
        page.send(type="forget", snapshot=kept["snapshot"])
        page.send(type="branch", snapshot=kept["snapshot"])
        assert "no snapshot" in page.await_type("error")[0]["message"]
        for _ in range(page.welcome["most_snapshots"]):
            page.send(type="snapshot")
            page.await_type("snapshot")
        page.send(type="snapshot")
        page.await_view(lambda view: "remove one" in view["message"])


def test_the_simulator_beside_it_follows_a_branch(served):
    pytest.importorskip("gym_pusht")
    with Page(served) as page:
        page.pause()
        page.begin(0, 0)
        page.step("right")
        page.send(type="snapshot")
        kept, _ = page.await_type("snapshot")
        page.command("g")
        page.await_view(lambda view: len(view["sizes"]) == 2)
        page.step("down")
        there = page.pictures[1]
        page.step("down")
        page.send(type="branch", snapshot=kept["snapshot"])
        page.await_view(lambda view: view["steps"] == kept["steps"])
        page.step("down")
        assert (page.pictures[1] == there).all()
        assert page.view["real_reward"] is not None


def test_uncertain_steps_are_marked(endless_world):
    with serving(endless_world, uncertain_above=0.0) as server, Page(server) as page:
        page.pause()
        page.step()
        assert page.view["uncertainty"] is None and not page.view["uncertain"]
        page.send(type="uncertainty", on=True)
        page.await_view(lambda view: view["samples"] == 3)
        page.step()
        assert page.view["uncertainty"] > 0 and page.view["uncertain"]
    with serving(endless_world, samples=None) as server, Page(server) as page:
        page.send(type="uncertainty", on=True)
        assert "--uncertainty-samples" in page.await_type("error")[0]["message"]


def test_a_recording_is_sent_to_its_player_and_leaves_nothing(served, tmp_path):
    with Page(served) as page:
        page.pause()
        page.command("v")
        page.await_view(lambda view: view["recorded"] == 1)
        for _ in range(3):
            page.step("right")
        page.command("v")
        video, (film, note) = page.await_type("video")
        (tmp_path / video["name"]).write_bytes(film)
        assert len(read_video(tmp_path / video["name"])) == 4
        assert json.loads(note)["video"] == {"frames": 4, "fps": QUICK["fps"]}
        page.await_view(lambda view: view["recorded"] is None)
        assert not [path for path in served._folder.rglob("*") if path.is_file()]


def test_a_recording_ends_by_itself(served, monkeypatch):
    monkeypatch.setattr("irasim_env.browser.seat.MOST_RECORDED", 3)
    with Page(served) as page:
        page.command("v")
        assert page.await_type("video")[0]["name"].endswith(".mp4")


def test_no_more_record_at_once_than_the_disk_is_meant_for(served):
    pages = [Page(served) for _ in range(5)]
    for page in pages[:4]:
        page.command("v")
        page.await_view(lambda view: view["recorded"] is not None)
    pages[4].command("v")
    pages[4].await_view(lambda view: "try again" in view["message"])
    pages[0].line.close()  # in the middle of its recording
    while pages[4].view["recorded"] is None:
        pages[4].command("v")
        pages[4].await_view(lambda view: view["recorded"] is not None or view["message"])
    for page in pages:
        page.line.close()


def test_wrong_token_and_wrong_origin_are_refused(endless_world):
    with serving(endless_world, token="right", players=1) as server:
        for origin in ("http://evil.example.org", "null", f"https://127.0.0.1:{server.port}"):
            with pytest.raises(InvalidStatus, match="403"):
                Page(server, origin=origin)
        for token in ("", "wrong", "right "):
            page = Page(server, join=False)
            page.send(type="join", token=token)
            assert closed(page) == WRONG_TOKEN
        with Page(server, token="right") as page:
            page.await_view(lambda view: view["steps"] > 1)


def test_who_says_something_else_than_join_has_no_seat(served, monkeypatch):
    page = Page(served, join=False)
    page.send(type="snapshot")
    assert closed(page) == NO_JOIN
    monkeypatch.setattr(serving_module, "_JOIN_SECONDS", 0.1)
    assert closed(Page(served, join=False)) == NO_JOIN


def test_no_more_players_than_there_are_places(endless_world):
    with serving(endless_world, players=2) as server:
        first, second = Page(server), Page(server)
        late = Page(server, join=False)
        late.send(type="join", token="")
        assert closed(late) == FULL
        first.line.close()
        wait_for(lambda: server._places == 1)
        Page(server).line.close()
        second.line.close()


def test_idle_players_are_closed_and_others_are_not(endless_world):
    with serving(endless_world, idle_seconds=1.0) as server, Page(server) as busy:
        idle = Page(server)
        began = time.monotonic()
        while time.monotonic() < began + 1.5:
            busy.input("right")
            busy.await_view()
        assert closed(idle) == IDLE
        busy.await_view()


def test_a_page_that_draws_nothing_is_shown_no_more_and_holds_nobody_up(served):
    slow = Page(served)
    slow.receive = lambda: None
    with Page(served) as page:
        steps = page.view["steps"]
        page.await_view(lambda view: view["steps"] >= steps + 15)
    del slow.receive
    frames = []
    while not frames or slow.view["steps"] < frames[0] + 4:  # goes on where it stopped
        slow.await_view()
        frames.append(slow.view["steps"])
    assert np.diff(frames).max() == 1
    assert frames[0] <= 3
    slow.line.close()


MALFORMED = [
    "",
    "{",
    "[]",
    "null",
    '"join"',
    "[" * 2000,
    '{"type": "\\ud800"}',
    '{"type": "join", "token": ""}',
    '{"type": "input", "seq": -1, "held": [], "pointer": null}',
    '{"type": "input", "seq": 1, "held": ["\\ud800"], "pointer": null}',
    '{"type": "input", "seq": 1, "held": [], "pointer": [NaN, 0]}',
    '{"type": "command", "key": "q"}',
    '{"type": "command", "key": "__class__"}',
    '{"type": "begin", "start": 1e400, "seed": 0}',
    '{"type": "branch", "snapshot": 7}',
    '{"type": "ack", "frame": 99999999}',
    b"\x00\xff",
    b'{"type": "snapshot"}',
    "x" * 2049,
    "é" * 1500,
]


def test_200_malformed_messages_stop_nothing_and_reach_nobody(served):
    with Page(served) as other:
        told, lines, codes = 0, 0, set()
        rude = None
        for i in range(200):
            if rude is None:
                rude, lines = Page(served), lines + 1
            try:
                rude.line.send(MALFORMED[i % len(MALFORMED)])
                rude.await_type("error")
                told += 1
            except ConnectionClosed as end:
                codes.add(end.rcvd.code)
                rude = None
            if i % 20 == 0:
                other.await_view()
        steps = other.view["steps"]
        assert codes <= {TOO_MUCH, 1009}  # 1009: longer than a message may be
        assert told >= 180 - lines
        assert other.view["message"] == ""
        other.await_view(lambda view: view["steps"] > steps + 3)
        if rude is not None:
            rude.line.close()
    with Page(served) as page:
        page.await_view(lambda view: view["steps"] > 1)


@pytest.mark.slow_suite
def test_a_flood_closes_its_own_page_only(served):
    with Page(served) as other:
        flood = Page(served)
        with contextlib.suppress(ConnectionClosed):
            for _ in range(5000):
                flood.input()
        assert closed(flood) == TOO_MUCH
        other.await_view()


def test_one_players_failure_closes_that_one_only(endless_world, caplog):
    made = []

    def wrap(player):
        made.append(player)
        return player

    with serving(endless_world, wrap=wrap) as server, Page(server) as sound, Page(server) as page:

        def fail(*_):
            raise RuntimeError("broken")

        made[1].session.take = fail
        assert closed(page) == 1011
        steps = sound.view["steps"]
        sound.await_view(lambda view: view["steps"] > steps + 2)
    assert "the others play on" in caplog.text


def test_twenty_players_all_advance(endless_world):
    with serving(endless_world, make=QUICK, players=20) as server:
        pages = [Page(server) for _ in range(20)]

        def play(page):
            steps = page.view["steps"]
            page.input("right")
            page.await_view(lambda view: view["steps"] >= steps + 5 and view["seen"] == page.seq)
            page.line.close()

        with ThreadPoolExecutor(20) as threads:
            list(threads.map(play, pages))
        assert server.most_players == 20
