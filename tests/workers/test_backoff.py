from tarsd.workers.backoff import Backoff


def test_each_failure_doubles_the_wait_up_to_the_most() -> None:
    backoff = Backoff(0.5, 30)
    assert [backoff.failed() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_what_worked_long_enough_is_forgiven_and_what_crashed_at_once_is_not() -> None:
    backoff = Backoff(0.5, 30, forgiven_after_s=60)
    assert [backoff.failed() for _ in range(3)] == [0.5, 1, 2]
    assert backoff.failed(worked_s=59) == 4
    assert backoff.failed(worked_s=60) == 0.5


def test_what_was_of_use_in_between_is_forgiven_however_short_that_was() -> None:
    backoff = Backoff(0.5, 30)
    assert [backoff.failed() for _ in range(3)] == [0.5, 1, 2]
    backoff.worked()
    assert [backoff.failed(worked_s=0.1) for _ in range(2)] == [0.5, 1]
