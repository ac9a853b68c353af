"""The commands for a Shield that runs, as argparse has them. Nobody waits for imports to read help or press Tab."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, Final, NoReturn

NAMES: Final = (
    "status", "ban", "unban", "deny", "allow", "limit", "pressure", "challenge", "dry-run", "rules", "lift", "audit",
    "undo", "reload", "explain", "bans", "key", "cluster",
)  # fmt: skip
"""Commands that ask the admin listener."""

EXITS: Final = "Exit status: 0: done. 1: refused, or it failed; the answer says why. 2: wrong usage. 3: not reached."
WHO: Final = "a network or an address, AS64500, country:XX, the client or pass:ID that the log names, or a pass's token"
MEASURES: Final = ("challenge", "limits", "bans", "queue")
"""As policy/tried.py has them."""
SHELLS: Final = ("bash", "zsh", "fish")

_DURATION: Final = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s?)?")
_SECONDS: Final = (86_400, 3600, 60, 1)


def duration(text: str) -> float:
    """Seconds, out of 90, 90s, 30m, 1h30m or 2d."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 30m, 1h30m or 2d")
    return float(sum(int(part or 0) * seconds for part, seconds in zip(found.groups(), _SECONDS, strict=True)))


def since(text: str) -> float:
    """The same, from a second to a day."""
    seconds = duration(text)
    if not 1.0 <= seconds <= 86_400.0:
        raise argparse.ArgumentTypeError(f"{text!r}: from 1s to 1d, as Shield keeps a day")
    return seconds


