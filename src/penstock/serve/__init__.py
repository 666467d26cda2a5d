"""The serve wing: the gateway. Where a request goes, now, and what if that fails."""
