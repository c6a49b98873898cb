"""The command line of `tarsd memory`: its words, their arguments, and examples that teach them. Strings only."""

from __future__ import annotations

from tarsd.cli.parsing import Adder, Parser, Parts

_ABOUT = """\
See and change what is remembered: facts, standing instructions and preferences, projects, summaries of long
conversations. What you forget is gone, on every PC; the receipt says where. Set TARSD_TOKEN to your own token (`tarsd
token add … --person YOU`) to see what is yours alone; without one you are whoever sits at this PC.
"""

_EXAMPLES = """\
tarsd memory
tarsd memory search boiler
tarsd memory show memory/5f2c…                      where it was learned from, too
tarsd memory add "Ana's birthday is 4 May" --tag family
tarsd memory add "Answer briefly" --as instruction
tarsd memory edit memory/5f2c… --text "Ana's birthday is 5 May"
tarsd memory forget memory/5f2c…                    for good; asks first
tarsd memory export --output memory.jsonl
tarsd memory import memory.jsonl --preview
tarsd memory project "New kitchen" --member ana
tarsd memory diary                                  what the nightly jobs changed
tarsd memory undo DIARY-ID
tarsd memory status                                 which PC has which records, what has one copy only
tarsd memory automatic off                          learn nothing about me by yourself
"""

_SORTS = ("fact", "instruction", "preference")
_SCOPES = ("person", "project", "household")


def add_memory_commands(add: Adder) -> None:
    """Add `tarsd memory` and its words."""
    memory = add("memory", "memory:usage", _ABOUT, _EXAMPLES)
    parts = memory.add_subparsers(metavar="WORD", title="words")
    adder = _PartAdder(add, parts)
    _add_looking(adder)
    _add_changing(adder)
    _add_moving(adder)
    _add_projects(adder)
    _add_nights(adder)
    _add_status(adder)


class _PartAdder:
    """Adds a word of `tarsd memory`."""

    def __init__(self, add: Adder, parts: Parts) -> None:
        self._add = add
        self._parts = parts

    def __call__(self, name: str, command: str, about: str) -> Parser:
        part = self._add.part(self._parts, name, about)
        part.set_defaults(command=command)
        part.add_argument(
            "--all",
            action="store_true",
            dest="everybody",
            help="as the administrator: of all persons (needs the right to read admin.token in the data folder)",
        )
        return part


def _add_looking(add: _PartAdder) -> None:
    listing = add("list", "memory:show_list", "list what is remembered, newest first")
    _add_filters(listing)
    searching = add("search", "memory:show_list", "search what is remembered, best first")
    searching.add_argument("query", nargs="+", metavar="WORDS", help="what to look for")
    _add_filters(searching)
    showing = add("show", "memory:show", "show one memory with what it was learned from")
    showing.add_argument("key", metavar="KEY", help="as `tarsd memory list` shows it")
    add("conversations", "memory_nights:conversations", "list the conversations that are remembered now")


def _add_filters(part: Parser) -> None:
    part.add_argument("--kind", choices=("memory", "summary"), default="", help="only these (default: both)")
    part.add_argument("--as", dest="sort", choices=_SORTS, default="", help="only memories of this sort")
    part.add_argument("--scope", choices=_SCOPES, default="", help="only what these may see")
    part.add_argument("--project", default="", metavar="ID", help="only of this project")
    part.add_argument("--history", action="store_true", help="also what something newer took the place of")
    part.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)")
    part.add_argument("--offset", type=int, default=0, metavar="N", help="leave out the first N")


