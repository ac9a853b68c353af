"""Answers of the admin listener in words, for a terminal.

Much of it was sent by strangers (User-Agents, paths), so nothing is written that a terminal could take for an order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shield.console.arguments import MEASURES
from shield.operator import story

MOST_NAMED: Final = 5
"""Networks, programs or routes in a line."""

MOST_NOTICE: Final = 14 * 86_400
"""Seconds before its end in which a certificate is spoken of, or a fifth of its life."""

_VERBS: Final = {"ban": "is banned", "deny": "is denied", "allow": "is allowed"}


def answer(command: str, said: Mapping[str, Any]) -> str:
    """What a command was answered."""
    match command:
        case "status":
            return "\n".join(status(said["status"], said["rules"]))
        case "rules":
            return "\n".join(rules(said["rules"], _forgotten(said), said.get("tried", {})))
        case "key" if "rules" in said:
            return "\n".join(keys(said))
        case "key" if "key" in said:
            return "\n".join(_made(said))
        case "audit":
            return "\n".join(map(change, said["changes"])) or "nothing was changed"
        case "bans":
            return "\n".join(bans(said))
        case "cluster":
            return "\n".join(cluster(said))
        case "explain":
            return "\n".join(explanation(said))
        case "reload":
            return "reloaded: the config holds"
        case "lift" | "unban":
            return "\n".join(_lifted(said))
        case _ if "changes" in said:
            return "\n".join(_lifted(said))
        case _:
            return f"{change(said['change'])}\n{_forgotten(said)}".rstrip("\n")


def problem(said: Mapping[str, Any]) -> str:
    """Why something was refused."""
    lines = [str(said.get("detail") or said.get("title") or "refused"), *map(str, said.get("mistakes", ()))]
    return "\n".join(map(plain, lines))


def plain(text: str) -> str:
    """Without what a terminal takes for an order."""
    return "".join(each if each.isprintable() else "?" for each in text)


def rules(
    found: Sequence[Mapping[str, Any]], forgotten: str = "", tried: Mapping[str, Mapping[str, int]] | None = None
) -> Iterator[str]:
    """The rules that hold, one a line. `forgotten` says why they end with Shield, if they do; `tried` whom those that
    are tried would have refused, by their numbers."""
    for rule in found:
        yield f"{rule['number']:>4}  {words(rule)}{until(rule)}{_by(rule)}"
        met = (tried or {}).get(str(rule["number"]))
        if met is not None:
            yield f"      {story.met(met, rule['kind'])}"
    if not found:
        yield "no rules: all is as the config has it"
    elif forgotten:
        yield forgotten


def keys(said: Mapping[str, Any]) -> Iterator[str]:
    """The API keys that were made at run time, one a line."""
    for rule in said["rules"]:
        end = until(rule) or " until it is revoked"
        yield f"{plain(rule['subject'])}  {_budget(rule)}, made {clock(rule['created'])}, holds{end}{_by(rule)}"
    if not said["rules"]:
        yield "no keys were made; those of the config are in identity.api_keys"
    elif _forgotten(said):
        yield _forgotten(said)


def _made(said: Mapping[str, Any]) -> Iterator[str]:
    """An API key, this once."""
    yield change(said["change"])
    yield f"The key, which cannot be shown again: {plain(said['key'])}"
    yield f"Programs send it in the field {plain(said['header'])}."
    if _forgotten(said):
        yield _forgotten(said)


def _budget(rule: Mapping[str, Any]) -> str:
    """What a key may use. The rest of its value is its hash."""
    value = plain(rule["value"]).rpartition(" ")[0]
    return f"may use {value}" if value else "may use what a pass may"


def words(rule: Mapping[str, Any]) -> str:
    """What a rule says."""
    return f"dry run: {_words(rule)}" if rule.get("dry_run") else _words(rule)


def _words(rule: Mapping[str, Any]) -> str:
    subject = plain(rule["subject"])
    match rule["kind"]:
        case "limit":
            whom = f"every {subject}" if subject in ("client", "address") else subject
            return f"{whom} is limited to {rule['value']}"
        case "pressure":
            return f"the pressure is held at {rule['value']}{_at(subject)}"
        case "challenge":
            if subject.startswith("/"):
                return f"nobody is challenged below {subject}"
            return f"{subject} is {rule['value']} challenged"
        case "dry_run":
            of = f" of {subject}" if subject in MEASURES else _at(subject)
            return f"dry run{of} is {rule['value']}"
        case "key":
            return f"the key {subject} {_budget(rule)}"
        case kind:
            return f"{subject} {_VERBS[kind]}"


def cluster(said: Mapping[str, Any]) -> Iterator[str]:
    """Which machines are one, and how that goes."""
    store = plain(said["store"])
    if said["connected"]:
        yield (
            f"node {plain(said['node'])} of {said['count']} in {plain(said['name'])}; the store {store} takes "
            f"{said['latency'] * 1e3:.1f} ms, {said['latency_most'] * 1e3:.1f} ms at most"
        )
    else:
        yield (
            f"LOST: the store {store} does not answer: {plain(said['error']) or 'not reached yet'}. Node "
            f"{plain(said['node'])} goes by {said['rates']:.0%} of each limit, as one of {said['count']}"
        )
    for node in said["nodes"]:
        here = "this node" if node["here"] else f"heard {node['age']:.1f} s ago, version {plain(str(node['version']))}"
        attack = "ATTACK, " if node["attack"] else ""
        yield (
            f"  {plain(node['node'])}: {attack}pressure {number(node['pressure']):.2f}, at the service "
            f"{number(node['in_flight']):.0f} of {number(node['slots']):.0f}, store "
            f"{number(node['latency']) * 1e3:.1f} ms; {here}"
        )
    yield f"on lease here: {said['leases']} clients, addresses and passes; not told yet: {said['untold']}"
    rejected = {reason: count for reason, count in said["rejected"].items() if count}
    if rejected:
        yield f"values in the store that were not believed: {_most(rejected)}"
    if said["lost"]:
        yield f"bans and charges that were not told for want of room: {said['lost']}"
    for each in said["disagreements"]:
        yield f"they disagree: {plain(each)}"


def number(value: Any) -> float:
    """A number that another machine has told, or 0."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def _at(site: str) -> str:
    return f" at {site}" if site else ""


