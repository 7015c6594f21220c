"""The closing line of jobs/local/test.sh must be right most of all when things go wrong."""

from __future__ import annotations

import json

import pytest

from report_counts import main


@pytest.fixture
def closing(tmp_path, capsys):
    """Give steps as (name, status, ranks, selected) and outcomes by file: (status, last line)."""

    def run(steps, **ranks):
        (tmp_path / "steps.txt").write_text("".join(f"{' '.join(step)}\n" for step in steps))
        for name, outcomes in ranks.items():
            path = tmp_path / f"{name.replace('_', '-')}.jsonl"
            path.write_text("".join(json.dumps(pair) + "\n" for pair in outcomes))
        status = main(tmp_path)
        return status, capsys.readouterr().out.splitlines()[-1]

    return run


def done(test, outcome):
    return [(test, "started"), (test, outcome)]


TWO = [("n2", "0", "2", "no")]


def test_all_is_well(closing):
    passed = done("a", "passed") + done("b", "skipped")
    steps = [("ruff", "0", "0", "no"), ("serial", "0", "1", "no"), *TWO]
    result = closing(steps, serial_r0=done("s", "passed"), n2_r0=passed, n2_r1=passed)
    assert result == (0, "2 passed, 0 failed, 1 skipped")


def test_one_failing_rank_fails_the_test_once(closing):
    result = closing([("n2", "1", "2", "no")], n2_r0=done("a", "passed"), n2_r1=done("a", "failed"))
    assert result == (1, "0 passed, 1 failed, 0 skipped")


def test_a_test_that_one_rank_never_finished_failed(closing):
    result = closing(
        [("n2", "139", "2", "no")], n2_r0=done("a", "passed"), n2_r1=[("a", "started")]
    )
    assert result == (1, "0 passed, 1 failed, 0 skipped")


def test_failing_teardown_outweighs_a_passing_test(closing):
    result = closing([("s", "1", "1", "no")], s_r0=[*done("a", "passed"), ("a", "failed")])
    assert result == (1, "0 passed, 1 failed, 0 skipped")


def test_a_missing_report_is_a_failure(closing):
    result = closing(TWO, n2_r0=done("a", "passed"))
    assert result == (1, "1 passed, 1 failed, 0 skipped")


def test_a_time_limit_is_a_failure(closing):
    result = closing([("s", "124", "1", "no")], s_r0=done("a", "passed"))
    assert result == (1, "1 passed, 1 failed, 0 skipped")


def test_a_bad_ending_without_a_failed_test_is_a_failure(closing):
    result = closing([("s", "3", "1", "no")], s_r0=done("a", "passed"))
    assert result == (1, "1 passed, 1 failed, 0 skipped")


def test_a_failed_check_is_a_failure(closing):
    steps = [("mypy", "1", "0", "no"), ("s", "0", "1", "no")]
    assert closing(steps, s_r0=done("a", "passed")) == (1, "1 passed, 1 failed, 0 skipped")


def test_no_tests_is_a_failure(closing):
    assert closing([("s", "5", "1", "no")], s_r0=[]) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_selection_may_leave_a_suite_empty_but_not_all(closing):
    steps = [("s", "5", "1", "yes"), ("n1", "0", "1", "yes")]
    assert closing(steps, s_r0=[], n1_r0=done("a", "passed"))[0] == 0
    assert closing(steps[:1], s_r0=[]) == (1, "0 passed, 0 failed, 0 skipped")