def bits(text: str) -> float:
    """A power of two, from 1 to 64."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1.0 <= found <= 64.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 64")
    return found


def number(text: str) -> int:
    """The number of a rule."""
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a rule: `shield rules` lists them")
    return int(text)


def add(commands: Any) -> None:
    """Add all of them to a parser's commands."""
    parsed = _command(
        commands, "status", "say in what state a running Shield is", "shield status", "shield status --json"
    )
    parsed.set_defaults(method="GET", path="/api/status")
    for kind, what, example in (
        ("ban", "refuse somebody, who is told when to come back", "shield ban 203.0.113.0/24 --for 1h --note scrapes"),
        ("deny", "refuse somebody", "shield deny AS64500 --for 1h"),
        ("allow", "never limit or challenge somebody", "shield allow 198.51.100.7 --for 2d --note 'our partner'"),
    ):
        parsed = _command(commands, kind, what, example)
        parsed.add_argument("subject", metavar="WHO", help=WHO)
        _rule(parsed, kind)
    what = "lift bans and denials of somebody, and bans that Shield has made by itself"
    parsed = _command(commands, "unban", what, "shield unban 203.0.113.7", "shield unban 203.0.113.0/24")
    parsed.add_argument("subject", metavar="WHO", help=WHO)
    _said(parsed)
    parsed = _command(
        commands,
        "limit",
        "give somebody another limit, or all clients, or all addresses",
        "shield limit client 20/400 --for 30m",
        "shield limit 203.0.113.0/24 5/50 --note 'a crawler'",
    )
    parsed.add_argument("subject", metavar="WHO", help=f'"client", "address", or {WHO}')
    parsed.add_argument("value", metavar="RATE/BURST", help="units a second, and units at once")
    _rule(parsed, "limit")
    parsed = _command(
        commands,
        "pressure",
        "hold the pressure, or let it be as it is measured",
        "shield pressure hold 0.5 --for 10m",
        "shield pressure hold 1 --site shop.example",
        "shield pressure release",
    )
    parsed.add_argument("what", choices=("hold", "release"), help="hold it, or release it")
    parsed.add_argument("value", metavar="P", nargs="?", help="from 0 (nobody is challenged) to 1 (all newcomers are)")
    _rule(parsed, "pressure")
    parsed = _command(
        commands,
        "challenge",
        "never challenge somebody, or what is below a path; always challenge somebody; or as the config has it",
        "shield challenge never /feed",
        "shield challenge always AS64500 --for 2h",
        "shield challenge never country:XX",
        "shield challenge auto /feed",
    )
    parsed.add_argument(
        "what", choices=("never", "always", "auto"), help="always: also in calm weather, until there is a pass"
    )
    parsed.add_argument(
        "subject",
        metavar="PATH|WHO",
        help="for never, a path; what is below it counts, too. Or a network or an address, AS64500, country:XX, or the "
        "client that the log names",
    )
    _rule(parsed, "challenge")
    parsed = _command(
        commands,
        "dry-run",
        "only log what would be refused, or refuse it; of everything, or of one measure",
        "shield dry-run on --for 1h",
        "shield dry-run on challenge",
        "shield dry-run off",
        "shield dry-run on --site shop.example",
        "shield dry-run config",
    )
    parsed.add_argument("what", choices=("on", "off", "config"), help="on, off, or as the config has it")
    parsed.add_argument("measure", choices=MEASURES, nargs="?", help="of this measure alone")
    _rule(parsed, "dry_run")
    _command(commands, "rules", "list the rules that hold", "shield rules", "shield rules --json").set_defaults(
        method="GET", path="/api/rules"
    )
    parsed = _command(commands, "lift", "lift rules by their numbers", "shield lift 7", "shield lift 7 9")
    parsed.add_argument("numbers", metavar="NUMBER", nargs="+", type=number, help="as `shield rules` has it")
    _said(parsed)
    _command(commands, "audit", "list who changed what, the newest first", "shield audit").set_defaults(
        method="GET", path="/api/audit"
    )
    parsed = _command(commands, "undo", "undo the last change of a rule; again, the one before it", "shield undo")
    _said(parsed)
    _command(
        commands,
        "bans",
        "list the bans that Shield has made by itself; unban lifts them",
        "shield bans",
        "shield bans --json",
    ).set_defaults(method="GET", path="/api/bans")
    parsed = _command(
        commands,
        "explain",
        "say why: which questions were asked of a request, or are asked of an address or a pass, with each answer",
        "shield explain 203.0.113.7",
        "shield explain 5f3a91c0-1b",
        "shield explain pass:00ff00ff00ff00ff",
    )
    parsed.add_argument("asked", metavar="ADDRESS|REQUEST-ID|PASS", help="an address, the id on a page, or a pass")
    _site(parsed, "the site at which it is asked (default: that of all hosts that no other one names, or the first)")
    _add_key(commands)
    parsed = _command(
        commands,
        "cluster",
        "say which machines are one with this one, and how that goes",
        "shield cluster status",
        "shield cluster status --json",
    )
    parsed.add_argument("what", choices=("status",), help="which nodes there are, and what they do not agree about")
    parsed.set_defaults(method="GET", path="/api/cluster")
    parsed = _command(commands, "reload", "read the config again, and say what came of it", "shield reload")
    _said(parsed)


def _add_key(commands: Any) -> None:
    parsed = command(
        commands,
        "key",
        "make, list and revoke API keys: programs that are known, each with a budget of its own",
        EXITS,
        "shield key make billing",
        "shield key list",
        "shield key revoke billing",
    )
    inner = parsed.add_subparsers(dest="what", required=True, metavar="COMMAND")
    made = _command(
        inner,
        "make",
        "make an API key, and show it once",
        "shield key make billing",
        "shield key make partner-2 --rate 50/500 --for 90d --note 'our partner'",
    )
    made.add_argument("subject", metavar="NAME", help="up to 64 letters, digits, dots, - and _")
    made.add_argument(
        "--rate", dest="value", metavar="RATE/BURST", default="",
        help="units a second, and units at once (default: limits.pass); a unit is 10 ms of the service's time",
    )  # fmt: skip
    _rule(made, "key")
    made = _command(inner, "list", "list the API keys that were made, not those of the config", "shield key list")
    made.set_defaults(method="GET", path="/api/rules")
    made = _command(inner, "revoke", "have an API key hold no more, at once", "shield key revoke billing")
    made.add_argument("subject", metavar="NAME", help="as `shield key list` has it")
    _said(made)


