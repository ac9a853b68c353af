"""python by_urllib.py URL AUTHORITY: the standard library, a connection for each request."""

import gzip
import ssl
import sys
import urllib.error
import urllib.request

from common import ITEMS, PASS, UPLOAD, digest, events, pieces, tell

url, authority = sys.argv[1:]
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority))
)
opener.addheaders += PASS.items()


def ask(path, method="GET", data=None, **headers):
    request = urllib.request.Request(
        url + path, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method
    )
    with opener.open(request) as response:
        return response, response.read()


def status(path, **headers):
    try:
        return ask(path, **headers)[0].status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


tell(
    items=digest(*(ask(f"/item/{number}")[1] for number in range(ITEMS))),
    zipped=digest(gzip.decompress(ask("/zipped", Accept_Encoding="gzip")[1])),
    moved=ask("/moved")[1].decode(),
    see_other=ask("/see-other", "POST", b"name=x")[1].decode(),
    head=ask("/large", "HEAD")[0].headers["Content-Length"],
    put=ask("/echo", "PUT", b"12345")[1].decode(),
    delete=ask("/echo", "DELETE")[1].decode(),
    options=ask("/echo", "OPTIONS")[1].decode(),
    upload=ask("/upload", "POST", UPLOAD)[1].decode(),
    chunked=ask("/upload", "POST", pieces())[1].decode(),
    range=digest(ask("/large", Range="bytes=1000-1999")[1]),
    large=digest(ask("/large")[1]),
    stream=digest(ask("/stream")[1]),
    empty=status("/empty"),
    unchanged=status("/unchanged", If_None_Match='"v1"'),
    missing=status("/missing"),
    events=events(ask("/events")[1].decode()),
)
