"""Workloads: recorded traces, seeded generators, the text they become, and the report of a run."""

from penstock.simulate.workload.answers import Answer, EventStream, Failure, error_text, read_body
from penstock.simulate.workload.generators import PROFILES, Profile, generate, generate_rates
from penstock.simulate.workload.lengths import Hump, Lengths, parse_lengths
from penstock.simulate.workload.prompts import PromptBook
from penstock.simulate.workload.report import ClientHealth, Errors, Objectives, Report, Sample, Spread, summarize
from penstock.simulate.workload.request import BLOCK_TOKENS, Session, TraceRequest, faster, sessions_of
from penstock.simulate.workload.timeline import Timeline
from penstock.simulate.workload.traces import RateTable, read_trace

__all__ = [
    "BLOCK_TOKENS",
    "PROFILES",
    "Answer",
    "ClientHealth",
    "Errors",
    "EventStream",
    "Failure",
    "Hump",
    "Lengths",
    "Objectives",
    "Profile",
    "PromptBook",
    "RateTable",
    "Report",
    "Sample",
    "Session",
    "Spread",
    "Timeline",
    "TraceRequest",
    "error_text",
    "faster",
    "generate",
    "generate_rates",
    "parse_lengths",
    "read_body",
    "read_trace",
    "sessions_of",
    "summarize",
]
