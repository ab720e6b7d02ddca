"""A real MLflow server that is down, hangs, and comes back while runs go on."""

import http.server
import math
import os
import signal
import socket
import threading
import time
import urllib.request
from dataclasses import replace

import psutil
import pytest

from tests.support.mlflow_server import Server, free_port
from tests.support.tracking import destination, metric_history
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import Root
from webshop_rl.tracking import sync
from webshop_rl.tracking.prepare import check_tracker, ensure_ready
from webshop_rl.tracking.tracker import open_tracker


@pytest.fixture(autouse=True)
def own_timeouts(monkeypatch):
    """Not those that an earlier test's client has left in the environment, which a later one keeps."""
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Not started yet: the first test wants it down."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    if server.process is not None:
        server.signal(signal.SIGKILL)
        server.process.wait()
        server.log.close()


def settings(server, root, **more):
    defaults = {"sync_every_s": 0.2, "timeout_s": 1.5, "final_sync_s": 3.0}
    return destination(root, server.url, **{**defaults, **more})


def train(server, root, name, *, num_steps=30, step_s=0.03, between=None):
    """A run of num_steps."""
    tracker = open_tracker(
        root / "runs" / name,
        settings(server, root),
        run_name=name,
        params={"lr": 1},
        tags={"seed": 0},
        sweep="s",
    )
    for step in range(num_steps):
        if between:
            between(step)
        tracker.metrics(step, {"train/score": step / 7, "optim/loss": math.nan})
        tracker.flush()
        time.sleep(step_s)
    tracker.finish()
    return tracker


def check_whole(server, root, name, num_steps=30):
    ((run_id,),) = server.query(f"select run_uuid from runs where name = '{name}'")
    of_run = f"from metrics where run_uuid = '{run_id}' and key"
    stored = server.query(f"select step, value, timestamp {of_run} = 'train/score' order by step")
    journal = metric_history(Root(root).run(name).journal, "train/score")
    assert stored == [(p.step, p.value, p.ts_ms) for p in journal]
    assert [step for step, _, _ in stored] == list(range(num_steps))
    assert server.query(f"select count(*), min(is_nan) {of_run} = 'optim/loss'") == [(num_steps, 1)]
    doubled = "select run_uuid, key, step, count(*) from metrics group by 1, 2, 3 having count(*) > 1"
    assert server.query(doubled) == []
    assert server.query(f"select status from runs where run_uuid = '{run_id}'") == [("FINISHED",)]


def test_server_down_during_the_whole_run_and_replayed_afterwards(server, tmp_path, caplog):
    tracker = train(server, tmp_path, "down")
    assert tracker.run_id is None
    # Once, not a time an attempt; on a busy machine the run may be over before the first.
    assert caplog.text.count("does not take rows") <= 1
    assert "webshop_rl.tracking.sync" in caplog.text
    server.start()
    for _ in range(2):
        assert sync.main([str(tmp_path)]) == 0
    check_whole(server, tmp_path, "down")


def test_server_that_hangs_for_a_while_stops_nothing(server, tmp_path, caplog):
    server.start()

    def hang_until_noticed(step):
        if step == 5:
            server.signal(signal.SIGSTOP)
        if step == 70:
            # On a busy machine the thread that replays may not have tried yet.
            for _ in range(300):
                if "does not take rows" in caplog.text:
                    break
                time.sleep(0.1)
            server.signal(signal.SIGCONT)

    train(server, tmp_path, "hung", num_steps=90, between=hang_until_noticed)
    assert "does not take rows" in caplog.text
    assert sync.main([str(tmp_path)]) == 0
    check_whole(server, tmp_path, "hung", num_steps=90)


def test_server_that_hangs_at_the_end_is_waited_for_in_bounds(server, tmp_path):
    server.start()
    stop = {20: signal.SIGSTOP}
    train(server, tmp_path, "end", between=lambda step: server.signal(stop[step]) if step in stop else None)
    server.signal(signal.SIGCONT)
    assert sync.main([str(tmp_path)]) == 0
    check_whole(server, tmp_path, "end")


def test_awkward_numbers_and_files_cross_http(server, tmp_path):
    server.start()
    values = {"algo/inf": math.inf, "algo/minus": -math.inf, "algo/small": 5e-324, "algo/third": 0.1 + 0.2}
    with open_tracker(
        tmp_path / "runs" / "n", settings(server, tmp_path, traces=1), run_name="n", params={}, tags={}
    ) as tracker:
        tracker.metrics(1, {**values, "algo/nan": math.nan})
        tracker.table("test", [{"goal": "a"}])
        tracker.traces("test", [{"goal": "a", "turns": [{"page": "p"}]}])
    (tracker.folder / "mlflow.json").unlink()
    assert sync.main([str(tmp_path)]) == 0
    # MLflow's own rules: infinities become the largest float64, NaN is 0 with a flag.
    stored = f"select key, value, is_nan from metrics where run_uuid = '{tracker.run_id}' order by key"
    assert server.query(stored) == [
        ("algo/inf", 1.7976931348623157e308, 0),
        ("algo/minus", -1.7976931348623157e308, 0),
        ("algo/nan", 0.0, 1),
        ("algo/small", 5e-324, 0),
        ("algo/third", 0.30000000000000004, 0),
    ]
    # The files went through the server, not to a folder of this process.
    (table,) = server.root.glob(f"mlartifacts/*/{tracker.run_id}/artifacts/tables/test.json")
    assert table.read_text() == '{"columns": ["goal"], "data": [["a"]]}'
    traced = "select count(*) from trace_request_metadata where key = 'mlflow.sourceRun' and value = "
    assert server.query(f"{traced}'{tracker.run_id}'") == [(1,)]


def test_what_can_be_used_and_what_cannot_is_told_at_launch(server, tmp_path):
    server.start()
    check_tracker(settings(server, tmp_path))
    assert ensure_ready(settings(server, tmp_path)).isdigit()
    closed = destination(tmp_path, f"http://127.0.0.1:{free_port()}", timeout_s=1.0)
    with pytest.raises(UserError, match=r"refused.*webshop-rl ui.*tracking=journal"):
        check_tracker(closed)
    check_tracker(
        replace(closed, config=replace(closed.config, kind="journal"))
    )  # tracking=journal launches all the same


def test_a_port_that_never_answers_and_a_server_that_is_not_mlflow(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match="timed out"):
            check_tracker(destination(tmp_path, url, timeout_s=0.5))
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        other.RequestHandlerClass.log_message = lambda *args: None
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        with pytest.raises(UserError, match="HTTP 404"):
            check_tracker(destination(tmp_path, url, timeout_s=2.0))
        other.shutdown()


def test_the_server_has_one_worker_and_listens_on_loopback(server):
    server.start()
    processes = [
        psutil.Process(server.process.pid),
        *psutil.Process(server.process.pid).children(recursive=True),
    ]
    assert len(processes) <= 3
    listening = {c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
    request = urllib.request.Request(f"{server.url}/api/2.0/mlflow/experiments/get?experiment_id=0")
    request.add_header("Host", "evil.example")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)
    assert os.path.exists(server.root / "mlflow.db")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_whole_server_without_a_traceback(tmp_path, number, code):
    ended = Server(tmp_path).start()
    processes = psutil.Process(ended.process.pid).children(recursive=True)
    ended.process.send_signal(number)
    assert ended.process.wait(timeout=120) == code
    ended.log.close()
    assert psutil.wait_procs(processes, timeout=10)[1] == []
    assert "Traceback" not in (tmp_path / "server.log").read_text()
