"""What was not run, and why: one table after every run, and in CI a failure unless it is listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

LISTED = {
    "no shared data": "collections and models too large for the repository lie beside it",
    "no module named 'seismic'": "there are wheels of it for some Pythons on Linux only",
}
"""What may be missing where CI runs: how a reason for a skip begins, and why that may be."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--listed-skips",
        action="store_true",
        help="fail where a test is skipped for a reason that tests/skips.py does not list",
    )


def find_skips(reporter: pytest.TerminalReporter) -> Counter[tuple[str, str]]:
    """How many tests, or whole modules of them, were skipped: by module and reason."""
    found: Counter[tuple[str, str]] = Counter()
    for report in reporter.stats.get("skipped", []):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found[report.nodeid.partition("::")[0], why.removeprefix("Skipped: ")] += 1
    return found


def is_listed(why: str) -> bool:
    """Whether a reason is one of those that CI accepts."""
    return any(listed in why.lower() for listed in LISTED)


def lay_out(skips: Counter[tuple[str, str]]) -> Iterator[str]:
    """Lines of the table, the most skipped first."""
    for (module, why), count in skips.most_common():
        yield f"{count:5}  {module:40}  {why}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skips = find_skips(terminalreporter)
    if skips:
        terminalreporter.section("not run, and why")
        for line in lay_out(skips):
            terminalreporter.line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, nothing is skipped that could have run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--listed-skips"):
        return
    unlisted = [why for _, why in find_skips(reporter) if not is_listed(why)]
    if unlisted and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"\nskipped, and not listed in tests/skips.py: {'; '.join(unlisted)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
