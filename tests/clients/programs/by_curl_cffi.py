"""python by_curl_cffi.py URL AUTHORITY PROFILE: the handshake and the fields of a browser."""

import sys

from common import ITEMS, PASS, UPLOAD, digest, events, tell
from curl_cffi import requests

url, authority, profile = sys.argv[1:]
with requests.Session(impersonate=profile, verify=authority, trust_env=False, timeout=60) as session:
    session.headers.update(PASS)
    tell(
        items=digest(*(session.get(f"{url}/item/{number}").content for number in range(ITEMS))),
        zipped=digest(session.get(f"{url}/zipped").content),
        moved=session.get(f"{url}/moved").text,
        see_other=session.post(f"{url}/see-other", data={"name": "x"}).text,
        head=session.head(f"{url}/large").headers["Content-Length"],
        put=session.put(f"{url}/echo", data=b"12345").text,
        delete=session.delete(f"{url}/echo").text,
        options=session.options(f"{url}/echo").text,
        upload=session.post(f"{url}/upload", data=UPLOAD).text,
        range=digest(session.get(f"{url}/large", headers={"Range": "bytes=1000-1999"}).content),
        large=digest(session.get(f"{url}/large").content),
        stream=digest(session.get(f"{url}/stream").content),
        empty=session.get(f"{url}/empty").status_code,
        unchanged=session.get(f"{url}/unchanged", headers={"If-None-Match": '"v1"'}).status_code,
        missing=session.get(f"{url}/missing").status_code,
        events=events(session.get(f"{url}/events").text),
    )
