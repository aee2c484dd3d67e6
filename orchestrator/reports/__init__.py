"""The monitoring questions: what people ask of the tables, with the same answers on PostgreSQL and on SQLite.

catalogue.REPORTS ─▶ sql.render ─▶ text for psql or sqlite3
                 └─▶ asking.ask ─▶ Answer ─▶ the command line, a support bundle
"""

from orchestrator.reports.asking import ask
from orchestrator.reports.catalogue import REPORTS
from orchestrator.reports.model import Answer, Column, Kind, Report
from orchestrator.reports.sql import render

__all__ = ["REPORTS", "Answer", "Column", "Kind", "Report", "ask", "render"]
