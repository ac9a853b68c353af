"""`shield config init`, `diff` and `schema` as argparse has them."""

from __future__ import annotations

from typing import Any, Final

from shield.console.arguments import command

EXITS: Final = "Exit status: 0: done. 1: mistakes in a config, or a file is in the way. 2: wrong usage."


def add(commands: Any) -> None:
    """Add them to a parser's commands."""
    parsed = command(
        commands,
        "config",
        "write a config, or say what one changes",
        EXITS,
        "shield config init",
        "shield config diff",
        "shield config schema",
    )
    inner = parsed.add_subparsers(dest="what", required=True, metavar="COMMAND")
    _init(inner)
    made = command(
        inner,
        "diff",
        "say what a config changes of the defaults, or of another config",
        EXITS,
        "shield config diff",
        "shield config diff /etc/shield/config.toml",
        "shield config diff /etc/shield/config.toml new.toml --json",
    )
    made.add_argument("file", metavar="FILE", nargs="?", help="a config (default: as for `shield run`)")
    made.add_argument("other", metavar="OTHER-FILE", nargs="?", help="the config that FILE is to be compared with")
    made.add_argument("--json", action="store_true", help="write the differences to stdout as JSON")
    made = command(
        inner,
        "schema",
        "print the JSON Schema of the config, by which editors complete it",
        EXITS + '\nEditors (Taplo, "Even Better TOML") read the path in a first line like #:schema config.schema.json',
        "shield config schema",
        "shield config schema > config.schema.json",
    )
    made.add_argument("--json", action="store_true", help="changes nothing: it is JSON")


def _init(inner: Any) -> None:
    made = command(
        inner,
        "init",
        "ask four questions, and write a commented config that `shield check` calls fine",
        EXITS + " A file that is there is never replaced.",
        "shield config init",
        "shield config init /etc/shield/config.toml",
        "shield config init --yes --upstream http://127.0.0.1:9000 --listen 0.0.0.0:80 --state /var/lib/shield",
        "shield config init --yes --upstream http://10.0.0.7:9000 --trusted-proxy 10.0.0.0/24",
    )
    made.add_argument("file", metavar="FILE", nargs="?", default="config.toml", help="(default: config.toml)")
    made.add_argument(
        "--upstream", metavar="SERVER", action="append", help="a server of the service; may come several times"
    )
    made.add_argument(
        "--listen", metavar="ADDRESS", action="append", help="where clients connect; may come several times"
    )
    made.add_argument(
        "--trusted-proxy",
        metavar="NETWORK",
        action="append",
        help="from where proxies in front of Shield connect; may come several times",
    )
    made.add_argument("--state", metavar="DIRECTORY", help="where keys and history outlive a restart")
    made.add_argument("--certificate", metavar="FILE", help="a PEM chain, to speak TLS; nobody is asked for it")
    made.add_argument("--key", metavar="FILE", help="its PEM key, if that is in a file of its own")
    made.add_argument(
        "--enforce", action="store_true", help="refuse from the start (default: dry_run, which only logs it)"
    )
    made.add_argument("--yes", action="store_true", help="ask nothing: what no option says is as usual")
    made.add_argument("--json", action="store_true", help="say what was written as JSON")
