"""What a type cannot say: addresses that parse, files that exist, settings that contradict each other.

Each check yields (path, what is allowed); config.py adds the line and what was found.
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from shield.accept import tls
from shield.wire.addresses import parse_address

if TYPE_CHECKING:
    from shield.config.places import Path as Place
    from shield.config.settings import Config

Complaint = tuple["Place", str]

DEMO: Final = "demo"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_HEX_256: Final = 64
_YEAR: Final = 31_536_000


def check(config: Config) -> Iterator[Complaint]:
    """Everything that is wrong with a config whose types and ranges are right."""
    yield from _listen(config)
    yield from _tls(config)
    yield from _upstream(config)
    yield from _admin(config)
    yield from _state(config)
    yield from _identity(config)
    yield from _limits(config)
    yield from _concurrency(config)
    yield from _challenge(config)


def _listen(config: Config) -> Iterator[Complaint]:
    listen = config.listen
    single = isinstance(listen.address, str)
    addresses = _listening(config)
    if not addresses:
        yield ("listen", "address"), "at least one address is needed"
    for number, address in enumerate(addresses):
        place: Place = ("listen", "address") if single else ("listen", "address", number)
        yield from _address(place, address, unix=False)
        if address in addresses[:number] and not address.endswith(":0"):
            yield place, "this address is listed twice"
    yield from _networks(("listen", "trusted_proxies"), listen.trusted_proxies)
    if listen.proxy_protocol and not listen.trusted_proxies:
        yield ("listen", "proxy_protocol"), "of use only with listen.trusted_proxies: nobody else's header is believed"


def _tls(config: Config) -> Iterator[Complaint]:
    settings = config.tls
    yield from _certificates(settings.certificates)
    if not settings.certificates:
        for name, value in (("redirect_from", settings.redirect_from), ("hsts", settings.hsts)):
            if value:
                yield ("tls", name), "of no use without tls.certificates"
    for number, address in enumerate(settings.redirect_from):
        place: Place = ("tls", "redirect_from", number)
        yield from _address(place, address, unix=False)
        if address in (*_listening(config), *settings.redirect_from[:number]) and not address.endswith(":0"):
            yield place, "clients connect here already"
    if settings.hsts_preload and not (settings.hsts >= _YEAR and settings.hsts_subdomains):
        yield ("tls", "hsts_preload"), f"browsers' lists ask for tls.hsts of at least {_YEAR} and tls.hsts_subdomains"


def _listening(config: Config) -> tuple[str, ...]:
    address = config.listen.address
    return (address,) if isinstance(address, str) else address


def _certificates(certificates: tuple[tls.CertificateSettings, ...]) -> Iterator[Complaint]:
    """Each by itself, and whether it is of use beside those before it."""
    seen: dict[tuple[str, str], str] = {}  # name and kind of key -> file
    for number, one in enumerate(certificates):
        place: Place = ("tls", "certificates", number)
        missing = False
        for name, path in (("chain", one.chain), ("key", one.key)):
            if path or name == "chain":
                for reason in _unreadable(path):
                    missing = True
                    yield (*place, name), reason
        if missing:
            continue
        try:
            certificate = tls.load(one)
        except (OSError, ValueError) as error:
            which = f"{one.chain} with {one.key}" if one.key else f"{one.chain}, which must hold its key too"
            more = "" if one.key else " as there is no other file,"
            yield (*place, "chain"), f"{which}{more} cannot be used: {tls.reason(error)}"
            continue
        keys = [(name, certificate.kind) for name in certificate.names]
        if number and not keys:
            yield (*place, "chain"), f"{one.chain} names no host (no subjectAltName), so it would never be shown"
        elif number and all(key in seen for key in keys):
            kind, other = certificate.kind, seen[keys[0]]
            yield (
                (*place, "chain"),
                f"never shown: {other} is for the same names, and has a key of the same kind ({kind})",
            )
        for key in keys:
            seen.setdefault(key, one.chain)


def _upstream(config: Config) -> Iterator[Complaint]:
    upstream = config.upstream
    if not upstream.servers:
        yield ("upstream", "servers"), 'at least one server is needed, or "demo" for the built-in demo site'
    https = False
    for number, server in enumerate(upstream.servers):
        place: Place = ("upstream", "servers", number)
        if server == DEMO:
            if len(upstream.servers) > 1:
                yield place, '"demo" stands alone: the demo site is no copy of your service'
            if upstream.proxy_protocol != "off":
                yield ("upstream", "proxy_protocol"), "the demo site does not read PROXY protocol"
            continue
        reason = _server_mistake(server)
        if reason:
            yield place, reason
        elif server in upstream.servers[:number]:
            yield place, "this server is listed twice"
        https = https or server.startswith("https:")
    if upstream.ca:
        for reason in _unreadable(upstream.ca):
            yield ("upstream", "ca"), reason
        if not upstream.verify:
            yield ("upstream", "ca"), "authorities are of no use while upstream.verify is false"
    if upstream.server_name and not https:
        yield ("upstream", "server_name"), "a name for TLS is of no use without an https server"
    if upstream.health_path and not upstream.health_path.startswith("/"):
        yield ("upstream", "health_path"), 'a path must begin with "/"'
    if upstream.resolver:
        yield from _resolver(upstream.resolver)


def _server_mistake(server: str) -> str:
    """What is wrong with one of upstream.servers, or nothing."""
    if server.startswith("unix:"):
        try:
            parse_address(server)
        except ValueError as error:
            return str(error)
        return ""
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return 'allowed: "http://host:port", "https://host:port", "unix:/path" or "demo"'
    return _excess(parts)


def _excess(parts: SplitResult) -> str:
    if parts.username is not None or parts.password is not None:
        return "a user name or password has no place here; send it as the application expects it"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return "only scheme, host and port: requests keep their own path"
    if any(c not in string.ascii_letters + string.digits + "-._:[]" for c in parts.netloc):
        return "the host must be an IP address or an ASCII name (an international one in its xn-- form)"
    return ""


def _resolver(text: str) -> Iterator[Complaint]:
    host = text
    try:
        address = parse_address(text)
        host = getattr(address, "host", "")
    except ValueError:
        pass  # no port
    try:
        ipaddress.ip_address(host)
    except ValueError:
        yield ("upstream", "resolver"), 'allowed: the IP address of a DNS server, like "127.0.0.1" or "127.0.0.1:53"'


def _admin(config: Config) -> Iterator[Complaint]:
    address = config.admin.address
    if not address:
        return
    yield from _address(("admin", "address"), address, unix=True)
    if address in (*_listening(config), *config.tls.redirect_from) and not address.endswith(":0"):
        yield ("admin", "address"), "clients connect here already: choose another port"


def _state(config: Config) -> Iterator[Complaint]:
    state = config.state
    if state.directory and Path(state.directory).exists() and not Path(state.directory).is_dir():
        yield ("state", "directory"), "this is a file; a directory is needed"
    if state.secret_file:
        parent = Path(state.secret_file).parent
        if Path(state.secret_file).is_dir():
            yield ("state", "secret_file"), "this is a directory; a file is needed"
        elif not parent.is_dir():
            yield ("state", "secret_file"), f"the directory {parent} does not exist"


def _identity(config: Config) -> Iterator[Complaint]:
    identity = config.identity
    yield from _networks(("identity", "allow"), identity.allow)
    yield from _networks(("identity", "deny"), identity.deny)
    for number, network in enumerate(identity.deny):
        if network in identity.allow:
            yield ("identity", "deny", number), "this network is in identity.allow too"
    for number, key in enumerate(identity.api_keys):
        if len(key) != _HEX_256 or any(c not in string.hexdigits for c in key):
            yield (
                ("identity", "api_keys", number),
                "allowed: 64 hex digits, the SHA-256 of the key (never the key itself)",
            )
    if identity.api_keys and not identity.api_key_header:
        yield ("identity", "api_keys"), "keys need identity.api_key_header, the field that carries them"
    if identity.api_key_header and not _TOKEN.fullmatch(identity.api_key_header):
        yield ("identity", "api_key_header"), "allowed: the name of a header field, like X-Api-Key"
    for number, crawler in enumerate(identity.crawlers):
        if not crawler.agent:
            yield ("identity", "crawlers", number, "agent"), "an empty name would fit every User-Agent"
        if not crawler.domains:
            yield ("identity", "crawlers", number, "domains"), "at least one domain is needed"


def _limits(config: Config) -> Iterator[Complaint]:
    for template in config.limits.costs:
        if not template.startswith("/"):
            yield ("limits", "costs", template), 'a path template must begin with "/"'
    for number, path in enumerate(config.limits.honeypots):
        if not path.startswith("/") or path == "/":
            yield ("limits", "honeypots", number), 'a path that begins with "/", and not the front page'
    limits, routes = config.limits, config.routes
    if routes.most_cost < routes.least_cost:
        yield ("routes", "most_cost"), f"at least routes.least_cost, which is {routes.least_cost}"
    for name, bucket in (("pass", limits.pass_), ("client", limits.client), ("address", limits.address)):
        if limits.refused_cost >= bucket.burst:
            yield (
                ("limits", "refused_cost"),
                f"less than the burst of limits.{name}, which is {bucket.burst}, or who is challenged once is refused",
            )
            break
    reputation = config.reputation
    if reputation.most_ban < reputation.least_ban:
        yield ("reputation", "most_ban"), f"at least reputation.least_ban, which is {reputation.least_ban}"
    if reputation.ban_score <= reputation.most_soft:
        yield ("reputation", "ban_score"), f"above reputation.most_soft, which is {reputation.most_soft}"
    if reputation.most_score < reputation.ban_score:
        yield ("reputation", "most_score"), f"at least reputation.ban_score, which is {reputation.ban_score}"


def _concurrency(config: Config) -> Iterator[Complaint]:
    concurrency = config.concurrency
    if concurrency.most < concurrency.least:
        yield ("concurrency", "most"), f"at least concurrency.least, which is {concurrency.least}"
    elif not concurrency.least <= concurrency.start <= concurrency.most:
        yield ("concurrency", "start"), f"from concurrency.least to most: {concurrency.least} to {concurrency.most}"


def _challenge(config: Config) -> Iterator[Complaint]:
    challenge = config.challenge
    if challenge.most_hashes < challenge.least_hashes:
        yield ("challenge", "most_hashes"), f"at least challenge.least_hashes, which is {challenge.least_hashes}"
    if challenge.least_hashes < challenge.sub_puzzles:
        yield ("challenge", "least_hashes"), f"at least one hash per sub-puzzle: {challenge.sub_puzzles}"
    if challenge.bought_rate < challenge.least_bought_rate:
        yield (
            ("challenge", "bought_rate"),
            f"at least challenge.least_bought_rate, which is {challenge.least_bought_rate}",
        )
    for number, text in enumerate(challenge.never):
        if not text.startswith("/"):
            yield from _network(("challenge", "never", number), text, ', or a path prefix that begins with "/"')
    if challenge.bought_life < challenge.bought_idle:
        yield ("challenge", "bought_life"), f"at least challenge.bought_idle, which is {challenge.bought_idle}"
    queue = config.queue
    if queue.most_retry < queue.least_retry:
        yield ("queue", "most_retry"), f"at least queue.least_retry, which is {queue.least_retry}"
    market = config.market
    if market.most_rise < market.least_rise:
        yield ("market", "most_rise"), f"at least market.least_rise, which is {market.least_rise}"
    if market.first_used < market.least_used:
        yield ("market", "first_used"), f"at least market.least_used, which is {market.least_used}"
    pressure = config.pressure
    if pressure.brownout_ill > pressure.brownout_after:
        yield ("pressure", "brownout_ill"), f"at most pressure.brownout_after, which is {pressure.brownout_after}"
    for name, value in (("cookie", challenge.cookie), ("header", challenge.header)):
        if not _TOKEN.fullmatch(value):
            yield ("challenge", name), "allowed: letters, digits and -_.~!#$%&'*+^`|"


def _address(place: Place, text: str, unix: bool) -> Iterator[Complaint]:
    try:
        parse_address(text)
    except ValueError as error:
        yield place, str(error)
        return
    if text.startswith("unix:") and not unix:
        yield place, "clients connect by TCP: an IP address and a port"


def _networks(place: Place, networks: tuple[str, ...]) -> Iterator[Complaint]:
    for number, network in enumerate(networks):
        yield from _network((*place, number), network)


def _network(place: Place, text: str, or_else: str = "") -> Iterator[Complaint]:
    """`or_else`: what is allowed besides."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        yield place, _network_hint(text) + or_else


def _network_hint(text: str) -> str:
    try:
        return f"an address with host bits; did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        return 'allowed: an IP address or a network, like "192.0.2.0/24" or "2001:db8::/32"'


def _unreadable(path: str) -> Iterator[str]:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
