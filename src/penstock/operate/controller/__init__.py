"""The controller's decisions: what a Fleet object asks for, and what is written into its status. Pure."""

from penstock.operate.controller.desired import Desired, desired_of
from penstock.operate.controller.report import Outlook, Phase, status_of

__all__ = ["Desired", "Outlook", "Phase", "desired_of", "status_of"]
