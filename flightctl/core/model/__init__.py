"""The words of the domain: states, their allowed transitions, and the frozen records that use cases return.

A module for each area, since a record costs a millisecond at every start that loads it.

Units: seats are whole seats; money is an exact ``Decimal`` with two places; instants are timezone-aware UTC
``datetime`` with microseconds; ``departure_date`` is the local calendar date at the origin.
"""
