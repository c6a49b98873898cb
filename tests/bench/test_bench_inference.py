import argparse

import pytest

from bench import (
    inference,
    inference_killed,
    inference_pair,
    inference_queue,
    inference_single,
    inference_together,
    soak_inference,
)
from bench.bare import Generation
from bench.client import Answer
from bench.harness import Row, table
from bench.inference_client import Burst, Reply, story


def reply(*times, began=0.0, tokens=0, finish_reason="length", error=""):
    usage = {"completion_tokens": tokens} if tokens else {}
    return Reply(began, list(times), ["x"] * len(times), usage, finish_reason, 8, error)


def answer(*events):
    return Answer([(at, {"type": kind, "text": "x"} | more) for at, kind, more in events])


def waiting(at):
    return at, "notice", {"code": "waiting"}


def test_a_figure_that_cannot_be_taken_says_why_and_shows_no_number():
    row = Row(figure="speed", unit="tokens/s", samples=[], aim=1.0, reference=[2.0], missing="no model")
    assert (row.verdict, row.ratio) == ("not available", None)
    assert "| speed  | not available |" in table([row])
    assert "no model" in table([row])


def test_parts_are_chosen_by_name_and_several_at_once():
    parser = argparse.ArgumentParser(exit_on_error=False)
    inference.arguments(parser)
    assert parser.parse_args(["--only", "single,turns", "--only", "queue"]).only == [["single", "turns"], ["queue"]]
    with pytest.raises(argparse.ArgumentError, match="no part 'tuns'"):
        parser.parse_args(["--only", "tuns"])


def test_tokens_are_what_the_server_counts_else_the_cut_else_the_pieces():
    assert reply(1.0, tokens=5).tokens == 5
    assert reply(1.0).tokens == 8
    assert reply(1.0, 2.0, finish_reason="stop").tokens == 2


def test_a_speed_leaves_out_the_wait_for_the_first_token():
    assert reply(5.0, 5.5, 6.0, tokens=3).tokens_per_s == 2.0
    assert reply(5.0).tokens_per_s == 0.0


def test_a_gap_counts_when_it_reaches_into_the_time_looked_at():
    heard = reply(1.0, 4.0, 5.0, 7.0)
    assert heard.longest_gap_s() == 3.0
    assert heard.longest_gap_s(since=4.5) == 2.0
    assert heard.longest_gap_s(since=4.5, until=4.9) == 1.0


def test_answers_together_take_until_the_last_one_and_a_broken_one_is_told():
    together = Burst([reply(1.0, 3.0, tokens=10), reply(2.0, 4.0, began=0.5, tokens=10)])
    assert together.tokens_per_s == 5.0
    assert not together.errors
    assert Burst([reply(1.0, error="503: full")]).errors == ["503: full"]
    assert Burst([reply(1.0, finish_reason="")]).errors == ["it was cut"]


def test_prompts_differ_from_their_first_word_on():
    assert story(1)[0]["content"].split()[0] != story(2)[0]["content"].split()[0]
    assert len(story(1, 50)[0]["content"].split()) == len(story(2, 50)[0]["content"].split())


def one_round(speed):
    return {
        name: Generation([first, first + 1 / rate], "once", cpu, 0.002)
        for name, first, rate, cpu in (
            ("bare", 0.5, 100.0, 1.0),
            ("/v1", 0.504, speed, 1.1),
            ("engine", 0.502, 99.0, 1.0),
        )
    }


def test_a_single_answer_is_held_against_the_bare_one_of_its_round():
    api, engine = inference_single.speed_rows([one_round(98.0), one_round(50.0), one_round(98.0)])
    assert (api.verdict, engine.verdict) == ("met", "no aim")
    assert "ratio 0.500-0.980" in api.note
    _, added, by_engine = inference_single.first_token_rows([one_round(98.0)])
    assert [round(row.median, 6) for row in (added, by_engine)] == [4.0, 2.0]
    model, daemon = inference_single.cpu_rows([one_round(98.0)])
    assert (round(model.ratio, 3), round(daemon.median)) == (1.1, 1000)


