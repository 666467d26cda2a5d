"""What is to be done so that a cluster is as a fleet says, and how far it is: decisions, no requests. Pure."""
