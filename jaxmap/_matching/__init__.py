"""Who meets whom: one matching kernel, packed from a dataset on the host and from a batch inside `jit`."""
