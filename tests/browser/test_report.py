"""The page of `shield report` in a real browser: on a desk and on a phone, in the dark, and in print."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from shield.operator.figures import challenged
from shield.report import page
from shield.report.account import SERIES, Account, Attack, Felt

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "{{ 7 * 7 }}</style></svg>",
    "javascript:alert(1)\u202e\x1b[31m",
    "long" * 500,
)


def account() -> Account:
    made = Account(HOSTILE[0], 1_796_000_000.0, 1_796_007_200.0)
    made.times = [made.since + 60.0 * minute for minute in range(120)]
    made.series = {name: [float(minute % 7) for minute in range(120)] for name in SERIES}
    made.verdicts = {("forward", "ok"): 5000, ("challenge", "newcomer"): 90_000, (HOSTILE[0], HOSTILE[1]): 3}
    made.attacks = [Attack(made.since + 600, None, HOSTILE[1], 4000.0, 0.9)]
    made.events = [(made.since + 60.0 * number, text) for number, text in enumerate(HOSTILE)]
    made.networks = [(text, text) for text in HOSTILE]
    made.programs = [("ab12", text, text) for text in HOSTILE]
    made.routes = [(text, text) for text in HOSTILE]
    made.refused = [(text, text, text, "7") for text in HOSTILE]
    made.felt = [Felt("T0", 900, 890, 0.02, 1.2), Felt("T3", None, 12, None, None)]
    counted = {"asked": {"T3": {"firefox": 9, "program": 400}}, "let_in": {"T3": {"firefox": 8}}}
    made.challenged = challenged(counted | {"seconds": {"T3": {"firefox": {"2": 8}}}}, {"T3": {"program": 3}})
    made.rules, made.notes, made.would = list(HOSTILE), list(HOSTILE), list(HOSTILE)
    return made


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
async def test_it_is_read_everywhere_and_nothing_in_it_runs(
    browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    (tmp_path / "report.html").write_text(page.html(account()), encoding="utf-8", errors="backslashreplace")
    tab = await browser.tab()
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.go((tmp_path / "report.html").as_uri())
    await tab.until("document.readyState === 'complete' && document.title !== ''")
    assert (await tab.evaluate("document.title")).startswith("Shield: 2026-")
    assert await tab.evaluate("document.querySelectorAll('script, img, iframe, object, form, a').length") == 0
    assert await tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    paper = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
    shown = await tab.text()
    for text in ("<script>document.title = 'owned'</script>", "{{ 7 * 7 }}", "goes on", "challenged"):
        assert text in shown
    plots = await tab.evaluate("[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width)")
    assert len(plots) >= 4
    assert all(0.6 * min(width, 992) < drawn < width for drawn in plots)
    said = [e for e in browser.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]
    assert said == []
    printed = await tab.call("Page.printToPDF", printBackground=True)
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    await tab.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert await tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
