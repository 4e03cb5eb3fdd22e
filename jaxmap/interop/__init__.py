"""Metrics of other libraries around jaxmap's own: thin shells that translate names and hold no arithmetic.

In the loop: `clu` serves `clu.metrics` (and metrax, whose metrics are of that kind), `nnx` serves `flax.nnx.metrics`,
`kauldron` serves `kauldron.metrics`. Each imports its library when it is imported itself; neither this package nor
`import jaxmap` does. In place of another evaluator, on the host and without that library: `pycocotools`,
`torchmetrics`, `scenic`, `model_garden`.
"""
