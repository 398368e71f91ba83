"""Events in, effects out: the policy administrator, and the protocols that adapters fill."""
