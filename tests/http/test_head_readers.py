"""Who reads the answer is remembered by the lines that tell it, and is the same as if it were found out anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shield.http import head as heads
from shield.http.head import Examiner
from shield.http.head_reader import HeadReader
from shield.http.plain_head import PlainHeads
from shield.http.settings import HttpSettings
from shield.readers import Reader, reader_of

LINES = (
    "Accept: text/html,*/*;q=0.8",
    "Accept: */*",
    "accept: TEXT/HTML",
    "Accept-Language: de",
    "Accept-Language: ",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Dest: image",
    "Upgrade-Insecure-Requests: 1",
    "X-Requested-With: XMLHttpRequest",
    "Sec-Purpose: prefetch",
    "X-Moz: prefetch",
    "Origin: https://a.example",
    "Access-Control-Request-Method: PUT",
    "Upgrade: websocket",
    "Connection: upgrade",
    "Cookie: a=1",
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]), st.lists(st.sampled_from(LINES), max_size=6)),
        min_size=1,
        max_size=6,
    )
)
def test_it_is_who_it_would_be_without_memory(asked: list[tuple[str, list[str]]]) -> None:
    plain = PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))
    kept = HeadReader(plain)
    for method, lines in asked:
        data = "\r\n".join([f"{method} / HTTP/1.1", "Host: a.example", *lines, "", ""]).encode()
        for reader in (kept, HeadReader(plain)):
            head = reader.read(data)
            assert head.reader() is reader_of(head.method, head.headers)


def test_what_is_remembered_is_bounded() -> None:
    plain = PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))
    heads._READERS.clear()
    for number in range(2 * heads._MOST_READERS):
        data = f"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: text/html;q={number}\r\n\r\n".encode()
        assert HeadReader(plain).read(data).reader() is Reader.PERSON
    long = b"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: text/html%b\r\n\r\n" % (b"," * 600)
    before = len(heads._READERS)
    assert HeadReader(plain).read(long).reader() is Reader.PERSON
    assert len(heads._READERS) == before <= heads._MOST_READERS
