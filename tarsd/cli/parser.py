"""The command line: every command, its arguments, and examples that teach it. Strings only, nothing heavy."""

from __future__ import annotations

import argparse

from tarsd import __version__
from tarsd.cli.backup_parser import add_backup_commands
from tarsd.cli.memory_parser import add_memory_commands
from tarsd.cli.parsing import Adder, Parser, add_common, duration, lifetime

_ABOUT = """\
tarsd: the private assistant that runs on all of a household's PCs at once.

On the first PC                        On each further PC
  tarsd init                             tarsd join TOKEN
  tarsd run                              tarsd run
  tarsd invite        (prints TOKEN)

Then, on any of them
  tarsd ingest ~/Documents               read documents in
  tarsd ask "When was the boiler serviced?"
  tarsd chat                             a conversation in the terminal
  tarsd members                          which PCs are there, and what they do
"""

_EXITS = """\
exit codes: 0 done, 1 failed, 64 wrong usage, 69 no node answers, 77 not allowed, 78 wrong configuration, 130 Ctrl-C
environment: TARSD_CONFIG names the config file, TARSD_API a node to talk to, TARSD_TOKEN its access token
"""


def build_parser() -> Parser:
    """Return the parser of the whole command line; `args.command` is "module:function" below `tarsd.cli`."""
    parser = Parser(
        prog="tarsd", description=_ABOUT, epilog=_EXITS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"tarsd {__version__}")
    add_common(parser, top=True)
    common = Parser(add_help=False)
    add_common(common, top=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    adder = Adder(commands, common)
    for add in (
        _add_cluster_commands,
        _add_people_commands,
        add_memory_commands,
        _add_model_commands,
        _add_watching_commands,
        add_backup_commands,
        _add_token_commands,
        _add_config_commands,
    ):
        add(adder)
    return parser


def _add_cluster_commands(add: Adder) -> None:
    add(
        "run", "run:run", "Start this PC's node; it runs until it is stopped.", "tarsd run\ntarsd --config pc2.toml run"
    )
    init = add(
        "init",
        "cluster:init",
        "Make a new cluster, with this PC as its first node.",
        "tarsd init\ntarsd init --cluster casa",
    )
    init.add_argument("--cluster", metavar="NAME", default="home", help="a name for the cluster (default: home)")
    invite = add(
        "invite",
        "cluster:invite",
        "Print a one-time token that lets one more PC join. Core nodes hold the memory of the household; lab nodes "
        "only help.",
        "tarsd invite\ntarsd invite --zone lab --expires 15m",
    )
    invite.add_argument("--zone", choices=("core", "lab"), default="core", help="how far the new PC is trusted")
    invite.add_argument(
        "--expires", metavar="TIME", type=duration, default=3600.0, help="such as 30m, 1h, 2d (default: 1h)"
    )
    join = add(
        "join",
        "cluster:join",
        "Join the cluster that the token is from. The roles of this PC stand in its config.",
        "tarsd join tars1.AbC…\ntarsd join tars1.AbC… --seed 192.168.1.20:7712",
    )
    join.add_argument("token", metavar="TOKEN", help="what `tarsd invite` printed")
    join.add_argument(
        "--seed", metavar="HOST:PORT", action="append", default=[], help="where the inviting PC is, if it is not found"
    )
    revoke = add(
        "revoke",
        "trust:revoke",
        "Throw a PC out of the cluster, for good. It was stolen, sold, or does what it should not: the others "
        "refuse it within seconds. It cannot come back; joining again makes it another node. What it has on its "
        "disk stays there: a core PC has copies of all documents. If somebody else may have its disk, `tarsd "
        "rotate` afterwards. Run it on any other core PC; it needs the right to read admin.token in the data "
        "folder.",
        'tarsd revoke pc3\ntarsd revoke pc3 --reason "stolen on the train"\ntarsd revoke --yes lab1',
    )
    revoke.add_argument("name", metavar="NAME", help="name or id of the node, as `tarsd members` shows it")
    revoke.add_argument("--reason", default="", metavar="TEXT", help="why; every PC keeps and shows it")
    revoke.add_argument("--yes", action="store_true", help="do not ask first")
    rotate = add(
        "rotate",
        "trust:rotate",
        "Replace the keys that make certificates, and retire the old ones. Do it when a core PC was lost: it held "
        "them. Three steps, each confirmed by every PC that is on: install, use, remove. Nothing is interrupted. A "
        "PC that is off gets what it missed when it returns. If a step fails, run it again: it goes on there. Run "
        "it where the root key is: on the PC where `tarsd init` was run.",
        "tarsd rotate --status\ntarsd rotate\ntarsd rotate --yes",
    )
    rotate.add_argument("--status", action="store_true", help="only show how far it is, and who takes part")
    rotate.add_argument("--yes", action="store_true", help="do not ask first")


def _add_people_commands(add: Adder) -> None:
    ask = add(
        "ask",
        "ask:ask",
        "Ask one question; the answer streams, its sources follow. Ctrl-C stops the answer. When the node is lost in "
        "the middle, another one goes on.",
        'tarsd ask "¿Cuándo vence el seguro del coche?"\necho "Summarise the boiler manual" | tarsd ask\n'
        'tarsd ask --json "…" | jq',
    )
    ask.add_argument("text", nargs="*", metavar="TEXT", help="the question; without it, standard input is read")
    _add_chat_arguments(ask)
    chat = add(
        "chat",
        "chat:chat",
        "A conversation in the terminal. Ctrl-C stops an answer, Ctrl-D ends the chat. When the node is lost, another "
        "one goes on.",
        "tarsd chat\ntarsd chat --temporary\ntarsd chat --project kitchen",
    )
    _add_chat_arguments(chat)
    ingest = add(
        "ingest",
        "ingest:ingest",
        "Read documents in: PDF (scans too), text, Markdown. Folders are searched for them; what is known is skipped.",
        "tarsd ingest manual.pdf notes.md\ntarsd ingest ~/Documents\ntarsd ingest --language es recibo.pdf",
    )
    ingest.add_argument("paths", nargs="+", metavar="FILE|FOLDER", help="what to read in")
    ingest.add_argument("--language", default="", metavar="XX", help="their language, such as es (default: found out)")
    ingest.add_argument("--no-wait", action="store_true", help="return once they are safe on disk")
    search = add(
        "search",
        "look:search",
        "Show the passages that fit best.",
        'tarsd search "boiler pressure"\ntarsd search --limit 3 caldera',
    )
    search.add_argument("query", nargs="+", metavar="WORDS", help="what to look for")
    search.add_argument("--limit", type=int, default=6, metavar="N", help="at most so many (default: 6)")


def _add_chat_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--conversation", metavar="ID", default="", help="continue this conversation")
    parser.add_argument("--project", metavar="ID", default="", help="it belongs to this project")
    parser.add_argument("--temporary", action="store_true", help="nothing of it is remembered or written")


def _add_model_commands(add: Adder) -> None:
    models = add(
        "models",
        "models:usage",
        "Show the models of all PCs, take one in, remove one. A model comes from a PC that has it, else from the "
        "internet. Changing something needs the right to read admin.token in the data folder.",
        "tarsd models\ntarsd models pull hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf\n"
        "tarsd models pull NAME --node pc2\ntarsd models rm NAME\ntarsd models bench NAME",
    )
    parts = models.add_subparsers(metavar="list|pull|rm|bench")
    add.part(parts, "list", "list the models of all PCs").set_defaults(command="models:list_models")
    pull = add.part(parts, "pull", "take a model in; interrupted, it goes on where it was")
    pull.set_defaults(command="models:pull")
    pull.add_argument(
        "model", metavar="MODEL", help="a name of the catalog or of a peer, or hf:OWNER/REPOSITORY/FILE.gguf"
    )
    pull.add_argument("--sha256", default="", metavar="HASH", help="what the file must be")
    remove = add.part(parts, "rm", "unload a model and delete its file, if tarsd fetched it")
    remove.set_defaults(command="models:remove")
    remove.add_argument("model", metavar="MODEL", help="its name, as `tarsd models` shows it")
    remove.add_argument("--yes", action="store_true", help="do not ask first")
    measure = add.part(parts, "bench", "measure models, as `tarsd bench` does")
    _add_bench_arguments(measure)
    for part in (pull, remove):
        part.add_argument("--node", default="", metavar="NAME", help="the PC that is to do it (default: this one)")
    bench = add(
        "bench",
        "bench:bench",
        "Measure how fast this PC's engines and models are, by running them: load time, first token, tokens per "
        "second of prompt and answer, several answers at once, memory. People go first; the figures are kept and told "
        "to the other PCs. Needs the right to read admin.token in the data folder.",
        "tarsd bench\ntarsd bench --quick\ntarsd bench NAME --node pc2",
    )
    _add_bench_arguments(bench)


def _add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="bench:bench")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="only these (default: every engine of the config)")
    parser.add_argument("--quick", action="store_true", help="one short round each")
    parser.add_argument("--node", default="", metavar="NAME", help="the PC that is measured (default: this one)")


