"""Graph -> Plan: the order of the nodes and the place of every activation in one arena."""

from __future__ import annotations

from tinymaix.plan.arena import Plan, plan
from tinymaix.plan.check import PlanError, verify
from tinymaix.plan.overlap import row_lead

__all__ = ["Plan", "PlanError", "plan", "row_lead", "verify"]
