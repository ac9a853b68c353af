"""The texts of the pages in all languages: complete, short, with their placeholders, and chosen as visitors wish."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shield.model import Fault
from shield.replies.catalogue import LOCALE, MOST_BYTES, Catalogue, CatalogueError, longest, read
from shield.replies.faults import FAULTS
from shield.replies.languages import MOST_KNOWN, Languages, in_directory
from shield.replies.looks import STATIC
from shield.replies.wording import BAN, LIMIT, SHED

CATALOGUES = sorted(LOCALE.glob("*.po"))
DOWN = [FAULTS[fault] for fault in Fault if fault.value.startswith("upstream_")]


def texts() -> set[str]:
    """What the pages for people can say."""
    found: set[str] = set()
    for name in ("challenge.html", "error.html"):
        found |= set(re.findall(r'\bt\("([^"]+)"\)', (STATIC / name).read_text(encoding="utf-8")))
    found |= {text for said in (LIMIT, SHED, BAN) for text in (said.title, said.detail, said.hint) if text}
    return found | {text for fault in DOWN for text in (fault.title, fault.detail, fault.hint) if text}


def test_there_are_thirty_languages() -> None:
    assert len(Languages().tags) == len(CATALOGUES) + 1 == 30


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.stem)
def test_a_catalogue_is_complete_and_says_nothing_else(path: Path) -> None:
    """Placeholders and length are checked in the reading."""
    found = read(path)
    assert set(found) == texts()
    untranslated = [text for text, said in found.items() if said == text]
    assert untranslated == []
    assert f'"Language: {path.stem}\\n"' in path.read_text(encoding="utf-8")


def test_the_template_for_translators_has_all_texts() -> None:
    template = (LOCALE / "shield.pot").read_text(encoding="utf-8")
    asked = {text.replace('\\"', '"') for text in re.findall(r'^msgid "(.+)"$', template, re.MULTILINE)}
    assert asked == texts()


def test_translators_tools_read_the_catalogues(tmp_path: Path) -> None:
    msgfmt = shutil.which("msgfmt")
    if msgfmt is None:
        pytest.skip("no msgfmt on PATH (Debian: apt-get install gettext)")
    for path in CATALOGUES:
        subprocess.run([msgfmt, "--check", "-o", str(tmp_path / "out.mo"), str(path)], check=True)


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        (b"", "en"),
        (b"de", "de"),
        (b"de-AT,de;q=0.9,en;q=0.8", "de"),
        (b"DE-at", "de"),
        (b"xx,fr;q=0.4,es;q=0.5", "es"),
        (b"en-GB,de;q=0.9", "en"),
        (b"nb-NO,en;q=0.5", "no"),
        (b"iw", "he"),
        (b"zh-Hant-TW,zh;q=0.9", "zh"),
        (b"*", "en"),
        (b"de;q=0,fr;q=0.1", "fr"),
        (b"de;q=nan,fr;q=2,pl;q=x,fi;q=0.01", "fi"),
        (b",;,;;q=1,\xff\xfe", "en"),
        (b"x-" * 4000 + b",de", "en"),
    ],
)
def test_the_language_is_the_first_that_we_have(accepted: bytes, tag: str) -> None:
    languages = Languages()
    assert languages.of(accepted) == tag
    assert languages.of(accepted) == tag  # as remembered


def test_only_so_many_wishes_are_remembered() -> None:
    languages = Languages()
    for number in range(3 * MOST_KNOWN):
        assert languages.of(b"de;q=0.%d" % (number + 1)) == "de"
        assert len(languages.known) <= MOST_KNOWN


def test_four_languages_are_written_from_right_to_left() -> None:
    languages = Languages()
    found = {tag for tag in languages.tags if languages.catalogue(tag).direction == "rtl"}
    assert found == {"ar", "he", "fa", "ur"}


def test_an_operators_texts_come_before_ours(tmp_path: Path) -> None:
    (tmp_path / "de.po").write_text('# ours\nmsgid "Progress"\nmsgstr "So"\n" weit"\n\nmsgid "Reason:"\nmsgstr ""\n')
    (tmp_path / "gsw.po").write_text('msgid "Progress"\nmsgstr "Wie wiit"\n')
    languages = Languages(in_directory(tmp_path))
    german = languages.catalogue("de")
    assert german.text("Progress") == "So weit"
    assert german.text("Reason:") == "Grund:"
    assert languages.of(b"gsw-CH,de;q=0.5") == "gsw"
    assert languages.catalogue("gsw").text("Reason:") == "Reason:"


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b'msgid "a"\nmsgstr "b"\nmsgid "a"\nmsgstr "c"\n', 3, "translated above"),
        (b'msgid "a"\n\nmsgid "b"\nmsgstr "c"\n', 1, "without msgstr"),
        (b'msgid "in {seconds} s"\nmsgstr "bald"\n', 1, "placeholders"),
        (b'msgid "a"\nmsgstr "%b"\n' % (b"b" * (longest("a") + 1)), 1, "characters; at most"),
        (b'msgid "a"\nmsgstr "b\\tc"\n', 1, "control"),
        (b'msgid "a"\nmsgid_plural "b"\n', 2, "allowed"),
        (b'msgid "a\n', 1, "not a string"),
        (b'msgid "a"\nmsgstr "b\\x41"\n', 2, "not a string"),
        (b'msgid "a"\nmsgstr "\xff"\n', 2, "UTF-8"),
        (b"#" * (MOST_BYTES + 1), 0, "has more than"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, data: bytes, line: int, what: str) -> None:
    path = tmp_path / "xx.po"
    path.write_bytes(data)
    with pytest.raises(CatalogueError, match=what) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_a_file_that_is_no_language_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my texts.po").write_text("")
    with pytest.raises(CatalogueError, match="no language"):
        in_directory(tmp_path)
    with pytest.raises(CatalogueError, match="cannot be read"):
        read(tmp_path / "nothing.po")


def test_what_is_not_translated_is_english() -> None:
    assert Catalogue("de", {}).text("Progress") == "Progress"
