"""What an operator puts on the pages: name, logo, colours, texts, templates; and how mistakes are told."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest

from shield.model import Fault, Reason, Verdict
from shield.policy.challenge.challenge import Challenge
from shield.readers import PERSON
from shield.replies.looks import MOST_FILE, MOST_LOGO, STATIC, load
from shield.replies.rendering import Replies, Spoken
from shield.replies.settings import PagesSettings, contrast
from shield.replies.trying import complaints

CHALLENGE = Challenge("AQEQ" * 13, 16, 2**48 + 5, 2**20, 120)
ALWAYS = Verdict(Reason.CHALLENGE_ALWAYS, 2)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle r="4" cx="4" cy="4"/></svg>'


def page(settings: PagesSettings, language: bytes = b"") -> str:
    replies = Replies("shield_pass", "Shield-Pass", load(settings))
    reply = replies.challenge(ALWAYS, CHALLENGE, PERSON, "GET", None, Spoken(language, "gzip"))
    return gzip.decompress(reply.body).decode()


def wrong(settings: PagesSettings) -> list[str]:
    found = [*settings.complaints(), *complaints(replace(settings, colour="", colour_dark=""))]
    return [f"{at[0]}: {what}" for at, what in found]


def test_name_logo_contact_and_colours_stand_on_each_page(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text(SVG)
    settings = PagesSettings(
        'Bread & "Butter"', str(tmp_path / "logo.svg"), "mailto:help@site.example", "#7a1f5c", "#f0a0d8"
    )
    assert wrong(settings) == []
    replies = Replies("shield_pass", "Shield-Pass", load(settings))
    error = replies.fault(Fault.STREAMS_FULL, PERSON).body.decode()
    for text in (page(settings), error):
        assert "Bread &amp; &#34;Butter&#34;" in text
        assert re.search(r'<img src="data:image/svg\+xml;base64,[A-Za-z0-9+/=]+" alt="">', text)
        assert '<a href="mailto:help@site.example">Ask for help</a>' in text
        assert ":root{--accent:#7a1f5c;--on-accent:#ffffff}" in text
        assert ":root{--accent:#f0a0d8;--on-accent:#000000}" in text


def test_own_texts_styles_and_templates_stand_in_place_of_ours(tmp_path: Path) -> None:
    ours = (STATIC / "challenge.html").read_text(encoding="utf-8")
    (tmp_path / "challenge.html").write_text(
        ours.replace("<body>", "<body><header>{{ name }}, at your service</header>")
    )
    (tmp_path / "page.css").write_text("body { font-family: serif; }\n")
    (tmp_path / "de.po").write_text('msgid "One moment, please"\nmsgstr "Gleich"\n')
    settings = PagesSettings(name="Site", colour="#005500", directory=str(tmp_path))
    assert wrong(settings) == []
    text = page(settings, b"de")
    assert "<header>Site, at your service</header>" in text
    assert "font-family: serif" in text
    assert "--accent:#005500" in text
    assert "<h1>Gleich</h1>" in text


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("challenge.html", "<p>\n{% if %}", "challenge.html:2: "),
        ("error.html", "<p>\n\n{{ nothing }}", "error.html:3: 'nothing' is undefined"),
        ("error.html", "{{ ''.__class__.__mro__ }}", "error.html:1: "),
        ("challenge.html", "<p>no values</p>", "challenge.html: the values of the challenge are needed"),
        (
            "challenge.html",
            "{{ challenge.token }}" + "<!-- " + "x" * 50_000 + " -->",
            "bytes compressed; at most 20000",
        ),
        ("error.css", "x" * (MOST_FILE + 1), f"error.css has more than {MOST_FILE} bytes"),
        ("de.po", 'msgid "a"\nmsgstr "b"\nmsgid "c"\n', "de.po:3: msgid without msgstr"),
        ("chalenge.html", "", "chalenge.html: allowed: challenge.html, "),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    (complaint,) = wrong(PagesSettings(directory=str(tmp_path)))
    assert complaint.startswith("directory: ")
    assert told in complaint


def test_what_is_no_text_file_or_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "page.css").write_bytes(b"a {}\nb {} \xff")
    assert f"{tmp_path}/page.css:2: not UTF-8" in wrong(PagesSettings(directory=str(tmp_path)))[0]
    nothing = f"directory: {tmp_path}/no is no directory"
    assert wrong(PagesSettings(directory=str(tmp_path / "no"))) == [nothing]
    both = PagesSettings(directory=str(tmp_path / "no"), logo=str(tmp_path / "no.svg"))
    assert wrong(both) == [nothing, f"logo: {tmp_path}/no.svg cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("logo.gif", b"GIF89a", "allowed: .svg, .png, .webp"),
        ("logo.png", b"<svg/>", "is no PNG file"),
        ("logo.svg", b"<" + b"x" * MOST_LOGO, f"more than {MOST_LOGO} bytes"),
    ],
)
def test_a_logo_must_be_a_small_picture(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert told in wrong(PagesSettings(logo=str(tmp_path / name)))[0]
    assert "cannot be read" in wrong(PagesSettings(logo=str(tmp_path / "missing.svg")))[0]


def test_settings_that_cannot_be_are_told() -> None:
    assert wrong(PagesSettings(name="a\nb")) == ["name: allowed: a name in one line"]
    assert wrong(PagesSettings(contact="javascript:alert(1)")) == ["contact: allowed: https://... or mailto:..."]
    assert wrong(PagesSettings(colour="green")) == ['colour: allowed: a colour like "#2f6f62"']
    (pale,) = wrong(PagesSettings(colour="#9fd0c4"))
    assert "not legible: its contrast with #f6f7f8 is 1.6; at least 4.5" in pale
    assert wrong(PagesSettings(colour_dark="#2f6f62")) != []


def test_contrast_is_what_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_our_own_colours_are_legible() -> None:
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        found = re.findall(r"--([a-z-]+): #([0-9a-f]+);", block)
        colours = {name: f"#{value * 2 if len(value) == 3 else value}" for name, value in found}  # #fff, #000
        for text in ("text", "quiet", "accent"):
            assert contrast(colours[text], colours["ground"]) >= 4.5
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        assert contrast(colours["accent"], colours["track"]) >= 3