def _add_watching_commands(add: Adder) -> None:
    members = add(
        "members",
        "look:members",
        "List the PCs of the cluster as this node sees them.",
        "tarsd members\ntarsd members --watch\ntarsd members --watch | tee members.log",
    )
    members.add_argument("--watch", action="store_true", help="show what happens and why, as it happens, until Ctrl-C")
    members.add_argument("--addresses", action="store_true", help="with --watch: show all addresses of each PC too")
    status = add(
        "status", "look:status", "Show how this node is, or all of them.", "tarsd status\ntarsd status --cluster"
    )
    status.add_argument("--cluster", action="store_true", help="ask every node")
    nightly = add(
        "nightly",
        "look:nightly",
        "Show the nightly jobs, or run them now. Running them needs the right to read admin.token in the data folder.",
        "tarsd nightly\ntarsd nightly --now\ntarsd nightly --now compact_memory",
    )
    nightly.add_argument("--now", action="store_true", help="run them now")
    nightly.add_argument("jobs", nargs="*", metavar="JOB", help="only these")


def _add_token_commands(add: Adder) -> None:
    token = add(
        "token",
        "token:usage",
        "Give programs and people tokens of their own: what each may do, how much, until when. Without scopes there is "
        "one token for everything. Tokens are this PC's; a running node knows of a change within a second. It needs "
        "the right to write in the data folder.",
        "tarsd token add editor --scope chat --requests 60/m --tokens 50000/h\n"
        "tarsd token add ana-phone --person ana --scope chat,documents,memory:write --expires 90d\n"
        "tarsd token list\ntarsd token rm editor",
    )
    parts = token.add_subparsers(metavar="add|list|rm", required=True)
    adding = add.part(parts, "add", "make a token and print it, this once")
    adding.set_defaults(command="token:add")
    adding.add_argument("name", metavar="NAME", help="what it is called here, such as the program that uses it")
    adding.add_argument(
        "--scope",
        metavar="SCOPES",
        required=True,
        help="what it opens, with commas: chat (every inference API), documents, status, models (pull, delete, "
        "measure), memory:read (what is remembered), memory:write (change and forget it), admin (everything)",
    )
    adding.add_argument(
        "--person", metavar="PERSON", default="", help="whom it speaks for: that person's own memories open to it alone"
    )
    adding.add_argument("--requests", metavar="RATE", help="at most so many requests, such as 60/m (s, m, h, d)")
    adding.add_argument("--tokens", metavar="RATE", help="at most so many tokens, read and written, such as 50000/h")
    adding.add_argument("--expires", metavar="TIME", type=lifetime, help="such as 12h, 90d (default: never)")
    add.part(parts, "list", "show the tokens there are, never their secrets").set_defaults(command="token:show")
    removing = add.part(parts, "rm", "remove a token: it opens nothing from then on")
    removing.set_defaults(command="token:remove")
    removing.add_argument("name", metavar="NAME", help="as `tarsd token list` shows it")


def _add_config_commands(add: Adder) -> None:
    config = add(
        "config", "settings:usage", "Check or show the configuration.", "tarsd config check\ntarsd config show"
    )
    parts = config.add_subparsers(metavar="check|show", required=True)
    for name, about in (("check", "read the file and say what is wrong"), ("show", "print every setting in force")):
        part = add.part(parts, name, about)
        part.add_argument("file", nargs="?", metavar="FILE", help="instead of the usual one")
        part.set_defaults(command=f"settings:{name}")