def add_top(commands: Any) -> None:
    """Add the dashboard in a terminal."""
    parsed = command(
        commands,
        "top",
        "show what happens now, live, in this terminal",
        "Keys: b bans who is under the cursor, w says why a request was refused, : takes any command, q quits.\n"
        "Exit status: 0: quit. 2: wrong usage, or no terminal. 3: not reached, or textual is not installed.",
        "shield top",
        "shield top --admin unix:/run/shield/admin.sock",
    )
    which(parsed)


def add_completion(commands: Any) -> None:
    """Add the command that prints a script for a shell."""
    what = "print a script that completes commands in a shell"
    parsed = command(
        commands,
        "completion",
        what,
        "The script takes effect in shells that are started afterwards.",
        "shield completion bash > /etc/bash_completion.d/shield",
        "shield completion zsh > ~/.zfunc/_shield",
        "shield completion fish > ~/.config/fish/completions/shield.fish",
    )
    parsed.add_argument("shell", choices=SHELLS, help="the shell")


def command(commands: Any, name: str, what: str, more: str, *examples: str) -> argparse.ArgumentParser:
    """Add a command whose help says what it does, shows examples, and ends with `more`."""
    shown = "\n".join(f"  {example}" for example in examples)
    parsed: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=f"{what[:1].upper()}{what[1:]}.",
        epilog=f"Examples:\n{shown}\n\n{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parsed


def _command(commands: Any, name: str, what: str, *examples: str) -> argparse.ArgumentParser:
    parsed = command(commands, name, what, EXITS, *examples)
    parsed.add_argument("--json", action="store_true", help="write the answer to stdout as JSON")
    which(parsed)
    return parsed


def which(parsed: argparse.ArgumentParser) -> None:
    """Add what says which Shield is asked."""
    where = parsed.add_argument_group("which Shield")
    where.add_argument(
        "--admin",
        metavar="ADDRESS",
        help="its admin listener (default: $SHIELD_ADMIN, or that of the config: here, or in /etc/shield)",
    )
    where.add_argument("--config", metavar="FILE", help="the config that names the admin listener")
    where.add_argument(
        "--token-file", metavar="FILE", help="a file with a token; without it $SHIELD_TOKEN, if it is set"
    )


def _said(parsed: argparse.ArgumentParser) -> None:
    parsed.add_argument("--note", metavar="TEXT", default="", help="why; for the log and the audit list")
    parsed.add_argument("--author", metavar="NAME", help="who asks (default: your user's name)")


def _site(parsed: argparse.ArgumentParser, what: str) -> None:
    parsed.add_argument("--site", metavar="SITE", default="", help=f"of several sites, {what}")


def _rule(parsed: argparse.ArgumentParser, kind: str) -> None:
    parsed.set_defaults(kind=kind)
    parsed.add_argument(
        "--for",
        dest="seconds",
        metavar="TIME",
        type=duration,
        help="90s, 30m, 1h30m, 2d (default: until it is lifted)",
    )
    _said(parsed)
    if kind in ("pressure", "dry_run"):
        _site(parsed, "the site alone; what is said of one goes before what is said of all")
    if kind in ("ban", "deny", "limit", "challenge"):
        parsed.add_argument(
            "--dry-run", action="store_true", help="refuse nobody, and count whom it would refuse (`shield rules`)"
        )
    if kind in ("ban", "deny", "allow", "limit", "challenge"):
        parsed.add_argument(
            "--force", action="store_true", help="insist on a network larger than a /8 (IPv6: /19), or on this machine"
        )


def wrong(command: str, text: str) -> NoReturn:
    """End as argparse does for wrong usage, but for the usage, which stands in the help."""
    print(f"shield {command}: error: {text} (`shield {command} --help` has more)", file=sys.stderr)
    raise SystemExit(2)
