"""curl, wget, git, apt, perl, ab, nc: what people type, and what their machines do by themselves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.clients import git_backend, site
from tests.clients.conftest import CALM, Front, Make, every_weather

pytestmark = pytest.mark.clients


async def curl(front: Front, *arguments: str) -> bytes:
    options = ("--silent", "--show-error", "--fail", "--cacert", str(front.authority), *front.fields("--header"))
    return await front.run("curl", *options, *arguments)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(site.UPLOAD)
    return path


@every_weather
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
async def test_curl_gets_and_sends(front: Front, upload: Path, version: str) -> None:
    """--http2 asks for `Upgrade: h2c` over http, which is not taken up, and offers h2 by ALPN over https."""
    assert await curl(front, version, front.url("/large")) == site.LARGE
    assert await curl(front, version, front.url("/stream")) == site.LARGE
    assert await curl(front, version, "--compressed", front.url("/zipped")) == site.WORDS
    assert await curl(front, version, "--range", "1000-1999", front.url("/large")) == site.LARGE[1000:2000]
    assert await curl(front, version, "--head", front.url("/large"))
    assert await curl(front, version, "--location", front.url("/moved")) == b"GET landed 0"
    assert await curl(front, version, "--data", "name=x", "--location", front.url("/see-other")) == b"GET landed 0"
    sent = await curl(front, version, "--data-binary", f"@{upload}", front.url("/upload"))
    assert sent.decode() == site.EXPECTED["upload"]
    sent = await curl(front, version, "--form", f"file=@{upload}", front.url("/upload"))
    assert sent.startswith(b"POST 10")
    assert await curl(front, version, "--request", "DELETE", front.url("/echo")) == b"DELETE echo 0"
    assert await curl(front, version, "--no-buffer", front.url("/events")) == b"".join(
        b"id: %d\ndata: %d\n\n" % (number, number) for number in range(3)
    )


@every_weather
async def test_curl_waits_for_100_continue(front: Front, upload: Path) -> None:
    wait = ("--header", "Expect: 100-continue", "--expect100-timeout", "60")
    sent = await curl(front, *wait, "--upload-file", str(upload), front.url("/upload"))
    assert sent.decode() == site.EXPECTED["upload"].replace("POST", "PUT")
    chunked = ("--header", "Transfer-Encoding: chunked")
    sent = await curl(front, *wait, *chunked, "--data-binary", f"@{upload}", front.url("/upload"))
    assert sent.decode() == site.EXPECTED["chunked"]


@every_weather
async def test_curl_keeps_its_connection_for_many_urls(front: Front) -> None:
    before = await front.connections()
    got = await curl(front, front.url(f"/item/[0-{site.ITEMS - 1}]"))
    assert site.digest(got) == site.EXPECTED["items"]
    assert await front.connections() in (before + 1, 0)
    got = await curl(front, "--parallel", "--parallel-max", "6", front.url("/part/[1-60]"))
    assert got.count(b"<svg") == 60


@every_weather
async def test_curl_over_http_1_0_may_keep_its_connection(front: Front) -> None:
    before = await front.connections()
    keep = ("--http1.0", "--header", "Connection: keep-alive")
    got = await curl(front, *keep, front.url(f"/item/[0-{site.ITEMS - 1}]"))
    assert site.digest(got) == site.EXPECTED["items"]
    assert await front.connections() in (before + 1, 0)


@every_weather
async def test_wget_follows_links_and_goes_on_with_a_file(front: Front, tmp_path: Path) -> None:
    wget = ("wget", "--no-verbose", "--tries=1", f"--ca-certificate={front.authority}", "--no-hsts")
    wget += front.fields("--header")
    await front.run(*wget, "--recursive", "--level=5", "--no-parent", "-e", "robots=off", front.url("/tree/a.html"))
    pages = sorted(path.name for path in (tmp_path / f"127.0.0.1:{front.shield.port}" / "tree").iterdir())
    assert pages == ["a.html", "aa.html", "ab.html", "ac.html", "ad.html"]
    (tmp_path / "large").write_bytes(site.LARGE[:1_000_000])
    await front.run(*wget, "--continue", front.url("/large"))
    assert (tmp_path / "large").read_bytes() == site.LARGE
    body = tmp_path / "body"
    body.write_bytes(site.UPLOAD)
    await front.run(*wget, f"--post-file={body}", "--output-document=told", front.url("/upload"))
    assert (tmp_path / "told").read_text() == site.EXPECTED["upload"]


@every_weather
async def test_git_clones_fetches_and_pushes(make_front: Make, tmp_path: Path) -> None:
    repositories = tmp_path / "served"
    repositories.mkdir()
    front = await make_front(git_backend.app(repositories))
    settings = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "4" if front.token else "3",
        "GIT_CONFIG_KEY_3": "http.extraHeader",
        "GIT_CONFIG_VALUE_3": f"Shield-Pass: {front.token}",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Somebody",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "somebody@site.example",
        "GIT_CONFIG_KEY_2": "init.defaultBranch",
        "GIT_CONFIG_VALUE_2": "main",
        "GIT_SSL_CAINFO": str(front.authority),
        "GIT_TERMINAL_PROMPT": "0",
    }

    async def git(*arguments: str) -> str:
        return (await front.run("git", *arguments, **settings)).decode().strip()

    async def commit(clone: Path, name: str, data: bytes) -> str:
        (clone / name).write_bytes(data)
        await git("-C", str(clone), "add", name)
        await git("-C", str(clone), "commit", "--quiet", "--message", name)
        return await git("-C", str(clone), "rev-parse", "HEAD")

    one, two = tmp_path / "one", tmp_path / "two"
    await git("init", "--quiet", "--bare", str(repositories / "project.git"))
    await git("-C", str(repositories / "project.git"), "config", "http.receivepack", "true")
    url = front.url("/git/project.git")
    await git("init", "--quiet", str(one))
    await git("-C", str(one), "remote", "add", "origin", url)
    large = os.urandom(5 << 20)  # more than http.postBuffer: sent chunked
    await commit(one, "large", large)
    await git("-C", str(one), "push", "--quiet", "origin", "main")
    await git("clone", "--quiet", url, str(two))
    assert (two / "large").read_bytes() == large
    head = await commit(two, "small", b"small")
    await git("-C", str(two), "push", "--quiet", "origin", "main")
    await git("-C", str(one), "fetch", "--quiet", "origin")
    assert await git("-C", str(one), "rev-parse", "origin/main") == head
    shallow = tmp_path / "shallow"
    await git("clone", "--quiet", "--depth=1", "--no-local", url, str(shallow))
    assert await git("-C", str(shallow), "rev-list", "--count", "HEAD") == "1"


@pytest.mark.parametrize("make_front", [*CALM, "always"], indirect=True)
@pytest.mark.parametrize("keep", [True, False])
async def test_ab_over_http_1_0(front: Front, keep: bool) -> None:
    """It speaks HTTP/1.0, with `Connection: Keep-Alive` on demand, and ends with connections that it has just begun."""
    front.allowed.add('shield_tls_handshakes_total outcome="failed"')
    arguments = (*(("-k",) if keep else ()), *front.fields("-H"), "-q", "-n", "150", "-c", "4", front.url("/item/7"))
    said = (await front.run("ab", *arguments)).decode()
    assert "Complete requests:      150" in said
    assert "Failed requests:        0" in said
    assert "Non-2xx" not in said
    if keep:
        assert "Keep-Alive requests:    150" in said


@pytest.mark.parametrize("make_front", ["http", "pressure", "always"], indirect=True)
async def test_http_1_0_by_hand(make_front: Make) -> None:
    front = await make_front(site.app())
    if shutil.which("nc") is None:
        pytest.skip("nc is not installed")
    for head, wanted in (
        ("GET /item/1 HTTP/1.0\r\n\r\n", b"\r\n\r\n" + site.item(1)),
        ("GET /stream HTTP/1.0\r\n\r\n", b"\r\n\r\n" + site.LARGE),
        ("GET /item/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"\r\n\r\n" + site.item(1)),
        ("HEAD /item/1 HTTP/1.0\r\n\r\n", b"\r\n\r\n"),
    ):
        script = f"printf '%s' \"$ASKED\" | nc -N 127.0.0.1 {front.shield.port}"
        shown = f"\r\nShield-Pass: {front.token}\r\n\r\n" if front.token else "\r\n\r\n"
        said = await front.run("sh", "-c", script, ASKED=head.replace("\r\n\r\n", shown))
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert said.endswith(wanted)


@every_weather
async def test_perl_http_tiny(front: Front) -> None:
    script = """use HTTP::Tiny; my ($url, $ca) = @ARGV;
        my $pass = $ENV{SHIELD_PASS} ? {"Shield-Pass" => $ENV{SHIELD_PASS}} : {};
        my $http = HTTP::Tiny->new(verify_SSL => 1, SSL_options => {SSL_ca_file => $ca}, default_headers => $pass);
        sub body { my $got = $http->request(@_); die $got->{status} unless $got->{success}; $got->{content} }
        my @pieces = ("12345") x 1000;
        print join "\\n", body("GET", "$url/moved"), body("PUT", "$url/echo", {content => "12345"}),
            body("POST", "$url/echo", {content => sub { shift @pieces }}), length body("GET", "$url/stream");"""
    if front.scheme == "https":
        await front.has("perl", "-MIO::Socket::SSL", "-e", "1")
    said = await front.run("perl", "-e", script, front.url(), str(front.authority))
    assert said.decode().split("\n") == ["GET landed 0", "PUT echo 5", "POST echo 5000", str(len(site.LARGE))]


async def apt(front: Front, folder: Path) -> None:
    helper = "/usr/lib/apt/apt-helper"
    wanted = [part for number in range(20) for part in (front.url(f"/item/{number}"), f"item{number}", "")]
    options = ("-o", "Acquire::http::Proxy=DIRECT", "-o", f"Acquire::https::CAInfo={front.authority}")
    await front.run(helper, *options, "-o", "APT::Sandbox::User=root", "download-file", *wanted)
    for number in range(20):
        assert (folder / f"item{number}").read_bytes() == site.item(number)


async def test_apt_pipelines_its_requests(front: Front, tmp_path: Path) -> None:
    """Up to ten on one connection, without waiting for the answers."""
    await apt(front, tmp_path)


@pytest.mark.parametrize("make_front", ["always"], indirect=True)
async def test_apt_cannot_show_a_pass_and_its_files_can_be_spared(make_front: Make, tmp_path: Path) -> None:
    front = await make_front(site.app())
    with pytest.raises(AssertionError, match="503"):
        await apt(front, tmp_path)
    front.shield.reload(challenge={"never": ["/item"]})
    await front.shield.logged("reloaded")
    await apt(front, tmp_path)
    (challenged,) = front.excused
    front.excused[challenged] = len(front.shield.seen("refused", address="127.0.0.1", action="challenge"))


@every_weather
async def test_methods_of_webdav_and_others(front: Front) -> None:
    for method in ("PROPFIND", "REPORT", "MKCOL", "LOCK", "SEARCH", "QUERY", "PURGE"):
        got = await curl(front, "--request", method, "--data", "<x/>", front.url("/echo"))
        assert got == f"{method} echo 4".encode()