def until(rule: Mapping[str, Any]) -> str:
    """Until when it holds."""
    return f" until {clock(rule['expires'])}" if rule["expires"] else ""


def change(said: Mapping[str, Any]) -> str:
    """An entry of the audit list."""
    rule, before, what = said["rule"], said["before"], said["what"]
    begin = f"{clock(said['at'])}  {said['number']:>4}  {what}: "
    match what:
        case "added":
            was = f" (before: {words(before)})" if before is not None else ""
            return f"{begin}{words(rule)}{until(rule)}{was}{_by(said)}"
        case "undone":
            now = "there is no such rule any more" if rule is None else f"again {words(rule)}{until(rule)}"
            return f"{begin}change {said['of']}; {plain(said['subject'])}: {now}{_by(said)}"
        case "lifted" | "ended":
            return f"{begin}{words(before)}{_by(said)}"
        case _:
            return f"{begin}{plain(said['subject'])}{_by(said)}".rstrip()


def clock(wall: float) -> str:
    """A time of day; with the date, unless it is today."""
    then, now = time.localtime(wall), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", then)


def status(said: Mapping[str, Any], holding: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """In what state Shield is: what an operator asks first, in this order."""
    workers: Sequence[Mapping[str, Any]] = said.get("workers") or [said]
    state = "serving" if said["ready"] else "NOT READY"
    yield f"Shield is {state}{', in a dry run: nothing is refused' if said['dry_run'] else ''}"
    attacked = [each for each in workers if each.get("attack")]
    if attacked:
        longest = max(attacked, key=lambda each: float(each["attack_seconds"]))
        yield f"ATTACK for {span(longest['attack_seconds'])}, seen by {longest['attack_cause']}"
    else:
        yield "no attack"
    yield f"pressure {said['pressure']:.2f}, demand {said['demand']:.0f} of {said['capacity']:.0f} units/s"
    yield (
        f"at the service {said['in_flight']} of {said['concurrency']:.0f}, waiting {said['waiting']}, "
        f"{said['requests_per_second']:.0f} requests/s"
    )
    refused = {
        f"{action} {reason}": count
        for action, reasons in said["requests"].items()
        for reason, count in reasons.items()
        if action not in ("forward", "queue") and count
    }
    yield f"refused since the start: {_most(refused) or 'nobody'}"
    measures = sorted({name for each in workers for name in each.get("tried", ())})
    if measures:
        yield f"in a dry run of their own: {', '.join(measures)}"
    for each in story.would(said.get("would", {})):
        yield f"dry runs of the last {span(said['would_seconds'])} {each}"
    bans = said["active_bans"]
    yield f"banned by Shield: {bans['clients']} clients, {bans['addresses']} addresses; dropped: {said['dropped']}"
    for key, name in (("networks", "networks"), ("fingerprints", "programs"), ("routes", "routes")):
        if found := _standing_out(workers, key):
            yield f"{name} that stand out: {found}"
    proxy = said.get("untrusted_proxy") or {"peer": ""}
    if proxy["peer"]:
        yield (
            f"{plain(proxy['peer'])} tells of {proxy['share']:.0%} of the clients and is not trusted, so they count as "
            "one: if it is your proxy, name it in listen.trusted_proxies"
        )
    for chain, each in (said.get("certificates") or {}).items():
        if each["ends_in"] < min(each["lifetime"] / 5, MOST_NOTICE):
            when = f"ends in {span(each['ends_in'])}" if each["ends_in"] > 0 else "has ended"
            yield f"the certificate {plain(chain)} {when}: renew it"
    yield from _files(said)
    yield from _crawlers(said)
    yield from _sites(said.get("sites") or {})
    yield f"rules of yours: {len(holding)}" if holding else "no rules of yours"
    yield from (f"  {line}" for line in rules(holding) if holding)
    yield from _workers(said)


def _files(said: Mapping[str, Any]) -> Iterator[str]:
    """A line for each database and list, and what is wrong with it."""
    for path, each in (said.get("databases") or {}).items():
        what = {"asn": "AS", "country": "countries"}[each["of"]]
        made = f"{plain(each['type'])}, made {span(each['age'])} ago" if each["type"] else "none is in use"
        yield f"{what} by {plain(path)}: {made}{_failed(each)}"
    for path, each in (said.get("lists") or {}).items():
        verb = {"allow": "allowed", "deny": "denied"}[each["of"]]
        written = f", written {span(each['age'])} ago" if each["changed"] else ""
        spared = "; but for trusted proxies and this machine" if each["spared"] else ""
        networks = f"{each['entries']} network{'' if each['entries'] == 1 else 's'}"
        yield f"{verb} by {plain(path)}: {networks}{written}{spared}{_failed(each)}"


def _failed(said: Mapping[str, Any]) -> str:
    return f"; WHAT IS THERE NOW IS NOT USED: {plain(said['error'])}" if said["failed"] else ""


def _crawlers(said: Mapping[str, Any]) -> Iterator[str]:
    """A line for each verified crawler."""
    answered = said.get("crawlers_answered") or {}
    for agent, each in (said.get("crawlers") or {}).items():
        last = f"; DNS last answered at {clock(answered[agent])}" if agent in answered else "; DNS was not asked yet"
        silent = f", without an answer {each['unanswered']}" if each["unanswered"] else ""
        late = f", put off {each['put_off']}" if each["put_off"] else ""
        yield (
            f"crawler {plain(agent)}: {each['claims']} claims; addresses confirmed {each['confirmed']}, "
            f"refuted {each['refuted']}{silent}{late}, looked up now {each['looking']}{last}"
        )


def _sites(sites: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each of several sites."""
    if sites:
        yield "sites:"
    for name, site in sites.items():
        well = sum(server["healthy"] for server in site["upstream"])
        states = [
            f"ATTACK for {span(site['attack_seconds'])}" if site["attack"] else "",
            "dry run" if site["dry_run"] else "",
            "" if well == len(site["upstream"]) else f"{well} of {len(site['upstream'])} servers healthy",
        ]
        said = "".join(f", {state}" for state in states if state)
        yield (
            f"  {plain(name)}: pressure {site['pressure']:.2f}, demand {site['demand']:.0f} of "
            f"{site['capacity']:.0f} units/s, {site['in_flight']} of {site['concurrency']:.0f} at the service, "
            f"{site['waiting']} waiting{said}"
        )


def _workers(said: Mapping[str, Any]) -> Iterator[str]:
    for each in said.get("workers", ()):
        if not each["answers"]:
            yield f"worker {each['worker']} does not answer"


def _standing_out(workers: Sequence[Mapping[str, Any]], key: str) -> str:
    """What stands out at any worker, by the greatest share there."""
    shares: dict[str, float] = {}
    for each in workers:
        found = (each.get("hitters") or {}).get(key) or {}
        pairs = found.items() if isinstance(found, dict) else ((one["user_agent"], one["share"]) for one in found)
        for name, share in pairs:
            shares[name] = max(shares.get(name, 0.0), float(share))
    best = sorted(shares.items(), key=lambda pair: -pair[1])[:MOST_NAMED]
    return ", ".join(f"{plain(name)} ({share:.0%})" for name, share in best)


def _most(counts: Mapping[str, int]) -> str:
    best = sorted(counts.items(), key=lambda pair: -pair[1])[:MOST_NAMED]
    return ", ".join(f"{name} {count}" for name, count in best)


def span(seconds: float) -> str:
    """A time in words: 45 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def bans(said: Mapping[str, Any]) -> Iterator[str]:
    """The bans that Shield has made by itself."""
    for ban in said["bans"]:
        who = f"client {ban['client']} at " if ban["client"] else "all of "
        there = f" ({plain(ban['where'])})" if ban.get("where") else ""
        times = f"until {clock(ban['until'])}, ban {ban['relapses']}, score {ban['score']:.1f}"
        yield f"{who}{plain(ban['address'])}{there} {times}"
    if not said["total"]:
        yield "nobody is banned"
    elif said["total"] > len(said["bans"]):
        yield f"and {said['total'] - len(said['bans'])} more"


def explanation(said: Mapping[str, Any]) -> Iterator[str]:
    """Why."""
    for subject in said["subjects"]:
        yield f"{plain(subject['subject'])}:"
        for each in subject["questions"]:
            yield from _question(each)
        yield ""
    if said["refused"]:
        yield "refused of late:"
    for each in said["refused"]:
        what = f"{each['method']} {each['host']}{each['path']}".strip()
        yield plain(
            f"  {clock(each['at'])}  {each['status']} {each['reason']}  {what}  {each['user_agent']}  {each['id']}"
        )
    if not said["found"]:
        yield "Nothing is remembered of it, so it is asked as anybody new is."


def _question(said: Mapping[str, Any]) -> Iterator[str]:
    mark = "=>" if said["decides"] else "  "
    yield f" {mark} {said['question']} {plain(said['answer'])}"
    if numbers := said.get("numbers"):
        yield f"      {', '.join(f'{name} {plain(str(value))}' for name, value in numbers.items())}"
    times = [f"{word} {clock(said[word])}" for word in ("since", "until") if word in said]
    if times:
        yield f"      {', '.join(times)}"
    if "change" in said:
        yield f"      would change it: {said['change']}"


def _lifted(said: Mapping[str, Any]) -> Iterator[str]:
    for each in said["changes"]:
        if each["what"] == "pardoned":
            subject, bans = plain(each["subject"]), said["pardoned"]
            yield f"{subject}: {bans} {'ban' if bans == 1 else 'bans'} of Shield's own lifted"
            if refusing := [plain(one) for one in said["refusing"]]:
                yield f"Refused all the same by {'; '.join(refusing)}. To let it in: shield allow {subject}"
        else:
            yield change(each)
    if said["changes"] and _forgotten(said):
        yield _forgotten(said)


def _forgotten(said: Mapping[str, Any]) -> str:
    why = said.get("not_kept", "there is no state.directory to keep it in")
    return "" if said["kept"] else f"This ends with Shield: {plain(why)}."


def _by(said: Mapping[str, Any]) -> str:
    author, note = plain(said["author"]), plain(said["note"])
    return (f"  by {author}" if author else "") + (f": {note}" if note else "")