def test_another_server_that_is_not_installed_is_told_and_the_others_are_compared():
    ours, theirs = Burst([reply(1.0, tokens=10)]), Burst([reply(2.0, tokens=12)])
    rounds = [{"tarsd": ours, "native": theirs}]
    python, native = inference_together.of_rounds(4, rounds, {"llama_cpp.server": "not installed"})
    assert (python.verdict, python.missing) == ("not available", "not installed")
    assert round(native.ratio, 3) == 1.667
    assert native.verdict == "met"
    assert "not as many tokens: 10 and 12" in native.note


def test_two_nodes_are_held_to_the_aim_only_where_one_was_about_twice_as_fast():
    alone, both = [Burst([reply(3.0, tokens=10)])], [Burst([reply(2.0, tokens=10)])]
    row = inference_pair.row_of(alone, both, 2.1, "measured")
    assert (round(row.ratio, 3), row.verdict) == (1.5, "met")
    assert inference_pair.row_of(both, alone, 2.1, "measured").verdict == "missed"
    assert [inference_pair.row_of(alone, both, ratio, "").verdict for ratio in (0.8, 3.0)] == ["no aim", "no aim"]


def test_who_waits_is_silent_from_asking_to_the_first_estimate_between_them_and_until_it_begins():
    end = (20.0, "done", {})
    assert inference_queue.silence_s(answer(waiting(1.0), waiting(5.0), (7.0, "token", {}), end)) == 4.0
    assert inference_queue.silence_s(answer(waiting(6.0), (7.0, "token", {}), end)) == 6.0
    assert inference_queue.silence_s(answer(waiting(1.0), (9.0, "token", {}), waiting(9.5), end)) == 8.0


def test_an_answer_that_fails_or_that_a_deadline_cuts_is_lost():
    done, failed = (2.0, "done", {}), (2.0, "error", {"sentence": "the turn did not come in time"})
    cut = (2.0, "done", {"limit": "deadline"})
    lost, silence = inference_queue.of_answers([answer(done), answer(failed), answer(cut)])
    assert lost.samples == [2.0]
    assert "the turn did not come in time" in lost.note
    assert silence.verdict == "not available"


def test_an_answer_whose_worker_was_killed_is_lost_unless_it_comes_to_its_end():
    whole, cut = reply(1.0, 2.5, 3.0), reply(1.0, 1.1, finish_reason="", error="WorkerLost")
    lost, gap = inference_killed.Hurt("xxx", [whole, cut]).rows("alone")
    assert (lost.samples, gap.samples) == ([1.0], [1.5])
    assert "1 in the words" in lost.note
    assert "WorkerLost" in lost.note


def test_growth_is_told_per_question_after_the_warm_up():
    questions = [float(n) for n in range(0, 400, 4)]
    flat = [300.0 + (n % 3) * 0.1 for n in range(100)]
    assert soak_inference.growth(questions, flat, 4.0)[1] == "stable"
    warming = [200.0 + min(n, 15) * 6 for n in range(100)]
    assert soak_inference.growth(questions, warming, 4.0)[1] == "stable"
    leaking = [300.0 + 0.02 * at for at in questions]
    slope, word = soak_inference.growth(questions, leaking, 4.0)
    assert (round(1000 * slope.per_s), word) == (20, "grows")


def test_too_few_looks_are_no_slope_and_an_undecided_one_meets_no_aim():
    seen = soak_inference.Soak([1.0, 2.0], [40.0, 40.0], [200.0, 200.0], asked=2)
    assert [row.verdict for row in soak_inference.rows_of(seen, 2)] == ["met", "not available", "not available"]
    noisy = soak_inference.Soak(
        [float(n) for n in range(60)], [40.0 + (n * 7 % 5) for n in range(60)], [200.0] * 60, asked=60, failed=["cut"]
    )
    failed, daemon, workers = soak_inference.rows_of(noisy, 100)
    assert (failed.verdict, daemon.verdict, workers.verdict) == ("missed", "no aim", "met")
    assert "60 of 100 asked, the first: cut" in failed.note
    assert "undecided" in daemon.note
