"""The command line: shield run, check, config, demo, notify, simulate, replay; for one that runs: console/.

Exit statuses, which scripts and service managers rely on: 0 fine, 1 mistakes in the config, or what was asked of a
running Shield was refused, 2 wrong usage, 3 Shield could not start (an occupied port, an unreadable key), its workers
kept dying, or the Shield that was asked is not reached, with one line on stderr that says why.

A command imports what it needs when it is run: the whole of Shield takes half a second of processor time, for which
nobody who asks for --help, or presses Tab, should wait.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from shield import __version__
from shield.console import arguments, config_arguments
from shield.errors import MistakesError, StartError
from shield.terminal import say

if TYPE_CHECKING:
    from shield.config.settings import Config
    from shield.process.words import Welcome

FINE: Final = 0
MISTAKES: Final = 1
USAGE: Final = 2
NOT_STARTED: Final = 3
INTERRUPTED: Final = 128 + 2  # as shells say of SIGINT
EXITS: Final = "Exit status: 0: fine. 1: mistakes in the config. 2: wrong usage. 3: Shield could not start."


def main(given: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. argparse itself exits with USAGE."""
    _open_standard_files()
    options, unknown = _parser().parse_known_args(given)
    if unknown:
        _unknown(options, unknown)
    try:
        match options.command:
            case "check":
                return _check(options.config, options.json)
            case "demo":
                return _attack(options.config) if options.attack else _demo(options.config)
            case "simulate":
                return _simulate(options)
            case "replay":
                return _replay(options)
            case "notify":
                return _notify(options.config, options.json)
            case "top":
                return _top(options)
            case "report":
                return _report(options)
            case "completion":
                return _completion(options.shell)
            case "config":
                return _config(options)
            case "solve":
                return _solve(options)
            case command if command in arguments.NAMES:
                return _ask(options)
            case _:
                return _run(options.config)
    except MistakesError as error:
        say(str(error))
        return MISTAKES
    except StartError as error:
        say(f"shield: {error}")
        return NOT_STARTED
    except KeyboardInterrupt:
        if options.command in ("simulate", "replay", "report", "solve"):
            say("shield: interrupted")
            return INTERRUPTED
        return FINE  # before the service took over SIGINT
    except BrokenPipeError:  # `shield check | head`
        sys.stderr.close()
        return FINE


