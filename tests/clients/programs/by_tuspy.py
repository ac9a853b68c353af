"""Uploads a file by tus in parts of a megabyte: the first, and then the rest as who begins anew. Prints its address.

Arguments: the address of the collection, the file, and the authority that signed the certificate. The pass is in
SHIELD_PASS.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tusclient.client import TusClient

PART = 1 << 20
NAMED = {"filename": "large", "filetype": "application/octet-stream"}
url, name, authority = sys.argv[1:]
if url.startswith("https:"):
    os.environ["REQUESTS_CA_BUNDLE"] = authority
token = os.environ.get("SHIELD_PASS")
client = TusClient(url, headers={"Shield-Pass": token} if token else {})
with Path(name).open("rb") as file:
    first = client.uploader(file_stream=file, chunk_size=PART, metadata=NAMED)
    first.upload(stop_at=PART)
    rest = client.uploader(file_stream=file, chunk_size=PART, url=first.url)
    assert rest.get_offset() == PART
    rest.upload()
print(first.url)
