"""The work queue: items, leases, heartbeats and failures."""
