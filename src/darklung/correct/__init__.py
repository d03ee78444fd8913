"""From retrieved projections to trustworthy ones: flux, hardening."""
