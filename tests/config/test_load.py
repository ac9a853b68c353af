"""Each file in good/ loads; each in bad/ is refused with exactly the mistakes in the .txt beside it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from shield.config.load import FILE_NAME, MAX_FILE_BYTES, ConfigError, find, load, parse, remarks
from shield.config.settings import Config
from shield.policy.bucket import Rate
from shield.policy.identity import CrawlerSettings

pytestmark = pytest.mark.wheel


class Tls(Protocol):
    certificate: Path
    key: Path


HERE = Path(__file__).parent
GOOD = sorted((HERE / "good").glob("*.toml"))
BAD = sorted((HERE / "bad").glob("*.toml"))


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(item) for item in caught.value.mistakes]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_file_loads(path: Path) -> None:
    assert isinstance(load(str(path)), Config)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_file_is_refused_with_every_mistake(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert [str(item) for item in caught.value.mistakes] == path.with_suffix(".txt").read_text().splitlines()
    assert str(caught.value).splitlines()[0].startswith(f"{path}: ")


def test_there_are_files_to_test() -> None:
    assert len(GOOD) >= 4
    assert len(BAD) >= 20
    assert {path.stem for path in BAD} == {path.stem for path in (HERE / "bad").glob("*.txt")}


def test_shipped_file_says_what_the_classes_default_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None) != FILE_NAME
    assert load() == Config()


def test_file_in_the_current_directory_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text("dry_run = true")
    assert find(None) == "config.toml"
    assert load().dry_run


def test_values_arrive() -> None:
    settings = load(str(HERE / "good" / "limits.toml"))
    assert settings.limits.pass_ == Rate(1, 2.5)
    assert settings.limits.client == Rate(3, 4)
    assert settings.limits.address == Config().limits.address
    assert settings.limits.costs == {"/search": 12, "/reports/*": 50}
    assert settings.identity.crawlers[1] == CrawlerSettings("bingbot", ("search.msn.com",))
    assert settings.challenge.mode == "always"


def test_settings_are_values() -> None:
    """Frozen and of the very class that the code beside it defines, not of one that validation made."""
    settings = parse("[listen]\nworkers = 2")
    assert type(settings) is Config
    assert type(settings.listen) is type(Config().listen)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.dry_run = True  # type: ignore[misc]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load(str(tmp_path / "none.toml"))


def test_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="is this the right file"):
        load(str(path))


def test_sound_options_of_a_table_with_a_mistake_are_cross_checked() -> None:
    assert mistakes('[listen]\nbacklog = 0\naddress = "nowhere"') == [
        "line 2: listen.backlog: found 0; allowed: a whole number from 1 to 65535",
        'line 3: listen.address: found "nowhere"; a port from 0 to 65535 must follow the host and a colon',
    ]


def test_secrets_are_not_repeated() -> None:
    report = "\n".join(mistakes('[identity]\napi_keys = ["hunter2"]\n[upstream]\nservers = ["http://me:hunter2@h:1"]'))
    assert "api_keys" in report
    assert "servers" in report
    assert "hunter2" not in report


def test_long_values_are_cut() -> None:
    (line,) = mistakes(f'dry_run = "{"x" * 500}"')
    assert len(line) < 200


def certificate(chain: Path, key: Path | str = "") -> str:
    return f'[[tls.certificates]]\nchain = "{chain}"\nkey = "{key}"\n'


def test_certificate_and_key(tls: Tls) -> None:
    (one,) = parse(certificate(tls.certificate, tls.key)).tls.certificates
    assert (one.chain, one.key) == (str(tls.certificate), str(tls.key))


def test_certificate_without_its_key(tls: Tls) -> None:
    (line,) = mistakes(certificate(tls.certificate))
    assert "must hold its key too" in line


def test_both_in_one_file(tls: Tls, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(tls.certificate.read_bytes() + tls.key.read_bytes())
    assert len(parse(certificate(both)).tls.certificates) == 1


def test_certificates_of_which_one_would_never_be_shown(tls: Tls, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(tls.certificate.read_bytes() + tls.key.read_bytes())
    (line,) = mistakes(certificate(both) + certificate(tls.certificate, tls.key))
    assert "line 5: tls.certificates" in line
    assert f"never shown: {both} is for the same names, and has a key of the same kind (ECDSA)" in line

    authority = trustme.CA()
    rsa, nameless = tmp_path / "rsa.pem", tmp_path / "nameless.pem"
    authority.issue_cert(
        "localhost", "127.0.0.1", "::1", key_type=trustme.KeyType.RSA
    ).private_key_and_cert_chain_pem.write_to_path(rsa)
    authority.issue_cert(common_name="localhost").private_key_and_cert_chain_pem.write_to_path(nameless)
    parse(certificate(both) + certificate(rsa))  # a key of each kind is what two are for
    (line,) = mistakes(certificate(both) + certificate(nameless))
    assert "names no host (no subjectAltName), so it would never be shown" in line
    parse(certificate(nameless))


def test_key_of_another_certificate(tls: Tls) -> None:
    (line,) = mistakes(certificate(tls.certificate, tls.key) + certificate(tls.key, tls.certificate))
    assert "line 5: tls.certificates" in line
    assert "cannot be used" in line


def test_what_needs_a_certificate(tls: Tls) -> None:
    assert mistakes('[tls]\nredirect_from = ["127.0.0.1:80"]\nhsts = 60') == [
        'line 2: tls.redirect_from: found ["127.0.0.1:80"]; of no use without tls.certificates',
        "line 3: tls.hsts: found 60; of no use without tls.certificates",
    ]
    assert parse("[tls]\nhsts = 60\n" + certificate(tls.certificate, tls.key)).tls.hsts == 60


def test_redirects_come_from_other_addresses(tls: Tls) -> None:
    ours = '["127.0.0.1:8080", "nowhere", "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:0", "127.0.0.1:0"]'
    lines = mistakes(f"[tls]\nredirect_from = {ours}\n" + certificate(tls.certificate, tls.key))
    assert sorted(line.split(":")[1] for line in lines) == [f" tls.redirect_from[{number}]" for number in (0, 1, 3)]


def test_what_browsers_ask_of_a_preloaded_host(tls: Tls) -> None:
    ours = certificate(tls.certificate, tls.key)
    for settings in ("hsts = 60\nhsts_subdomains = true", "hsts = 63072000"):
        (line,) = mistakes(f"[tls]\n{settings}\nhsts_preload = true\n{ours}")
        assert "31536000" in line
    parse(f"[tls]\nhsts = 63072000\nhsts_subdomains = true\nhsts_preload = true\n{ours}")


def test_a_proxy_header_is_believed_of_somebody() -> None:
    (line,) = mistakes("[listen]\nproxy_protocol = true")
    assert "listen.trusted_proxies" in line
    assert parse('[listen]\nproxy_protocol = true\ntrusted_proxies = ["10.0.0.0/8"]').listen.proxy_protocol


def test_state_paths(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert mistakes(f'[state]\ndirectory = "{file}"\nsecret_file = "{tmp_path}"') == [
        f'line 2: state.directory: found "{file}"; this is a file; a directory is needed',
        f'line 3: state.secret_file: found "{tmp_path}"; this is a directory; a file is needed',
    ]


CHANGED = (
    'listen.forwarded_from = "none"\ntls.redirect_port = 444\ntls.handshake_timeout = 5\n'
    "upstream.verify = false\nupstream.eject_after = 7\nlog.requests = false\nadmin.hosts = []\n"
)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('path = "/"\nlimit = { client = { per_minute = 60, burst = 79 } }', ["route[0].limit.client"]),
        ('path = "/"\nlimit = { client = { per_minute = 60, burst = 80 } }', []),
        ('path = "/"\nmethods = ["POST"]\nlimit = { client = { per_minute = 60, burst = 5 } }', []),
        ('path = "/"\nchallenge = "never"', ["route[0].challenge"]),
        ('path = "/"\nchallenge = "never"\ntypes = ["application/json"]', []),
        ('path = "/feed"\nchallenge = "never"\n[challenge]\nmode = "off"', ["route[0].challenge"]),
        ('path = "/a"\ntypes = ["text/plain"]\nmethods = ["GET"]', ["route[0].types"]),
        (
            'path = "/a"\nlimit.client = { per_minute = 5, burst = 9 }\nlimit.address = { per_minute = 5, burst = 9 }',
            ["route[0].limit.client"],
        ),
        ('path = "/a"\ndry_run = true\ncost = 5', ["route[0].dry_run"]),
        ('path = "/a"\ncost = 20\nlimit = { client = { per_minute = 30, burst = 10 } }', []),
        ('path = "/a"\ncost = 20\nlimit = { client = { per_minute = 30, burst = 11 } }', ["route[0].limit.client"]),
        ('path = "/a"\ndry_run = true\nchallenge = "always"', []),
        ('path = "/a"\n[[route]]\npath = "/a/b"', ["route[1]"]),
        (
            'path = "/a"\nlimit.network = { per_minute = 5, burst = 9 }\n[listen]\nworkers = 2\ntrusted_proxies=["::"]',
            ["route[0].limit"],
        ),
    ],
)
def test_routes_that_harm_or_do_not_what_they_seem_to_are_remarked_on(
    text: str, keys: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[[route]]\n" + text)
    assert [item.key for item in remarks(str(path))] == keys


@pytest.mark.parametrize(
    ("more", "idle"),
    [
        ("", "forwarded_from redirect_port handshake_timeout verify eject_after"),
        ("tls.acme = true", "forwarded_from redirect_port handshake_timeout verify eject_after"),
        (
            'tls.acme = true\nchallenge.mode = "off"',
            "forwarded_from redirect_port handshake_timeout verify eject_after acme",
        ),
        ('listen.trusted_proxies = ["10.0.0.1"]\nlisten.proxy_protocol = true', "redirect_port verify eject_after"),
        (
            'upstream.servers = ["https://a.example", "http://127.0.0.1:9000"]\nlog.level = "warning"',
            "forwarded_from redirect_port handshake_timeout requests",
        ),
    ],
)
def test_keys_without_effect_are_remarked_on(more: str, idle: str, tmp_path: Path) -> None:
    """They are no mistakes: a config may be written for what comes next. `admin.hosts` says what is the default, and
    `tls.acme` keeps ACME from being challenged also where nothing is redirected."""
    path = tmp_path / "config.toml"
    path.write_text(CHANGED + more)
    assert [item.key.partition(".")[2] for item in remarks(str(path))] == idle.split()


def test_mail_without_a_sendmail_is_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[notify]\nsendmail = "/nowhere"\nmail = ["root"]\n')
    assert [str(item) for item in remarks(str(path))] == [
        'line 3: notify.mail: found ["root"]; cannot be sent: notify.sendmail, /nowhere, cannot be run here'
    ]
