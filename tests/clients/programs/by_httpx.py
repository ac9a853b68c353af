"""python by_httpx.py URL AUTHORITY"""

import importlib.util
import ssl
import sys

import httpx
from common import ITEMS, PASS, UPLOAD, digest, events, pieces, tell

url, authority = sys.argv[1:]
with httpx.Client(
    http2=importlib.util.find_spec("h2") is not None,
    verify=ssl.create_default_context(cafile=authority),
    trust_env=False,
    follow_redirects=True,
    timeout=60,
    headers=PASS,
) as client:
    with client.stream("GET", f"{url}/stream") as response:
        stream = digest(*response.iter_bytes())
    with client.stream("GET", f"{url}/events") as response:
        told = events("\n".join(response.iter_lines()))
    tell(
        items=digest(*(client.get(f"{url}/item/{number}").content for number in range(ITEMS))),
        zipped=digest(client.get(f"{url}/zipped").content),
        moved=client.get(f"{url}/moved").text,
        see_other=client.post(f"{url}/see-other", data={"name": "x"}).text,
        head=client.head(f"{url}/large").headers["Content-Length"],
        put=client.put(f"{url}/echo", content=b"12345").text,
        delete=client.delete(f"{url}/echo").text,
        options=client.options(f"{url}/echo").text,
        upload=client.post(f"{url}/upload", content=UPLOAD).text,
        chunked=client.post(f"{url}/upload", content=pieces()).text,
        range=digest(client.get(f"{url}/large", headers={"Range": "bytes=1000-1999"}).content),
        large=digest(client.get(f"{url}/large").content),
        stream=stream,
        empty=client.get(f"{url}/empty").status_code,
        unchanged=client.get(f"{url}/unchanged", headers={"If-None-Match": '"v1"'}).status_code,
        missing=client.get(f"{url}/missing").status_code,
        events=told,
    )