def _open_standard_files() -> None:
    """Put /dev/null in the place of those that are closed: else the first socket is descriptor 2, and gets the log."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free; for the workers, too


def _run(path: str | None) -> int:
    from shield.process import early

    early.keep()
    from shield.config.load import find, load
    from shield.process.words import welcome

    name = str(Path(find(path)).absolute())  # it is read again later
    return _serve(lambda: load(name), load(path), welcome(find(path)))


def _serve(again: Callable[[], Config], settings: Config, welcome: Welcome) -> int:
    from shield.process import activation, alone, early, nursery, supervisor, worker
    from shield.process.inherited import Predecessor
    from shield.process.share import count

    number = count(settings.listen.workers)
    cradle = nursery.start(worker.main) if number > 1 else None  # before this process has descriptors to copy
    predecessor = Predecessor.met()
    try:
        legacy = activation.passed_sockets(settings, number) if predecessor is None else predecessor.legacy
        if number == 1:
            return alone.run(settings, welcome, again, legacy, predecessor)
        return supervisor.run(settings, welcome, number, again, legacy, predecessor, cradle)
    except StartError as error:
        if predecessor is None:
            raise
        predecessor.refuse(str(error))  # who says so
        return NOT_STARTED
    finally:
        early.keep()  # nothing handles them any more
        if cradle is not None:
            cradle.abandon()


def _check(path: str | None, json: bool) -> int:
    from shield.config.load import ConfigError, as_json, find, remarks

    name = find(path)
    try:
        noted = remarks(path)
    except ConfigError as error:
        if json:
            _say_json({"file": name, "ok": False, "mistakes": as_json(error.mistakes), "remarks": []})
        else:
            count = len(error.mistakes)
            say(f"{error}\n{name}: {count} mistake{'s' if count > 1 else ''}")
        return MISTAKES
    if json:
        _say_json({"file": name, "ok": True, "mistakes": [], "remarks": as_json(noted)})
    else:
        if noted:
            say("\n".join(f"{name}: {item}" for item in noted))
        say(f"{name}: fine", 1)
    return FINE


def _notify(path: str | None, json: bool) -> int:
    import asyncio
    import time

    from shield.config.load import load
    from shield.process.notifier import send_trial

    results = asyncio.run(send_trial(load(path).notify, time.time()))
    failed = any(error for _, error in results)
    if json:
        _say_json({"ok": bool(results) and not failed, "sent": [{"where": w, "error": e} for w, e in results]})
    elif not results:
        say("shield: nobody is to be told: set notify.webhook or notify.mail")
    for where, error in () if json else results:
        say(f"{where}: {error or 'sent'}", 2 if error else 1)
    return MISTAKES if failed or not results else FINE


def _top(options: argparse.Namespace) -> int:
    from shield.console.client import UnreachableError, find

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        say("shield: top needs a terminal; `shield status --json` is for scripts")
        return USAGE
    try:
        from shield.console import top
    except ImportError:
        say("shield: top needs textual, which is not installed: pip install textual")
        return NOT_STARTED
    try:
        admin = find(options.admin, options.config, options.token_file)
        admin.ask("GET", "/api/history")
    except UnreachableError as error:
        say(f"shield: {error}")
        return NOT_STARTED
    top.run(admin)
    return FINE


def _say_json(value: object) -> None:
    import orjson

    say(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode(), 1)


def _demo(path: str | None) -> int:
    """The config as it is, but with the demo site as upstream, on loopback only, and with few log lines."""
    from shield.process import early

    early.keep()
    from shield.config.load import find, load
    from shield.demo import trial

    settings, name = load(path), str(Path(find(path)).absolute())
    aside = trial.set_aside(settings)
    return _serve(
        lambda: trial.settings(load(name)),
        trial.settings(settings),
        lambda config, address: trial.welcome(config, address, aside),
    )


def _attack(path: str | None) -> int:
    """Flood the demo site behind a Shield that runs here with this config."""
    import asyncio

    from shield.config.load import load
    from shield.demo import flood, trial

    url = trial.target(load(path))
    try:
        print(f"\n{asyncio.run(flood.attack(url))}")
    except OSError as error:
        raise StartError(
            f"no demo site to flood at {url}: {error}. Start `shield demo`, or `shield run` with "
            'servers = ["demo"] in [upstream], in another terminal first'
        ) from error
    return FINE


def _simulate(options: argparse.Namespace) -> int:
    """Play a scene, with its own config unless one is named; without a scene, list those that ship."""
    from shield.config.load import load
    from shield.simulate import command

    if options.scene is None:
        print(command.scenes())
        return FINE
    settings = load(options.config) if options.config is not None else None
    if settings is None and options.site:
        arguments.wrong("simulate", "--site needs --config, whose sites it chooses from")
    if settings is not None:
        settings = command.of_site(settings, options.site)
    done = command.simulate(options.scene, settings, options.seed, options.json, options.chart, options.attack)
    return FINE if done else MISTAKES


def _replay(options: argparse.Namespace) -> int:
    """Say what the config, and perhaps another one, would have done to what logs tell of."""
    from shield.config.load import find, load
    from shield.replay import command

    if options.scene is not None:
        if options.against is not None or options.json:
            arguments.wrong("replay", "--scene makes a scene and replays nothing: leave out --against and --json")
        trusted = load(options.config).listen.trusted_proxies if options.config is not None else ()
        command.make_scene(options.logs, options.scene, trusted)
        return FINE
    names = [find(options.config), *([options.against] if options.against is not None else ())]
    if len(set(names)) < len(names):
        arguments.wrong("replay", f"--against is the config that is tried anyway: {names[0]}")
    command.replay(options.logs, {name: load(name) for name in names}, options.json, options.site)
    return FINE


def _report(options: argparse.Namespace) -> int:
    """Write a page about the last hours of a Shield that runs, or about its logs."""
    from shield.console.client import UnreachableError, find
    from shield.report import command

    if options.log and (options.admin or options.token_file):
        arguments.wrong("report", "either of logs (--log), or of a Shield that runs (--admin, --token-file)")
    try:
        admin = None if options.log else find(options.admin, options.config, options.token_file)
    except UnreachableError as error:
        raise StartError(str(error)) from error
    command.report(options.seconds, options.log, admin, options.output, options.json)
    return FINE


def _ask(options: argparse.Namespace) -> int:
    from shield.console import commands

    return commands.run(options)


def _config(options: argparse.Namespace) -> int:
    from shield.console import configuring

    return configuring.run(options)


def _solve(options: argparse.Namespace) -> int:
    """Ask one address, as a client, and solve what it asks for."""
    from shield.solving import command
    from shield.solving.challenge import Budget

    show = "response" if options.response else "cookie" if options.cookie else "pass"
    budget = Budget(options.budget, options.bits, options.wait)
    try:
        fields = [command.field_of(text) for text in options.header]
        asked = command.Asked(options.url, budget, fields, show, options.json, options.ca)
        found = command.solve(asked, __version__)
        return FINE if found.fine and not (options.response and found.status >= 400) else MISTAKES
    except command.WrongUsage as error:
        arguments.wrong("solve", str(error))
    except command.NotReachedError as error:
        raise StartError(str(error)) from error


def _completion(shell: str) -> int:
    from shield.console.completion import script

    say(script(shell, _parser()), 1)
    return FINE


def manual() -> str:
    """The manual page shield(1): deploy/man/shield.1."""
    from shield.console.manual import page

    return page(_parser(), __version__)


def _unknown(options: argparse.Namespace, unknown: Sequence[str]) -> NoReturn:
    """End for arguments that the command does not take. The file that a user gives to many commands is the config."""
    named = options.command not in arguments.NAMES and Path(unknown[0]).suffix == ".toml" and "config" in options
    instead = f". A config is named by --config {unknown[0]}" if named else ""
    arguments.wrong(options.command, f"it takes no {' '.join(unknown)}{instead}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="shield",
        description="A reverse proxy that keeps a web service usable while it is being flooded.",
        epilog="Examples:\n"
        "  shield run --config /etc/shield/config.toml\n"
        "  shield status\n"
        "  shield ban 203.0.113.0/24 --for 1h --note scrapes\n"
        "  shield limit client 20/400 --for 30m\n"
        "  shield undo\n\n"
        "Exit status: 0: fine. 1: mistakes in the config or scene; refused. 2: wrong usage. 3: Shield could not start, "
        "or is not reached. `shield COMMAND --help` has examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shield {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text, examples in (
        ("run", "start the proxy", ("shield run", "shield run --config /etc/shield/config.toml")),
        (
            "check",
            "report every mistake in the config, each with its line, and start nothing",
            ("shield check --config /etc/shield/config.toml", "shield check --json"),
        ),
        (
            "demo",
            "start the proxy in front of a built-in site, on loopback, and say how to flood it",
            ("shield demo", "shield demo --attack"),
        ),
        (
            "notify",
            "send everybody whom [notify] names a trial notice, to see whether it arrives",
            ("shield notify", "shield notify --json"),
        ),
    ):
        parsed = arguments.command(commands, name, text, EXITS, *examples)
        parsed.add_argument(
            "--config",
            metavar="FILE",
            help="the config file; without it config.toml in the current directory, or else the one that Shield ships",
        )
        if name == "demo":
            what = "flood the demo site behind a Shield that runs already, for 15 s after 9 of users alone; on loopback"
            parsed.add_argument("--attack", action="store_true", help=what)
        if name in ("check", "notify"):
            parsed.add_argument("--json", action="store_true", help="write the report to stdout as JSON")
    _add_simulate(commands)
    _add_replay(commands)
    config_arguments.add(commands)
    _add_report(commands)
    _add_solve(commands)
    arguments.add(commands)
    arguments.add_top(commands)
    arguments.add_completion(commands)
    return parser


def _add_simulate(commands: Any) -> None:
    what = "play an attack against the policy on a simulated clock, and say what each side got"
    parsed = arguments.command(
        commands,
        "simulate",
        what,
        "See docs/simulate.md. Exit status: 0: played. 1: mistakes in the scene or the config. 2: wrong usage.",
        "shield simulate",
        "shield simulate brownout",
        "shield simulate brownout --config config.toml --chart brownout.svg",
        "shield simulate my-site.toml --attack botnet --config config.toml",
    )
    parsed.add_argument(
        "scene", metavar="SCENE", nargs="?", help="a scene that ships, or a file; without it, list those that ship"
    )
    parsed.add_argument("--config", metavar="FILE", help="the config to try, in place of the scene's own")
    parsed.add_argument("--site", metavar="NAME", default="", help="which site of the config, if it has several")
    parsed.add_argument(
        "--attack", metavar="SCENE", help="lay the attackers of that scene over it, as strong for its service as there"
    )
    parsed.add_argument("--seed", metavar="N", type=int, default=1, help="of the random numbers (default: 1)")
    parsed.add_argument("--json", metavar="FILE", help="write all results to FILE as JSON")
    parsed.add_argument("--chart", metavar="FILE", help="draw the results into FILE, .png or .svg; needs matplotlib")


def _add_replay(commands: Any) -> None:
    what = "say what a config would have done to the traffic that access logs tell of"
    parsed = arguments.command(
        commands,
        "replay",
        what,
        "Logs are those of nginx, Apache, Caddy, Traefik, HAProxy and Shield: in the Combined Log Format, JSON, or\n"
        "HAProxy's httplog; plain, .gz or .zst. See docs/replay.md. Exit status: 0: replayed. 1: mistakes in the\n"
        "config. 2: wrong usage. 3: a log cannot be read, or tells of no request.",
        "shield replay /var/log/nginx/access.log",
        "shield replay access.log access.log.1 access.log.2.gz --config config.toml",
        "shield replay access.log --config config.toml --against stricter.toml",
        "shield replay access.log --scene my-site.toml",
    )
    parsed.add_argument("logs", metavar="LOG", nargs="+", help="access logs, in any order; rotated ones, too")
    parsed.add_argument("--config", metavar="FILE", help="the config to try (default: as for shield run)")
    parsed.add_argument("--against", metavar="FILE", help="another config, to be compared with it side by side")
    parsed.add_argument("--site", metavar="NAME", default="", help="the site of the config for lines that tell no host")
    parsed.add_argument(
        "--scene", metavar="FILE", help="replay nothing, and write a scene for shield simulate to a new FILE"
    )
    parsed.add_argument("--json", action="store_true", help="write all that was found to stdout as JSON")


def _add_report(commands: Any) -> None:
    what = "write a page about what has happened: when, how much, who, what was done, what users felt"
    parsed = arguments.command(
        commands,
        "report",
        what,
        "The page is one file of HTML with its plots in it, fit to be sent. Exit status: 0: written. 2: wrong usage.\n"
        "3: nobody answers, a log cannot be read, or the page cannot be written.",
        "shield report --since 2h",
        "shield report --since 30m --output attack.html",
        "shield report --log /var/log/shield.log --log /var/log/shield.log.1.gz",
    )
    parsed.add_argument(
        "--since",
        dest="seconds",
        metavar="TIME",
        type=arguments.since,
        help="how long ago it begins: 30m, 2h, at most 1d (default: 2h; of logs: all of them)",
    )
    parsed.add_argument(
        "--log", metavar="FILE", action="append", default=[], help="a log of Shield, in place of one that runs; several"
    )
    parsed.add_argument("--output", metavar="FILE", help="the page (default: shield-report-TIME.html here; -: stdout)")
    parsed.add_argument("--json", action="store_true", help="write what is in it to stdout as JSON, and no page")
    arguments.which(parsed)


def _add_solve(commands: Any) -> None:
    what = "get a pass of a site behind Shield, as a program does: ask, solve, answer"
    parsed = arguments.command(
        commands,
        "solve",
        what,
        "One GET, and once more with the pass; redirects are not followed. The pass goes to stdout, all else is said\n"
        "on stderr. docs/programs.md has more for programs. Exit status: 0: there is a pass, or the site asked for\n"
        "none. 1: the site asks for more than the budget, or refuses; with --response also any status from 400 on.\n"
        "2: wrong usage. 3: not reached.",
        "shield solve https://site.example/",
        "shield solve https://site.example/feed --response > feed.xml",
        'curl -H "$(shield solve https://site.example/)" https://site.example/data',
        "shield solve https://site.example/ --budget 60 --json",
        "shield solve https://site.example/ --header 'Accept-Language: de'",
    )
    parsed.add_argument("url", metavar="URL", help="the address; https:// where none is said")
    shown = parsed.add_mutually_exclusive_group()
    shown.add_argument("--cookie", action="store_true", help="print the pass as a cookie: NAME=VALUE")
    shown.add_argument("--response", action="store_true", help="print the site's response in place of the pass")
    shown.add_argument("--json", action="store_true", help="print all that is known as JSON")
    parsed.add_argument(
        "--budget", metavar="TIME", type=arguments.duration, default=60.0, help="of solving, at most (default: 60s)"
    )
    parsed.add_argument("--bits", metavar="N", type=arguments.bits, help="solve no more than 2^N hashes (default: any)")
    parsed.add_argument(
        "--wait", metavar="TIME", type=arguments.duration, default=120.0, help="where the site asks to (default: 2m)"
    )
    parsed.add_argument(
        "--header", metavar="FIELD", action="append", default=[], help="send this field, 'Name: value'; several"
    )
    parsed.add_argument("--ca", metavar="FILE", help="the authorities that vouch for the site (default: the system's)")
