"""python by_urllib3.py URL AUTHORITY"""

import sys

import urllib3
from common import ITEMS, PASS, UPLOAD, digest, events, pieces, tell

url, authority = sys.argv[1:]
pool = urllib3.PoolManager(ca_certs=authority, headers=PASS)
gzip = PASS | {"Accept-Encoding": "gzip"}
tell(
    items=digest(*(pool.request("GET", f"{url}/item/{number}").data for number in range(ITEMS))),
    zipped=digest(pool.request("GET", f"{url}/zipped", headers=gzip).data),
    moved=pool.request("GET", f"{url}/moved").data.decode(),
    see_other=pool.request("POST", f"{url}/see-other", fields={"name": "x"}).data.decode(),
    head=pool.request("HEAD", f"{url}/large").headers["Content-Length"],
    put=pool.request("PUT", f"{url}/echo", body=b"12345").data.decode(),
    delete=pool.request("DELETE", f"{url}/echo").data.decode(),
    options=pool.request("OPTIONS", f"{url}/echo").data.decode(),
    upload=pool.request("POST", f"{url}/upload", body=UPLOAD).data.decode(),
    chunked=pool.request("POST", f"{url}/upload", body=pieces()).data.decode(),
    range=digest(pool.request("GET", f"{url}/large", headers=PASS | {"Range": "bytes=1000-1999"}).data),
    large=digest(pool.request("GET", f"{url}/large").data),
    stream=digest(*pool.request("GET", f"{url}/stream", preload_content=False).stream(10_000)),
    empty=pool.request("GET", f"{url}/empty").status,
    unchanged=pool.request("GET", f"{url}/unchanged", headers=PASS | {"If-None-Match": '"v1"'}).status,
    missing=pool.request("GET", f"{url}/missing").status,
    events=events(pool.request("GET", f"{url}/events").data.decode()),
)
