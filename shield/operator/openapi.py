"""The OpenAPI document (3.1) of the admin listener. A test holds it against what is answered."""

from __future__ import annotations

from typing import Any, Final

from shield import __version__
from shield.policy.rules.book import CHANGES
from shield.policy.rules.rule import AUTHOR_CHARS, KINDS, LEAST_SECONDS, MOST_CHARS, MOST_SECONDS

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_NOTE: Final = {"type": "string", "maxLength": MOST_CHARS, "description": "Why; one line."}
_HERE: Final = {"type": "array", "items": _TEXT, "maxItems": 8, "description": "Addresses not to lock out."}
_AUTHOR: Final = {
    "type": "string",
    "maxLength": AUTHOR_CHARS,
    "description": "Who asks, where no token says so.",
}

_WHERE: Final = {**_TEXT, "description": "Its AS and country, as far as they are known."}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: Final[dict[str, Any]] = {
    "Rule": _object(
        "number kind subject value author note created expires",
        number=_WHOLE,
        kind={"enum": list(KINDS)},
        subject={
            **_TEXT,
            "description": "A network, AS64500, country:XX, a client, pass:ID, client, address, a path, a measure, a "
            "site, the name of a key, or nothing.",
        },
        value={
            **_TEXT,
            "description": 'Of a limit "RATE/BURST", of a pressure "0.5", of a key its SHA-256, with "RATE/BURST " '
            "before it where it has a budget of its own; else never, always, on or off.",
        },
        author=_TEXT,
        note=_TEXT,
        created={**_NUMBER, "description": "Seconds since 1970."},
        expires={**_NUMBER, "description": "Likewise; 0: it holds until it is lifted."},
        dry_run={"const": True, "description": "It is tried: whom it would refuse is counted. Else left out."},
    ),
    "Wish": {
        **_object(
            "kind",
            kind={"enum": list(KINDS)},
            subject={**_TEXT, "examples": ["192.0.2.0/24", "2001:db8::/48", "client", "/feed", "billing"]},
            value={**_TEXT, "examples": ["20/400", "0.5", "never", "always", "on"]},
            seconds={"type": "number", "minimum": LEAST_SECONDS, "maximum": MOST_SECONDS},
            note=_NOTE,
            author=_AUTHOR,
            here=_HERE,
            force={"type": "boolean", "description": "Insist on a large network."},
            dry_run={
                "type": "boolean",
                "description": "Refuse nobody, and count whom the rule would refuse: ban, deny, a limit of somebody, "
                "challenge always.",
            },
        ),
        "additionalProperties": False,
    },
    "Change": _object(
        "number what at author note subject rule before of",
        number=_WHOLE,
        what={"enum": list(CHANGES)},
        at=_NUMBER,
        author=_TEXT,
        note=_TEXT,
        subject=_TEXT,
        rule={"anyOf": [_ref("Rule"), {"type": "null"}]},
        before={"anyOf": [_ref("Rule"), {"type": "null"}]},
        of={**_WHOLE, "description": "The change that was undone."},
    ),
    "Kept": {"type": "boolean", "description": "Whether it outlives a restart: it is in state.directory."},
    "NotKept": {**_TEXT, "description": "Why it does not, where `kept` is false."},
    "Rules": _object("rules kept", rules=_list_of("Rule"), kept=_ref("Kept"), not_kept=_ref("NotKept")),
    "Changed": _object(
        "change kept",
        change=_ref("Change"),
        kept=_ref("Kept"),
        not_kept=_ref("NotKept"),
        key={**_TEXT, "description": "The new API key, which cannot be shown again."},
        header={**_TEXT, "description": "The field that programs send it in."},
    ),
    "Lifted": _object(
        "changes pardoned refusing kept",
        changes=_list_of("Change"),
        pardoned={**_WHOLE, "description": "How many bans were lifted that Shield had made."},
        refusing={
            "type": "array",
            "items": _TEXT,
            "description": "What refuses whom was pardoned all the same: other rules, the config, its files.",
        },
        kept=_ref("Kept"),
        not_kept=_ref("NotKept"),
    ),
    "Audit": _object("changes", changes=_list_of("Change")),
    "Reloaded": _object("reloaded", reloaded={"const": True}),
    "Said": _object("", note=_NOTE, author=_AUTHOR),
    "Undo": _object("", note=_NOTE, author=_AUTHOR, here=_HERE),
    "Question": _object(
        "question answer decides",
        question=_TEXT,
        answer=_TEXT,
        decides={"type": "boolean", "description": "Nothing is asked after it."},
        numbers={"type": "object", "description": "What the answer goes by."},
        change={**_TEXT, "description": "What would change it."},
        since=_NUMBER,
        until=_NUMBER,
    ),
    "Subject": _object("subject questions", subject=_TEXT, questions=_list_of("Question")),
    "Refusal": _object(
        "at id address client method host path user_agent status reason where",
        at=_NUMBER,
        id=_TEXT,
        address=_TEXT,
        client=_TEXT,
        method=_TEXT,
        host=_TEXT,
        path=_TEXT,
        user_agent=_TEXT,
        status={"type": "integer"},
        reason=_TEXT,
        where=_WHERE,
    ),
    "Explanation": _object(
        "asked site found subjects refused",
        site={**_TEXT, "description": "The site of whose pressure the answers are; default where there is one."},
        asked=_TEXT,
        found={"type": "boolean", "description": "Whether anything is known of it."},
        subjects=_list_of("Subject"),
        refused=_list_of("Refusal"),
    ),
    "Ban": _object(
        "address client until relapses score where",
        where=_WHERE,
        address=_TEXT,
        client={**_TEXT, "description": "Of one client there; else the whole address is banned."},
        until=_NUMBER,
        relapses=_WHOLE,
        score=_NUMBER,
    ),
    "Bans": _object("bans total", bans=_list_of("Ban"), total=_WHOLE),
    "Node": _object(
        "node here age version pressure attack in_flight slots latency",
        node=_TEXT,
        here={"type": "boolean", "description": "It is the one that answers."},
        age={**_NUMBER, "description": "Seconds since it was last heard of."},
        version=_TEXT,
        pressure=_NUMBER,
        attack={"type": "boolean"},
        in_flight=_NUMBER,
        slots=_NUMBER,
        latency={**_NUMBER, "description": "Seconds that the store took for its last round."},
    ),
    "Cluster": _object(
        "store name node connected error lost_seconds count nodes rates bursts latency latency_most rounds failed "
        "leases untold lost rejected disagreements",
        store=_TEXT,
        name=_TEXT,
        node=_TEXT,
        connected={"type": "boolean", "description": "The nodes hear of each other."},
        error={**_TEXT, "description": "Why they do not."},
        lost_seconds=_NUMBER,
        count={**_WHOLE, "description": "Nodes that there are, or were when last heard of."},
        nodes=_list_of("Node"),
        rates={**_NUMBER, "description": "Part of each rate that this node goes by."},
        bursts={**_NUMBER, "description": "Part of each burst that it lets a client have unasked."},
        latency={**_NUMBER, "description": "Seconds that the store takes for a round: the median of the last ones."},
        latency_most=_NUMBER,
        rounds=_WHOLE,
        failed={**_WHOLE, "description": "Rounds that the store did not answer in time."},
        leases={**_WHOLE, "description": "Clients, addresses and passes that are on lease here."},
        untold={**_WHOLE, "description": "Bans and the like that the others were not told of yet."},
        lost={**_WHOLE, "description": "Those that there was no room for until then."},
        rejected={"type": "object", "description": "Values in the store that were not believed, by reason."},
        disagreements={"type": "array", "items": _TEXT},
    ),
    "Recent": _object("refused events", refused=_list_of("Refused"), events=_list_of("Event")),
    "Refused": _object(
        "at id address client method path user_agent action reason known count where",
        at={**_NUMBER, "description": "Of the newest."},
        id=_TEXT,
        address=_TEXT,
        client=_TEXT,
        method=_TEXT,
        path=_TEXT,
        user_agent=_TEXT,
        action=_TEXT,
        reason=_TEXT,
        where=_WHERE,
        known={"type": "boolean", "description": "It has a history."},
        count={**_WHOLE, "description": "Of the last minute, as far as these are kept."},
    ),
    "Event": _object("at event fields", at=_NUMBER, event=_TEXT, fields={"type": "object"}),
    "History": _object(
        "columns rows",
        columns={"type": "array", "items": _TEXT},
        rows={"type": "array", "items": {"type": "array"}, "description": "One a second, the oldest first."},
    ),
    "Report": _object(
        "at since step columns rows counted_since counted state events refused bans",
        at=_NUMBER,
        since=_NUMBER,
        step={**_NUMBER, "description": "Seconds from row to row: 1 or 60."},
        columns={"type": "array", "items": _TEXT},
        rows={"type": "array", "items": {"type": "array"}, "description": "The oldest first."},
        counted_since=_NUMBER,
        counted={"type": "object", "description": "Requests by verdict, latency and tiers since then."},
        state={"type": "object"},
        events={"type": "array", "items": {"type": "object"}},
        refused={"type": "array", "items": {"type": "object"}},
        bans=_WHOLE,
    ),
    "Problem": _object("type title status detail", type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT),
}


