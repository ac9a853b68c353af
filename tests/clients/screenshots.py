"""`python -m tests.clients.screenshots [FOLDER]`: pictures of the dashboard for README and docs, by a real Chromium.

`shield demo` runs on free ports, users come to its site for CALM seconds, then its flood (shield/demo/flood.py) does.
The pictures show the attack: wide in light and dark, a phone, and `shield top`. It takes a minute and a half. Pillow,
which `make bench` brings, leaves 256 colours in each: a third of its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shield.console import top
from shield.console.client import Admin, Stream
from shield.demo import flood
from tests.browser import conftest as browsers

CALM: Final = 50.0
"""Seconds: after half a minute the dashboard says what is usual."""
FLOOD: Final = 15.0
INTO: Final = 12.5
"""Seconds of the flood before the pictures are taken: by then its first ten seconds have been summed up."""
CONFIG: Final = '[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"\n'

PICTURES: Final = (
    ("dashboard-light", 1440, 900, "light"),
    ("dashboard-dark", 1440, 900, "dark"),
    ("dashboard-phone", 360, 780, "dark"),
)
"""Name, width and height in pixels, and colours."""
TERMINAL: Final = ("top", 150, 44)
"""Name, and columns and lines of the terminal."""


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "config.toml"
        config.write_text(CONFIG)
        command = (sys.executable, "-m", "shield", "demo", "--config", str(config))
        shield = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert shield.stderr is not None
        try:
            site, admin = await _started(shield.stderr)
            draining = asyncio.create_task(_drain(shield.stderr))
            with browsers.launch(Path(place) / "profile") as address:
                async with browsers.connect(address) as browser:
                    playing = asyncio.create_task(flood.play("demo", f"http://{site}/", FLOOD, calm=CALM))
                    tabs = [await _open(browser, admin, *each) for each in PICTURES]
                    await asyncio.sleep(CALM)
                    drawn = asyncio.create_task(_terminal(admin, Path(place), INTO))
                    await asyncio.sleep(INTO)
                    for (name, *_), tab in zip(PICTURES, tabs, strict=True):
                        await _picture(tab, folder / f"{name}.png")
                    await playing
                    name, (svg, width, height) = TERMINAL[0], await drawn
                    tab = await browser.tab()
                    await dress(tab, width, height, "dark")
                    await tab.go(svg.as_uri())
                    await tab.until("document.readyState === 'complete'")
                    await _picture(tab, folder / f"{name}.png")
            draining.cancel()
        finally:
            if shield.returncode is None:
                shield.terminate()
            await shield.wait()


async def _picture(tab: browsers.Tab, path: Path) -> None:
    from PIL import Image  # here, as tests take dress() from this file

    await tab.screenshot(path)
    with Image.open(path) as shot:
        few = shot.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


async def _terminal(admin: str, folder: Path, seconds: float) -> tuple[Path, int, int]:
    """What `shield top` shows after so many seconds, as an SVG file; its width and height in pixels."""
    listener = Admin(admin)
    app = top.Top(listener, lambda: Stream(listener, top.PATH, top.SILENCE))
    async with app.run_test(size=TERMINAL[1:]) as pilot:
        await pilot.pause(seconds)
        drawn = app.export_screenshot()
    path = folder / "top.svg"
    path.write_text(drawn)
    view = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', drawn)
    assert view is not None
    width, height = (round(float(each)) for each in view.groups())
    path.write_text(drawn.replace("<svg ", f'<svg width="{width}" height="{height}" ', 1))
    return path, width, height


async def _started(lines: asyncio.StreamReader) -> tuple[str, str]:
    async for line in lines:
        if line.startswith(b"{") and (said := json.loads(line))["event"] == "started":
            return said["listen"][0], said["admin"]
    raise SystemExit("shield did not start")


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.readline():
        pass


async def _open(
    browser: browsers.Browser, admin: str, name: str, width: int, height: int, colours: str
) -> browsers.Tab:
    tab = await browser.tab()
    await dress(tab, width, height, colours)
    await tab.go(f"http://{admin}/")
    return tab


async def dress(tab: browsers.Tab, width: int, height: int, colours: str) -> None:
    """Have a tab be so large, in light or dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    await tab.call("Emulation.setDeviceMetricsOverride", **size)
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])


def parse(arguments: Sequence[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/images"))
    folder: Path = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    asyncio.run(main(parse()))
