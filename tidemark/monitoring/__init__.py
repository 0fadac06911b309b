"""Monitoring: measured quality, rates and answers, each with its interval and what it rests on."""

from tidemark.monitoring.processor import MonitorProcessor, Options

__all__ = ["MonitorProcessor", "Options"]
