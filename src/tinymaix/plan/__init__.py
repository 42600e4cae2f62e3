"""Graph -> Plan: the order of the nodes and the place of every activation in one arena."""

from __future__ import annotations

from tinymaix.plan.arena import Plan, plan
from tinymaix.plan.check import PlanError, verify

__all__ = ["Plan", "PlanError", "plan", "verify"]
