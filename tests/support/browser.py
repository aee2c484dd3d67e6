"""A real browser, headless, steered over a pipe by the DevTools protocol: Debian's Chromium, or the machine's."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.debian import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")  # 100 MB to fetch, 300 MB unpacked; ten seconds
_WITHIN = 60.0  # seconds that an answer may take on a busy machine
_CHUNK = 1 << 20
_NEAR = 48  # of 255 in red, green and blue together: what is smoothed at its edges counts as well
_PIXELS = """async (png, [left, top, right, bottom], colours, near) => {
  const image = new Image(); image.src = `data:image/png;base64,${png}`; await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.width, image.height];
  const ink = canvas.getContext('2d'); ink.drawImage(image, 0, 0);
  const {data} = ink.getImageData(left, top, Math.ceil(right - left), Math.ceil(bottom - top));
  return colours.map(text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number); let found = 0;
    for (let n = 0; n < data.length; n += 4) {
      found += Math.abs(data[n] - r) + Math.abs(data[n + 1] - g) + Math.abs(data[n + 2] - b) <= near;
    } return found }) }"""
_KEYS = {"Tab": 9, "Enter": 13}
_FLAGS = (
    *("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    *("--font-render-hinting=none", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe"),
)


def program() -> tuple[str, Mapping[str, str]]:
    """The binary, and the environment that it runs in; fetched once where the machine has none."""
    for name in _NAMES:
        if (found := shutil.which(name)) is not None:
            return found, os.environ
    packages = unpacked(_PACKAGES)
    return str(packages.root / "usr/lib/chromium/chromium-headless-shell"), packages.environment()


@dataclass
class Page:
    """One tab, and everything that it has said since it was opened."""

    browser: Browser
    session: str
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def resize(self, width: int, height: int = 900, *, phone: bool = False) -> None:
        """The window's size in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, scheme: str = "light", media: str = "screen") -> None:
        """`light` or `dark`; `screen` or `print`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, url: str) -> None:
        """Load a page; returns when it and all that it wants are there."""
        loads = self._said("Page.loadEventFired")
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise AssertionError(f"{url}: {answer['errorText']}")
        self.browser.until(lambda: self._said("Page.loadEventFired") > loads)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; what it throws is raised."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description", answer))
        return answer["result"].get("value")

    def screenshot(self, path: Path, height: float | None = None) -> None:
        """The page as a PNG: all of it, or its first so many CSS pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))

    def pixels(self, picture: Path, box: Sequence[float], colours: Sequence[str]) -> list[int]:
        """How many pixels of a PNG are of each colour (`rgb(r, g, b)`), or nearly, in [left, top, right, bottom].

        In a page of its own, where no other page's policy forbids it.
        """
        given = json.dumps([base64.b64encode(picture.read_bytes()).decode(), list(box), list(colours), _NEAR])
        found: list[int] = self.evaluate(f"({_PIXELS})(...{given})")
        return found

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key])

    def requests(self) -> list[str]:
        """The URL of everything that was asked for."""
        return [said["request"]["url"] for name, said in self.events if name == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What went to the console, and what was thrown."""
        names = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(said)[:500] for name, said in self.events if name in names]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, to this tab."""
        return self.browser.call(method, parameters, self.session)

    def _said(self, name: str) -> int:
        return sum(event == name for event, _ in self.events)


class Browser:
    """One process with a profile of its own; use it in a `with`."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="orchestrator-browser-", ignore_cleanup_errors=True)
        self._pages: dict[str, Page] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._buffer, self._last = b"", 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binary, environment = program()
        flags = [*_FLAGS, f"--user-data-dir={self._profile.name}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # it refuses to run as root with one; what it is shown is ours
        # The protocol wants descriptors 3 and 4: our end of its standard input and output.
        plumbing = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
        self._process = subprocess.Popen(
            ["sh", "-c", plumbing, binary, *flags, "about:blank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment) | {"HOME": self._profile.name},
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for end in (self._process.stdin, self._process.stdout):
                if end is not None:
                    end.close()
        self._profile.cleanup()

    def page(self) -> Page:
        """A new tab that listens to everything."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Log", "Runtime"):
            page.call(f"{domain}.enable")
        return page

    def call(self, method: str, parameters: Mapping[str, Any], session: str | None = None) -> dict[str, Any]:
        """A command, and its answer; raises AssertionError with the browser's own words."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        self.until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    def until(self, condition: Any) -> None:
        """Read what the browser says until that is so."""
        deadline = time.monotonic() + _WITHIN
        while not condition():
            self._read(deadline)

    def _read(self, deadline: float) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"the browser has not answered for {_WITHIN:.0f} s")
        read = os.read(self._process.stdout.fileno(), _CHUNK)
        if not read:
            raise AssertionError(f"the browser has ended, with exit code {self._process.wait()}")
        *messages, self._buffer = (self._buffer + read).split(b"\0")
        for message in messages:
            self._heard(json.loads(message))

    def _heard(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
        elif (page := self._pages.get(message.get("sessionId", ""))) is not None:
            page.events.append((message["method"], message.get("params", {})))
