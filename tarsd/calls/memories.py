"""What people remember on purpose: memories, projects, forgetting, the diary. Every core node serves these calls.

`Who` says on whose behalf a call is made; the callee shows and changes nothing that this person may not see.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tarsd.calls.spec import CallSpec
from tarsd.names import Capability, ConversationId, RecordId

Scope = Literal["person", "project", "household"]
Sort = Literal["fact", "instruction", "preference"]
Kind = Literal["memory", "summary"]


class Who(msgspec.Struct, frozen=True):
    """A person by the name in its token, "" = whoever sits at a PC of the household; `sees_all`: an administrator."""

    person: str = ""
    sees_all: bool = False


class Copies(msgspec.Struct, frozen=True):
    """On how many core nodes a write is on disk; `degraded` says why these are fewer than were wanted."""

    copies: int = 1
    wanted: int = 1
    degraded: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """What a memory was learned from, as people are shown it: when, in which conversation, document or memories."""

    at: float = 0.0
    conversation: str = ""
    document: str = ""  # SHA-256, hex
    file: str = ""  # of the document, where it is here
    keys: list[str] = []


class Memory(msgspec.Struct, frozen=True):
    """A memory or a summary as people see it; `key` names it in every call. Times are seconds since 1970, 0 = none."""

    key: str
    kind: Kind
    text: str
    title: str = ""  # of a summary
    sort: Sort = "fact"
    scope: Scope = "household"
    person: str = ""
    project: str = ""
    language: str = ""
    tags: list[str] = []
    keywords: list[str] = []
    dates: list[str] = []
    valid_from: float = 0.0
    valid_until: float = 0.0
    made_at: float = 0.0
    made_by: str = "person"
    is_current: bool = True  # false: something took its place
    replaced_by: str = ""
    replaced_why: str = ""
    contradicts: list[str] = []  # keys of older memories that it took the place of
    evidence: list[Evidence] = []
    score: float = 0.0  # of a search


class SaveRequest(msgspec.Struct, frozen=True):
    """Write a memory down: a new one (`key` ""), or another text or other fields of a known one."""

    who: Who
    text: str
    key: str = ""
    sort: Sort = "fact"
    scope: Scope = "household"
    project: str = ""
    language: str = ""  # "" = found out
    tags: list[str] = []
    valid_from: float = 0.0
    valid_until: float = 0.0
    conversation: ConversationId = ConversationId("")
    answer: str = ""  # of the exchange in which it was said
    made_by: Literal["person", "automatic", "import"] = "person"


class SaveItem(msgspec.Struct, frozen=True):
    """The memory as it stands now, how safe it is, and the older memories that it contradicts."""

    memory: Memory
    copies: Copies
    contradicts: list[Memory] = []
    is_new: bool = True  # false: the same was known already


class MemoriesRequest(msgspec.Struct, frozen=True):
    """Ask for memories and summaries, newest first, or with `query` the best first."""

    who: Who
    query: str = ""
    key: str = ""  # only this one, with its evidence
    kinds: tuple[Kind, ...] = ("memory", "summary")
    sort: Literal["", "fact", "instruction", "preference"] = ""
    scope: Literal["", "person", "project", "household"] = ""
    project: str = ""
    history: bool = False  # also what was replaced
    limit: int = 50
    offset: int = 0


class MemoriesItem(msgspec.Struct, frozen=True):
    """A page of memories; `total` counts all that fit the request (with `query`: that were found)."""

    memories: list[Memory]
    total: int
    degraded: str = ""


class Project(msgspec.Struct, frozen=True):
    """A project as people see it."""

    key: str
    id: str
    name: str
    text: str = ""
    members: list[str] = []  # empty = the whole household
    tags: list[str] = []
    began_at: float = 0.0
    ended_at: float = 0.0
    memories: int = 0
    summaries: int = 0


class SaveProjectRequest(msgspec.Struct, frozen=True):
    """Begin a project (`id` "" or unknown), or change one."""

    who: Who
    name: str
    id: str = ""
    text: str = ""
    members: list[str] = []
    tags: list[str] = []
    is_ended: bool = False


class SaveProjectItem(msgspec.Struct, frozen=True):
    """The project as it stands now, and how safe it is."""

    project: Project
    copies: Copies


class ProjectsRequest(msgspec.Struct, frozen=True):
    """Ask for the projects that this person may see, newest first."""

    who: Who


class ProjectsItem(msgspec.Struct, frozen=True):
    """All of them."""

    projects: list[Project]


class ForgetRequest(msgspec.Struct, frozen=True):
    """Forget for good: `key` of a memory, summary, project or document, with all that was made from it.

    `conversation`: forget that conversation instead, in memory and wherever it was summarised. With `preview` nothing
    is forgotten, the receipt says what would be.
    """

    who: Who
    key: str = ""
    conversation: ConversationId = ConversationId("")
    preview: bool = False


class Removed(msgspec.Struct, frozen=True):
    """What was removed on one node. `state`: `done`, or `pending` where the node is away and obeys at its return."""

    node: str
    state: Literal["done", "pending", "failed"]
    records: int = 0  # texts erased from its log
    vectors: int = 0
    keywords: int = 0
    cached: int = 0
    conversations: int = 0
    backups: list[str] = []  # files of backups in which it still stands, until they are pruned
    damaged_copies: list[str] = []
    reason: str = ""
    at: float = 0.0


class ForgetItem(msgspec.Struct, frozen=True):
    """The receipt: what was forgotten (keys, never text), and what was removed where. A later item replaces it.

    Who did not forget it is shown the keys of what it could see itself, and no figures.
    """

    receipt: str  # its id, to be asked for later
    keys: list[str]
    nodes: list[Removed]
    at: float = 0.0
    is_whole: bool = False  # every core node that was ever seen has obeyed
    more: int = 0  # how many keys there are beside `keys`: of very many the first are listed


class ReceiptRequest(msgspec.Struct, frozen=True):
    """Ask for the receipts that this person may see, newest first; with `receipt`, that one as it stands now."""

    receipt: str = ""
    limit: int = 20
    who: Who = Who()


class ObeyRequest(msgspec.Struct, frozen=True):
    """Tell a core node of a receipt that it may not have heard of; it fetches the records from who asks, and obeys."""

    receipt: str


class DiaryRequest(msgspec.Struct, frozen=True):
    """Ask for the diary, newest first."""

    who: Who
    limit: int = 50
    job: str = ""


class DiaryEntry(msgspec.Struct, frozen=True):
    """What a job changed; `changes` counts what can be undone."""

    id: str
    job: str
    node: str
    began_at: float
    ended_at: float
    ok: bool
    what: str
    changes: int = 0
    keys: list[str] = []
    undone_at: float = 0.0


class DiaryItem(msgspec.Struct, frozen=True):
    """Entries of the diary."""

    entries: list[DiaryEntry]


class UndoRequest(msgspec.Struct, frozen=True):
    """Undo what an entry of the diary tells."""

    who: Who
    id: str


class UndoItem(msgspec.Struct, frozen=True):
    """What came of it: what was brought back, and what could not be (forgotten, or changed since)."""

    entry: DiaryEntry
    restored: list[RecordId]
    kept: list[str] = []  # keys that somebody changed or forgot since, with no change by undoing


SAVE = CallSpec(Capability("save"), SaveRequest, SaveItem, deadline_s=15)
MEMORIES = CallSpec(Capability("memories"), MemoriesRequest, MemoriesItem, deadline_s=15)
SAVE_PROJECT = CallSpec(Capability("save_project"), SaveProjectRequest, SaveProjectItem, deadline_s=15)
PROJECTS = CallSpec(Capability("projects"), ProjectsRequest, ProjectsItem, deadline_s=10)
FORGET = CallSpec(Capability("forget"), ForgetRequest, ForgetItem, deadline_s=60)
RECEIPTS = CallSpec(Capability("receipts"), ReceiptRequest, ForgetItem, deadline_s=10)
OBEY = CallSpec(Capability("obey"), ObeyRequest, Removed, deadline_s=30)
DIARY = CallSpec(Capability("diary"), DiaryRequest, DiaryItem, deadline_s=10)
UNDO = CallSpec(Capability("undo"), UndoRequest, UndoItem, deadline_s=60)
