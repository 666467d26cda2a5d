"""The read-only web page over the admin API: what runs, what waits, what is wrong."""

from penstock.dashboard.routes import dashboard_routes

__all__ = ["dashboard_routes"]