def _json(name: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": _ref(name)}}}


def _call(summary: str, status: int, answer: str, body: str = "", parameters: tuple[Any, ...] = ()) -> dict[str, Any]:
    call: dict[str, Any] = {
        "summary": summary,
        "responses": {
            str(status): {"description": "Done.", **_json(answer)},
            "default": {
                "description": "Refused; `detail` says why, and what to do instead.",
                "content": {"application/problem+json": {"schema": _ref("Problem")}},
            },
        },
    }
    if body:
        call["requestBody"] = {"required": True, **_json(body)}
    if parameters:
        call["parameters"] = list(parameters)
    return call


def _query(name: str, description: str, schema: Any = _TEXT) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_PATHS: Final[dict[str, Any]] = {
    "/api/rules": {
        "get": _call("The rules that hold.", 200, "Rules"),
        "post": _call(
            "Make a rule, in place of one of its kind for the same subject. One of the kind key makes an API key.",
            201,
            "Changed",
            "Wish",
        ),
        "delete": _call(
            "Lift rules, by their numbers or by kind and subject.",
            200,
            "Lifted",
            parameters=(
                _query("number", "Of a rule; may come several times.", {"type": "array", "items": _WHOLE}),
                _query("kind", "May come several times.", {"type": "array", "items": {"enum": list(KINDS)}}),
                _query("subject", "Whom the rules are for."),
                _query("pardon", "Forget what Shield did to the subject by itself, too.", {"enum": ["1", "true"]}),
                _query("note", "Why."),
                _query("author", "Who asks, where no token says so."),
                _query("here", "Addresses not to lock out.", {"type": "array", "items": _TEXT, "maxItems": 8}),
            ),
        ),
    },
    "/api/audit": {
        "get": _call(
            "Changes, the newest first.", 200, "Audit", parameters=(_query("limit", "At most so many.", _WHOLE),)
        )
    },
    "/api/undo": {"post": _call("Undo the last change of a rule.", 200, "Changed", "Undo")},
    "/api/reload": {"post": _call("Read the config again, as SIGHUP has it.", 200, "Reloaded", "Said")},
    "/api/bans": {
        "get": _call(
            "The bans in force that Shield has made by itself, those that last longest first.",
            200,
            "Bans",
            parameters=(_query("limit", "At most so many.", _WHOLE),),
        )
    },
    "/api/cluster": {"get": _call("The machines that are one with this one, and how that goes.", 200, "Cluster")},
    "/api/explain": {
        "get": _call(
            "Which questions are asked of an address or a pass, or were asked of a request that was refused.",
            200,
            "Explanation",
            parameters=(
                _query("address", "An address."),
                _query("request_id", "The id on the page that a visitor saw, or in a problem document."),
                _query("pass", "A token, or pass: and its id."),
                _query("site", "The site at which it is asked; else the first."),
            ),
        )
    },
    "/api/recent": {"get": _call("Who was refused in the last minute, and what has happened.", 200, "Recent")},
    "/api/report": {
        "get": _call(
            "What has happened of late, for a report.",
            200,
            "Report",
            parameters=(
                _query("seconds", "How long ago it begins.", {"type": "integer", "minimum": 1, "maximum": 86_400}),
            ),
        )
    },
    "/api/history": {"get": _call("The figures of the last quarter of an hour.", 200, "History")},
    "/api/stream": {
        "get": {
            "summary": "These figures as they come, as server-sent events: history, now each second, closed.",
            "responses": {
                "200": {"description": "A stream without end.", "content": {"text/event-stream": {"schema": _TEXT}}},
                "default": {
                    "description": "Refused; `detail` says why, and what to do instead.",
                    "content": {"application/problem+json": {"schema": _ref("Problem")}},
                },
            },
        }
    },
    "/api/openapi.json": {
        "get": {
            "summary": "This document.",
            "responses": {
                "200": {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}}
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shield, admin API", "version": __version__},
        "paths": _PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "admin.token_file"}},
        },
        "security": [{}, {"token": []}],
    }
