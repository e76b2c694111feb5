"""Drives headless Chromium by its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# What the keyboard tells of keys that are no letters.
_NAMED = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40, " ": 32}


class Chromium:
    """One page of a browser that is started for it.

    Args:
        folder: For the browser's own files.
        size: Width and height of the window, in CSS pixels.
        dark: What the page is told that its reader prefers.
        mobile: A phone: touch, and a viewport of its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: tuple[int, int] = (1180, 900),
        dark: bool = False,
        mobile: bool = False,
    ):
        assert CHROMIUM is not None
        self.errors: list[str] = []
        self._number = 0
        arguments = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            "about:blank",
        )
        self._process = subprocess.Popen(
            [CHROMIUM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port_file = folder / "DevToolsActivePort"
        port = wait_for(lambda: port_file.exists() and port_file.read_text().split())[0]
        address = f"http://127.0.0.1:{port}/json/list"
        pages = wait_for(lambda: json.load(urllib.request.urlopen(address)))
        page = next(page for page in pages if page["type"] == "page")
        self._line = connect(page["webSocketDebuggerUrl"], max_size=None).__enter__()
        for domain in ("Runtime", "Page", "Log"):
            self.call(f"{domain}.enable")
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        if mobile:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; notes what the page has complained of meanwhile."""
        self._number += 1
        self._line.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._line.recv(timeout=60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))
            entry = answer.get("params", {}).get("entry", {})
            if answer.get("method") == "Log.entryAdded" and entry["level"] == "error":
                self.errors.append(entry["text"])

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && document.body !== null")

    def value(self, expression: str) -> Any:
        """What JavaScript gives in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> Any:
        """What JavaScript gives, once that is true."""
        return wait_for(lambda: self.value(expression), seconds, expression)

    def key(self, key: str, *, down: bool = True, up: bool = True) -> None:
        """Press and release a key, as `KeyboardEvent.key` calls it."""
        code = _NAMED.get(key) or ord(key.upper())
        settings: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code}
        if len(key) == 1:
            settings["text"] = key
        if down:
            self.call("Input.dispatchKeyEvent", type="keyDown", **settings)
        if up:
            self.call("Input.dispatchKeyEvent", type="keyUp", **settings)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Tell of the mouse: mousePressed, mouseMoved, mouseReleased."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Tell of fingers: touchStart, touchMove, touchEnd."""
        self.call(
            "Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points]
        )

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is."""
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'nearest'}})")
        return tuple(
            self.value(
                f"(() => {{ const box = document.querySelector({selector!r})"
                ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]"
                "})()"
            )
        )

    def click(self, selector: str) -> None:
        """Click an element."""
        x, y = self.middle(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def picture(self) -> bytes:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """End the browser."""
        self._line.close()
        self._process.terminate()
        self._process.wait(20)


def wait_for(condition: Any, seconds: float = 60, what: str = "") -> Any:
    """What a condition gives, once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = condition()
        except OSError:  # not listening yet
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(what or "what was waited for did not come")
