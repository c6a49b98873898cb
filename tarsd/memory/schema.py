"""The tables of the memory database, as migrations, and what is rebuilt when its making changes.

`log` is the truth. `waiting` holds records whose predecessors have not come. `graves` are the latest tombstones by key.
Below `visible` everything derives from the log and is rebuilt from it, except `vectors`, which cost a model to make.
`log.id` is this database's own number of a record and never reused; keyword and vector index name passages by it.
"""

from __future__ import annotations

from tarsd.memory import stemming
from tarsd.memory.log import TOMBSTONE, State

_LOG_COLUMNS = """
    origin TEXT NOT NULL, seq INTEGER NOT NULL, hlc INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    version INTEGER NOT NULL, body BLOB NOT NULL, prev_sha BLOB NOT NULL, sha BLOB NOT NULL"""

# Each entry takes a database from the version of its index to the next. Never change one that was released: add one.
MIGRATIONS: tuple[str, ...] = (
    f"""
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE log (id INTEGER PRIMARY KEY, {_LOG_COLUMNS}, state INTEGER NOT NULL, UNIQUE (origin, seq));
    CREATE INDEX log_by_key ON log (key, hlc);
    CREATE TABLE waiting ({_LOG_COLUMNS}, state INTEGER NOT NULL, PRIMARY KEY (origin, seq, sha));
    CREATE TABLE graves (key TEXT PRIMARY KEY, hlc INTEGER NOT NULL, origin TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE quarantine (
        number INTEGER PRIMARY KEY, origin TEXT NOT NULL, seq INTEGER NOT NULL, sha BLOB NOT NULL,
        reason TEXT NOT NULL, seen_at REAL NOT NULL, UNIQUE (origin, seq, sha));
    CREATE TABLE visible (key TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE documents (
        id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, file TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        pages INTEGER NOT NULL, language TEXT NOT NULL, added_at REAL NOT NULL, passages INTEGER NOT NULL);
    CREATE TABLE passages (
        id INTEGER PRIMARY KEY, document TEXT NOT NULL, page INTEGER NOT NULL, "start" INTEGER NOT NULL,
        "end" INTEGER NOT NULL, language TEXT NOT NULL);
    CREATE INDEX passages_by_document ON passages (document);
    CREATE INDEX passages_by_language ON passages (language);
    CREATE TABLE summaries (id INTEGER PRIMARY KEY, summary TEXT NOT NULL UNIQUE, language TEXT NOT NULL);
    CREATE VIRTUAL TABLE keywords USING fts5(stems, tokenize = 'ascii');
    CREATE TABLE models (model TEXT PRIMARY KEY, dimension INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE vectors (
        number INTEGER PRIMARY KEY, id INTEGER NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (id, model));
    CREATE INDEX vectors_by_model ON vectors (model, number);
    """,
    """
    DROP TABLE summaries;
    CREATE TABLE summaries (
        id INTEGER PRIMARY KEY, summary TEXT NOT NULL UNIQUE, language TEXT NOT NULL, scope TEXT NOT NULL,
        person TEXT NOT NULL, project TEXT NOT NULL, conversation TEXT NOT NULL, ended_at REAL NOT NULL,
        is_current INTEGER NOT NULL);
    CREATE TABLE memories (
        id INTEGER PRIMARY KEY, memory TEXT NOT NULL UNIQUE, language TEXT NOT NULL, sort TEXT NOT NULL,
        scope TEXT NOT NULL, person TEXT NOT NULL, project TEXT NOT NULL, made_at REAL NOT NULL,
        valid_from REAL NOT NULL, valid_until REAL NOT NULL, is_current INTEGER NOT NULL, replaced_by TEXT NOT NULL);
    CREATE INDEX memories_by_time ON memories (made_at);
    CREATE INDEX memories_by_language ON memories (language);
    CREATE INDEX memories_of_profile ON memories (made_at) WHERE sort <> 'fact';
    CREATE INDEX memories_replaced ON memories (replaced_by) WHERE replaced_by <> '';
    CREATE INDEX summaries_by_time ON summaries (ended_at);
    CREATE TABLE projects (
        id INTEGER PRIMARY KEY, project TEXT NOT NULL UNIQUE, name TEXT NOT NULL, began_at REAL NOT NULL,
        ended_at REAL NOT NULL);
    CREATE TABLE diary (
        id INTEGER PRIMARY KEY, entry TEXT NOT NULL UNIQUE, job TEXT NOT NULL, node TEXT NOT NULL,
        ended_at REAL NOT NULL);
    """,
    """
    CREATE TABLE links (named TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (named, id)) WITHOUT ROWID;
    CREATE INDEX links_by_id ON links (id);
    """,
)

LOG_COLUMNS = "origin, seq, hlc, kind, key, version, body, prev_sha, sha"

# The tables whose rows are named by `log.id` and go when it is no longer visible.
DERIVED_BY_ID = ("documents", "passages", "summaries", "memories", "projects", "diary", "links")

# Those whose texts are found by keywords and by vectors.
SEARCHED = ("passages", "summaries", "memories")

# When this differs from what the database was built with, the derived tables are built anew from the log.
DERIVED_VERSION = f"2 stems {stemming.VERSION}"

# Conditions on `log` and `waiting`. ?1 is a key: it and all below it ("0" is the character after "/").
UNDER = "(key = ?1 OR (key > ?1 || '/' AND key < ?1 || '0'))"
HAS_TEXT = f"kind <> '{TOMBSTONE}' AND state <> {State.ERASED:d}"
# What a tombstone (?1 its key, ?2 its hlc) covers and what becomes of it: `log`, rules 2 and 5.
COVERED = f"{UNDER} AND {HAS_TEXT} AND hlc <= ?2"
ERASED = f"SET body = digest(body), state = {State.ERASED:d}"
ERASE_COVERED = f"{ERASED} WHERE {COVERED}"

# The same of many tombstones at once: ?1 is a list of [key, hlc] in JSON; what is looked through is `log`.
GRAVES = """WITH grave (key, hlc) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1 FROM json_each(?1))"""
UNDER_GRAVE = "(log.key = grave.key OR (log.key > grave.key || '/' AND log.key < grave.key || '0'))"
COVERED_BY_GRAVE = f"{UNDER_GRAVE} AND {HAS_TEXT} AND log.hlc <= grave.hlc"
