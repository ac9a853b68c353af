"""Every event that Shield logs, with its severity, its meaning and its fields. docs/log.md is made from this table.

An event is a line with `time`, `event` and `level`. The lines about requests and connections, and about lines that were
left out, are in `LINES`: they have no `level`, and count as info. Where several processes write, each line ends with
the `worker` that it is from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["debug", "info", "warning", "error", "off"]

LEVELS: Final[Mapping[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of line: how much it matters, what has happened, and the fields that the line may have."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


def _event(level: Level, meaning: str, fields: str = "") -> Event:
    return Event(level, meaning, tuple(fields.split()))


_LISTENING: Final = "listen redirect_from admin upstream sites dry_run state"
_ONE_PROCESS: Final = "known connections connections_per_address connections_per_network streams pid"
_ATTACK: Final = "site cause pressure demand capacity"
_RULE: Final = "change author note rule kind subject value expires dry_run"

EVENTS: Final[Mapping[str, Event]] = {
    # the processes
    "started": _event("info", "Shield listens.", f"{_LISTENING} {_ONE_PROCESS} workers steered"),
    "worker_started": _event("info", "A worker listens.", f"{_LISTENING} {_ONE_PROCESS}"),
    "reloaded": _event(
        "info", "The config was read again, and holds from now on.", f"{_LISTENING} {_ONE_PROCESS} workers"
    ),
    "reload_refused": _event("error", "The config was read again, and cannot be used.", "error mistakes effect"),
    "restart_needed": _event(
        "warning", "Settings were changed that hold only once Shield is started again.", "settings effect"
    ),
    "upgrading": _event("info", "SIGUSR2 came: new code is started beside this process.", "command"),
    "upgraded": _event("info", "New code accepts all connections; this process ends with its last.", "heir pid"),
    "upgrade_refused": _event("error", "New code did not come to accept connections.", "error said effect"),
    "retired_cut": _event("warning", "Connections from before many reloads were cut.", "connections"),
    "signal_ignored": _event("warning", "A signal came that means nothing to Shield.", "signal"),
    "log_reopened": _event("info", "SIGUSR1 came: the files of the log were opened again.", "files"),
    "log_not_reopened": _event("warning", "A file of the log was renamed, and cannot be opened anew.", "path error"),
    "stopping": _event("info", "The supervisor was told to stop, and tells its workers.", "workers"),
    "draining": _event("info", "Shield was told to stop: it accepts nothing more.", "connections"),
    "drained": _event("info", "Requests have ended, or their time is over; so many were cut.", "cut"),
    "worker_ended": _event("warning", "A worker has died, and will be replaced.", "worker pid status"),
    "worker_hangs": _event("error", "A worker did nothing for ten seconds, and is killed.", "worker pid"),
    "worker_not_started": _event("warning", "A worker's replacement did not come to listen.", "worker error"),
    "workers_killed": _event("error", "Workers did not end in time."),
    "not_steered": _event("warning", "The kernel does not bring each network to one worker.", "error effect"),
    "hash_randomization_off": _event("warning", "Clients could choose keys that collide.", "effect unset"),
    "state_not_kept": _event("warning", "A restart will forget everything.", "effect setting"),
    "keys_not_saved": _event("error", "The disk did not take the signing keys.", "path error effect"),
    "history_not_saved": _event("error", "The disk did not take the history.", "path error"),
    "learned_not_saved": _event("error", "The disk did not take scores, bans and the like.", "path error"),
    "history_unusable": _event("error", "A history file could not be read, and was put aside.", "path error kept_as"),
    "learned_unusable": _event("error", "A file of scores, bans and the like was put aside.", "path error kept_as"),
    "journal_not_saved": _event(
        "error", "The disk did not take the newest bans; they are in the next snapshot that it takes.", "path error"
    ),
    "journal_unusable": _event(
        "error", "A journal of bans was put aside; its lines that are whole were taken.", "path error kept_as"
    ),
    "rules_not_saved": _event("error", "The disk did not take the operator's rules.", "path error"),
    "rules_unusable": _event("error", "The file of the operator's rules was put aside.", "path error kept_as"),
    # other machines
    "cluster_joined": _event(
        "info", "The store answers, and the nodes of the cluster are one.", "store nodes lost_seconds"
    ),
    "cluster_lost": _event("error", "The store does not answer: this node is by itself.", "store error nodes effect"),
    "cluster_node_joined": _event("info", "Another node of the cluster has come.", "node nodes"),
    "cluster_node_left": _event("warning", "A node of the cluster has gone, or says nothing.", "node nodes"),
    # what the operator changes
    "rule_added": _event("warning", "The operator has made a rule.", _RULE),
    "rule_lifted": _event("warning", "The operator has lifted a rule.", _RULE),
    "rule_undone": _event("warning", "The operator has undone a change.", _RULE),
    "rule_ended": _event("info", "A rule of the operator's has ended.", _RULE),
    "pardoned": _event(
        "warning", "The operator has had bans lifted that Shield had made.", "change author note subject"
    ),
    "rules_not_followed": _event("error", "A worker does not go by a change of the rules.", "effect"),
    "exception": _event("error", "A bug in Shield.", "message traceback"),
    "library": _event("warning", "A library has logged something; error where it says so.", "logger message traceback"),
    # client connections
    "proxy_not_trusted": _event(
        "warning",
        "Most clients come from one private address that tells of others: a proxy that is not trusted. Each hour.",
        "address share effect setting",
    ),
    "accepting_paused": _event("warning", "As many connections as there may be: accepting waits.", "open limit"),
    "accepting_resumed": _event("warning", "Accepting goes on.", "open limit"),
    "out_of_files": _event("warning", "No descriptor is left, for a client or for a server.", "open limit server"),
    "connections_refused": _event("warning", "New connections were closed for want of room.", "reason at count open"),
    "connections_displaced": _event("warning", "Connections were closed for others.", "reason at count open"),
    "answers_not_spilled": _event("warning", "The disk takes no unread answers: they stay in memory.", "error"),
    "bodies_not_spooled": _event("warning", "The disk takes no request bodies: they stay in memory.", "error"),
    "certificate_loaded": _event("info", "A changed certificate is in use.", "chain names"),
    "certificate_ends": _event(
        "warning", "A certificate ends soon, has ended, or does not hold yet; each day.", "chain names trouble"
    ),
    "certificate_not_loaded": _event("warning", "A changed certificate cannot be used.", "chain error effect"),
    # the upstream
    "database_loaded": _event("info", "A database of AS or country is in use.", "path of type built"),
    "database_not_loaded": _event("error", "A database of AS or country cannot be used.", "path of error effect"),
    "list_loaded": _event("info", "A list of networks is in use.", "path of entries spared"),
    "list_not_loaded": _event(
        "error", "A list of networks cannot be used; its first bad line is named.", "path of error effect"
    ),
    "bot_keys_loaded": _event("info", "The keys of a bot that signs its requests are in use.", "path keys"),
    "bot_keys_not_loaded": _event("error", "A file of keys cannot be used.", "path error effect"),
    "upstream_down": _event("warning", "Health checks of a server failed: it gets no requests.", "server"),
    "upstream_up": _event("warning", "A server is well again.", "server"),
    "upstream_ejected": _event("warning", "Requests to a server failed: it gets none for a while.", "server"),
    "upstream_connect_failed": _event("warning", "A connection to a server could not be opened.", "server error"),
    # the policy's decisions
    "attack_onset": _event("warning", "An attack has begun.", f"{_ATTACK} overload requests_per_second"),
    "attack": _event(
        "warning",
        "An attack goes on; every ten seconds.",
        "site pressure demand capacity in_flight limit waiting requests routes would stands_out",
    ),
    "attack_end": _event(
        "warning", "An attack is over.", f"{_ATTACK} seconds peak_pressure peak_requests_per_second"
    ),
    "brownout": _event(
        "warning", "The service is ill, and not attacked: newcomers are let in.", "site overload demand capacity served"
    ),
    "ban": _event(
        "info", "A client, or an address, was banned.", "client address seconds relapses signal score"
    ),
    "address_dropped": _event(
        "info", "An address goes on against refusals: nothing of it is answered any more.", "address seconds times"
    ),
    "not_dropped_by_kernel": _event(
        "warning", "The kernel does not drop connections: Shield closes those of dropped addresses itself.", "error"
    ),
    "drops_not_exported": _event("warning", "Whoever filters earlier could not be told who is dropped.", "where error"),
    "notice_sent": _event("info", "The operator was told of an attack.", "of where"),
    "notice_not_sent": _event("error", "The operator could not be told of an attack.", "of where error"),
    "pass_revoked": _event("info", "A pass was used from too many networks.", "pass networks"),
    "fingerprint_limited": _event(
        "info",
        "A program that strangers use and known clients do not is limited as one client.",
        "fingerprint user_agent ja4_habit share known",
    ),
}  # fmt: skip

LINES: Final[Mapping[str, Event]] = {
    "request": _event(
        "info",
        "A forwarded request has ended.",
        "address client method path status action reason tier ms sent server id asn country site route bot ja4 fault "
        "rule http",
    ),
    "refused": _event(
        "info",
        "Shield has answered a request itself because of its verdict.",
        "address client shape method host path user_agent status action reason asn country site route tier ja4 id http",
    ),
    "fault": _event(
        "info",
        "A request or connection failed before or beside any verdict.",
        "address method path fault status asn country rule ja4 id detail http",
    ),
    "suppressed": _event("info", "So many lines of one event were left out in the last second.", "of lines"),
}
