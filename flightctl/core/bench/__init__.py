"""Benches that ship with the product: flightctl beside the least that a bare driver needs for the same promise.

Floor and flightctl run in the same run, in turns (A B A B …), because absolute figures of a machine drift and only
ratios keep. Everything happens on a scratch schema that is dropped at the end, whatever ends it.
"""
