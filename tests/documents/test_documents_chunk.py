"""Each rule of `tarsd.documents.chunk`."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from tarsd.documents.chunk import LONGEST, MAX_WORD_CHARACTERS, chunk, sections

WORDS = st.sampled_from(
    ["casa", "The", "water.", "agua,", "(1)", "¿Qué?", "x" * 200, "水", "1.400", "S.", "#", "-", "end!"]
)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "  \n \n", "\t", ""])
PAGES = st.lists(st.tuples(WORDS, GAPS), max_size=600).map(lambda parts: "".join(word + gap for word, gap in parts))
SIZES = st.tuples(st.integers(5, 120), st.integers(0, 60))


def sentences(count: int, words: int = 10) -> str:
    return " ".join("Aa" + " bb" * (words - 2) + f" end{number}." for number in range(count))


@given(PAGES, SIZES)
def test_a_passage_is_a_slice_without_white_space_at_its_ends(page: str, sizes: tuple[int, int]) -> None:
    for one in chunk(page, 3, words=sizes[0], overlap=sizes[1]):
        assert one.text == page[one.start : one.end]
        assert one.text == one.text.strip()
        assert one.text
        assert one.page == 3


@given(PAGES, SIZES)
@example("water. The casa casa casa\n\ncasa casa casa ", (6, 3))  # the second passage once ended inside the first
def test_no_word_is_lost_and_the_order_is_kept(page: str, sizes: tuple[int, int]) -> None:
    chunks = list(chunk(page, 1, words=sizes[0], overlap=sizes[1]))
    covered = 0
    for one in chunks:
        assert not page[covered : one.start].strip(), "words between two passages"
        covered = one.end
    assert not page[covered:].strip()
    assert all(before.start < after.start and before.end < after.end for before, after in pairwise(chunks))


@given(st.integers(0, 900), st.integers(20, 130), st.integers(0, 60))
def test_no_passage_is_longer_than_the_bound(count: int, words: int, overlap: int) -> None:
    for one in chunk("word " * count, 1, words=words, overlap=overlap):
        assert len(one.text.split()) <= max(words, int(words * LONGEST))


def test_passages_have_about_the_wanted_length_and_overlap() -> None:
    page = sentences(120)
    chunks = list(chunk(page, 1, words=110, overlap=20))
    assert all(90 <= len(one.text.split()) <= 126 for one in chunks[:-2])
    overlaps = [len(page[after.start : before.end].split()) for before, after in pairwise(chunks)]
    assert all(10 <= overlap <= 40 for overlap in overlaps)


def test_without_overlap_passages_follow_each_other() -> None:
    chunks = list(chunk(sentences(60), 1, words=50, overlap=0))
    assert all(after.start - before.end == 1 for before, after in pairwise(chunks))


def test_an_overlap_of_more_than_half_is_halved() -> None:
    chunks = list(chunk("word " * 400, 1, words=40, overlap=200))
    assert len(chunks) <= 400 / 10


def test_a_cut_is_made_between_sentences() -> None:
    for one in list(chunk(sentences(60, words=13), 1, words=50, overlap=10))[:-1]:
        assert one.text.endswith(".")
        assert one.text.startswith("Aa")


def test_a_cut_is_rather_made_between_paragraphs() -> None:
    page = sentences(9) + "\n\n" + sentences(20)
    first = next(chunk(page, 1, words=110, overlap=20))
    assert first.end == page.index("\n\n")


def test_a_cut_is_made_at_a_line_end_where_there_are_no_sentences() -> None:
    page = "\n".join("alpha beta gamma delta epsilon zeta eta" for _ in range(40))
    for one in list(chunk(page, 1, words=50, overlap=0))[:-1]:
        assert page[one.end] == "\n"


def test_an_abbreviation_ends_no_sentence() -> None:
    page = "Calle de la S. A. Mayor " * 40
    assert next(chunk(page, 1, words=27, overlap=0)).text.endswith(" la")


def test_a_heading_stays_with_what_follows() -> None:
    page = sentences(10) + "\n\n## Bins and boxes\n\n" + sentences(20)
    first = next(chunk(page, 1, words=104, overlap=10))
    assert "Bins" not in first.text
    page = sentences(10) + "\n8. Warranty and service\n" + sentences(20)
    assert not next(chunk(page, 1, words=101, overlap=10)).text.endswith("8.")


def test_a_short_rest_is_evened_out() -> None:
    lengths = [len(one.text.split()) for one in chunk("word " * 140, 1, words=110, overlap=20)]
    assert len(lengths) == 2
    assert min(lengths) >= 70


def test_an_endless_word_is_cut() -> None:
    chunks = list(chunk("x" * 10_000, 1, words=20, overlap=2))
    assert max(len(one.text) for one in chunks) <= int(20 * LONGEST) * MAX_WORD_CHARACTERS


def test_a_chinese_character_counts_as_a_word() -> None:
    assert len(list(chunk("水" * 300, 1, words=100, overlap=0))) == 3


def test_a_page_without_words_has_no_passages() -> None:
    assert list(chunk(" \n\n ", 1, words=110, overlap=20)) == []


@given(st.text(alphabet="ab \n", max_size=400), st.integers(1, 50))
def test_sections_cover_the_text_and_are_bounded(text: str, characters: int) -> None:
    spans = list(sections(text, characters))
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(end - start <= characters for start, end in spans)


def test_sections_end_at_paragraphs() -> None:
    text = "one two\n\nthree four\n\nfive six seven"
    assert text[slice(*next(sections(text, 24)))] == "one two\n\nthree four\n\n"
