"""Texts that share words with a question, best first, without ranking every text that holds a common word.

Ranking by BM25 costs some 1 us for each text that holds any of the words: 80 ms where some stand in a quarter of
100,000 texts, against 5 ms to walk through them.

Rules
1. The rarest words of a question say which texts are looked at, as many words as stand in `MOST_RANKED` texts together,
   and at least one. The common ones say only which of these texts is better: left out of the score as well, they cost
   3 points of R@1 on XQuAD; so, nothing is lost, with 12 % of the texts looked at.
2. A text's score is that of all words of the question.
3. Where fewer texts than were asked for hold a rare word, those that hold only common ones are looked at too.
4. How many texts hold a word is asked of the index itself, and counted no further than it matters: there is no list of
   words beside it that would have to forget.

After the common terms query of Elasticsearch 7; MaxScore (Turtle and Flood, "Query evaluation: strategies and
optimizations", 1995) takes the rarest words first too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tarsd.memory.database import Database, Row

MOST_RANKED = 8_000

_COUNTS = """SELECT value, (SELECT COUNT(*) FROM (SELECT 1 FROM keywords WHERE keywords MATCH '"' || value || '"'
             LIMIT ?2)) FROM json_each(?1)"""


class Split(NamedTuple):
    """The words of a question that any text holds: those that are looked for, and the common ones."""

    rare: list[str]
    common: list[str]


def split(counts: Sequence[tuple[str, int]], most: int) -> Split:
    """Divide words by how many texts hold them: the rare are those of at most `most` texts together (rule 1)."""
    known = sorted(((count, word) for word, count in counts if count), key=lambda each: each[0])
    taken = looked_at = 0
    for count, _ in known:
        looked_at += count
        if taken and looked_at > most:
            break
        taken += 1
    words = [word for _, word in known]
    return Split(words[:taken], words[taken:])


async def best(
    database: Database,
    words: Sequence[str],
    condition: str,
    values: Sequence[object],
    limit: int,
    most: int = MOST_RANKED,
) -> dict[int, float]:
    """Return the local ids and scores of texts that hold any of these stems, best first; {} for no stem.

    `condition` is of SQL, on `keywords.rowid`, and `values` are its parameters. Nothing is locked between the reads.
    """
    rare, common = split(await _rows(database, _COUNTS, (_json(words), most + 1)), most)
    if not rare:
        return {}
    one = f"""SELECT rowid AS id, -bm25(keywords) AS score FROM keywords WHERE keywords MATCH ? AND {condition}
              ORDER BY score DESC LIMIT ?"""  # noqa: S608
    if common:
        # A text with a rare word alone is scored by the first, one with common words by both: the greater is right.
        both = f"""SELECT id, MAX(score) AS best FROM (SELECT * FROM ({one}) UNION ALL SELECT * FROM ({one}))
                   GROUP BY id ORDER BY best DESC LIMIT ?"""  # noqa: S608
        with_common = f"({_any_of(rare)}) AND ({_any_of(common)})"
        parameters = (_any_of(rare), *values, limit, with_common, *values, limit, limit)
        found = await _rows(database, both, parameters)
        if len(found) >= limit:
            return dict(found)
    return dict(await _rows(database, one, (_any_of([*rare, *common]), *values, limit)))


async def _rows(database: Database, sql: str, parameters: Sequence[object]) -> list[Row]:
    async with database.reading():
        return await database.rows(sql, parameters)


def _any_of(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)  # letters and digits only: none breaks out of its quotes


def _json(words: Sequence[str]) -> str:
    return msgspec.json.encode(list(words)).decode()
