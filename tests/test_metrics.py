import subprocess
import sys

from tarsd.metrics import Metrics, Readings, rss_bytes


def lines(metrics):
    return metrics.render().decode().splitlines()


def test_questions_answers_and_calls_are_counted_by_their_labels():
    metrics = Metrics()
    metrics.question_asked()
    metrics.answered("needs_context", degraded=False)
    metrics.answered("needs_context", degraded=True)
    metrics.answered("", degraded=True)
    metrics.call_finished("search", "ok", 0.002)
    metrics.call_finished("search", "PeerLost", 2.0)
    found = lines(metrics)
    assert "tarsd_questions_total 1.0" in found
    assert 'tarsd_answers_total{degraded="no",route="needs_context"} 1.0' in found
    assert 'tarsd_answers_total{degraded="yes",route="needs_context"} 1.0' in found
    assert 'tarsd_answers_total{degraded="yes",route="none"} 1.0' in found
    assert 'tarsd_calls_total{capability="search",result="PeerLost"} 1.0' in found
    assert 'tarsd_call_seconds_bucket{capability="search",le="0.0025"} 1.0' in found


def test_first_token_is_a_histogram():
    metrics = Metrics()
    metrics.first_token(0.3)
    assert 'tarsd_first_token_seconds_bucket{le="0.25"} 0.0' in lines(metrics)
    assert 'tarsd_first_token_seconds_bucket{le="0.5"} 1.0' in lines(metrics)


def test_readings_are_read_when_asked():
    restarts = {"llama_cpp": 0}
    metrics = Metrics(
        Readings(
            members=lambda: {"alive": 2, "dead": 1},
            queued=lambda: 3,
            running=lambda: 1,
            worker_restarts=lambda: restarts,
            worker_rss_bytes=lambda: {"llama_cpp": 1024},
            loop_lag_s=lambda: 0.01,
            memory_cache=lambda: {("search", "hit"): 5},
            unwanted_datagrams=lambda: {"dropped": 7},
        )
    )
    assert 'tarsd_worker_restarts_total{worker="llama_cpp"} 0.0' in lines(metrics)
    restarts["llama_cpp"] = 2
    found = lines(metrics)
    assert 'tarsd_worker_restarts_total{worker="llama_cpp"} 2.0' in found
    assert 'tarsd_members{state="alive"} 2.0' in found
    assert "tarsd_queue 3.0" in found
    assert "tarsd_running 1.0" in found
    assert 'tarsd_worker_rss_bytes{worker="llama_cpp"} 1024.0' in found
    assert "tarsd_loop_lag_seconds 0.01" in found
    assert 'tarsd_memory_cache_total{call="search",result="hit"} 5.0' in found
    assert 'tarsd_unwanted_datagrams_total{fate="dropped"} 7.0' in found


def test_own_memory_is_told():
    value = next(line for line in lines(Metrics()) if line.startswith("tarsd_rss_bytes ")).split()[1]
    assert 1024**2 < float(value) < 10 * 1024**3
    assert rss_bytes() > 1024**2


def test_two_nodes_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.question_asked()
    assert "tarsd_questions_total 1.0" in lines(one)
    assert "tarsd_questions_total 0.0" in lines(other)


def test_importing_the_metrics_costs_little_beside_the_web_server():
    """Measured 11 ms and 1.0 MiB: what prometheus_client needs, aiohttp has loaded already."""
    code = (
        "import aiohttp.web, tarsd.wire, time\n"
        "from pathlib import Path\n"
        "rss = lambda: int(Path('/proc/self/statm').read_text().split()[1]) / 256\n"
        "before = rss()\n"
        "import tarsd.metrics\n"
        "print(rss() - before)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    print(f"importing tarsd.metrics: {float(result.stdout):.1f} MiB")
    assert float(result.stdout) < 5
