"""The connection of one node to the store: one call at a time, each with a deadline.

A store that is slow is as good as none, so whatever takes longer than the deadline, or fails, ends the connection, and
the next call waits a while: from FIRST_PAUSE to LONGEST_PAUSE seconds, drawn by lot, so that the nodes do not all come
back in the same moment. The client library is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import random
import ssl
import stat
from hashlib import sha1
from typing import Any, Final

from shield.cluster.settings import ClusterSettings
from shield.errors import StartError
from shield.files import UnusableError, open_file

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0
MISSING: Final = "cluster.store needs the client of Valkey and Redis: pip install 'shield-proxy[cluster]', or redis"


class LostError(Exception):
    """The store did not do what it was asked to, and says why not."""


class Store:
    """Calls functions in the store. `failures`: calls in a row that failed, `failed`: all of them, `reason`: why the
    last one did."""

    __slots__ = ("_client", "_library", "_password", "_sentinels", "_settings", "failed", "failures", "reason")

    def __init__(self, settings: ClusterSettings) -> None:
        """Raises StartError where the client library is missing, or the password cannot be read."""
        self._settings = settings
        try:
            self._library = importlib.import_module("redis.asyncio")
        except ImportError:
            raise StartError(MISSING) from None
        self._password = _password(settings.password_file)
        self._client: Any = None
        self._sentinels: list[Any] = []  # clients of their own
        self.failures = 0
        self.failed = 0
        self.reason = ""

    async def call(self, script: str, keys: list[bytes], values: list[Any]) -> Any:
        """Run a script there. Raises LostError."""
        try:
            async with asyncio.timeout(self._settings.deadline):
                answer = await self._call(script, keys, values)
        except TimeoutError:
            reason = f"no answer within {self._settings.deadline:g} s"
        except (OSError, ValueError, self._errors()) as error:
            reason = str(error)[:200] or type(error).__name__
        else:
            self.failures, self.reason = 0, ""
            return answer
        self.failures += 1
        self.failed += 1
        self.reason = reason
        await self.close()
        raise LostError(reason)

    def pause(self) -> float:
        """Seconds to wait after a failure."""
        most = min(FIRST_PAUSE * 2.0 ** min(self.failures, 8), LONGEST_PAUSE)
        return random.uniform(most / 2, most)  # noqa: S311 - no secret

    async def close(self) -> None:
        """Let go of the connection, at once: whoever hangs is not waited for."""
        clients, self._client, self._sentinels = [self._client, *self._sentinels], None, []
        for client in clients:
            if client is not None:
                with contextlib.suppress(OSError, TimeoutError, self._errors()):
                    async with asyncio.timeout(self._settings.deadline):
                        await client.aclose()
                        pool = getattr(client, "connection_pool", None)
                        if pool is not None:  # of a sentinel's service it is its own
                            await pool.disconnect()

    def _errors(self) -> type[Exception]:
        error: type[Exception] = self._library.RedisError
        return error

    async def _call(self, script: str, keys: list[bytes], values: list[Any]) -> Any:
        if self._client is None:
            self._client = await self._connect()
        name = sha1(script.encode()).hexdigest()  # noqa: S324 - the store's own name for it
        try:
            return await self._client.evalsha(name, len(keys), *keys, *values)
        except self._library.ResponseError as error:
            if not type(error).__name__.startswith("NoScript"):
                raise
        return await self._client.eval(script, len(keys), *keys, *values)

    async def _connect(self) -> Any:
        place, library = self._settings.place(), self._library
        seconds = self._settings.deadline
        common: dict[str, Any] = {
            "username": place.user or None,
            "password": self._password or None,
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            **(_tls(self._settings.ca_file) if place.tls else {}),
        }
        backoff = importlib.import_module("redis.backoff").NoBackoff()
        once = importlib.import_module("redis.asyncio.retry").Retry(backoff, 0)
        if place.kind == "cluster":
            node = importlib.import_module("redis.asyncio.cluster").ClusterNode
            nodes = [node(host, port) for host, port in place.hosts]
            self._client = client = library.RedisCluster(startup_nodes=nodes, **common)
            await client.initialize()  # if that fails, it is closed
            return client
        if place.kind == "sentinel":
            sentinel = importlib.import_module("redis.asyncio.sentinel").Sentinel(
                place.hosts, sentinel_kwargs={"socket_timeout": seconds, "socket_connect_timeout": seconds}, **common
            )
            self._sentinels = list(sentinel.sentinels)
            return sentinel.master_for(place.service, max_connections=1)
        host, port = place.hosts[0]
        return library.Redis(
            host=host, port=port, db=place.database, retry=once, single_connection_client=True, **common
        )


def _tls(ca_file: str) -> dict[str, Any]:
    more = {"ssl_ca_certs": ca_file} if ca_file else {}
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **more} | (
        {"ssl_min_version": ssl.TLSVersion.TLSv1_2}
    )


def _password(path: str) -> str:
    if not path:
        return ""
    try:
        with open_file(path, 4096) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            password = file.read().decode("utf-8").strip()
    except (OSError, UnusableError, UnicodeDecodeError) as error:
        raise StartError(f"cluster.password_file: cannot read {path}: {error}") from None
    if mode & 0o077:
        raise StartError(f"cluster.password_file: others can read {path}; run: chmod 600 {path}")
    return password
