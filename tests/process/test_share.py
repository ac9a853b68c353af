"""What each of several workers is given."""

from __future__ import annotations

from dataclasses import replace

from shield.config.settings import Config
from shield.process.share import share_out


def test_what_is_for_the_whole_service_is_divided_and_rounded_up() -> None:
    """Each of four workers had all of the memory for unsent answers, and of what may be read ahead."""
    config = Config()
    config = replace(config, upstream=replace(config.upstream, max_streams=10))
    one = share_out(config, 4)
    assert one.http.unsent_bytes == config.http.unsent_bytes / 4
    assert one.http.unsent_memory_bytes == config.http.unsent_memory_bytes / 4
    assert one.http.response_buffers_bytes == config.http.response_buffers_bytes / 4
    assert one.http.body_spools_bytes == config.http.body_spools_bytes / 4
    assert (one.upstream.max_streams, one.upstream.max_concurrency) == (3, 0)
    assert one.tls.handshakes == config.tls.handshakes / 4
