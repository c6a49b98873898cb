import os

from bench.bare import Generation
from bench.latency_generation import cpu_rows, cpu_s, first_token_rows, prompt, speed_rows
from bench.latency_rpc import GROUP, tails


def generation(first_s, token_s=0.02, text="once", cpu_s=0.1, daemons_s=0.003):
    return Generation([first_s, first_s + token_s, first_s + 2 * token_s], text, cpu_s, daemons_s)


def one_round(**more):
    return {"bare": generation(0.3), "pc1": generation(0.304), "pc2": generation(0.306, **more)}


def test_what_we_add_is_the_difference_within_a_round():
    slow = {name: generation(one.first_token_s + 5) for name, one in one_round().items()}
    through, added, local = first_token_rows([one_round(), slow], "short")
    assert [round(ms, 3) for ms in added.samples] == [6.0, 6.0]
    assert added.verdict == "met"
    assert "the hop costs 2.0 ms" in local.note
    assert "2 of 2" in through.note


def test_another_text_than_the_bare_one_is_told():
    assert "0 of 1" in first_token_rows([one_round(text="twice")], "short")[0].note


def test_the_speed_leaves_the_wait_for_the_first_token_out():
    speed, added = speed_rows([one_round(token_s=0.04)])
    assert round(speed.median) == 25
    assert round(speed.ratio, 3) == 0.5
    assert speed.verdict == "missed"
    assert round(added.median) == 20_000


def test_an_empty_answer_is_endless_not_fast():
    assert Generation([], "").first_token_s == float("inf")
    assert Generation([0.1], "x").token_s == float("inf")


def test_cpu_is_told_per_answer_and_per_token():
    model, daemons = cpu_rows([one_round(cpu_s=0.2)])
    assert model.ratio == 2.0
    assert round(daemons.median) == 1000


def test_our_own_cpu_time_is_found():
    before = cpu_s(os.getpid())
    sum(range(1_000_000))
    assert cpu_s(os.getpid()) > before


def test_prompts_of_one_round_are_as_long_and_begin_differently():
    one, other = prompt(1000, 10)[0]["content"], prompt(5000, 10)[0]["content"]
    assert len(one.split()) == len(other.split())
    assert one[:4] != other[:4]


def test_a_tail_is_told_per_full_group():
    assert tails([1.0] * (GROUP - 2) + [9.0, 9.0] + [2.0]) == [9.0]
