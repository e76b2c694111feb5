"""The page that plays the shipped world in a visitor's browser, in headless Chromium."""

import json
import os
import shutil

import numpy as np
import pytest

from tests.docs.serving import begin, data, part, served
from tests.irasim_env.browser.chromium import CHROMIUM, Chromium
from tests.irasim_env.browser.pages import decode
from world_model import WorldModel

pytestmark = [
    pytest.mark.slow_suite,
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"),
]
STEPS = 20
PIXELS = f"""(() => {{ const canvas = {part("canvas")};
const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
return Array.from(data) }})()"""


@pytest.fixture
def browse(tmp_path):
    """Opens pages, each in a browser of its own."""
    pages = []

    def open_page(**settings):
        pages.append(Chromium(tmp_path / str(len(pages)), **settings))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


def pixels(page):
    return np.array(page.value(PIXELS), np.uint8).reshape(96, 96, 4)[..., :3].astype(int)


def test_it_shows_what_torch_predicts(address, browse):
    page = browse()
    begin(page, address)
    # A plain server sends no headers for it, and still there are threads.
    assert page.value("crossOriginIsolated")
    assert int(page.value(data("threads"))) == min(4, os.cpu_count() or 1)
    page.click('[data-part="pause"]')
    page.wait(f"{part('pause')}.getAttribute('aria-pressed') === 'true'")
    page.value(f"{part('start')}.value = '1'")
    page.click('[data-part="again"]')
    page.wait(f"{data('start')} === '1' && {data('steps')} === '0'")
    world = WorldModel.from_pretrained("pusht")
    state = world.begin([1], [0])
    first = pixels(page)
    assert (first == state.output.frame[0].numpy()).all()
    page.value(f"{part('picture')}.focus()")
    held = ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]
    worst, seen = 0, set()
    for step in range(STEPS):
        if step % 5 == 0:
            page.key(held[step // 5], up=False)
        page.key("n")
        page.wait(f"{data('steps')} === '{step + 1}'")
        action = json.loads(page.value(data("action")))
        seen.add(tuple(action))
        out = world.step_(state, np.array([action], np.float32))
        shown = pixels(page)
        worst = max(worst, int(np.abs(shown - out.frame[0].numpy()).max()))
        assert float(page.value(f"{part('reward')}.textContent")) == pytest.approx(
            out.reward.item(), abs=0.011
        )
        if step % 5 == 4:
            page.key(held[step // 5], down=False)
    assert worst <= 1
    assert len(seen) > STEPS / 2, "keys moved the target"
    assert (shown != first).any()
    assert not page.errors


def test_pressing_in_the_picture_sets_the_target_and_it_runs_by_itself(address, browse):
    page = browse()
    begin(page, address)
    x, y = page.middle('[data-part="canvas"]')
    page.mouse("mousePressed", x, y)
    page.wait(f"JSON.parse({data('action')}).every((at) => Math.abs(at - 256) < 8)")
    page.mouse("mouseReleased", x, y)
    page.wait(f"Number({data('steps')}) >= 10", 120)
    page.wait(f"Number({part('rate')}.textContent) > 0 && Number({part('ms')}.textContent) > 0")
    page.wait(f"Number({part('latency')}.textContent) > 0")
    page.click('[data-part="again"]')
    page.wait(f"Number({data('steps')}) < 10", 120)
    assert not page.errors


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_scrolling_sideways(address, browse, dark):
    page = browse(size=(390, 844), dark=dark, mobile=True)
    page.open(f"{address}/play/")
    page.wait(f"!{part('load')}.disabled")
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    assert decode(page.picture()).std() > 10
    assert not page.errors


def test_a_site_without_the_world_says_so(site, browse, tmp_path):
    ignored = shutil.ignore_patterns("world", "runtime", "search")
    bare = shutil.copytree(site, tmp_path / "site", ignore=ignored)
    with served(bare) as where:
        page = browse()
        page.open(f"{where}/play/")
        page.wait(f"{part('status')}.textContent.includes('make docs')")
        assert page.value(f"{part('load')}.disabled")
