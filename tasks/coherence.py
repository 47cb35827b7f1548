"""Step: check each night that the tables agree with one another, with great-expectations, and say it to an auditor.

The engine is imported here alone, when the step runs: its import takes seconds. Its own pages load scripts of third
parties, so that the report is ours: one file of plain HTML, one of JSON, and a table on the Prefect page.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from importlib.metadata import version
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from psycopg.conninfo import conninfo_to_dict

from minutier.events import format_time
from storage.archive import Archive
from storage.bootstrap import current_archive
from tasks.coherence_rules import TABLES, Rule, rules
from tasks.night_files import keep_report

FORMAT = "minutier-coherence/1"
_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """How one rule fared: `broken` counts what breaks it, `examples` are the first of them as `name=value`.

    `error` says why a rule could not be judged; it then counts as broken.
    """

    name: str
    table: str
    en: str
    fr: str
    broken: int
    examples: tuple[str, ...] = ()
    error: str = ""

    @property
    def ok(self) -> bool:
        """Say whether the rule was judged and holds."""
        return not self.broken and not self.error


@dataclass(frozen=True, slots=True)
class Coherence:
    """What the whole suite found, with the time and the version of the engine."""

    at: datetime
    engine: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> list[Finding]:
        """Give the rules that do not hold."""
        return [finding for finding in self.findings if not finding.ok]

    def as_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return {
            "format": FORMAT,
            "at": format_time(self.at),
            "engine": self.engine,
            "ok": not self.broken,
            "rules": [{**asdict(each), "ok": each.ok} for each in self.findings],
        }


@task(name="check that the tables agree", timeout_seconds=3600, persist_result=False)
def check_coherence() -> list[str]:
    """Judge every rule, keep the report, publish it; gives the names of the rules that do not hold."""
    archive = current_archive()
    found = judge(archive)
    keep_report(archive, found.at, "coherence", found.as_dict(), {"html": as_html(found)})
    create_markdown_artifact(key="coherence", markdown=as_markdown(found), description="Coherence of the tables")
    return [finding.name for finding in found.broken]


def judge(archive: Archive) -> Coherence:
    """Run the suite on the database of an archive; what it cannot judge is a finding, not an exception."""
    known = rules([store.name for store in archive.replicas])
    findings: dict[str, Finding] = {}
    with _engine(archive.settings.database_url or "") as engine:
        for table in TABLES:
            mine = [rule for rule in known if rule.table == table]
            findings |= {finding.name: finding for finding in engine(table, mine)}
    ordered = tuple(findings[rule.name] for rule in known)
    return Coherence(archive.clock(), f"great-expectations {version('great-expectations')}", ordered)


@contextmanager
def _engine(database_url: str) -> Iterator[Any]:
    """Give a function that judges rules about one table; its connections end with the block."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of its own dependencies, at import
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig
        from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_sql("catalogue", connection_string=_sqlalchemy_url(database_url))

        def on_table(table: str, about: Sequence[Rule]) -> list[Finding]:
            data = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all")
            expectations = [
                UnexpectedRowsExpectation(
                    unexpected_rows_query=rule.query, description=rule.en, meta={"rule": rule.name}
                )
                for rule in about
            ]
            suite = context.suites.add(gx.ExpectationSuite(table, expectations=expectations))
            definition = gx.ValidationDefinition(name=table, data=data, suite=suite)
            outcome: Any = context.validation_definitions.add(definition).run(result_format="COMPLETE")
            by_name = {result.expectation_config.meta["rule"]: result for result in outcome.results}
            return [_finding(rule, by_name.get(rule.name)) for rule in about]

        try:
            yield on_table
        finally:
            source.get_engine().dispose()


def _sqlalchemy_url(conninfo: str) -> str:
    """Turn a libpq URL into the words of SQLAlchemy, with the driver that the archive itself uses."""
    from sqlalchemy import URL

    rest: dict[str, Any] = dict(conninfo_to_dict(conninfo))
    port = rest.pop("port", None)
    url = URL.create(
        "postgresql+psycopg",
        username=rest.pop("user", None),
        password=rest.pop("password", None),
        host=rest.pop("host", None),
        port=int(port) if port else None,
        database=rest.pop("dbname", None),
        query={name: str(value) for name, value in rest.items()},
    )
    return url.render_as_string(hide_password=False)


def _finding(rule: Rule, result: Any) -> Finding:
    values = (rule.name, rule.table, rule.en, rule.fr)
    if result is None:
        return Finding(*values, 0, error="the engine gave no answer")
    raised = _raised(result.exception_info or {})
    if raised:
        return Finding(*values, 0, error=raised.splitlines()[0][:300])
    rows = result.result.get("details", {}).get("unexpected_rows", [])[:_EXAMPLES]
    examples = tuple(", ".join(f"{name}={value}" for name, value in row.items()) for row in rows)
    broken = int(result.result["observed_value"])
    if result.success != (broken == 0):
        return Finding(*values, broken, examples, error="the engine contradicts itself")
    return Finding(*values, broken, examples)


def _raised(info: dict[str, Any]) -> str:
    """Give the message of the exception that a query raised, in either of the two forms of the engine; "" for none."""
    each = info.values() if "raised_exception" not in info else [info]
    return next((str(one["exception_message"]) for one in each if one.get("raised_exception")), "")


def as_markdown(found: Coherence) -> str:
    """Write the report for the Prefect page: rules and counts; examples are ids."""
    head = "Every rule holds." if not found.broken else f"ALARM: {len(found.broken)} rule(s) do not hold."
    lines = [f"## {head}", "", "| rule | what holds | broken by |", "|---|---|---:|"]
    lines += [f"| {each.name} | {each.en} | {each.error or each.broken} |" for each in found.findings]
    for each in found.broken:
        lines += ["", f"### {each.name}", *(f"- {example}" for example in each.examples)]
    return "\n".join(lines)


def as_html(found: Coherence) -> str:
    """Write the report for an auditor: one page, in both languages, that loads nothing."""
    rows = "".join(
        f"<tr class='{'ok' if each.ok else 'bad'}'><td>{escape(each.name)}</td><td>{escape(each.table)}</td>"
        f"<td>{escape(each.en)}<br><i lang='fr'>{escape(each.fr)}</i></td>"
        f"<td>{escape(each.error) or each.broken}</td>"
        f"<td>{'<br>'.join(escape(example) for example in each.examples)}</td></tr>\n"
        for each in found.findings
    )
    verdict = "Every rule holds. Toutes les règles sont respectées."
    if found.broken:
        names = ", ".join(each.name for each in found.broken)
        verdict = f"{len(found.broken)} rule(s) do not hold. Règles enfreintes : {names}."
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Coherence of the tables</title>
<style>body{{font:16px sans-serif;margin:2em}}table{{border-collapse:collapse}}td,th{{border:1px solid #999;
padding:.4em;text-align:left;vertical-align:top}}.bad td{{background:#fdd}}</style>
<h1>Coherence of the tables · Cohérence des tables</h1>
<p>{escape(format_time(found.at))} · {escape(found.engine)} · {len(found.findings)} rules · règles</p>
<p><strong>{escape(verdict)}</strong></p>
<table><tr><th>rule<br>règle</th><th>table</th><th>what holds<br>ce qui est vrai</th><th>broken by<br>enfreinte par</th>
<th>examples<br>exemples</th></tr>
{rows}</table></html>
"""
