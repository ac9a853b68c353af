"""Fields that tell a service who asks, and by which scheme, host, port and path it is reached; all but the chains.

Frameworks read some forty of them, each its own. Whoever may write one of them may be anybody to a service that reads
it. So there is one story about the client: forwarded.py finds it out, and writes it into a few fields. All others that
a client sends are removed. Of a trusted proxy's, those are kept that tell the same story, or what no other field tells;
docs/forwarding-fields.md names who reads each.

The chains, X-Forwarded-For and Forwarded, are in forwarded.py.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class Tells(enum.Enum):
    """What a field of this kind tells."""

    WRITTEN = enum.auto()  # part of the story: Shield writes it itself
    ADDRESS = enum.auto()  # the client's address
    SCHEME = enum.auto()  # http or https
    SECURE = enum.auto()  # on or off: whether the scheme is https
    HOST = enum.auto()  # the host that was asked for
    MORE = enum.auto()  # what Shield cannot know: a path prefix, a certificate; kept of a trusted proxy
    ANOTHER_PATH = enum.auto()  # a path in place of the one that the policy judges: never passed


PREFIX: Final = b"x-forwarded"
"""Every field whose name begins so is one of these, MORE unless the table says otherwise."""

_MEMBERS: Final[Mapping[Tells, str]] = {
    Tells.WRITTEN: "x-forwarded-proto x-forwarded-host x-forwarded-port x-real-ip",
    Tells.ADDRESS: (
        "ali-cdn-real-ip cdn-real-ip cf-connecting-ip cf-connecting-ipv6 client-ip cloudfront-viewer-address "
        "do-connecting-ip fastly-client-ip fly-client-ip forwarded-for http-client-ip incap-client-ip "
        "proxy-client-ip remote-addr true-client-ip wl-proxy-client-ip x-appengine-user-ip x-azure-clientip "
        "x-azure-socketip x-client-ip x-cluster-client-ip x-envoy-external-address x-forwarded "
        "x-nf-client-connection-ip x-original-forwarded-for x-originating-ip x-proxyuser-ip x-real-client-ip "
        "x-remote-addr x-remote-ip x-vercel-forwarded-for"
    ),
    Tells.SCHEME: (
        "cf-visitor cloudfront-forwarded-proto x-forwarded-protocol x-forwarded-scheme x-original-proto "
        "x-original-scheme x-scheme x-url-scheme"
    ),
    Tells.SECURE: "fastly-ssl front-end-https wl-proxy-ssl x-appengine-https x-arr-ssl x-forwarded-ssl x-https",
    Tells.HOST: "x-forwarded-server x-host x-http-host-override x-original-host",
    Tells.MORE: (
        "client-cert client-cert-chain ssl-client-cert ssl-client-verify x-arr-clientcert x-client-cert "
        "x-envoy-original-path x-ingress-path x-original-method x-original-uri x-replaced-path x-script-name "
        "x-ssl-client-cert x-ssl-client-verify"
    ),
    Tells.ANOTHER_PATH: "x-original-url x-override-url x-rewrite-url",
}
CLIENT_FIELDS: Final[Mapping[bytes, Tells]] = {
    name.encode("ascii"): tells for tells, names in _MEMBERS.items() for name in names.split()
}
"""By name, in lower case."""

_NO: Final = frozenset({"", "0", "false", "no", "off"})


def about_client(name: bytes) -> bool:
    """Whether a field of this name, in lower case, is one of these."""
    return name in CLIENT_FIELDS or name.startswith(PREFIX)


def tells(name: bytes) -> Tells:
    """What a field of this name, in lower case, tells, if it is one of these."""
    return CLIENT_FIELDS.get(name, Tells.MORE)


def same_scheme(value: str, scheme: str) -> bool:
    """Whether a SCHEME field says `scheme`: by its name, as "ssl", or in Cloudflare's form."""
    value = value.lower()
    return value in (scheme, f'{{"scheme":"{scheme}"}}') or (value == "ssl" and scheme == "https")


def same_security(value: str, scheme: str) -> bool:
    """Whether a SECURE field says of the connection what `scheme` does. Some tell how it is secured."""
    return (value.lower() not in _NO) is (scheme == "https")