def _add_changing(add: _PartAdder) -> None:
    adding = add("add", "memory:add", "remember something")
    adding.add_argument("text", nargs="+", metavar="TEXT", help="what to remember")
    _add_fields(adding, is_new=True)
    editing = add("edit", "memory:edit", "change a memory; what is not named stays as it is")
    editing.add_argument("key", metavar="KEY", help="as `tarsd memory list` shows it")
    editing.add_argument("--text", default=None, metavar="TEXT", help="what it says from now on")
    _add_fields(editing, is_new=False)
    forgetting = add("forget", "memory_forget:forget", "forget for good, on every PC, with all that was made from it")
    forgetting.add_argument("keys", nargs="*", metavar="KEY", help="of a memory, summary, project or document")
    forgetting.add_argument("--conversation", default="", metavar="ID", help="forget this conversation instead")
    forgetting.add_argument("--preview", action="store_true", help="only say what would be forgotten")
    forgetting.add_argument("--yes", action="store_true", help="do not ask first")
    receipts = add("receipts", "memory_forget:receipts", "show what was forgotten, and where it is gone already")
    receipts.add_argument("receipt", nargs="?", default="", metavar="RECEIPT", help="only this one, as it stands now")
    receipts.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")


def _add_fields(part: Parser, *, is_new: bool) -> None:
    part.add_argument(
        "--as",
        dest="sort",
        choices=_SORTS,
        default="fact" if is_new else None,
        help="what it is; instructions and preferences are told to the model with every question",
    )
    part.add_argument(
        "--scope",
        choices=_SCOPES,
        default=None,
        help="who may see it (default: the named project, else you where your token names you, else all)",
    )
    part.add_argument("--project", default=None, metavar="ID", help="it belongs to this project")
    part.add_argument("--tag", action="append", dest="tags", default=None, metavar="TAG", help="a tag; may be repeated")
    part.add_argument("--from", dest="valid_from", default=None, metavar="DATE", help="true from, such as 2026-05-04")
    part.add_argument("--until", dest="valid_until", default=None, metavar="DATE", help="true until")
    part.add_argument("--language", default=None, metavar="XX", help="such as es (default: found out)")


def _add_moving(add: _PartAdder) -> None:
    export = add("export", "memory_moving:export", "write all that you may see into a file, or to standard output")
    export.add_argument(
        "--format", choices=("json", "markdown"), default="json", help="json can be imported, markdown is for reading"
    )
    export.add_argument("--output", metavar="FILE", default="", help="a new file (default: standard output)")
    importing = add("import", "memory_moving:import_file", "take in what `export` wrote; what is known is skipped")
    importing.add_argument("file", metavar="FILE", help="a file of `tarsd memory export`, or - for standard input")
    importing.add_argument("--preview", action="store_true", help="only say what would be taken in")


def _add_projects(add: _PartAdder) -> None:
    add("projects", "memory_projects:projects", "list the projects")
    project = add("project", "memory_projects:project", "begin a project, or change one; what is not named stays")
    project.add_argument("name", metavar="NAME", help="its name, or the id of one to change")
    project.add_argument("--rename", default=None, metavar="NAME", help="another name")
    project.add_argument("--text", default=None, metavar="TEXT", help="what it is about")
    project.add_argument(
        "--member",
        action="append",
        dest="members",
        default=None,
        metavar="PERSON",
        help="who may see it (default: the whole household); may be repeated",
    )
    project.add_argument("--tag", action="append", dest="tags", default=None, metavar="TAG", help="may be repeated")
    project.add_argument("--end", action="store_true", help="it is finished")


def _add_status(add: _PartAdder) -> None:
    add("status", "memory_status:status", "show which PC has which records, what has one copy only, what takes room")


def _add_nights(add: _PartAdder) -> None:
    diary = add("diary", "memory_nights:diary", "show what the nightly jobs changed")
    diary.add_argument("--job", default="", metavar="JOB", help="only of this job")
    diary.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    undo = add("undo", "memory_nights:undo", "undo what an entry of the diary tells")
    undo.add_argument("id", metavar="ID", help="as `tarsd memory diary` shows it")
    undo.add_argument("--yes", action="store_true", help="do not ask first")
    automatic = add("automatic", "memory_nights:automatic", "show or say whether TARS learns about you by itself")
    automatic.add_argument("value", nargs="?", choices=("on", "off"), help="without it: how it is")
