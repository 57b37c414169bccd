"""What can be traded for memory, time or digits, and at what rate: see command.py.

Invariant: what is compared is measured in the same rounds, and bytes are the ledger's.
"""
