"""The work queue of a comparison, shared by many workers through the database.

The contract:

- ``items.add_missing`` adds work items; a key is added once.
- ``items.claim`` gives a free item to one worker for a limited time and raises the item's fence.
- ``items.renew`` extends that time. It can write more in the same transaction.
- ``items.finish`` closes the item with its result; ``items.release`` gives it back unfinished.
- ``items.release_dead_workers`` frees what dead workers held.
- ``inspect.inspect_queue`` returns leases, failures and items that were set aside.

A call with a ``Claim`` whose fence is out of date writes nothing and raises ``LeaseLost``. Every
time is the database's. Every call may raise ``DatabaseUnavailable``, and may then be repeated;
``lease.Lease`` does so while the lease lasts. A *failure* is a worker that lost an item.
"""
