"""`irasim play --browser`: command line."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from irasim_env import console
from irasim_env.play import PlayConfig


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "add --token"),
        (["--port", "70000"], "port is 70000"),
        (["--idle", "0"], "positive number of seconds"),
        (["--origins", "robots.example.org"], "expected a scheme and a host"),
        (["--uncertainty-samples", "1"], "at least 2"),
        (["--start", "99"], "start 99"),
        (["--world", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told(endless_world, arguments, message):
    with pytest.raises(SystemExit, match=f"irasim play: .*{message}"):
        console.main(["play", "--browser", "--world", endless_world, *arguments])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"keys": "right"}, "leave it out"), ({"record": Path("out.mp4")}, "press V in the page")],
)
def test_options_without_a_page_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PlayConfig(browser=True, **settings)


def test_a_missing_package_is_named(monkeypatch):
    for name in ("server", "settings"):
        monkeypatch.delitem(sys.modules, f"irasim_env.browser.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "websockets", None)
    monkeypatch.setitem(sys.modules, "websockets.asyncio.server", None)
    with pytest.raises(SystemExit, match=r"pip install 'irasim-env\[browser\]'"):
        console.main(["play", "--browser"])


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_it_prints_what_to_open_serves_it_and_stops(endless_world):
    command = [sys.executable, "-m", "irasim_env.console", "play", "--browser", "--world"]
    process = subprocess.Popen(
        [*command, endless_world, "--port", "0", "--token"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[1]
        page, token = address.split("#")
        assert page.startswith("http://127.0.0.1:") and len(token) == 32
        assert b"irasim play" in urllib.request.urlopen(page).read()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert rest == "0 steps; at most 0 players at once\n"
        assert not process.returncode
    finally:
        process.kill()
