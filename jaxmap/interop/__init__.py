"""Metrics of other libraries around jaxmap's own: thin shells that translate names and hold no arithmetic.

`jaxmap.interop.clu` serves `clu.metrics` (and metrax, whose metrics are of that kind), `jaxmap.interop.nnx` serves
`flax.nnx.metrics`, `jaxmap.interop.kauldron` serves `kauldron.metrics`. Each imports its library when it is imported
itself; neither this package nor `import jaxmap` does.
"""
