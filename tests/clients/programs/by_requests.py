"""python by_requests.py URL AUTHORITY"""

import sys

import requests
from common import ITEMS, PASS, UPLOAD, digest, events, pieces, tell

url, authority = sys.argv[1:]
with requests.Session() as session:
    session.trust_env = False
    session.verify = authority
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
        chunked=session.post(f"{url}/upload", data=pieces()).text,
        range=digest(session.get(f"{url}/large", headers={"Range": "bytes=1000-1999"}).content),
        large=digest(session.get(f"{url}/large").content),
        stream=digest(*session.get(f"{url}/stream", stream=True).iter_content(10_000)),
        empty=session.get(f"{url}/empty").status_code,
        unchanged=session.get(f"{url}/unchanged", headers={"If-None-Match": '"v1"'}).status_code,
        missing=session.get(f"{url}/missing").status_code,
        events=events(session.get(f"{url}/events", stream=True).text),
    )
