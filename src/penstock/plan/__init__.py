"""The plan wing: what hardware a fleet needs, and what exactly will run. Pure: facts and a demand in, a plan out."""

from penstock.plan.ask import Ask, Objectives, ask_of_model, unknown_model
from penstock.plan.demand import Demand, demand_of_rates, demand_of_requests, plain_demand
from penstock.plan.drawing import draw
from penstock.plan.engine_flags import engine_flags, fleet_lines
from penstock.plan.options import Option
from penstock.plan.prices import PRICE_WORDS, list_prices, priced_gpus
from penstock.plan.record import cost_of, fleet_record, model_record
from penstock.plan.refusal import Refusal
from penstock.plan.serving import Engine, OperatingPoint
from penstock.plan.sizing import ModelPlan, size

__all__ = [
    "PRICE_WORDS",
    "Ask",
    "Demand",
    "Engine",
    "ModelPlan",
    "Objectives",
    "OperatingPoint",
    "Option",
    "Refusal",
    "ask_of_model",
    "cost_of",
    "demand_of_rates",
    "demand_of_requests",
    "draw",
    "engine_flags",
    "fleet_lines",
    "fleet_record",
    "list_prices",
    "model_record",
    "plain_demand",
    "priced_gpus",
    "size",
    "unknown_model",
]
