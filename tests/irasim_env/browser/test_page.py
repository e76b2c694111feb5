"""The page in headless Chromium."""

import numpy as np
import pytest

from tests.irasim_env.browser.chromium import CHROMIUM, Chromium
from tests.irasim_env.browser.pages import decode, serving

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"),
]
PIXELS = """(() => { const canvas = document.querySelector("#learned canvas");
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
return Array.from(data) })()"""


def number(page, name):
    return float(page.value(f"document.getElementById({name!r}).textContent"))


@pytest.fixture(scope="module")
def served(endless_world):
    """A server, and the players it has made."""
    made = []

    def wrap(player):
        made.append(player)
        return player

    settings = {"max_episode_steps": 0}
    with serving(endless_world, make=settings, wrap=wrap, uncertain_above=0.0) as server:
        yield server, made


@pytest.fixture
def browse(served, tmp_path):
    """Opens pages, each in a browser of its own."""
    pages = []

    def open_page(**settings):
        page = Chromium(tmp_path / str(len(pages)), **settings)
        pages.append(page)
        page.open(f"http://127.0.0.1:{served[0].port}/")
        page.wait("document.body.dataset.frame > 2")
        return page, served[1][-1].session

    yield open_page
    for page in pages:
        page.close()


def test_keys_drive_the_world_and_its_picture_is_shown(browse):
    page, session = browse()
    first = session.action[0]
    page.key("ArrowRight", up=False)
    page.wait("document.querySelector('[data-key=right]').classList.contains('held')")
    page.wait("Number(document.getElementById('latency').textContent) > 0")
    page.wait("Number(document.getElementById('pace').textContent) > 0")
    assert number(page, "model") >= 0
    page.key("ArrowRight", down=False)
    assert session.action[0] > first
    page.key(" ")
    page.wait("document.getElementById('pause').getAttribute('aria-pressed') === 'true'")
    steps = number(page, "steps")
    page.key("n")
    page.wait(f"document.getElementById('steps').textContent == '{int(steps) + 1}'")
    assert session.steps == steps + 1
    shown = np.array(page.value(PIXELS), np.uint8).reshape(96, 96, 4)[..., :3]
    assert (shown == session.frame).all()
    # A picture of the page shows it, too, and the mark once steps are uncertain.
    page.click("#uncertainty")
    page.key("n")
    page.wait("!document.querySelector('.mark').hidden")
    page.key("c")
    page.wait("document.querySelectorAll('#snapshots li').length === 1")
    kept = session.frame
    page.key("n")
    page.wait(f"document.getElementById('steps').textContent == '{int(steps) + 3}'")
    page.key("b")
    page.wait(f"document.getElementById('steps').textContent == '{int(steps) + 2}'")
    assert (session.frame == kept).all()
    assert decode(page.picture()).std() > 10
    assert not page.errors


def test_mouse_points_and_a_video_is_offered(browse):
    page, session = browse()
    x, y = page.middle("#learned .picture")
    page.mouse("mousePressed", x, y)
    page.wait("Number(document.getElementById('latency').textContent) > 0")
    page.mouse("mouseReleased", x, y)
    assert session.action == pytest.approx([256, 256], abs=4)
    page.key("v")
    page.wait("document.getElementById('record').textContent.includes('Stop')")
    page.click("#record")
    page.wait("document.querySelectorAll('#videos a').length === 2")
    assert page.value("document.querySelector('#videos a').download").endswith(".mp4")
    assert not page.errors


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_scrolling_sideways_and_takes_touch(browse, dark):
    page, session = browse(size=(390, 844), dark=dark, mobile=True)
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    # The picture and the keys for fingers fit on the screen together.
    bottom = "document.getElementById('pad').getBoundingClientRect().bottom"
    assert page.value(f"{bottom} <= innerHeight")
    low = page.value("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 29)"
    assert low == dark
    first = session.action[1]
    down = page.middle("[data-key=down]")
    page.touch("touchStart", down)
    page.wait("Number(document.getElementById('latency').textContent) > 0")
    page.touch("touchEnd")
    assert session.action[1] > first
    page.wait("document.querySelectorAll('.pad .held').length === 0")
    assert not page.errors


def test_a_page_without_the_token_says_so(endless_world, tmp_path):
    with serving(endless_world, token="right") as server:
        page = Chromium(tmp_path)
        page.open(f"http://127.0.0.1:{server.port}/")
        page.wait("document.getElementById('line').textContent.includes('wrong token')")
        page.open(f"http://127.0.0.1:{server.port}/?again#right")
        page.wait("document.body.dataset.frame > 2")
        page.close()
