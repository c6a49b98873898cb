from tarsd.supervision import LoopLag, judge, silence


def verdict(answers=None, notes=None, *, lag_s=0.0, serving=True, before=frozenset()):
    return judge(answers or {}, notes or {}, lag_s=lag_s, serving=serving, before=before)


def test_a_healthy_serving_node_pings():
    assert verdict({"store": "", "gossip": ""}).ping


def test_one_vital_problem_withholds_the_ping_and_is_named():
    found = verdict({"store": "", "gossip": "silent for 4.0 s"})
    assert not found.ping
    assert found.problems == ("gossip: silent for 4.0 s",)


def test_a_note_is_told_and_gates_nothing():
    found = verdict({"store": ""}, {"ollama": "no server"})
    assert found.ping
    assert found.notes == ("ollama: no server",)
    assert found.problems == ()


def test_nobody_pings_before_ready_or_after_stopping():
    assert not verdict({"store": ""}, serving=False).ping


def test_a_lagging_loop_is_a_problem_above_the_limit_only():
    assert verdict(lag_s=0.5).ping
    late = verdict(lag_s=0.51)
    assert not late.ping
    assert late.problems == ("event loop: p95 lag 0.51 s",)


def test_a_problem_is_news_once_even_if_its_text_changes():
    first = verdict({"gossip": "silent for 4.0 s"})
    assert first.news == ("gossip: silent for 4.0 s",)
    second = verdict({"gossip": "silent for 7.0 s"}, before=first.sick)
    assert second.news == ()
    assert second.problems == ("gossip: silent for 7.0 s",)


def test_a_part_that_got_well_is_named_once():
    sick = verdict({"gossip": "silent"}, {"ollama": "no server"})
    well = verdict({"gossip": ""}, {"ollama": "no server"}, before=sick.sick)
    assert well.recovered == ("gossip",)
    assert verdict({"gossip": ""}, {"ollama": "no server"}, before=well.sick).recovered == ()


def test_lag_of_an_empty_window_is_nothing():
    assert LoopLag().percentile_s(now=5.0) == 0.0


def test_one_long_stall_in_a_quiet_window_is_no_illness():
    lag = LoopLag()
    for tick in range(100):
        lag.add(3.0 if tick == 50 else 0.001, now=tick * 0.05)
    assert lag.percentile_s(now=5.0) == 0.001


def test_a_loop_that_is_late_again_and_again_is_seen():
    lag = LoopLag()
    for tick in range(20):
        lag.add(0.6 if tick % 10 == 0 else 0.001, now=tick * 0.5)
    assert lag.percentile_s(now=10.0) == 0.6


def test_old_lag_leaves_the_window():
    lag = LoopLag(window_s=10)
    lag.add(2.0, now=0.0)
    assert lag.percentile_s(now=10.0) == 2.0
    assert lag.percentile_s(now=10.1) == 0.0


def test_the_window_is_bounded_whatever_the_clock_does():
    lag = LoopLag(max_samples=10)
    for _ in range(100):
        lag.add(0.1, now=1.0)
    assert len(lag._samples) == 10


def test_a_clock_that_ticked_early_is_no_negative_lag():
    lag = LoopLag()
    lag.add(-0.01, now=0.0)
    assert lag.percentile_s(now=0.0) == 0.0


def test_silence_names_how_long():
    now = 10.0
    check = silence(lambda: 7.0, limit_s=3.0, clock=lambda: now)
    assert check() == ""
    now = 10.5
    assert check() == "silent for 3.5 s"
